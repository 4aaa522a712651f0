"""Reads tables of text: cells between commas, semicolons or tabs."""

import contextlib
import csv
import io
import itertools
import pathlib
import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from experiments.files.tables import decode
from experiments.table.cells import Cell, is_empty

_MARKS = (',', ';', '\t')
_WORDS = {',': 'commas', ';': 'semicolons', '\t': 'tabs'}
# Rows that decide on what stands between cells.
_LOOKED_AT = 100
# A text of a cell may be long; the limit of csv is 131,072 characters.
_LONGEST_CELL = 2**31 - 1
_COMMA_NUMBER = re.compile(
  r'[-+]?(\d{1,3}(\.\d{3})+|\d+)(,\d+([eE][-+]?\d+)?)?'
)
_THOUSANDS = re.compile(r'[-+]?\d{1,3}(,\d{3})')
_WITH_DOTS = re.compile(r'[-+]?\d{1,3}(\.\d{3})+')


class Delimited(NamedTuple):
  """What a text file has.

  Attributes:
    names: of its columns; not checked.
    columns: cells without white space around them, None where there is nothing.
    lines: number of the line that each row begins at, from 1.
    remarks: in words.
  """

  names: tuple[str, ...]
  columns: Sequence[Sequence[Cell]]
  lines: Sequence[int]
  remarks: tuple[str, ...]


def parse_delimited(path: pathlib.Path) -> Delimited:
  """Reads a file of text whose first line names the columns.

  Lines without any cell are left out. Numbers with decimal commas come with
  points, where a whole column has them.

  Args:
    path: of the file; UTF-8, UTF-16 with its mark, or else Latin-1.

  Raises:
    ValueError: it is no text, empty, has a quote that nothing ends, or rows of
      several lengths; the message names the file and the line.
  """
  data = path.read_bytes()
  text = decode(data)
  if '\0' in text:
    raise ValueError(
      f'{path} is no text: save the table as csv in UTF-8, or as parquet.'
    )
  remarks = [] if _is_unicode(data) else ['read as Latin-1, being no UTF-8']
  skipped = 0
  if text[:4].lower() == 'sep=':  # Excel's own line.
    _, _, text = text.partition('\n')
    skipped = 1
  with _long_cells():
    mark = _mark(text, is_tsv=path.suffix.lower() == '.tsv')
    lines, rows = _read(path, text, mark)
  if not rows:
    raise ValueError(f'{path} is empty: its first line is to name the columns.')
  lines = [line + skipped for line in lines]
  names, *rows = rows
  _, *lines = lines
  names, rows, told = _without_row_names(names, rows)
  remarks += told
  _check_lengths(path, names, rows, lines, mark)
  columns = [
    [cell or None for cell in column] for column in zip(*rows, strict=True)
  ]
  columns = columns or [[] for _ in names]
  names, columns, told = _named_columns(names, columns)
  remarks += told
  remarks += _replace_decimal_commas(names, columns, mark)
  return Delimited(tuple(names), columns, lines, tuple(remarks))


def _is_unicode(data: bytes) -> bool:
  if data.startswith((b'\xff\xfe', b'\xfe\xff')):
    return True
  try:
    data.decode('utf-8')
  except UnicodeDecodeError:
    return False
  return True


def _mark(text: str, *, is_tsv: bool) -> str:
  """What stands between cells: so that most rows are as long as the first."""

  def fits(mark: str) -> tuple[bool, bool, float, int]:
    reader = csv.reader(_text_lines(text), delimiter=mark)
    rows = [row for row in itertools.islice(reader, _LOOKED_AT) if row]
    length = len(rows[0]) if rows else 0
    # R leaves out the name of the column of row names.
    fitting = sum(len(row) - length in (0, 1) for row in rows)
    share = fitting / max(1, len(rows))
    return length > 1, is_tsv and mark == '\t', share, length

  return max(_MARKS, key=fits)


def _text_lines(text: str) -> io.StringIO:
  return io.StringIO(text, newline='')


@contextlib.contextmanager
def _long_cells() -> Iterator[None]:
  """Lifts the limit of csv, which all of the process share."""
  before = csv.field_size_limit(_LONGEST_CELL)
  try:
    yield
  finally:
    csv.field_size_limit(before)


def _read(
  path: pathlib.Path, text: str, mark: str
) -> tuple[list[int], list[list[str]]]:
  """Rows that have anything, and the lines that they begin at."""
  try:
    return _cells(path, text, mark, csv.QUOTE_MINIMAL)
  except ValueError:
    if mark != '\t':
      raise
    # Most programs that write tabs put nothing into quotes.
    return _cells(path, text, mark, csv.QUOTE_NONE)


def _cells(
  path: pathlib.Path, text: str, mark: str, quoting: int
) -> tuple[list[int], list[list[str]]]:
  reader = csv.reader(
    _text_lines(text),
    delimiter=mark,
    quoting=quoting,
    skipinitialspace=True,
    strict=True,
  )
  lines, rows = [], []
  line = 1
  try:
    for row in reader:
      cells = [cell.strip() for cell in row]
      if any(cells):
        lines.append(line)
        rows.append(cells)
      line = reader.line_num + 1
  except csv.Error as error:
    raise ValueError(
      f'{path}, line {line}: a quote (") is not ended, or one inside a quoted '
      f'cell is not doubled ({error}). Write "" for a quote inside quotes.'
    ) from error
  return lines, rows


def _check_lengths(
  path: pathlib.Path,
  names: Sequence[str],
  rows: Sequence[Sequence[str]],
  lines: Sequence[int],
  mark: str,
) -> None:
  for line, row in zip(lines, rows, strict=True):
    if len(row) != len(names):
      raise ValueError(
        f'{path}, line {line} has {len(row)} cells between {_WORDS[mark]}, and '
        f'the first line names {len(names)} columns. A text with such a '
        'mark or a line break in it goes into quotes.'
      )


def _without_row_names(
  names: Sequence[str], rows: Sequence[Sequence[str]]
) -> tuple[Sequence[str], Sequence[Sequence[str]], list[str]]:
  """Mends what programs do where all rows have a cell more than names."""
  if not rows or any(len(row) != len(names) + 1 for row in rows):
    return names, rows, []
  if not any(row[-1] for row in rows):  # They end each line with a mark.
    return names, [row[:-1] for row in rows], []
  # R names the columns without that of the row names.
  return names, [row[1:] for row in rows], ['row names are left out']


def _named_columns(
  names: Sequence[str], columns: Sequence[Sequence[Cell]]
) -> tuple[list[str], list[Sequence[Cell]], list[str]]:
  """Leaves out columns without a name: empty ones, and the numbers of rows."""
  remarks = []
  kept = []
  for number, (name, cells) in enumerate(zip(names, columns, strict=True)):
    is_unnamed = not name or name.lower() == 'unnamed: 0'
    if not name and not any(cells):
      continue
    if number == 0 and is_unnamed and len(set(cells)) == len(cells):
      remarks.append('row names, in a column without a name, are left out')
      continue
    kept.append((name, cells))
  return [name for name, _ in kept], [cells for _, cells in kept], remarks


def _replace_decimal_commas(
  names: Sequence[str], columns: list[Sequence[Cell]], mark: str
) -> list[str]:
  """Writes points for decimal commas; returns which columns had them."""
  found = [
    number
    for number, cells in enumerate(columns)
    if _has_decimal_commas(cells, is_between_cells=mark == ',')
  ]
  if not found:
    return []
  remarks = [f'decimal commas in {", ".join(repr(names[i]) for i in found)}']
  # Where commas are decimal, 1.234 is a thousand.
  grouped = [
    number
    for number, cells in enumerate(columns)
    if number not in found and _has_thousands(cells)
  ]
  if grouped:
    which = ', '.join(repr(names[i]) for i in grouped)
    remarks.append(f'points between thousands in {which}')
  for number in (*found, *grouped):
    columns[number] = [
      cell if is_empty(cell) else cell.replace('.', '').replace(',', '.')
      for cell in columns[number]
    ]
  return remarks


def _has_decimal_commas(
  cells: Sequence[Cell], *, is_between_cells: bool
) -> bool:
  """Whether all are numbers, and some have a decimal comma.

  Args:
    cells: of a column.
    is_between_cells: whether commas stand between cells: then those of 1,234
      rather group thousands.
  """
  with_commas = False
  for cell in cells:
    if is_empty(cell):
      continue
    if not _COMMA_NUMBER.fullmatch(cell):
      return False
    with_commas = with_commas or (
      ',' in cell and not (is_between_cells and _THOUSANDS.fullmatch(cell))
    )
  return with_commas


def _has_thousands(cells: Sequence[Cell]) -> bool:
  """Whether all are whole numbers, and some have points between thousands."""
  with_points = False
  for cell in cells:
    if is_empty(cell):
      continue
    if _WITH_DOTS.fullmatch(cell):
      with_points = True
    elif not cell.lstrip('+-').isdecimal():
      return False
  return with_points
