"""Tables of numbers in text files, as people's programs write them.

Cells lie between tabs, semicolons, commas or white space. A first line may name
the columns. Numbers may have decimal commas where the comma is not between
cells. Lines that begin with # or // are comments.
"""

import csv
import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

_COMMENTS = ('#', '//')
_MARKS = ('\t', ';', ',')
_COMMA_NUMBER = re.compile(r'[-+]?\d+(,\d+([eE][-+]?\d+)?)?')


class Table(NamedTuple):
  """Cells of a table, all rows of one length.

  Attributes:
    names: of the columns; () where there are none.
    rows: of cells, without white space around them.
  """

  names: Sequence[str]
  rows: Sequence[Sequence[str]]

  @property
  def num_columns(self) -> int:
    """Of each row."""
    return len(self.rows[0])

  def numbers(self, column: int) -> np.ndarray:
    """Returns a column as float64 `[rows]`.

    Raises:
      ValueError: a cell is no number.
    """
    return np.array([_number(row[column]) for row in self.rows], np.float64)


def decode(data: bytes) -> str:
  """Returns the text of a table, whose numbers are ASCII in any encoding.

  Args:
    data: UTF-8; UTF-16 with its mark, as spreadsheets write it; else names of
      columns are read as Latin-1.
  """
  if data.startswith((b'\xff\xfe', b'\xfe\xff')):
    return data.decode('utf-16')
  try:
    return data.decode('utf-8-sig')
  except UnicodeDecodeError:
    return data.decode('latin-1')


def parse_table(text: str) -> Table:
  """Finds the cells of a table.

  Raises:
    ValueError: it has no rows, or rows of several lengths.
  """
  lines = [line for line in text.splitlines() if line.strip()]
  told = [line for line in lines if line.lstrip().startswith(_COMMENTS)]
  lines = [line for line in lines if not line.lstrip().startswith(_COMMENTS)]
  if lines and lines[0].lower().startswith('sep='):  # Excel's own line.
    del lines[0]
  if not lines:
    raise ValueError('it is empty')
  mark = _mark(lines[-1]) or _mark(lines[0])
  rows = _cells(lines, mark)
  names: Sequence[str] = ()
  if _is_header(rows):
    names, *rows = rows
  elif told:
    # numpy writes names into a comment.
    line = told[-1].lstrip().lstrip('#/')
    names = _cells([line], _mark(line))[0]
    names = names if len(names) == len(rows[0]) else ()
  if mark in (None, '\t') and rows and len(names) == len(rows[0]) - 1:
    names = ('', *names)  # R leaves out the name of the column of row names.
  return _checked(names, rows)


def _mark(line: str) -> str | None:
  """Returns what stands between cells; None is white space."""
  if not any(mark in line for mark in '\t;'):
    words = line.split()
    if len(words) > 1 and all(map(_COMMA_NUMBER.fullmatch, words)):
      return None
  return next((mark for mark in _MARKS if mark in line), None)


def _cells(lines: Sequence[str], mark: str | None) -> list[list[str]]:
  if mark is None:
    return [line.replace('"', ' ').split() for line in lines]
  reader = csv.reader(lines, delimiter=mark, skipinitialspace=True)
  rows = [[cell.strip(" '") for cell in row] for row in reader]
  # Some programs end each line with a mark.
  while all(len(row) > 1 and not row[-1] for row in rows):
    rows = [row[:-1] for row in rows]
  return rows


def _is_header(rows: Sequence[Sequence[str]]) -> bool:
  """Whether the first row names the columns, be it by numbers 0, 1, 2, ..."""
  first, *others = rows
  if not all(map(_is_number, first)):
    return True
  if not others or list(first) != [str(i) for i in range(len(first))]:
    return False
  # Few columns may well begin with 0 and 1: fractions then tell.
  return len(first) > 2 or all('.' in cell for row in others for cell in row)


def _checked(names: Sequence[str], rows: list[list[str]]) -> Table:
  if not rows:
    raise ValueError('it has no steps')
  if names and len(names) != len(rows[0]):
    raise ValueError(
      f'{len(names)} names of columns, and {len(rows[0])} cells in a row'
    )
  for number, row in enumerate(rows, start=1):
    if len(row) != len(rows[0]):
      raise ValueError(
        f'row {number} has {len(row)} cells, and the first has {len(rows[0])}'
      )
  if list(names) == [str(i) for i in range(len(names))]:
    names = ()  # They tell no more than their places.
  return Table(tuple(names), rows)


def _is_number(cell: str) -> bool:
  try:
    _number(cell)
  except ValueError:
    return False
  return True


def _number(cell: str) -> float:
  try:
    return float(cell)
  except ValueError:
    if _COMMA_NUMBER.fullmatch(cell):
      return float(cell.replace(',', '.'))
    raise ValueError(f'{cell!r} is no number') from None
