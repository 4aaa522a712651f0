"""Folders of files: what is found, what is refused, what is kept."""

import json
import os

import ml_collections
import numpy as np
import PIL.Image
import pytest

from experiments.configs import folder as folder_config
from experiments.files.folder_builder import content_key
from experiments.files.listing import (
  check_patches,
  list_folder,
  quantile,
  rounded,
  survey,
  whole_patches,
)
from experiments.host.configuration import take_open_values
from experiments.tasks import make_task
from experiments.tasks.open_values import settle

EXTENSIONS = ('.png', '.jpg')


def write_images(root, counts, side=8):
  """Images of one grey: black and white by class, for each 'split/class'."""
  for place, count in counts.items():
    folder = root / place
    folder.mkdir(parents=True)
    for i in range(count):
      grey = 40 if folder.name == 'dark' else 200
      pixels = np.full((side, side), grey + i, np.uint8)
      PIL.Image.fromarray(pixels).save(folder / f'{i}.png')
  return root


@pytest.fixture
def root(tmp_path):
  counts = {'train/dark': 3, 'train/light': 3, 'test/dark': 1, 'test/light': 2}
  return write_images(tmp_path / 'images', counts)


def config_of(variant, root, **data):
  config = folder_config.get_config(variant)
  config.data.root = str(root)
  config.data.update(data)
  return config


# Listing.


def test_files_and_classes_are_listed_without_what_is_hidden(root):
  (root / '.DS_Store').touch()
  (root / 'train' / '.DS_Store').touch()
  (root / 'train' / 'dark' / '._0.png').touch()
  (root / 'train' / 'dark' / 'Thumbs.db').touch()
  (root / 'train' / '.thumbnails').mkdir()
  deeper = root / 'train' / 'dark' / 'more'
  deeper.mkdir()
  (root / 'train' / 'dark' / '2.png').rename(deeper / '2.PNG')
  folder = list_folder(str(root), EXTENSIONS, None)
  assert folder.classes == ('dark', 'light')
  assert {split: len(files) for split, files in folder.files.items()} == {
    'train': 6,
    'test': 3,
  }
  assert [file.label for file in folder.files['train']] == ['dark'] * 3 + [
    'light'
  ] * 3


def refuse(root, classes=None):
  with pytest.raises((ValueError, FileNotFoundError)) as error:
    list_folder(str(root), EXTENSIONS, classes)
  return str(error.value)


def test_no_root():
  assert '--config.data.root=PATH' in refuse('')


def test_a_root_that_is_not_there(tmp_path):
  assert f'no folder {tmp_path / "x"}' in refuse(tmp_path / 'x')


@pytest.mark.parametrize('split', ['train', 'test'])
def test_a_missing_split(root, split):
  (root / split).rename(root / 'validation')
  message = refuse(root)
  assert f'no folder {split}/' in message
  assert "'validation'" in message


def test_a_class_that_is_not_trained(root):
  write_images(root, {'test/grey': 1})
  assert "in test that are not in train: 'grey'" in refuse(root)


def test_a_class_without_anything_to_test_is_fine(root):
  write_images(root, {'train/grey': 1})
  assert list_folder(str(root), EXTENSIONS, None).classes == (
    'dark',
    'grey',
    'light',
  )


def test_a_single_class(tmp_path):
  write_images(tmp_path, {'train/dark': 2, 'test/dark': 1})
  assert "single class, 'dark'" in refuse(tmp_path)


def test_no_files(tmp_path):
  (tmp_path / 'train' / 'dark').mkdir(parents=True)
  (tmp_path / 'test').mkdir()
  message = refuse(tmp_path)
  assert f'{tmp_path / "train"} has no files' in message
  assert '.png, .jpg' in message


def test_unknown_kinds_of_files_are_named(root):
  for i in range(5):
    (root / 'train' / 'dark' / f'{i}.tga').touch()
  message = refuse(root)
  assert '5 files that are not read' in message
  assert str(root / 'train' / 'dark' / '0.tga') in message
  assert 'and 2 more' in message
  assert 'Read are .png, .jpg.' in message


def test_a_file_outside_the_classes(root):
  (root / 'train' / 'labels.csv').touch()
  assert 'labels.csv lies outside the folders of classes' in refuse(root)


def test_the_classes_of_a_run_stay(root):
  known = ('black', 'dark', 'light')
  assert list_folder(str(root), EXTENSIONS, known).classes == known
  message = refuse(root, ('black', 'light'))
  assert "the run does not know: 'dark'" in message
  assert '--workdir' in message


# Looking at the data.


def test_a_survey_is_spread_over_all_files(root):
  files = list_folder(str(root), EXTENSIONS, None).files['train']
  seen = survey(files * 100, lambda path: path, skip_unreadable=False)
  assert len(seen) == 200
  assert seen[0] == files[0].path and seen[199] == files[597 % 6].path


def test_a_survey_of_nothing_readable(root):
  def read(path):
    raise ValueError(f'{path} is odd.')

  files = list_folder(str(root), EXTENSIONS, None).files['train']
  with pytest.raises(ValueError, match='None of 6 files such as'):
    survey(files, read, skip_unreadable=True)
  with pytest.raises(ValueError, match=r'0\.png is odd.*skip_unreadable=True'):
    survey(files, read, skip_unreadable=False)


def test_sizes_in_numbers():
  assert quantile(range(1, 101), 0.95) == 95.0
  assert quantile([7], 0.95) == 7.0
  assert whole_patches(50, lambda size: 4) == 52
  assert whole_patches(52, lambda size: 4) == 52
  assert rounded([0.123456789, 12345678]) == (0.12346, 12346000.0)
  check_patches('size', 52, 4)
  with pytest.raises(ValueError, match=r'data\.size = 50.*such as 52'):
    check_patches('size', 50, 4)


# Keeping.


def key_of(root, **options):
  return content_key(list_folder(str(root), EXTENSIONS, None), options)


def test_what_is_kept_belongs_to_the_files_as_they_are(root):
  key = key_of(root, size=8)
  assert key == key_of(root, size=8)
  assert len(key) == 16
  keys = {key, key_of(root, size=9)}
  path = root / 'test' / 'dark' / '0.png'
  path.write_bytes(path.read_bytes() + b'x')
  keys.add(key_of(root, size=8))
  stat = path.stat()
  os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1_000_000))
  keys.add(key_of(root, size=8))
  path.rename(path.with_name('1.png'))
  keys.add(key_of(root, size=8))
  path.with_name('1.png').rename(root / 'test' / 'light' / '7.png')
  keys.add(key_of(root, size=8))
  assert len(keys) == 6


def load(config, data_dir):
  return make_task(config, str(data_dir)).data.load()


def test_a_changed_folder_is_prepared_anew(root, tmp_path, capsys):
  config = config_of('image', root)
  assert len(load(config, tmp_path).train) == 6
  assert 'Preparing 9 files' in capsys.readouterr().out
  assert len(load(config, tmp_path).train) == 6
  assert 'Preparing' not in capsys.readouterr().out
  write_images(root / 'x', {'train/dark': 1})
  (root / 'x' / 'train' / 'dark' / '0.png').rename(root / 'train/dark/3.png')
  (root / 'x' / 'train' / 'dark').rmdir()
  assert len(load(config, tmp_path).train) == 7
  assert 'Preparing 10 files' in capsys.readouterr().out


def test_unreadable_files_are_named_or_left_out_and_counted(
  root, tmp_path, capsys
):
  broken = root / 'train' / 'light' / '1.png'
  broken.write_bytes(broken.read_bytes()[:40])
  with pytest.raises(ValueError, match=r'1\.png is no image'):
    load(config_of('image', root), tmp_path)
  # Also where the shapes are known, and again: nothing half is left behind.
  settled, _ = settle(config_of('image', root, skip_unreadable=True), None)
  settled.data.skip_unreadable = False
  for _ in range(2):
    with pytest.raises(ValueError, match=r'1\.png.*skip_unreadable=True'):
      load(settled, tmp_path)
  settled.data.skip_unreadable = True
  dataset = load(settled, tmp_path)
  assert (len(dataset.train), len(dataset.evaluation)) == (5, 3)
  output = capsys.readouterr().out
  assert output.count('Left out: ') == 1 and str(broken) in output
  assert '1 of 6 train files are unreadable' in output
  assert len(load(settled, tmp_path).train) == 5
  assert '1 of 6 train files are unreadable' in capsys.readouterr().out


def test_where_nothing_is_readable(root, tmp_path):
  config, _ = settle(config_of('image', root, skip_unreadable=True), None)
  for path in (root / 'test').rglob('*.png'):
    path.write_bytes(b'')
  with pytest.raises(ValueError, match='None of 3 files'):
    load(config, tmp_path)


# Open values.


def test_open_values_are_chosen_once(root, tmp_path):
  config = config_of('image', root)
  settled, note = settle(config, None)
  assert note == (
    'image: 8 x 8 pixels, 64 patches of 1 x 1, 2 classes, 6 + 3 files'
  )
  assert config.data.image_size is None  # Not changed.
  assert settled.data.classes == ('dark', 'light')
  assert settled.data.image_size == 8
  # 40, 41, 42, 200, 201, 202 of 255.
  expected = np.array([40, 41, 42, 200, 201, 202]) / 255
  np.testing.assert_allclose(settled.data.mean, [expected.mean()] * 3, 1e-4)
  np.testing.assert_allclose(settled.data.stddev, [expected.std()] * 3, 1e-4)
  assert settled.inputs.image.cell == 1
  assert settled.inputs.image.positions.max_resolution == (8, 8)
  assert settle(settled, None) == (settled, '')
  # As config.json has it, and without the files.
  stored = ml_collections.ConfigDict(json.loads(settled.to_json()))
  for path in root.rglob('*.png'):
    path.unlink()
  task = make_task(stored, str(tmp_path))
  assert task.data.example['image'].shape == (8, 8, 3)
  assert task.data.num_classes == 2


def test_values_that_are_given_stay(root):
  config = config_of('image', root, image_size=32, mean=(0.5, 0.5, 0.5))
  settled, note = settle(config, None)
  assert settled.data.image_size == 32
  assert settled.data.mean == (0.5, 0.5, 0.5)
  assert settled.inputs.image.cell == 4
  assert note.startswith('image: 32 x 32 pixels, 64 patches of 4 x 4')


def test_what_the_data_does_not_say(root):
  config = config_of('image', root)
  config.data.max_shift = ml_collections.config_dict.placeholder(float)
  with pytest.raises(ValueError, match=r'data\.max_shift'):
    settle(config, None)


def test_other_data_is_left_alone():
  config = ml_collections.ConfigDict({'data': {'name': 'digits', 'x': None}})
  assert settle(config, None) == (config, '')
  assert settle(ml_collections.ConfigDict(), None)[1] == ''


def test_a_run_fills_what_its_config_leaves_open(root):
  run, _ = settle(config_of('image', root), None)
  stored = ml_collections.ConfigDict(json.loads(run.to_json()))
  config = config_of('image', root, image_size=16)
  take_open_values(config, stored)
  assert config.data.image_size == 16
  assert config.data.mean == run.data.mean
  assert config.inputs.image.cell == 1
  assert isinstance(config.inputs.image.positions.max_resolution, tuple)
  assert config.data.classes == ('dark', 'light')


def test_a_run_of_other_data_fills_nothing():
  config = folder_config.get_config('audio')
  run = {'seed': 3, 'data': {'name': 'series_folder', 'stddev': [1.0, 2.0]}}
  take_open_values(config, ml_collections.ConfigDict(run))
  assert config.data.stddev is None
  run['data']['name'] = 'sound_folder'
  run['data']['stddev'] = 0.5
  take_open_values(config, ml_collections.ConfigDict(run))
  assert config.data.stddev == 0.5
  assert config.data.num_samples is None
  assert config.seed == 0


def test_unknown_variant():
  with pytest.raises(ValueError, match=r"'timeseries'.*got 'sound'"):
    folder_config.get_config('sound')
