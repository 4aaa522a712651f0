"""Names of classes: of cells of a table, in order."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from experiments.files.listing import some
from experiments.table.cells import to_name

# Each is a channel, a row of the report and a column of predictions.
MOST_CLASSES = 1000


def class_name(cell: Any) -> str:
  """Returns the name of a class: the same of 3, 3.0 and '3'.

  Args:
    cell: text, integer, bool or a number without a fraction.

  Raises:
    ValueError: it is something else, or an empty text.
  """
  cell = cell.item() if isinstance(cell, np.generic) else cell
  # A bool is an int, too.
  is_whole = isinstance(cell, float) and cell.is_integer()
  if is_whole or isinstance(cell, str | int):
    name = to_name(cell)
    if name:
      return name
  raise ValueError(
    f'{cell!r} is no class, which is a text, a whole number or a bool: other '
    'numbers are a number, lists are labels.'
  )


def in_order(names: Iterable[str]) -> list[str]:
  """Returns each name once: by size where all are integers, else as texts."""
  unique = sorted(set(names))
  if all(name.removeprefix('-').isdecimal() for name in unique):
    unique.sort(key=int)
  return unique


def check_count(asked: str, names: Sequence[str], least: int) -> None:
  """Raises a ValueError unless there are as many classes as can be told.

  Args:
    asked: what they are of, such as 'diagnosis:class'.
    names: of the classes in training.
    least: of them.
  """
  if not least <= len(names) <= MOST_CLASSES:
    raise ValueError(
      f'The training rows of {asked} have {len(names):,} names, {some(names)}: '
      f'expected are {least} to {MOST_CLASSES:,}.'
    )


def number_of(numbers: Mapping[str, int], name: str) -> int:
  """Returns the number of a class.

  Args:
    numbers: of the classes in training, by their names.
    name: of a class.

  Raises:
    ValueError: it is none of them.
  """
  if name not in numbers:
    raise ValueError(
      f'{name!r} is not in the training rows, which have '
      f'{some(list(numbers))}: give training a row that has it, or take it '
      'away here.'
    )
  return numbers[name]
