"""Your own texts: ROOT/{train,test}/CLASS/FILE.txt, or lines of two files.

The files ROOT/train.tsv and ROOT/test.tsv have a line for each text, its class
first, then a tab. A first line such as `label`, tab, `text` names the columns;
cells in quotes are without them.
"""

import functools
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from experiments.data.dataset import (
  Dataset,
  DataSpec,
  Example,
  array_spec,
)
from experiments.files.features import bytes_feature
from experiments.files.folder_builder import with_validation
from experiments.files.kind import FileKind, Survey
from experiments.files.listing import (
  SPLITS,
  VALIDATION,
  LabelledFile,
  check_classes,
  check_root,
  list_folder,
  lone_classes,
  quantile,
  read_files,
  report_skipped,
)
from experiments.modalities.text.examples import (
  crop,
  random_crop,
  random_size,
  token_example,
)
from experiments.modalities.text.files import EXTENSIONS, clean_text, read_text
from experiments.modalities.text.mixing import mix_texts
from experiments.modalities.text.typed import view_text, whole_files

# The longest twentieth of the texts is cut.
_WHOLE_SHARE = 0.95
_SHORTEST = 16
_MARK = b'\xef\xbb\xbf'  # Of UTF-8.
_LABEL_NAMES = (b'label', b'labels', b'class', b'category', b'target', b'y')
_TEXT_NAMES = (
  *(b'text', b'texts', b'sentence', b'content', b'message', b'review'),
  *(b'document', b'title', b'comment', b'tweet', b'x'),
)


def read_lines(path: pathlib.Path) -> list[LabelledFile]:
  """Reads the classes of a .tsv; the texts are read later.

  Returns:
    For each line that is not empty its place, such as `train.tsv/12`, and its
    class.

  Raises:
    FileNotFoundError: there is no such file.
    ValueError: a line has no tab, or there is none; the message says which.
  """
  if not path.is_file():
    raise FileNotFoundError(
      f'There is no file {path}: train.tsv and test.tsv belong together.'
    )
  lines = []
  for number, line in enumerate(path.read_bytes().split(b'\n'), start=1):
    if not line.strip() or (number == 1 and _is_header(line)):
      continue
    label, tab, _ = line.partition(b'\t')
    if not tab:
      raise ValueError(
        f'{path}, line {number}: no tab. A line is CLASS, a tab and the text.'
      )
    label = clean_text(_unquoted(label), f'{path}, line {number}').decode()
    lines.append(LabelledFile(path / str(number), label))
  if not lines:
    raise ValueError(f'{path} has no lines.')
  return lines


def _is_header(line: bytes) -> bool:
  """Whether a line names the columns, as far as names are known."""
  cells = line.lower().removeprefix(_MARK).split(b'\t')
  label, *others = [_unquoted(cell).strip() for cell in cells]
  return label in _LABEL_NAMES and len(others) == 1 and others[0] in _TEXT_NAMES


def _unquoted(cell: bytes) -> bytes:
  """Returns a cell without the quotes that programs put around it."""
  inner = cell.strip().removeprefix(_MARK)
  if len(inner) < 2 or not (inner[:1] == inner[-1:] == b'"'):
    return cell
  inner = inner[1:-1]
  # What has other quotes inside than doubled ones begins and ends with a quote.
  if b'"' in inner.replace(b'""', b''):
    return cell
  return inner.replace(b'""', b'"')


def text_files(
  survey: Survey,
  *,
  length: int | None,
  max_length: int,
  min_share: float,
  mix_probability: float = 0.0,
) -> FileKind:
  """Texts, kept as bytes of UTF-8.

  Args:
    survey: of the training texts, for what is None.
    length: bytes of an example; held-out texts are cut there. None for what 95
      of 100 texts fit into.
    max_length: that is chosen at most.
    min_share: training takes any part of a text, of this share of `length` to
      all of it.
    mix_probability: see `mix_texts`; above 0 each training example is made of
      two texts.

  Returns:
    Examples with `tokens` int32 `[length]` and `mask` bool `[length]`, False
    for padding.
  """
  if not 0.0 < min_share <= 1.0:
    raise ValueError(f'data.min_share must be in (0, 1], got {min_share}.')
  if length is None:
    lengths = survey(lambda text: len(_bytes_of(text)))
    length = max(
      _SHORTEST, min(int(quantile(lengths, _WHOLE_SHARE)), max_length)
    )

  def train_example(example: Example, rng: np.random.Generator) -> Example:
    size = random_size(min_share, length, rng)
    return token_example(random_crop(example['text'], size, rng), length)

  mix = None
  if mix_probability:
    mix = functools.partial(mix_texts, probability=mix_probability)
  return FileKind(
    read=lambda text: {'text': _bytes_of(text)},
    features={'text': bytes_feature()},
    options={'kind': 'texts'},
    example={
      'tokens': array_spec(length, dtype=np.int32),
      'mask': array_spec(length, dtype=np.bool_),
    },
    augment=train_example,
    prepare=lambda example: token_example(
      crop(example['text'], 0, length), length
    ),
    view=view_text,
    chosen={'data.length': length, 'embedding.max_length': length},
    note=f'text: {length} bytes of each, ',
    mix=mix,
  )


def _bytes_of(text: str | bytes | pathlib.Path) -> bytes:
  """Returns the UTF-8 of a text, or of a file."""
  if isinstance(text, pathlib.Path):
    return read_text(text)
  if isinstance(text, str):
    text = text.encode()
  return clean_text(text, 'The text')


def text_folder(
  data_dir: str | None,
  *,
  root: str,
  classes: Sequence[str] | None,
  length: int | None,
  max_length: int,
  min_share: float,
  skip_unreadable: bool,
  mix_probability: float = 0.0,
  validation_share: float = 0.0,
  validation_seed: int = 0,
) -> DataSpec:
  """Texts of folders or of two .tsv files, read into memory.

  Args:
    data_dir: not read: nothing is prepared.
    root: has train/CLASS/FILE and test/CLASS/FILE, or train.tsv and test.tsv.
    classes: names; None for those of training.
    length: see `text_files`, like those that follow.
    max_length: of examples.
    min_share: of texts.
    skip_unreadable: whether texts that are empty or no UTF-8 are left out.
    mix_probability: of examples.
    validation_share: see `with_validation`.
    validation_seed: see `with_validation`.

  Returns:
    The examples of `text_files` with `label` int32.
  """
  del data_dir
  counts, num_train, survey = '', None, None
  if None in (classes, length):
    classes, texts = _read(root, classes, skip_unreadable)
    num_train = len(texts['train'])
    counts = _counts(classes, texts)

    def survey(read: Callable[[bytes], Any]) -> list[Any]:
      return [read(text) for text, _ in texts['train']]

  kind = text_files(
    survey,
    length=length,
    max_length=max_length,
    min_share=min_share,
    mix_probability=mix_probability,
  )
  classes = tuple(classes)

  def load() -> Dataset:
    _, texts = _read(root, classes, skip_unreadable, report=True)
    examples = {
      split: [
        {'text': text, 'label': np.int32(classes.index(label))}
        for text, label in found
      ]
      for split, found in texts.items()
    }

    def labelled(example: Example, kept: Example) -> Example:
      return {**example, 'label': kept['label']}

    dataset = Dataset(
      train=examples['train'],
      augment=lambda kept, rng: labelled(kind.augment(kept, rng), kept),
      evaluation=examples['test'],
      prepare=lambda kept: labelled(kind.prepare(kept), kept),
      mix=kind.mix,
      validation=examples.get(VALIDATION),
    )
    return with_validation(dataset, validation_share, validation_seed)

  return DataSpec(
    example={**kind.example, 'label': array_spec(dtype=np.int32)},
    num_classes=len(classes),
    load=load,
    chosen={
      'data.classes': classes,
      'labels.label': len(classes),
      **kind.chosen,
    },
    note=counts and kind.note + counts,
    class_names=classes,
    files=whole_files(kind.chosen['data.length']),
    view=kind.view,
    num_train=num_train,
  )


def _counts(classes: Sequence[str], texts: Mapping[str, Sequence]) -> str:
  counts = ' + '.join(f'{len(found):,}' for found in texts.values())
  return '; '.join(
    [
      f'{len(classes)} classes, {counts} texts',
      *lone_classes([label for _, label in texts['train']]),
    ]
  )


def _read(
  root: str,
  classes: Sequence[str] | None,
  skip_unreadable: bool,
  report: bool = False,
) -> tuple[tuple[str, ...], dict[str, list[tuple[bytes, str]]]]:
  """Returns the classes, and of each split texts and their classes."""
  path = check_root(root)
  if any((path / f'{split}.tsv').exists() for split in SPLITS):
    has_validation = (path / f'{VALIDATION}.tsv').exists()
    splits = [*SPLITS, *([VALIDATION] if has_validation else [])]
    files = {split: read_lines(path / f'{split}.tsv') for split in splits}
    labels = {
      split: [file.label for file in found] for split, found in files.items()
    }
    classes = check_classes(path, labels, classes)
    contents = {
      split: (path / f'{split}.tsv').read_bytes().split(b'\n')
      for split in splits
    }

    def read(place: pathlib.Path) -> bytes:
      line = contents[place.parent.stem][int(place.name) - 1]
      where = f'{place.parent}, line {place.name}'
      return clean_text(_unquoted(line.partition(b'\t')[2]), where)

  else:
    folder = list_folder(root, EXTENSIONS, classes)
    files, classes, read = folder.files, folder.classes, read_text
  texts = {}
  for split in files:
    texts[split] = [
      (text, file.label)
      for file, text in read_files(
        files[split],
        read,
        skip_unreadable=skip_unreadable,
        say=_print if report else lambda line: None,
      )
    ]
    if report:
      report_skipped(split, len(files[split]), len(texts[split]))
  return classes, texts


def _print(line: str) -> None:
  print(line, flush=True)
