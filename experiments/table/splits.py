"""Which rows of a table train, which validate and which are held out."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from experiments.table.asked import check_column
from experiments.table.cells import Cell, is_empty, to_number
from experiments.table.rows import Rows

_NAMES = {
  **dict.fromkeys(('train', 'training'), 'train'),
  **dict.fromkeys(('val', 'valid', 'validation', 'dev'), 'validation'),
  **dict.fromkeys(('test', 'testing'), 'test'),
}
# Numbers of more values than this are as alike as their tenths are.
_MOST_CLASSES = 20
_DECILES = np.arange(1, 10) / 10


class Splits(NamedTuple):
  """Numbers of rows, from 0, int `[n]` each, in order.

  Attributes:
    train: rows to learn from.
    validation: rows that choose the checkpoint; may be none.
    test: rows that are held out.
  """

  train: np.ndarray
  validation: np.ndarray
  test: np.ndarray


def split_rows(
  rows: Rows,
  *,
  split: str,
  group: str,
  stratify: Sequence[Cell] | None,
  test_share: float,
  validation_share: float,
  seed: int,
) -> Splits:
  """Splits the rows of a table, by a column of it or by chance.

  What the column has none of is drawn from its training rows.

  Args:
    rows: the table.
    split: column that has `train`, `test` and, as may be, `validation` (`val`,
      `valid`, `dev`), in any case; '' for none.
    group: column whose rows of one value stay together, such as the patient;
      a row that has none is alone. '' for none.
    stratify: cell of each row whose values have their share in each split:
      classes, or numbers by their tenths; a class keeps a training row. With
      groups it is so as far as these allow. None for any.
    test_share: of the rows, in (0, 1), where no column has the split.
    validation_share: of the rows that are not test, in [0, 1), where no column
      has the split; 0 draws none.
    seed: of the choice.

  Raises:
    ValueError: a column is not there, a row names no split, a group is in two
      splits of the column, a share is out of its range, or a split would have
      no rows.
  """
  _check_shares(test_share, validation_share)
  for option, name in (('data.split', split), ('data.group', group)):
    if name:
      check_column(name, option, rows.names)
  of_row = _given(rows, split)
  groups = _groups(rows, group)
  _check_groups(rows, group, groups, of_row)
  strata, capped = _strata(stratify, rows.num_rows)
  rng = np.random.default_rng(seed)
  for name, share in (('test', test_share), ('validation', validation_share)):
    train = np.flatnonzero(of_row == 'train')
    if share and not (of_row == name).any():
      draw = _draw_groups if group else _draw
      of_row[draw(train, groups, strata, capped, share, rng)] = name
  for name in ('train', 'test'):
    if not (of_row == name).any():
      which = f'groups of {group!r}' if group else 'rows'
      raise ValueError(
        f'{rows.path}: no rows are left for {name}, of {rows.num_rows} rows. '
        f'There are too few {which}, or data.split names none.'
      )
  return Splits(*(np.flatnonzero(of_row == name) for name in Splits._fields))


def _check_shares(test_share: float, validation_share: float) -> None:
  if not 0.0 < test_share < 1.0:
    raise ValueError(f'data.test_share must be in (0, 1), got {test_share}.')
  if not 0.0 <= validation_share < 1.0:
    raise ValueError(
      f'data.validation_share must be in [0, 1), got {validation_share}. 0 '
      'draws none.'
    )


def _given(rows: Rows, split: str) -> np.ndarray:
  """Names of splits `[rows]`; all train without a column."""
  if not split:
    return np.full(rows.num_rows, 'train', object)
  result = np.empty(rows.num_rows, object)
  for i, cell in enumerate(rows.columns[split]):
    name = _NAMES.get(str(cell).strip().lower())
    if name is None:
      raise ValueError(
        f'{rows.place(i)}: the split {split!r} is {cell!r}, and should be '
        'train, validation or test.'
      )
    result[i] = name
  if not (result == 'train').any():
    raise ValueError(f'{rows.path}: the split {split!r} has no row of train.')
  return result


def _groups(rows: Rows, group: str) -> np.ndarray:
  """Number of each row's group."""
  if not group:
    return np.arange(rows.num_rows)
  numbers: dict = {}
  return np.array(
    [
      numbers.setdefault(('alone', i) if is_empty(cell) else str(cell), i)
      for i, cell in enumerate(rows.columns[group])
    ]
  )


def _check_groups(
  rows: Rows, group: str, groups: np.ndarray, of_row: np.ndarray
) -> None:
  # A group has the number of its first row.
  for i in np.flatnonzero(of_row != of_row[groups]):
    raise ValueError(
      f'{rows.place(i)}: {group!r} {rows.columns[group][i]!r} is in '
      f'{of_row[groups[i]]} and in {of_row[i]}. Give it one split, or leave '
      'out data.group.'
    )


def _strata(
  stratify: Sequence[Cell] | None, num_rows: int
) -> tuple[np.ndarray, bool]:
  """Stratum of each row, and whether each is to keep a training row."""
  if stratify is None:
    return np.zeros(num_rows, int), False
  present = [i for i, cell in enumerate(stratify) if not is_empty(cell)]
  strata = np.zeros(num_rows, int)  # Those that lack it are one.
  names, inverse = np.unique(
    [str(stratify[i]) for i in present], return_inverse=True
  )
  if len(names) > _MOST_CLASSES:
    values = _numbers([stratify[i] for i in present])
    if values is not None:
      edges = np.quantile(values, _DECILES)
      strata[present] = 1 + np.searchsorted(edges, values, side='right')
      return strata, False
    if len(names) > num_rows / 2:
      return strata, False  # Texts of which hardly any is there twice.
  strata[present] = 1 + inverse
  return strata, True


def _numbers(cells: Sequence[Cell]) -> np.ndarray | None:
  try:
    return np.array([to_number(cell) for cell in cells], np.float64)
  except ValueError:
    return None


def _draw(
  train: np.ndarray,
  groups: np.ndarray,
  strata: np.ndarray,
  capped: bool,
  share: float,
  rng: np.random.Generator,
) -> np.ndarray:
  """Rows that leave training: their share of each stratum, within a row."""
  del groups
  order = rng.permutation(train)
  kinds, inverse, sizes = np.unique(
    strata[order], return_inverse=True, return_counts=True
  )
  wanted = share * sizes
  counts = np.floor(wanted).astype(int)
  # The largest remainders are rounded up, until the sum is right.
  may_grow = sizes - counts > (1 if capped else 0)
  remainder = np.where(may_grow, wanted - counts, -1.0)
  tied = rng.permutation(len(kinds))
  largest = tied[np.argsort(-remainder[tied], kind='stable')]
  missing = min(round(wanted.sum()) - counts.sum(), may_grow.sum())
  counts[largest[: max(0, missing)]] += 1
  taken = [order[inverse == kind][:count] for kind, count in enumerate(counts)]
  return np.concatenate(taken)


def _draw_groups(
  train: np.ndarray,
  groups: np.ndarray,
  strata: np.ndarray,
  capped: bool,
  share: float,
  rng: np.random.Generator,
) -> np.ndarray:
  """Rows of groups that leave training.

  As scikit-learn's StratifiedGroupKFold: from the largest group to the smallest
  each goes where all strata, and the rows as a whole, are then filled most
  evenly.
  """
  del capped  # A group of a stratum's only rows fits training best.
  members: dict[int, list[int]] = {}
  for row in rng.permutation(train):
    members.setdefault(int(groups[row]), []).append(int(row))
  _, inverse = np.unique(strata[train], return_inverse=True)
  of_row = dict(zip(train.tolist(), inverse.tolist(), strict=True))
  sizes = np.bincount(inverse)
  # How much fuller the split is than training, of each stratum and of all.
  ahead = np.zeros(len(sizes) + 1)
  sizes = np.append(sizes, len(train))
  drawn: list[int] = []
  for rows in sorted(members.values(), key=len, reverse=True):
    kinds, counts = np.unique([of_row[row] for row in rows], return_counts=True)
    kinds = np.append(kinds, len(ahead) - 1)
    parts = np.append(counts, len(rows)) / sizes[kinds]
    leaving = ahead[kinds] + parts / share
    staying = ahead[kinds] - parts / (1.0 - share)
    if np.abs(leaving).sum() < np.abs(staying).sum():
      ahead[kinds] = leaving
      drawn += rows
    else:
      ahead[kinds] = staying
  return np.array(drawn, int)
