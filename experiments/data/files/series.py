"""Files of measurements over time.

A .csv has a line for each step and a column for each channel; its first line
may name them, and a column named 'time' or 'timestamp' is not read. An .npz or
.npy has one array `[steps, channels]` or `[steps]`.
"""

import pathlib
import zipfile

import numpy as np

EXTENSIONS = ('.csv', '.tsv', '.npz', '.npy')
_NOT_CHANNELS = ('time', 'timestamp')


def read_series(path: pathlib.Path) -> np.ndarray:
  """Reads a file of measurements.

  Returns:
    float32 `[steps, channels]`.

  Raises:
    ValueError: it is damaged or has something that is no finite number; the
      message names the file.
  """
  try:
    if path.suffix.lower() in ('.csv', '.tsv'):
      series = _read_table(path)
    else:
      series = _read_array(path)
    if series.ndim == 1:
      series = series[:, None]
    if series.ndim != 2 or not series.size:
      raise ValueError(f'an array {series.shape}, not [steps, channels]')
    series = series.astype(np.float32)
    if not np.isfinite(series).all():
      raise ValueError('a value that is not finite')
  except (
    ValueError,
    OSError,
    EOFError,
    TypeError,
    zipfile.BadZipFile,
  ) as error:
    raise ValueError(
      f'{path} cannot be read as measurements ({error}). Get it again, or take '
      'it out.'
    ) from error
  return series


def _read_table(path: pathlib.Path) -> np.ndarray:
  lines = [line for line in path.read_text('utf-8-sig').splitlines() if line]
  if not lines:
    raise ValueError('it is empty')
  delimiter = next((mark for mark in '\t;,' if mark in lines[0]), None)
  cells = [cell.strip(' "\'') for cell in lines[0].split(delimiter)]
  columns = range(len(cells))
  if not all(map(_is_number, cells)):
    columns = [i for i in columns if cells[i].lower() not in _NOT_CHANNELS]
    lines = lines[1:]
  if not lines:
    raise ValueError('it has no steps')
  return np.loadtxt(lines, delimiter=delimiter, usecols=columns, ndmin=2)


def _is_number(cell: str) -> bool:
  try:
    float(cell)
  except ValueError:
    return False
  return True


def _read_array(path: pathlib.Path) -> np.ndarray:
  loaded = np.load(path, allow_pickle=False)
  if isinstance(loaded, np.ndarray):
    return loaded
  with loaded:
    if len(loaded.files) != 1:
      raise ValueError(f'arrays {sorted(loaded.files)}, not one')
    return loaded[loaded.files[0]]
