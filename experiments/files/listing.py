"""Files in folders, ROOT/{train,test}/CLASS/FILE: found, read and looked at."""

import collections
import math
import os
import pathlib
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np

from experiments.files.fetched import fetched
from experiments.host import addresses
from experiments.host.buckets import is_in_bucket

T = TypeVar('T')
SPLITS = ('train', 'test')
# Read where it is there.
VALIDATION = 'val'
# Not hidden, and yet not the user's: made by systems and by storages.
_IGNORED = (
  *('thumbs.db', 'desktop.ini', '__macosx', '@eadir', '#recycle'),
  *('#snapshot', '$recycle.bin', 'system volume information', 'lost+found'),
)
# Training files that shapes and statistics are taken from.
_SURVEYED = 200
_MOST_NAMED = 3


class LabelledFile(NamedTuple):
  """A file and the name of its class."""

  path: pathlib.Path
  label: str


class Folder(NamedTuple):
  """What a root folder has.

  Attributes:
    root: of all files.
    classes: names, sorted.
    files: of each split, sorted.
    remarks: on what is there and is not read, in words.
  """

  root: pathlib.Path
  classes: tuple[str, ...]
  files: Mapping[str, Sequence[LabelledFile]]
  remarks: Sequence[str] = ()


def list_folder(
  root: str, extensions: Sequence[str], classes: Sequence[str] | None
) -> Folder:
  """Lists ROOT/{train,test,val}/CLASS/FILE; hidden files are left out.

  Links are followed. Names of classes are the same in all their Unicode forms.

  Args:
    root: the folder.
    extensions: of the files that can be read, such as '.png'.
    classes: that the model knows; None for those of train/.

  Raises:
    FileNotFoundError: a folder is not there, or has no files.
    ValueError: files are of other kinds or lie elsewhere, a link leads nowhere,
      there are fewer than two classes, or a class that the model does not know.
  """
  path = check_root(root)
  splits = [*SPLITS, *([VALIDATION] if (path / VALIDATION).is_dir() else [])]
  files = {split: _list_split(path, split, extensions) for split in splits}
  labels = {
    split: [file.label for file in found] for split, found in files.items()
  }
  classes = check_classes(root, labels, classes)
  return Folder(path, classes, files, _remarks(path, labels))


def check_root(root: str) -> pathlib.Path:
  """Returns the root folder; raises an error unless there is one.

  Of one in a bucket it is a copy, see `fetched`.
  """
  if not root:
    raise ValueError(
      'Name the folder of your data by --config.data.root=PATH. It has '
      'train/CLASS/FILE and test/CLASS/FILE.'
    )
  path = addresses.place(root, 'config.data.root')
  if is_in_bucket(path):
    return fetched(path)
  path = path.expanduser()
  if not path.is_dir():
    raise FileNotFoundError(f'config.data.root: there is no folder {path}.')
  return path


def check_classes(
  root: str, labels: Mapping[str, Sequence[str]], classes: Sequence[str] | None
) -> tuple[str, ...]:
  """Returns the classes that a model is to know.

  Args:
    root: of all files, for messages.
    labels: of the files of each split.
    classes: that the model knows already; None for those of training, sorted.

  Raises:
    ValueError: training has fewer than two, or there is one besides.
  """
  found = {split: sorted(set(names)) for split, names in labels.items()}
  if classes is not None:
    others = sorted(
      {name for names in found.values() for name in names} - set(classes)
    )
    if others:
      raise ValueError(
        f'{root} has classes that the run does not know: {some(others)}. It '
        f'knows {some(classes)}. Train on other data in another --workdir.'
      )
    return tuple(classes)
  for split, names in found.items():
    others = sorted(set(names) - set(found['train']))
    if others:
      raise ValueError(
        f'{root} has classes in {split} that are not in train: '
        f'{some(others)}. Those of train are {some(found["train"])}.'
      )
  if len(found['train']) < 2:
    raise ValueError(
      f'{root} has a single class, {found["train"][0]!r}: there is nothing to '
      'tell apart. Each class is a folder of its own in train/.'
    )
  return tuple(found['train'])


def _list_split(
  root: pathlib.Path, split: str, extensions: Sequence[str]
) -> list[LabelledFile]:
  folder = root / split
  if not folder.is_dir():
    there = sorted(each.name for each in _visible(root))
    raise FileNotFoundError(
      f'{root} has no folder {split}/, only {some(there)}. Expected are '
      'train/CLASS/FILE and test/CLASS/FILE.'
    )
  files, unknown = [], []
  for entry in _visible(folder):
    if not entry.is_dir():
      raise ValueError(
        f'{entry} lies outside the folders of classes: move it into '
        f'{folder}/CLASS/, or away.'
      )
    for path in sorted(_files_below(entry)):
      known = path.suffix.lower() in extensions
      (files if known else unknown).append(LabelledFile(path, _label(entry)))
  if unknown:
    raise ValueError(
      f'{folder} has {len(unknown)} files that are not read: '
      f'{some([str(file.path) for file in unknown])}. Read are '
      f'{", ".join(extensions)}.'
    )
  if not files:
    raise FileNotFoundError(
      f'{folder} has no files. Expected are {folder}/CLASS/FILE, with FILE in '
      f'{", ".join(extensions)}.'
    )
  return files


def _files_below(
  folder: pathlib.Path, above: frozenset[pathlib.Path] = frozenset()
) -> Iterator[pathlib.Path]:
  """Yields the files of a folder and of those in it, be they links."""
  above |= {folder.resolve()}
  for path in _visible(folder):
    if not path.exists():
      raise ValueError(
        f'{path} is a link that leads nowhere, to {os.readlink(path)}: mend it '
        'or take it away.'
      )
    if path.is_file():
      yield path
    # A link to a folder that it lies in would have no end.
    elif path.is_dir() and path.resolve() not in above:
      yield from _files_below(path, above)


def _label(folder: pathlib.Path) -> str:
  """Returns the name of a class; systems differ in how they write an accent."""
  try:
    folder.name.encode()
  except UnicodeEncodeError as error:
    raise ValueError(
      f'The name of the folder {os.fsencode(folder)!r} is no UTF-8: rename it.'
    ) from error
  return unicodedata.normalize('NFC', folder.name)


def _remarks(
  root: pathlib.Path, labels: Mapping[str, Sequence[str]]
) -> list[str]:
  """Says what is there and is not read, and which classes are nearly empty."""
  others = [f'{each.name}/' for each in _visible(root) if each.is_dir()]
  others = [name for name in others if name.rstrip('/') not in labels]
  remarks = [f'not read: {", ".join(others)}'] if others else []
  empty = [
    f'{split}/{entry.name}'
    for split in labels
    for entry in _visible(root / split)
    if _label(entry) not in labels[split]
  ]
  if empty:
    remarks.append(f'without files: {some(empty)}')
  return [*remarks, *lone_classes(labels['train'])]


def lone_classes(labels: Sequence[str]) -> list[str]:
  """Says in words which classes have a single example, if any."""
  counts = collections.Counter(labels)
  lone = sorted(label for label, count in counts.items() if count == 1)
  return [f'a single example of {some(lone)}'] if lone else []


def _visible(folder: pathlib.Path) -> list[pathlib.Path]:
  return sorted(path for path in folder.iterdir() if not _is_hidden(path.name))


def _is_hidden(name: str) -> bool:
  return name.startswith('.') or name.lower() in _IGNORED


def some(names: Sequence[str]) -> str:
  """Returns the first few names, in quotes, and how many more there are."""
  more = len(names) - _MOST_NAMED
  shown = ', '.join(map(repr, names[:_MOST_NAMED])) or 'nothing'
  return f'{shown} and {more} more' if more > 0 else shown


# Reading.


def read_files(
  files: Sequence[LabelledFile],
  read: Callable[[pathlib.Path], Any],
  *,
  skip_unreadable: bool,
  say: Callable[[str], None] = lambda line: print(line, flush=True),
) -> Iterator[tuple[LabelledFile, Any]]:
  """Yields each file with what is read of it.

  Args:
    files: to read.
    read: raises a ValueError or an OSError that names a file it cannot read.
    skip_unreadable: whether such a file is left out, which is said; otherwise
      it ends the reading.
    say: takes a line for each file left out.
  """
  for file in files:
    try:
      content = read(file.path)
    except (ValueError, OSError) as error:
      if not skip_unreadable:
        raise ValueError(
          f'{error} Such files are left out, and counted, with '
          '--config.data.skip_unreadable=True.'
        ) from error
      say(f'Left out: {error}')
    else:
      yield file, content


def survey(
  files: Sequence[LabelledFile],
  read: Callable[[pathlib.Path], Any],
  *,
  skip_unreadable: bool,
) -> list[Any]:
  """Reads at most 200 training files, spread evenly, to learn what they are.

  What is left out is said when the data set is prepared, not here.

  Raises:
    ValueError: none of them is readable.
  """
  some = spread_evenly(files)
  contents = [
    content
    for _, content in read_files(
      some, read, skip_unreadable=skip_unreadable, say=lambda line: None
    )
  ]
  if not contents:
    raise ValueError(nothing_read(some))
  return contents


def spread_evenly(items: Sequence[T]) -> Sequence[T]:
  """Returns at most 200 of many, to learn what all are like."""
  return items[:: -(-len(items) // _SURVEYED) or 1]


def nothing_read(files: Sequence[LabelledFile]) -> str:
  """Returns what is said where all files are left out."""
  return (
    f'None of {len(files)} files such as {files[0].path} can be read, and all '
    'are left out: without --config.data.skip_unreadable it says why.'
  )


def report_skipped(split: str, num_files: int, num_read: int) -> None:
  """Prints how many files of a split were unreadable, if any."""
  if num_files != num_read:
    print(
      f'{num_files - num_read} of {num_files:,} {split} files are unreadable '
      'and left out.',
      flush=True,
    )


# What it has.


def files_note(folder: Folder) -> str:
  """Returns how many classes and files there are, in words."""
  counts = ' + '.join(f'{len(files):,}' for files in folder.files.values())
  counts = f'{len(folder.classes)} classes, {counts} files'
  return '; '.join([counts, *folder.remarks])


def check_patches(name: str, size: int, patch: int) -> None:
  """Raises a ValueError unless patches fill a side, or a length."""
  if size < 1 or size % patch:
    below = size // patch * patch
    raise ValueError(
      f'data.{name} = {size} should be a multiple of {patch}, the size of its '
      f'patches, such as {below + patch}.'
    )


def quantile(sizes: Sequence[float], share: float) -> float:
  """Returns the smallest size that so large a share does not exceed."""
  return float(np.quantile(sizes, share, method='inverted_cdf'))


def whole_patches(size: int, patch_of: Callable[[int], int]) -> int:
  """Returns a size in whole patches, not below the one given.

  Args:
    size: a side, or a length.
    patch_of: a size to that of its patches.
  """
  patch = patch_of(size)
  return -(-size // patch) * patch


def rounded(values: Sequence[float]) -> tuple[float, ...]:
  """Returns plain numbers of 5 digits, which a config holds."""
  return tuple(float(f'{value:.5g}') for value in values)


def rounded_by(
  values: Sequence[float], spreads: Sequence[float]
) -> tuple[float, ...]:
  """Returns plain numbers, right to a ten-thousandth of a spread each."""
  return tuple(
    round(float(value), 4 - math.floor(math.log10(spread)))
    for value, spread in zip(values, spreads, strict=True)
  )
