"""Files of measurements over time.

A .csv has a line for each step and a column for each channel; its first line
may name them. A column of times, by its name, is not read, nor is one that
counts the lines. An .npz or .npy has one array `[steps, channels]` or
`[steps]`.
"""

import pathlib
import re
import zipfile
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from experiments.files.tables import Table, decode, parse_table
from experiments.host.helper import done_apart

EXTENSIONS = ('.csv', '.tsv', '.npz', '.npy')
# With a unit or without: `Time (s)`, `timestamp [ns]`, `time_ms`.
_TIME = re.compile(
  r'(time|timestamp|datetime|date)[ _]*([(\[].*[)\]]|(n|u|µ|m)?s(ec\w*)?)?'
)
_SHORT_TIMES = ('t', 't(s)', 't (s)', 't [s]', 't_s')
# pandas and R name the numbers of lines so.
_COUNTS = ('', 'index', 'unnamed: 0')
_MOST_BYTES = 2**30


class Measurements(NamedTuple):
  """What a file of measurements holds.

  Attributes:
    values: float64 `[steps, channels]`.
    names: of the channels; () where it does not say.
  """

  values: np.ndarray
  names: tuple[str, ...]


def read_series(path: pathlib.Path, names: Sequence[str] = ()) -> np.ndarray:
  """Reads a file of measurements.

  Args:
    path: of the file.
    names: of the channels in their order; () is that of the file. A file that
      names none has them in this order.

  Returns:
    float64 `[steps, channels]`.

  Raises:
    ValueError: it is damaged, has something that is no finite number, or has
      channels of other names; the message names the file.
  """
  return arranged(path, read_measurements(path), names)


def arranged(
  path: pathlib.Path, found: Measurements, names: Sequence[str]
) -> np.ndarray:
  """Returns channels in the order of names, as `read_series` does."""
  values, own = found
  if not names or not own or tuple(names) == own:
    return values
  if sorted(names) != sorted(own):
    raise ValueError(
      f'{path} has the channels {", ".join(own)}; expected are '
      f'{", ".join(names)}.'
    )
  return values[:, [own.index(name) for name in names]]


def read_measurements(path: pathlib.Path) -> Measurements:
  """Reads a file of measurements, and the names of its channels.

  Raises:
    ValueError: see `read_series`.
  """
  return Measurements(*measured(path))


@done_apart
def measured(path: pathlib.Path) -> tuple[np.ndarray, tuple[str, ...]]:
  """Returns the values of `read_measurements`."""
  try:
    if path.suffix.lower() in ('.csv', '.tsv'):
      values, names = _channels(parse_table(decode(path.read_bytes())))
    else:
      values, names = _read_array(path), ()
    if values.ndim == 1:
      values = values[:, None]
    if values.ndim != 2 or not values.size:
      raise ValueError(f'an array {values.shape}, not [steps, channels]')
    values = values.astype(np.float64)
    if not np.isfinite(values).all():
      raise ValueError('a value that is not finite')
  except MemoryError:
    raise
  # What numpy and zipfile raise for a damaged file is not documented.
  except Exception as error:
    raise ValueError(
      f'{path} cannot be read as measurements ({error}). Get it again, or take '
      'it out.'
    ) from error
  return values, names


def _channels(table: Table) -> tuple[np.ndarray, tuple[str, ...]]:
  columns, names = [], []
  for i in range(table.num_columns):
    name = table.names[i] if table.names else None
    if name is not None and _TIME.fullmatch(name.lower()):
      continue
    column = table.numbers(i)
    if name is None or not _counts(name.lower(), column):
      columns.append(column)
      names.append(name)
  if not columns:
    raise ValueError('it has times and no channels')
  # Of two channels of one name it is not known which is which.
  told = bool(table.names) and len(set(names)) == len(names)
  return np.stack(columns, axis=1), tuple(names) if told else ()


def _counts(name: str, column: np.ndarray) -> bool:
  """Whether a column is the time, or the number of the line."""
  steps = np.diff(column)
  if name in _SHORT_TIMES:
    return bool((steps > 0).all())
  return name in _COUNTS and bool((steps == 1).all())


def one_array(path: pathlib.Path) -> np.ndarray:
  """Returns the array of an .npy, or the only one of an .npz.

  Raises:
    ValueError: there are several, or what is unpacked is very large. What numpy
      raises for a damaged file is not documented.
  """
  check_unpacked(path)
  loaded = np.load(path, allow_pickle=False)
  if not isinstance(loaded, np.ndarray):
    with loaded:
      if len(loaded.files) != 1:
        raise ValueError(f'arrays {sorted(loaded.files)}, not one')
      loaded = loaded[loaded.files[0]]
  return loaded


def _read_array(path: pathlib.Path) -> np.ndarray:
  loaded = one_array(path)
  if loaded.dtype.kind not in 'biuf':
    raise ValueError(f'an array of {loaded.dtype}, not of numbers')
  return loaded


def check_unpacked(path: pathlib.Path) -> None:
  """Raises a ValueError where an archive unpacks to more than a gigabyte."""
  if zipfile.is_zipfile(path):
    with zipfile.ZipFile(path) as archive:
      size = sum(member.file_size for member in archive.infolist())
    if size > _MOST_BYTES:
      raise ValueError(f'it unpacks to {size:,} bytes')
