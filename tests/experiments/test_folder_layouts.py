"""Folders as systems and people leave them: read, or told of."""

import os
import unicodedata

import numpy as np
import PIL.Image
import pytest

from experiments.configs import folder as folder_config
from experiments.files.listing import files_note, list_folder
from experiments.modalities.text.files import clean_text
from experiments.modalities.text.folder import read_lines
from experiments.tasks import make_task
from experiments.tasks.open_values import settle


def image(path, grey=90):
  os.makedirs(os.path.dirname(path), exist_ok=True)
  with open(path, 'wb') as file:
    PIL.Image.fromarray(np.full((8, 8), grey, np.uint8)).save(file, 'PNG')


@pytest.fixture
def root(tmp_path):
  for split in ('train', 'test'):
    for grey, label in ((40, 'cat'), (200, 'dog')):
      for i in range(2):
        image(tmp_path / 'own' / split / label / f'{i}.png', grey + i)
  return tmp_path / 'own'


def listed(root):
  return list_folder(str(root), ('.png',), None)


def names(root, split='train'):
  files = listed(root).files[split]
  return [str(file.path.relative_to(root / split)) for file in files]


PLAIN = ['cat/0.png', 'cat/1.png', 'dog/0.png', 'dog/1.png']


def test_nothing_is_remarked_where_all_is_read(root):
  assert names(root) == PLAIN
  assert files_note(listed(root)) == '2 classes, 4 + 4 files'


def test_other_folders_are_told_of(root):
  image(root / 'val' / 'cat' / '0.png')
  (root / 'notes').mkdir()
  assert files_note(listed(root)) == (
    '2 classes, 4 + 4 + 1 files; not read: notes/'
  )


def test_linked_folders_are_entered(root):
  image(root.parent / 'elsewhere' / 'deep' / '5.png')
  (root / 'train' / 'cat' / 'more').symlink_to(root.parent / 'elsewhere')
  (root / 'train' / 'cow').symlink_to(root.parent / 'elsewhere')
  assert names(root) == [
    *PLAIN[:2],
    'cat/more/deep/5.png',
    'cow/deep/5.png',
    *PLAIN[2:],
  ]


def test_a_link_in_a_circle_ends(root):
  (root / 'train' / 'cat' / 'again').symlink_to(root / 'train' / 'cat')
  (root / 'train' / 'cat' / 'up').symlink_to(root / 'train')
  # Once around, and no further.
  assert set(PLAIN) < set(names(root)) and len(names(root)) < 12


def test_a_link_that_leads_nowhere_is_named(root):
  link = root / 'train' / 'cat' / '9.png'
  link.symlink_to('/nowhere/9.png')
  with pytest.raises(ValueError, match=r'9\.png is a link that leads nowhere'):
    listed(root)


@pytest.mark.parametrize(
  'own', ['@eaDir', '#recycle', '__MACOSX', 'lost+found']
)
def test_what_storages_put_beside_is_left_out(root, own):
  image(root / 'train' / 'cat' / own / '0.png' / 'SYNOPHOTO_THUMB_M.png')
  image(root / 'train' / own / 'x.png')
  (root / own).mkdir()
  assert names(root) == PLAIN
  assert files_note(listed(root)) == '2 classes, 4 + 4 files'


def test_empty_classes_and_lone_examples_are_told_of(root):
  for split in ('train', 'test'):
    (root / split / 'bird').mkdir()
  image(root / 'train' / 'cow' / '0.png')
  assert files_note(listed(root)) == (
    "3 classes, 5 + 4 files; without files: 'train/bird', 'test/bird'; a "
    "single example of 'cow'"
  )


def test_names_in_two_unicode_forms_are_one_class(root):
  for split, form in (('train', 'NFC'), ('test', 'NFD')):
    image(root / split / unicodedata.normalize(form, 'é') / '0.png')
  assert listed(root).classes == ('cat', 'dog', 'é')


def test_files_whose_names_are_no_utf_8_are_read(root, tmp_path):
  image(os.fsencode(root / 'train' / 'cat') + b'/caf\xe9.png')
  config = folder_config.get_config('image')
  config.data.root = str(root)
  settled, _ = settle(config, str(tmp_path / 'data'))
  data = make_task(settled, str(tmp_path / 'data')).data.load()
  assert len(data.train) == 5
  image(os.fsencode(root / 'train') + b'/caf\xe9/0.png')
  with pytest.raises(ValueError, match=r'caf\\xe9.* is no UTF-8: rename it'):
    listed(root)


# Lines of texts.

BODY = 'pos\tgood film\nneg\tbad film\npos\tfine\nneg\tawful\n'


def texts(tmp_path, content):
  root = tmp_path / 'texts'
  root.mkdir(exist_ok=True)
  for split in ('train', 'test'):
    (root / f'{split}.tsv').write_text(content, encoding='utf-8')
  config = folder_config.get_config('text')
  config.data.root = str(root)
  settled, note = settle(config, None)
  data = make_task(settled, None).data.load()
  return (
    settled.data.classes,
    [each['text'].decode() for each in data.train],
    note,
  )


TEXTS = ['good film', 'bad film', 'fine', 'awful']


@pytest.mark.parametrize('header', ['label\ttext', '"Class"\t"Sentence"', ''])
@pytest.mark.parametrize('mark', ['', '\ufeff'])
def test_a_header_is_no_example(tmp_path, header, mark):
  content = mark + (header + '\n' if header else '') + BODY
  classes, found, _ = texts(tmp_path, content)
  assert (classes, found) == (('neg', 'pos'), TEXTS)


def test_a_class_called_label_stays(tmp_path):
  content = 'label\tglue on paper\nother\tthread\nlabel\ttext\n'
  classes, found, note = texts(tmp_path, content)
  assert classes == ('label', 'other') and len(found) == 3
  assert note.endswith("; a single example of 'other'")


def test_quotes_around_cells_are_not_theirs(tmp_path):
  body = '"pos"\t"a ""great"" film"\nneg\t"so" he said "no"\npos\t"Fine, yes"\n'
  classes, found, _ = texts(tmp_path, body)
  assert classes == ('neg', 'pos')
  assert found == ['a "great" film', '"so" he said "no"', 'Fine, yes']


def test_bytes_of_zero_are_no_text(tmp_path):
  with pytest.raises(
    ValueError, match=r'x\.txt has bytes of zero: it is UTF-16'
  ):
    clean_text('plain'.encode('utf-16-le'), 'x.txt')
  path = tmp_path / 'train.tsv'
  path.write_bytes(BODY.encode('utf-16-le'))
  with pytest.raises(ValueError, match=r'train\.tsv, line 1'):
    read_lines(path)
