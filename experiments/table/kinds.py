"""What the columns of a table are, found out from their cells."""

import pathlib
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

from experiments.table.cells import (
  Cell,
  date_order,
  is_empty,
  is_number,
  shown,
  to_date,
  to_list,
  to_number,
)
from experiments.table.rows import Rows

# Endings of the files of each kind, such as {'images': ('.png', '.jpg')}. An
# ending of several kinds is of the one that has the fewest.
Extensions = Mapping[str, Collection[str]]

# Cells that are looked for as files.
_LOOKED_FOR = 200
# So many of the cells are to end as files do.
_SHARE_OF_FILES = 0.9
# With more numbers than this, what is no number is worth a word.
_SHARE_OF_NUMBERS = 0.8
_FEW = 20
_FEW_SHARE = 0.05
_MOST_LETTERS_OF_NAMES = 40
_LEAST_IDENTIFIERS = 5
_LEADING_ZERO = re.compile(r'0\d+')
_NAME_OF_IDENTIFIERS = re.compile(
  r'(?i:(^|.*[^a-z])(u?id|uuid|guid|index|idx|nr))|.*[a-z0-9](Id|ID)'
)
_UUID = re.compile(r'(?i)\{?[0-9a-f]{8}(-?[0-9a-f]{4}){3}-?[0-9a-f]{12}\}?')
_PARTS = re.compile(r'[^\W\d_]+|\d+')
_MASKS = '.png'


class Guess(NamedTuple):
  """Kinds of columns that were not named.

  Attributes:
    kinds: of each input, by name.
    remarks: on what was left out or is in doubt, in words.
  """

  kinds: Mapping[str, str]
  remarks: tuple[str, ...]


def file_path(cell: str, folder: pathlib.Path) -> pathlib.Path:
  """Returns the file that a cell names.

  Args:
    cell: a path, absolute or from the folder, as any system writes it.
    folder: of the table.
  """
  path = folder / cell
  if '\\' in cell and not is_file(path):
    return folder / cell.replace('\\', '/')
  return path


def guess_kind(
  name: str, cells: Iterable[Cell], folder: pathlib.Path, extensions: Extensions
) -> str:
  """Returns what a column of inputs is.

  Args:
    name: of the column, for messages.
    cells: of its rows, or of some.
    folder: of the table: files are named from there.
    extensions: of files, by kind.

  Returns:
    A kind of files, or 'number', 'category', 'date', 'list' or 'text'.

  Raises:
    ValueError: all cells are empty, or they name files of which none is there.
  """
  present = _present(name, cells)
  return _kind(name, present, folder, extensions)


def guess_answer(
  name: str, cells: Iterable[Cell], folder: pathlib.Path, extensions: Extensions
) -> str:
  """Returns what a column of answers is.

  Args:
    name: of the column, for messages.
    cells: see `guess_kind`, like what follows.
    folder: of the table.
    extensions: of files, by kind.

  Returns:
    'class', 'labels' or 'number', or 'mask' for files of png. Numbers are
    classes where they are whole and two, or at most 20 and less than 5 % of the
    rows.

  Raises:
    ValueError: the cells are nothing that is answered unless a kind is named.
  """
  present = _present(name, cells)
  kind = _kind(name, present, folder, extensions)
  if kind == 'number':
    return 'class' if _are_codes(present) else 'number'
  if kind == 'category':
    return 'class'
  if kind == 'list' and not _are_fractions(present):
    return 'labels'
  if kind == 'text' and not _are_files(present, extensions):
    raise ValueError(
      f'data.answers: {name!r} has {len(set(map(str, present))):,} different '
      f'texts in '
      f'{len(present):,} rows, such as {shown(present[0])}. Say what they are: '
      f'{name}:class, {name}:labels, or {name}:sequence to have them written.'
    )
  if all(str(cell).lower().endswith(_MASKS) for cell in present):
    return 'mask'
  raise ValueError(
    f'data.answers: {name!r}, such as {shown(present[0])}, is of the kind '
    f'{kind!r}, which is no answer. Answers are class, labels, number, mask '
    '(files of png), sequence and forecast, as in '
    f'{name}:number.'
  )


def guess_inputs(
  rows: Rows,
  folder: pathlib.Path,
  besides: Collection[str],
  extensions: Extensions,
) -> Guess:
  """Returns the columns that may say something, with their kinds.

  Left out are columns that are empty or never change, that number or name the
  rows, and files that are not there.

  Args:
    rows: the table.
    folder: see `guess_kind`.
    besides: columns that are no inputs: answers, splits, groups.
    extensions: see `guess_kind`.

  Raises:
    ValueError: none is left.
  """
  kinds, remarks = {}, []
  for name in rows.names:
    if name in besides:
      continue
    cells = rows.columns[name]
    reason = _says_nothing(name, cells)
    if not reason:
      try:
        kinds[name] = guess_kind(name, cells, folder, extensions)
      except ValueError as error:
        reason = str(error)
    if reason:
      remarks.append(f'{name!r} is left out: {reason}')
    elif kinds[name] in ('category', 'text'):
      remarks += _nearly_numbers(name, kinds[name], cells)
  if not kinds:
    raise ValueError(
      f'{rows.path} has no column that may tell the answers: '
      f'{"; ".join(remarks) or "there is none besides them"}. Name them in '
      'data.inputs.'
    )
  return Guess(kinds, tuple(remarks))


def _present(name: str, cells: Iterable[Cell]) -> list[Cell]:
  present = [cell for cell in cells if not is_empty(cell)]
  if not present:
    raise ValueError(f'all cells of {name!r} are empty')
  return present


def _kind(
  name: str, present: list[Cell], folder: pathlib.Path, extensions: Extensions
) -> str:
  files = _kind_of_files(present, extensions)
  if files:
    _check_some_are_there(name, present, folder)
    return files
  if _are_lists(present):
    return 'list'
  if any(isinstance(cell, list) for cell in present):
    raise ValueError(
      f'{name!r} has lists of other things than texts and numbers'
    )
  if any(isinstance(cell, bool) for cell in present):
    return 'category'
  if _are_numbers(present):
    return 'number'
  if _are_dates(present):
    return 'date'
  return 'category' if _are_names(present) else 'text'


# Files.


def _kind_of_files(present: list[Cell], extensions: Extensions) -> str | None:
  endings = [
    pathlib.PurePath(cell).suffix.lower() if isinstance(cell, str) else ''
    for cell in present
  ]
  least = _SHARE_OF_FILES * len(endings)
  counts = [
    (sum(ending in known for ending in endings), -len(known), kind)
    for kind, known in extensions.items()
  ]
  most, _, kind = max(counts, default=(0, 0, ''))
  return kind if most >= least else None


def _are_files(present: list[Cell], extensions: Extensions) -> bool:
  return _kind_of_files(present, extensions) is not None


def _check_some_are_there(
  name: str, present: list[Cell], folder: pathlib.Path
) -> None:
  texts = [cell for cell in present if isinstance(cell, str)]
  for cell in texts[:: -(-len(texts) // _LOOKED_FOR)]:
    if is_file(file_path(cell, folder)):
      return
  raise ValueError(
    f'{name!r} names files, such as {shown(texts[0])}, of which none is in '
    f'{folder}: paths are absolute, or from the folder of the table'
  )


def is_file(path: pathlib.Path) -> bool:
  """Returns whether there is a file of this path, which any text may be."""
  try:
    return path.is_file()
  except OSError:  # A text may be too long for a name.
    return False


# Lists.


def _are_lists(present: list[Cell]) -> bool:
  try:
    lists = [to_list(cell) for cell in present]
  except ValueError:
    return False
  if all(isinstance(cell, list) or _is_bracketed(cell) for cell in present):
    return True
  several = sum(len(each) > 1 for each in lists)
  if several < 2 or not all(isinstance(cell, str) for cell in present):
    return False
  parts = [part for each in lists for part in each]
  if all(map(is_number, parts)):
    return True
  # Of names that stand in several cells; a text with a semicolon has its own.
  return (
    max(map(len, map(str, parts))) <= _MOST_LETTERS_OF_NAMES
    and len(set(parts)) <= len(set(present))
    and len(set(parts)) < len(parts)
  )


def _is_bracketed(cell: Cell) -> bool:
  return isinstance(cell, str) and cell.lstrip().startswith('[')


def _are_fractions(present: list[Cell]) -> bool:
  return any(
    isinstance(part, float) and not part.is_integer()
    for cell in present
    for part in to_list(cell)
  )


# Numbers, dates and names.


def _are_numbers(present: Sequence[Cell]) -> bool:
  # 01234 is a name, of a place or a thing.
  return all(map(is_number, present)) and not any(
    isinstance(cell, str) and _LEADING_ZERO.fullmatch(cell) for cell in present
  )


def _are_codes(present: list[Cell]) -> bool:
  """Whether numbers are classes."""
  values = {to_number(cell) for cell in present}
  return all(value.is_integer() for value in values) and (
    len(values) <= 2
    or (len(values) <= _FEW and len(values) < _FEW_SHARE * len(present))
  )


def _are_dates(present: list[Cell]) -> bool:
  try:
    day_first = date_order(present).day_first
    return all(to_date(cell, day_first) is not None for cell in present)
  except ValueError:
    return False


def _are_names(present: list[Cell]) -> bool:
  """Whether texts are of a list, and no sentences."""
  num_names = len(set(map(str, present)))
  if 2 * num_names > len(present):
    return False
  letters = sum(len(str(cell)) for cell in present) / len(present)
  return num_names <= _FEW or letters <= _MOST_LETTERS_OF_NAMES


# What tells nothing.


def _says_nothing(name: str, cells: Sequence[Cell]) -> str:
  """Why a column is no input; '' where it may be."""
  present = [cell for cell in cells if not is_empty(cell)]
  if not present:
    return 'it is empty'
  different = set(map(str, present))
  if len(different) == 1:
    if len(present) == len(cells):
      return f'it is {shown(present[0])} in each row'
    return ''
  if len(different) < len(cells) or len(cells) < _LEAST_IDENTIFIERS:
    return ''
  return _identifies(name, present)


def _identifies(name: str, present: Sequence[Cell]) -> str:
  """Why cells that are all different only name their rows; '' otherwise."""
  if any(isinstance(cell, list) for cell in present):
    return ''
  texts = [str(cell) for cell in present]
  if _are_numbers(present):
    values = [to_number(cell) for cell in present]
    if not all(value.is_integer() for value in values):
      return ''
    if max(values) - min(values) == len(values) - 1:
      return 'it numbers the rows'
    return 'it names the rows' if _is_name_of_identifiers(name) else ''
  if any(' ' in text or pathlib.PurePath(text).suffix for text in texts):
    return ''
  if _are_dates(list(present)):
    return ''
  is_one_form = len({_form(text) for text in texts}) == 1
  if (
    all(map(_UUID.fullmatch, texts))
    or _is_name_of_identifiers(name)
    or (is_one_form and any(letter.isdigit() for letter in texts[0]))
  ):
    return f'it names the rows, such as {shown(texts[0])}'
  return ''


def _is_name_of_identifiers(name: str) -> bool:
  return _NAME_OF_IDENTIFIERS.fullmatch(name) is not None


def _form(text: str) -> str:
  """'P-0017' is 'a-0': how a text is made of letters and digits."""
  return _PARTS.sub(lambda part: '0' if part[0].isdigit() else 'a', text)


def _nearly_numbers(name: str, kind: str, cells: Sequence[Cell]) -> list[str]:
  """Says in words what keeps a column from being numbers."""
  present = [cell for cell in cells if not is_empty(cell)]
  others = [cell for cell in present if not is_number(cell)]
  if not others or len(others) > (1 - _SHARE_OF_NUMBERS) * len(present):
    return []
  return [
    f'{name!r} is taken for {kind}: {len(present) - len(others):,} of its '
    f'{len(present):,} cells are numbers, and {shown(others[0])} is none'
  ]
