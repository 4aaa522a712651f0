"""What a cell of a table says: a number, a list or a date, or nothing."""

import ast
import datetime
import json
import math
import re
import unicodedata
from collections.abc import Iterable
from typing import NamedTuple

# Elements of lists are numbers or texts.
Cell = str | float | int | bool | list | None

# What programs write for a cell that is empty. Not 'none', which people write
# for a finding that is not there.
_EMPTY = frozenset(
  (
    *('', 'NA', 'N/A', 'n/a', '#N/A', '#NA', '<NA>', 'NaN', 'nan', '-nan'),
    *('NaT', 'NULL', 'null', 'None', '-', '--', '?', '.', '#NV'),
  )
)
_NUMBER = re.compile(r'[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?')
# Thousands, as 1,234.5 or 1 234.5 or 1'234.5.
_GROUPED = re.compile(
  r"[-+]?\d{1,3}([,'\u2019 \u00a0\u202f])\d{3}(\1\d{3})*(\.\d+)?"
)
_MARKS_OF_GROUPS = re.compile(r"[,'\u2019 \u00a0\u202f]")
_ISO = re.compile(r'\d{4}-\d{2}(-\d{2}([T ]\d{2}:\d{2}.*)?)?')
_YEAR_FIRST = re.compile(r'(\d{4})[/.](\d{1,2})[/.](\d{1,2})(?: +(.+))?')
_YEAR_LAST = re.compile(r'(\d{1,2})([./-])(\d{1,2})\2(\d{4})(?:,? +(.+))?')
_TIME = re.compile(
  r'(\d{1,2}):(\d{2})(?::(\d{2}(?:\.\d+)?))?(?: ?([ap])\.?m\.?)?', re.IGNORECASE
)
_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
_DAY = datetime.timedelta(days=1)


def is_empty(cell: Cell) -> bool:
  """Returns whether a cell says nothing: '', 'NA', 'null', '?' and the like.

  An empty list says that there is none of what it lists: it is not empty.
  """
  if isinstance(cell, str):
    return cell.strip() in _EMPTY
  return cell is None or (isinstance(cell, float) and math.isnan(cell))


def to_number(cell: Cell) -> float | None:
  """Returns the number of a cell; None where it is empty.

  Args:
    cell: a number, a bool (1 or 0), or a text such as `-1.5e3`, `1,234.5`,
      `1 234.5` or `45 %` (45). Decimal commas are points already, see
      `rows.read_rows`.

  Raises:
    ValueError: it is no number, or not a finite one.
  """
  if is_empty(cell):
    return None
  if isinstance(cell, str):
    text = cell.strip().removesuffix('%').rstrip().replace('\u2212', '-')
    if _GROUPED.fullmatch(text):
      text = _MARKS_OF_GROUPS.sub('', text)
    value = float(text) if _NUMBER.fullmatch(text) else math.nan
  else:
    value = math.nan if isinstance(cell, list) else float(cell)
  if not math.isfinite(value):
    raise ValueError(f'{shown(cell)} is no number')
  return value


def is_number(cell: Cell) -> bool:
  """Returns whether a cell is a number, or empty."""
  try:
    to_number(cell)
  except ValueError:
    return False
  return True


def to_name(cell: Cell) -> str:
  """Returns what a cell is called: the same of 3, 3.0 and '3'.

  Raises:
    ValueError: it is a list.
  """
  if isinstance(cell, list):
    raise ValueError(f'{cell!r} is a list, and should be a name')
  if isinstance(cell, float) and cell.is_integer():
    cell = int(cell)
  # Systems differ in how they write an accent.
  name = unicodedata.normalize('NFC', str(cell).strip())
  # Python, JSON and R write these in their own ways.
  return name.lower() if name.lower() in ('true', 'false') else name


def to_list(cell: Cell) -> list[str | float] | None:
  """Returns the elements of a cell; None where it is empty.

  Args:
    cell: a list, a list of JSON or as Python and numpy print it, or texts
      between | or, without any |, between ;. A number, or any other text, is a
      list of one.

  Raises:
    ValueError: it begins with [ and is no list, or an element is neither a text
      nor a number.
  """
  if is_empty(cell):
    return None
  if isinstance(cell, str):
    elements = _listed(cell.strip())
  else:
    elements = cell if isinstance(cell, list) else [cell]
  for element in elements:
    if not isinstance(element, str | float | int):
      raise ValueError(
        f'{shown(cell)} has an element that is neither a text nor a number'
      )
  return [
    element.strip() if isinstance(element, str) else element
    for element in elements
  ]


def _listed(text: str) -> list:
  if not text.startswith('['):
    mark = '|' if '|' in text else ';'
    return [part for part in text.split(mark) if part.strip()]
  for parse in (json.loads, ast.literal_eval, _printed_by_numpy):
    try:
      elements = parse(text)
    except (ValueError, SyntaxError, RecursionError, MemoryError):
      continue
    if isinstance(elements, list):
      return elements
  raise ValueError(f'{shown(text)} begins with [ and is no list')


def _printed_by_numpy(text: str) -> list[float]:
  if not text.endswith(']'):
    raise ValueError
  return [float(word) for word in text[1:-1].split()]


class DateOrder(NamedTuple):
  """How the dates of a column are written.

  Attributes:
    day_first: whether the day stands first in 03/04/2024 and 03-04-2024.
    remark: in words, where no date of the column tells; '' otherwise.
  """

  day_first: bool
  remark: str


def date_order(cells: Iterable[Cell]) -> DateOrder:
  """Finds out whether the day or the month stands first in a column's dates.

  Args:
    cells: of the column; those that are no such dates tell nothing.

  Raises:
    ValueError: some fit with the day first only, some with the month first.
  """
  day = month = either = None
  for cell in cells:
    found = (
      _YEAR_LAST.fullmatch(cell.strip()) if isinstance(cell, str) else None
    )
    if not found or found[2] == '.':
      continue
    if int(found[1]) > 12:
      day = cell
    elif int(found[3]) > 12:
      month = cell
    elif found[1] != found[3]:
      either = cell
  if day and month:
    raise ValueError(
      f'{day!r} has the day first and {month!r} the month: write all dates one '
      'way, best as YYYY-MM-DD'
    )
  remark = ''
  if either and not day and not month:
    remark = (
      f'dates such as {either} are read with the month first, and none of them '
      'tells: write YYYY-MM-DD if that is wrong'
    )
  return DateOrder(day is not None, remark)


def to_date(cell: Cell, day_first: bool = False) -> float | None:
  """Returns days since 1970 with the time of day as a fraction.

  Args:
    cell: ISO 8601, such as `2024-03`, `2024-03-31` or `2024-03-31T12:00:00Z`;
      `2024/03/31`; `31.03.2024`; `3/31/2024` or `31-03-2024`, in the order of
      its column; a time may follow, `15:30` or `3:30:00 PM`. A time with a zone
      is taken to UTC, one without is taken for it.
    day_first: whether the day stands first in the latter, see `date_order`.

  Returns:
    None where the cell is empty.

  Raises:
    ValueError: it is no such date; years of two digits are none.
  """
  if is_empty(cell):
    return None
  try:
    date = _date(cell.strip(), day_first) if isinstance(cell, str) else None
  except (ValueError, OverflowError):
    date = None
  if date is None:
    raise ValueError(
      f'{shown(cell)} is no date as YYYY-MM-DD, DD.MM.YYYY or '
      f'{"DD/MM" if day_first else "MM/DD"}/YYYY'
    )
  return (date - _EPOCH) / _DAY


def _date(text: str, day_first: bool) -> datetime.datetime | None:
  if _ISO.fullmatch(text):
    whole = text if len(text) > 7 else f'{text}-01'
    date = datetime.datetime.fromisoformat(
      whole.replace(' UTC', 'Z').replace(' +', '+')
    )
    return date if date.tzinfo else date.replace(tzinfo=datetime.UTC)
  if found := _YEAR_FIRST.fullmatch(text):
    year, month, day, time = found.groups()
  elif found := _YEAR_LAST.fullmatch(text):
    first, mark, second, year, time = found.groups()
    is_day = mark == '.' or day_first
    day, month = (first, second) if is_day else (second, first)
  else:
    return None
  date = datetime.datetime(int(year), int(month), int(day), tzinfo=datetime.UTC)
  return date + _time(time) if time else date


def _time(text: str) -> datetime.timedelta:
  found = _TIME.fullmatch(text.strip())
  if not found:
    raise ValueError
  hour, minute, second = int(found[1]), int(found[2]), float(found[3] or 0)
  if found[4]:
    if not 1 <= hour <= 12:
      raise ValueError
    hour = hour % 12 + 12 * (found[4].lower() == 'p')
  if hour > 23 or minute > 59 or second >= 61:
    raise ValueError
  return datetime.timedelta(hours=hour, minutes=minute, seconds=second)


def shown(cell: Cell) -> str:
  """Returns a cell as messages have it, cut to 60 characters."""
  text = repr(cell)
  return text if len(text) <= 60 else f'{text[:57]}...'
