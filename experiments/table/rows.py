"""Reads a table of any of the formats that people keep tables in."""

import json
import pathlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

from experiments.table.cells import Cell, shown
from experiments.table.delimited import parse_delimited

# Columns may be called 1, 2, 3 or 2019, 2020, 2021.
_FRACTION = re.compile(r'-\d+|[-+]?\d*\.\d+([eE][-+]?\d+)?')


class Rows(NamedTuple):
  """A table.

  Attributes:
    names: of the columns, in order.
    columns: cells of each; None is an empty one, and those of csv and tsv files
      are texts.
    path: of the file.
    lines: number of the line that each row begins at, from 1; of a parquet
      file, number of the row.
    remarks: on how it was read and what was left out, in words.
  """

  names: tuple[str, ...]
  columns: Mapping[str, Sequence[Cell]]
  path: pathlib.Path
  lines: Sequence[int]
  remarks: tuple[str, ...] = ()

  @property
  def num_rows(self) -> int:
    """Of each column."""
    return len(self.lines)

  def place(self, row: int) -> str:
    """Returns where a row is, for messages.

    Args:
      row: its number, from 0.
    """
    unit = 'row' if self.path.suffix.lower() in _PARQUET else 'line'
    return f'{self.path}, {unit} {self.lines[row]}'


def read_rows(path: str | pathlib.Path) -> Rows:
  """Reads a table.

  Args:
    path: of a .csv, .tsv, .jsonl, .ndjson or .parquet file. A text file has
      its names in the first line, and tabs, semicolons or commas between cells.
      Objects in objects, and structs of parquet files, are columns
      `outer.inner`.

  Raises:
    FileNotFoundError: there is no such file.
    ValueError: it is of another format, damaged, has no rows, rows of several
      lengths, or columns without a name or of the same one; the message names
      the file and the line.
  """
  path = pathlib.Path(path)
  if not path.is_file():
    raise FileNotFoundError(f'There is no table {path}.')
  reader = _READERS.get(path.suffix.lower())
  if reader is None:
    raise ValueError(
      f'{path} is of no format that is read: save it as one of '
      f'{", ".join(_READERS)}.'
    )
  rows = reader(path)
  _check_names(rows)
  if not rows.num_rows:
    raise ValueError(f'{path} has no rows below the names of its columns.')
  return rows


def _check_names(rows: Rows) -> None:
  fractions = [name for name in rows.names if _FRACTION.fullmatch(name)]
  if 2 * len(fractions) >= len(rows.names) > 0:
    raise ValueError(
      f'{rows.path}, line 1 has numbers, such as {fractions[0]!r}, where the '
      'names of the columns should be. Put a line of names above it.'
    )
  for number, name in enumerate(rows.names, start=1):
    if not name:
      raise ValueError(
        f'{rows.path}, line 1: column {number} of {len(rows.names)} has no '
        'name. Give it one.'
      )
  if len(set(rows.names)) != len(rows.names):
    twice = next(name for name in rows.names if rows.names.count(name) > 1)
    raise ValueError(
      f'{rows.path}, line 1: {rows.names.count(twice)} columns are called '
      f'{twice!r}. Give each its own name.'
    )


def _delimited(path: pathlib.Path) -> Rows:
  found = parse_delimited(path)
  columns = dict(zip(found.names, found.columns, strict=True))
  return Rows(found.names, columns, path, found.lines, found.remarks)


# Lines of JSON.


def _json_lines(path: pathlib.Path) -> Rows:
  columns: dict[str, list[Cell]] = {}
  lines: list[int] = []
  for line, text in _lines(path):
    try:
      found = json.loads(text)
    except (ValueError, RecursionError) as error:
      raise ValueError(f'{path}, line {line} is no JSON: {error}.') from error
    if not isinstance(found, dict):
      raise ValueError(
        f'{path}, line {line} is {shown(found)}, and should be an object such '
        'as {"age": 61, "sex": "f"}.'
      )
    for name, cell in _flat(found):
      column = columns.setdefault(name, [])
      if len(column) > len(lines):
        raise ValueError(f'{path}, line {line} has {name!r} twice.')
      column.extend([None] * (len(lines) - len(column)))
      column.append(cell)
    lines.append(line)
  for column in columns.values():
    column.extend([None] * (len(lines) - len(column)))
  return Rows(tuple(columns), columns, path, lines)


def _lines(path: pathlib.Path) -> Iterator[tuple[int, str]]:
  with path.open('rb') as file:
    for line, data in enumerate(file, start=1):
      try:
        text = data.decode('utf-8-sig' if line == 1 else 'utf-8')
      except UnicodeDecodeError as error:
        raise ValueError(
          f'{path}, line {line} is no UTF-8, as JSON has to be: save it anew.'
        ) from error
      if text.strip():
        yield line, text


def _flat(found: dict, prefix: str = '') -> Iterator[tuple[str, Cell]]:
  for name, value in found.items():
    if isinstance(value, dict):
      yield from _flat(value, f'{prefix}{name}.')
    else:
      yield f'{prefix}{name}', _cell(value)


def _cell(value: Cell) -> Cell:
  """An empty text is an empty cell, and so is what is no number."""
  return None if value == '' or value != value else value


# Parquet.


def _parquet(path: pathlib.Path) -> Rows:
  # Takes long to import, and few need it.
  import pyarrow
  import pyarrow.parquet

  try:
    table = pyarrow.parquet.ParquetFile(path).read()
  except (pyarrow.ArrowException, OSError) as error:
    raise ValueError(
      f'{path} cannot be read ({error}): it is damaged, or no parquet file.'
    ) from error
  while any(pyarrow.types.is_struct(each.type) for each in table.schema):
    table = table.flatten()
  names, columns, remarks = [], [], []
  for name, column in zip(table.column_names, table.columns, strict=True):
    if name.startswith('__index_level_'):
      remarks.append('the index of pandas is left out')
      continue
    cells = _parquet_cells(column)
    if cells is None:
      remarks.append(f'column {name!r} of {column.type} is left out')
      continue
    names.append(name)
    columns.append(cells)
  return Rows(
    tuple(names),
    dict(zip(names, columns, strict=True)),
    path,
    range(1, table.num_rows + 1),
    tuple(remarks),
  )


def _parquet_cells(column) -> list[Cell] | None:
  """Cells of a column; None where its type is none of a table's."""
  import pyarrow
  from pyarrow import types

  kind = column.type
  if types.is_dictionary(kind):
    kind = kind.value_type
    column = column.cast(kind)
  if types.is_decimal(kind):
    column = column.cast(pyarrow.float64())
  elif types.is_timestamp(kind):
    # Python's times have no nanoseconds.
    column = column.cast(pyarrow.timestamp('us', kind.tz), safe=False)
    return [cell and cell.isoformat() for cell in column.to_pylist()]
  elif types.is_date(kind):
    return [cell and cell.isoformat() for cell in column.to_pylist()]
  elif any(
    is_list(kind)
    for is_list in (
      types.is_list,
      types.is_large_list,
      types.is_fixed_size_list,
      types.is_list_view,
    )
  ):
    return column.to_pylist() if _is_plain(kind.value_type) else None
  elif not _is_plain(kind):
    return None
  return [_cell(cell) for cell in column.to_pylist()]


def _is_plain(kind) -> bool:
  from pyarrow import types

  return any(
    is_kind(kind)
    for is_kind in (
      types.is_string,
      types.is_large_string,
      types.is_string_view,
      types.is_integer,
      types.is_floating,
      types.is_boolean,
      types.is_null,
    )
  )


_PARQUET = ('.parquet', '.pq')
_READERS: Mapping[str, Callable[[pathlib.Path], Rows]] = {
  '.csv': _delimited,
  '.tsv': _delimited,
  '.jsonl': _json_lines,
  '.ndjson': _json_lines,
  **dict.fromkeys(_PARQUET, _parquet),
}
