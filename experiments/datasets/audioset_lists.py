"""The lists of AudioSet as they are published, and the media files to them.

`class_labels_indices.csv` numbers the 527 classes. A list of segments has three
lines of comments, and then the lines

  --PJHxphWEs, 30.000, 40.000, "/m/09x0r,/t/dd00088"

that is, a YouTube video, the start and end of the part that was listened to, in
seconds, and the classes that occur.
"""

import csv
import pathlib
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

NUM_CLASSES = 527
_CLASSES = 'class_labels_indices.csv'
_AGAIN = 'Get it again from https://research.google.com/audioset/download.html.'
# Others in the folder, such as descriptions and half downloads, are not read.
_SUFFIXES = (
  *('.aac', '.avi', '.flac', '.flv', '.m4a', '.mkv', '.mov'),
  *('.mp3', '.mp4', '.ogg', '.opus', '.wav', '.webm'),
)


class Segment(NamedTuple):
  """A part of a video that was listened to.

  Attributes:
    name: 'YTID_START', START in seconds.
    path: of its media file.
    start: of the part in that file, in seconds.
    end: of the part in that file, in seconds.
    labels: numbers of the classes that occur.
  """

  name: str
  path: pathlib.Path
  start: float
  end: float
  labels: Sequence[int]


def find_segments(root: pathlib.Path, name: str) -> list[Segment]:
  """Returns the segments of a list that have a media file, and prints counts.

  `media/YTID_START.mp4` is the segment alone, as downloaders cut it out; START
  has no decimals where there are none (`_30`). `media/YTID.mp4` is the whole
  video. The suffix is that of any container.

  Args:
    root: with the lists and `media/`.
    name: of the list: 'NAME_segments.csv'.

  Raises:
    FileNotFoundError: a list or the folder of media is not there.
    ValueError: a list is broken, a segment has two files, or none has one.
  """
  labels = read_classes(root / _CLASSES)
  rows = read_list(root / f'{name}_segments.csv', labels)
  files = _media_files(root / 'media')
  found = [
    segment for row in rows if (segment := _segment(*row, files)) is not None
  ]
  print(
    f'AudioSet, {name}: {len(found):,} of {len(rows):,} segments have a file '
    f'in {root}/media, {len(rows) - len(found):,} are not available. '
    f'{len(files) - len(found):,} files are of other lists or misnamed.',
    flush=True,
  )
  if not found:
    raise ValueError(
      f'None of the {len(files):,} media files in {root}/media is named after '
      f'a segment of {name}_segments.csv{_example(files)}. Names are '
      f'YTID_START or YTID, such as {rows[0][0]}_{rows[0][1]:g}.mp4.'
    )
  return found


def read_classes(path: pathlib.Path) -> dict[str, int]:
  """Returns the number of each class by its name, such as '/m/09x0r'.

  Raises:
    FileNotFoundError: the file is not there.
    ValueError: it has not the classes 0 to 526 in order.
  """
  return {row[1]: i for i, row in enumerate(_class_rows(path))}


def _class_rows(path: pathlib.Path) -> list[list[str]]:
  """Returns [number, name, what it is called] of each class."""
  with _open(path) as lines:
    rows = list(csv.reader(lines))[1:]  # The first names the columns.
  numbers = [row[0] for row in rows if len(row) == 3]
  if numbers != [str(i) for i in range(NUM_CLASSES)] or len(rows) != len(
    numbers
  ):
    raise ValueError(
      f'{path} should have {NUM_CLASSES} lines "index,mid,display_name", 0 to '
      f'{NUM_CLASSES - 1}, and has {len(rows)}. {_AGAIN}'
    )
  return rows


def class_names_below(root: pathlib.Path) -> tuple[str, ...]:
  """Returns what the classes are called, such as 'Speech', in their order.

  Args:
    root: with the lists.

  Returns:
    527 names; () where the list of classes is not there.

  Raises:
    ValueError: it has not the classes 0 to 526 in order.
  """
  path = root / _CLASSES
  if not path.is_file():
    return ()
  return tuple(row[2] for row in _class_rows(path))


def read_list(
  path: pathlib.Path, classes: Mapping[str, int]
) -> list[tuple[str, float, float, list[int]]]:
  """Returns the rows of a list: video, start and end in seconds, classes.

  Args:
    path: of the list.
    classes: numbers by name.

  Raises:
    FileNotFoundError: the file is not there.
    ValueError: a line is not of the format, a class unknown, or lines are
      missing.
  """
  with _open(path) as lines:
    text = lines.read().splitlines()
  comments = ' '.join(line for line in text if line.startswith('#'))
  rows = [
    _parse(line, f'{path}, line {i}', classes)
    for i, line in enumerate(text, start=1)
    if line and not line.startswith('#')
  ]
  stated = re.search(r'num_segs=(\d+)', comments)
  expected = int(stated[1]) if stated else max(1, len(rows))
  if len(rows) != expected:
    raise ValueError(
      f'{path} should have {expected:,} segments, and has {len(rows):,}. '
      f'{_AGAIN}'
    )
  return rows


def _parse(
  line: str, where: str, classes: Mapping[str, int]
) -> tuple[str, float, float, list[int]]:
  (fields,) = csv.reader([line], skipinitialspace=True)
  try:
    video, start, end, names = fields
    seconds = float(start), float(end)
    labels = [classes[name] for name in names.split(',')]
  except (ValueError, KeyError) as error:
    raise ValueError(
      f'{where} should be YTID, start, end, "classes" and is {line!r} '
      f'({error!r}). {_AGAIN}'
    ) from error
  return video, *seconds, labels


def _media_files(folder: pathlib.Path) -> dict[str, pathlib.Path]:
  """Returns the media files by their names without suffix."""
  if not folder.is_dir():
    raise FileNotFoundError(
      f'There is no folder of media files {folder}. Put them there, as '
      'YTID_START.mp4 or YTID.mp4.'
    )
  files: dict[str, pathlib.Path] = {}
  for path in sorted(folder.iterdir()):
    # Not `path.stem`, which ends at the first of a start's decimals.
    stem, _, suffix = path.name.rpartition('.')
    if f'.{suffix}'.lower() not in _SUFFIXES:
      continue
    if stem in files:
      raise ValueError(
        f'{path} and {files[stem].name} are both of one segment. Keep the one '
        'with sound and video.'
      )
    files[stem] = path
  return files


def _segment(
  video: str,
  start: float,
  end: float,
  labels: Sequence[int],
  files: Mapping[str, pathlib.Path],
) -> Segment | None:
  name = f'{video}_{start:g}'
  if name in files:
    return Segment(name, files[name], 0.0, end - start, labels)
  if video in files:
    return Segment(name, files[video], start, end, labels)
  return None


def _example(files: Mapping[str, pathlib.Path]) -> str:
  return f', the first being {min(files)!r}' if files else ''


def _open(path: pathlib.Path):
  if not path.is_file():
    raise FileNotFoundError(
      f'There is no {path}. Get it from '
      'https://research.google.com/audioset/download.html.'
    )
  return path.open(newline='', encoding='utf-8')
