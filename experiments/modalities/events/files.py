"""Files of events: what was measured, of which channel, and when.

A table with a column of times, by its name, is one of two forms. The wide form
has a column for each channel, and a cell that is empty is no event. The long
form has a column `channel` and a column `value`: each line is an event, so that
channels have clocks of their own; further columns of it are not read. An .npz
has the same columns as arrays; a wide one may have arrays `[times, channels]`.
"""

import pathlib
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from experiments.host.helper import done_apart
from experiments.modalities.series.files import check_unpacked
from experiments.table.cells import (
  Cell,
  date_order,
  is_empty,
  shown,
  to_date,
  to_name,
  to_number,
)
from experiments.table.rows import read_rows

# More than series have: a file of both kinds is guessed to be a series.
EXTENSIONS = ('.csv', '.tsv', '.npz', '.jsonl', '.parquet')

_UNITS = {
  **dict.fromkeys(('ns', 'nanoseconds'), 1e-9),
  **dict.fromkeys(('us', 'µs', 'microseconds'), 1e-6),
  **dict.fromkeys(('ms', 'msec', 'milliseconds'), 1e-3),
  **dict.fromkeys(('s', 'sec', 'secs', 'second', 'seconds'), 1.0),
  **dict.fromkeys(('m', 'min', 'mins', 'minute', 'minutes'), 60.0),
  **dict.fromkeys(('h', 'hr', 'hrs', 'hour', 'hours'), 3600.0),
  **dict.fromkeys(('d', 'day', 'days'), 86_400.0),
}
# With a unit or without: `Time (s)`, `timestamp [ns]`, `time_ms`.
_TIME = re.compile(
  r'(?:time|time[ _]?stamp|date|date[ _]?time|charttime|t)'
  rf'(?:[ _(\[]+({"|".join(_UNITS)})[)\]]?)?'
)
_DAY_TIME = re.compile(r'(\d+):([0-5]\d)(?::([0-5]\d(?:\.\d+)?))?')
_CHANNEL = ('channel', 'variable', 'parameter', 'signal', 'sensor')
_VALUE = ('value', 'val', 'valuenum')
_SECONDS_OF_DAY = 86_400.0


class Events(NamedTuple):
  """Events in order of time, those of one time by channel and value.

  Attributes:
    time: float64 `[E]`, seconds: from 1970 on where the file has dates, else
      from where it counts. Numbers without a unit are seconds.
    channel: int32 `[E]`, numbers of names.
    value: float64 `[E]`, finite.
    names: of the channels.
  """

  time: np.ndarray
  channel: np.ndarray
  value: np.ndarray
  names: tuple[str, ...]


class _Table(NamedTuple):
  """Columns of a file, and where a row of it is, in words."""

  path: pathlib.Path
  columns: Mapping[str, Sequence[Cell]]
  place: Callable[[int], str]


def read_events(
  path: pathlib.Path, names: Sequence[str] | None = None
) -> Events:
  """Reads a file of events.

  Args:
    path: of a .csv, .tsv, .jsonl, .parquet or .npz file.
    names: of the channels in their order; None is that of the file.

  Returns:
    At least one event.

  Raises:
    ValueError: the file is damaged, has no times, no events, something that is
      no number, or a channel that is not among the names; the message names the
      file and, where there is one, the line.
  """
  time, channel, value, own = recorded(path)
  if names is None:
    names = own
  numbers = {name: number for number, name in enumerate(names)}
  unknown = [name for name in own if name not in numbers]
  if unknown:
    raise ValueError(
      f'{path} has events of the channel {unknown[0]!r}; known are '
      f'{", ".join(names)}. Take it out of the file, or train anew with '
      "channels that have it, of which the training files' are taken."
    )
  places = np.array([numbers[name] for name in own], np.int32)
  channel = places[channel]
  order = np.lexsort((value, channel, time))
  return Events(time[order], channel[order], value[order], tuple(names))


@done_apart
def recorded(
  path: pathlib.Path,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, tuple[str, ...]]:
  """Returns the arrays of `Events` in the order of the file.

  Names are those of the channels that have events, sorted.
  """
  path = pathlib.Path(path)
  if path.suffix.lower() == '.npz':
    table = _arrays(path)
  else:
    rows = read_rows(path)
    table = _Table(path, rows.columns, rows.place)
  time_name, unit = _time_column(path, table.columns)
  lower = {name.lower(): name for name in table.columns}
  channel = next((lower[name] for name in _CHANNEL if name in lower), None)
  value = next((lower[name] for name in _VALUE if name in lower), None)
  if channel is not None and value is not None:
    found = _long(table, channel, value)
  else:
    found = _wide(table, time_name)
  if not found:
    raise ValueError(f'{path} has no events: all its cells are empty.')
  seconds = _seconds(table, time_name, unit, {row for row, _, _ in found})
  names = tuple(sorted({name for _, name, _ in found}))
  numbers = {name: number for number, name in enumerate(names)}
  return (
    np.array([seconds[row] for row, _, _ in found], np.float64),
    np.array([numbers[name] for _, name, _ in found], np.int32),
    np.array([value for _, _, value in found], np.float64),
    names,
  )


def _time_column(
  path: pathlib.Path, columns: Mapping[str, Any]
) -> tuple[str, float]:
  """Returns the name of the column of times, and what a unit of it is in s."""
  found = []
  for name in columns:
    lower = name.strip().lower()
    matched = _TIME.fullmatch(lower)
    if matched:
      found.append((name, _UNITS[matched[1] or 's']))
    elif len(lower) > 3 and lower in _UNITS:  # `seconds`; `m` is none.
      found.append((name, _UNITS[lower]))
  if len(found) != 1:
    names = ', '.join(repr(name) for name, _ in found)
    has = f'the columns of times {names}' if found else 'no column of times'
    raise ValueError(
      f'{path} has {has}, and needs one: call it time, timestamp, date, t, '
      'seconds, hours or days, maybe with a unit, such as time_ms.'
    )
  return found[0]


def _long(
  table: _Table, channel: str, value: str
) -> list[tuple[int, str, float]]:
  """Row, channel and value of each event."""
  found = []
  channels, values = table.columns[channel], table.columns[value]
  for row, cell in enumerate(values):
    number = _number(table, row, value, cell)
    if number is None:
      continue
    if is_empty(channels[row]):
      raise ValueError(
        f'{table.place(row)} has a value and no channel: say what was measured.'
      )
    found.append((row, to_name(channels[row]), number))
  return found


def _wide(table: _Table, time: str) -> list[tuple[int, str, float]]:
  found = []
  for name, cells in table.columns.items():
    if name == time:
      continue
    numbers = [
      (row, name, _number(table, row, name, cell))
      for row, cell in enumerate(cells)
    ]
    found += [event for event in numbers if event[-1] is not None]
  return found


def _number(table: _Table, row: int, name: str, cell: Cell) -> float | None:
  try:
    return to_number(cell)
  except ValueError as error:
    raise ValueError(
      f'{table.place(row)}, column {name!r}: {error}. Write numbers, and '
      'nothing where there is none, or leave the column out.'
    ) from error


def _seconds(
  table: _Table, name: str, unit: float, rows: set[int]
) -> dict[int, float]:
  """Times of the rows that have events."""
  cells = table.columns[name]
  there = sorted(rows)
  try:
    day_first = date_order(cells[row] for row in there).day_first
  except ValueError as error:
    raise ValueError(f'{table.path}, column {name!r}: {error}.') from error
  read = _reader(cells[there[0]], unit, day_first)
  seconds = {}
  for row in there:
    try:
      if is_empty(cells[row]):
        raise ValueError('there are events without a time')
      seconds[row] = read(cells[row])
    except ValueError as error:
      raise ValueError(
        f'{table.place(row)}, column {name!r}: {error}. All times of a file '
        'are numbers, dates as YYYY-MM-DD HH:MM:SS, or times as HH:MM:SS.'
      ) from error
  return seconds


def _reader(
  first: Cell, unit: float, day_first: bool
) -> Callable[[Cell], float]:
  """Returns what reads times that are written as the first of them is."""
  if isinstance(first, str) and _DAY_TIME.fullmatch(first.strip()):
    return _of_day
  try:
    to_number(first)
  except ValueError:
    return lambda cell: _SECONDS_OF_DAY * to_date(cell, day_first)
  return lambda cell: unit * to_number(cell)


def _of_day(cell: Cell) -> float:
  found = _DAY_TIME.fullmatch(str(cell).strip())
  if not found:
    raise ValueError(f'{shown(cell)} is no time as HH:MM:SS')
  return 3600.0 * int(found[1]) + 60.0 * int(found[2]) + float(found[3] or 0)


# Arrays.


def _arrays(path: pathlib.Path) -> _Table:
  try:
    check_unpacked(path)
    with np.load(path, allow_pickle=False) as archive:
      arrays = {name: archive[name] for name in archive.files}
  except MemoryError:
    raise
  # What numpy and zipfile raise for a damaged file is not documented.
  except Exception as error:
    raise ValueError(
      f'{path} cannot be read as events ({error}). Get it again, or take it '
      'out.'
    ) from error
  columns: dict[str, Sequence[Cell]] = {}
  for name, array in arrays.items():
    if array.ndim == 2:
      parts = {f'{name}_{i}': column for i, column in enumerate(array.T)}
    else:
      parts = {name: array}
    columns |= {key: _cells(path, key, x) for key, x in parts.items()}
  lengths = {name: len(cells) for name, cells in columns.items()}
  if len(set(lengths.values())) > 1:
    raise ValueError(
      f'{path} has arrays of several lengths, {lengths}: all need one entry '
      'for each time.'
    )
  return _Table(path, columns, lambda row: f'{path}, entry {row}')


def _cells(path: pathlib.Path, name: str, array: np.ndarray) -> list[Cell]:
  if array.ndim != 1 or array.dtype.kind not in 'biufUM':
    raise ValueError(
      f'{path} has {name!r} of {array.dtype} {array.shape}; expected are '
      'numbers, texts or times, [times] or [times, channels].'
    )
  if array.dtype.kind == 'M':
    nanoseconds = array.astype('datetime64[ns]')
    epoch = np.datetime64(0, 'ns')
    array = (nanoseconds - epoch) / np.timedelta64(1, 's')
  return array.tolist()
