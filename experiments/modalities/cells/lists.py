"""Lists of a table: of names in any order, or of so many numbers."""

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from experiments.data.dataset import Example, array_spec
from experiments.data.modality import View
from experiments.files.features import array_feature
from experiments.files.kind import FileKind, Survey
from experiments.modalities.cells.categories import (
  MOST_NAMES,
  OTHER,
  frequent_names,
  names_note,
  numbered,
)
from experiments.modalities.cells.numbers import (
  kind_of_numbers,
  settled_scales,
)
from experiments.modalities.cells.view import Cell
from experiments.table.cells import to_list, to_name, to_number


def list_cells(
  survey: Survey,
  *,
  names: Sequence[str] | None = None,
  max_names: int = MOST_NAMES,
  bins: int = 16,
  center: Sequence[float] | None = None,
  spread: Sequence[float] | None = None,
  edges: Sequence[Sequence[float]] | None = None,
  noise: float = 0.0,
) -> FileKind:
  """Cells with lists of names, or of numbers where all are equally long.

  Args:
    survey: of the training cells, for what is None.
    names: that are told apart, () for lists of numbers; None for the most
      frequent of the training cells, where these are no numbers.
    max_names: that are chosen at most.
    bins: of numbers, see `number_cells`, like those that follow.
    center: of each number.
    spread: of each number.
    edges: of the bins of each number.
    noise: of each number.

  Returns:
    Of numbers, what `number_cells` returns. Of names, examples with `cell`
    float32 `[names + 1]`, the share that each has of the list, others at the
    end: of vectors of the names it makes their mean.

  Raises:
    ValueError: an option is out of its range.
  """
  if max_names < 1:
    raise ValueError(f'max_names must be at least 1, got {max_names}.')
  if names is None:
    lists = survey(to_list)
    names = () if _are_numbers(lists) else _names(lists, max_names)
  if names:
    return _kind_of_names(names)
  scales = settled_scales(survey, bins, center, spread, edges)
  kind = kind_of_numbers(scales, 'list', noise)
  return kind._replace(chosen={**kind.chosen, 'data.names': ()})


def _are_numbers(lists: Sequence[Sequence[Any]]) -> bool:
  """Whether all are as many numbers."""
  if len({len(each) for each in lists}) != 1 or not lists[0]:
    return False
  try:
    for element in itertools.chain.from_iterable(lists):
      to_number(element)
  except ValueError:
    return False
  return True


def _names(lists: Sequence[Sequence[Any]], most: int) -> tuple[str, ...]:
  # A name that a list has twice is of one row all the same.
  of_rows = [set(map(to_name, each)) for each in lists]
  names = frequent_names(itertools.chain.from_iterable(of_rows), most)
  if not names:
    raise ValueError('all lists are empty: leave the column out.')
  return names


def _kind_of_names(names: Sequence[str]) -> FileKind:
  numbers = numbered(names)
  size = len(names) + 1

  def read(cell: Any) -> Example:
    found = {numbers.get(to_name(x), size - 1) for x in to_list(cell) or ()}
    return {'names': np.array(sorted(found), np.int32)}

  def prepare(kept: Example) -> Example:
    shares = np.zeros(size, np.float32)
    if kept['names'].size:
      shares[kept['names']] = 1.0 / kept['names'].size
    return {'cell': shares}

  def view(example: Example) -> dict[str, View]:
    found = [[*names, OTHER][i] for i in np.flatnonzero(example['cell'])]
    return {'cell': Cell(', '.join(found) or '(none)', 'list')}

  return FileKind(
    read=read,
    features={'names': array_feature((None,), np.int32)},
    options={'kind': 'list', 'names': list(names)},
    example={'cell': array_spec(size)},
    augment=lambda kept, rng: prepare(kept),
    prepare=prepare,
    view=view,
    chosen={'data.names': tuple(names)},
    note=f'list: {names_note(names)}, ',
    classical=lambda example: example['cell'],
  )
