"""Categories of a table: names that training rows have, and one for others."""

import collections
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from experiments.data.dataset import Example, array_spec
from experiments.data.modality import View
from experiments.files.features import array_feature
from experiments.files.kind import FileKind, Survey
from experiments.modalities.cells.view import Cell
from experiments.table.cells import is_empty, to_name

MOST_NAMES = 1000
OTHER = 'other'


def frequent_names(names: Iterable[str], most: int) -> tuple[str, ...]:
  """Returns the most frequent names, the most frequent first.

  One that a single row has tells nothing of others: it is left out, unless all
  are such.

  Args:
    names: of training rows.
    most: at most so many.
  """
  counts = collections.Counter(names)
  repeated = [name for name, count in counts.items() if count > 1]
  ordered = sorted(repeated or counts, key=lambda name: (-counts[name], name))
  return tuple(ordered[:most])


def numbered(names: Sequence[str]) -> dict[str, int]:
  """Returns the number of each name; raises a ValueError where one is twice."""
  numbers = {name: number for number, name in enumerate(names)}
  if len(numbers) != len(names):
    raise ValueError('names has the same name twice: each is to be there once.')
  return numbers


def category_cells(
  survey: Survey,
  *,
  names: Sequence[str] | None = None,
  max_names: int = MOST_NAMES,
  other_rate: float = 0.02,
) -> FileKind:
  """Cells that name one of several things.

  Args:
    survey: of the training cells, for what is None.
    names: that are told apart; None for the most frequent of the training
      cells. All others are one.
    max_names: that are chosen at most.
    other_rate: share of the training examples that are taken for others, so
      that a model learns what to make of names that it does not know.

  Returns:
    Examples with `cell` int32, the number of a name; others have the number
    behind the last.

  Raises:
    ValueError: an option is out of its range.
  """
  if not 0.0 <= other_rate < 1.0:
    raise ValueError(f'other_rate must be in [0, 1), got {other_rate}.')
  if max_names < 1:
    raise ValueError(f'max_names must be at least 1, got {max_names}.')
  if names is None:
    names = frequent_names(survey(to_name), max_names)
  numbers = numbered(names)
  other = np.int32(len(names))

  def read(cell: Any) -> Example:
    number = other if is_empty(cell) else numbers.get(to_name(cell), other)
    return {'cell': np.int32(number)}

  def augment(kept: Example, rng: np.random.Generator) -> Example:
    return {'cell': other} if rng.random() < other_rate else prepare(kept)

  def prepare(kept: Example) -> Example:
    return {'cell': np.int32(kept['cell'])}

  def view(example: Example) -> dict[str, View]:
    return {'cell': Cell([*names, OTHER][int(example['cell'])], 'category')}

  return FileKind(
    read=read,
    features={'cell': array_feature((), np.int32)},
    options={'kind': 'category', 'names': list(names)},
    example={'cell': array_spec(dtype=np.int32)},
    augment=augment,
    prepare=prepare,
    view=view,
    chosen={'data.names': tuple(names), 'inputs.cell.num_rows': len(names) + 1},
    note=f'category: {names_note(names)}, ',
    classical=lambda example: np.arange(len(names) + 1) == example['cell'],
  )


def names_note(names: Sequence[str]) -> str:
  """Returns in words which names there are."""
  shown = ', '.join(names[:4]) + (', ...' if len(names) > 4 else '')
  return f'{len(names):,} names ({shown}) and others'
