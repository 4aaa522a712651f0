"""Numbers in a column of a table: `risk:number`, `risk:number(quantiles)`.

Shapes: B examples, O numbers of each, Q quantiles of each, n rows.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

from experiments.answers.arguments import number_argument, read_arguments
from experiments.answers.head import Column, Head, HeadKind, Options, Rivals
from experiments.answers.numbers import held_out
from experiments.answers.numbers.losses import in_order, pinball, robust_squares
from experiments.answers.numbers.record import (
  LOGARITHMS,
  NUMBERS,
  QUANTILES,
  cells_of,
)
from experiments.answers.numbers.value import MEDIAN, Scale, numbers_of
from experiments.data.classical_rows import of_numbers
from experiments.data.dataset import Example, array_spec
from experiments.files.listing import rounded, rounded_by
from experiments.table.cells import shown, to_list, to_number

LEVELS = '0.1|0.5|0.9'
# Each is a query, and a row of the report.
MOST_NUMBERS = 1000


def suited(column: Column, arguments: Mapping[str, str]) -> dict[str, Any]:
  """Returns where the numbers of the training rows lie.

  Args:
    column: of numbers, or of lists of numbers of one length, O.
    arguments: `quantiles` predicts those of LEVELS, or those of its value, such
      as '0.05|0.95', the median always among them; `log` standardises and
      predicts the logarithms of positive numbers.

  Returns:
    `centre` and `spread` `[O]`, mean and standard deviation of what is
    predicted, computed in float64; `log`; `quantiles`, their levels, or [];
    of the training rows `means` and `medians` `[O]` and, for `quantiles`,
    `constants` `[Q, O]`, which say what a model without inputs reaches.

  Raises:
    ValueError: a cell is no number, lists have several lengths, all numbers are
      the same, one is not positive and `log` is asked for, or an argument is
      wrong.
  """
  asked = f'{column.name}:number'
  given = read_arguments(asked, arguments, flags=('quantiles', 'log'))
  if given.get('log'):
    raise ValueError(f'{asked} has {given["log"]!r} for log: write log alone.')
  levels = levels_of(asked, given['quantiles']) if 'quantiles' in given else []
  numbers, is_log = _numbers(asked, column.cells), 'log' in given
  if is_log and numbers.min() <= 0.0:
    raise ValueError(
      f'{asked}(log) has {numbers.min():g} in its training rows: only positive '
      'numbers have a logarithm. Leave log away.'
    )
  predicted = np.log(numbers) if is_log else numbers
  spread = _spread(asked, predicted)
  spreads = np.where(spread > 0.0, spread, 1.0)

  def plain(values: np.ndarray) -> list[float]:
    return list(rounded(values) if is_log else rounded_by(values, spreads))

  # A number that never changes is kept as it is: nothing says how much counts.
  centre = np.where(
    spread > 0.0, rounded_by(predicted.mean(axis=0), spreads), predicted[0]
  )
  return {
    'centre': centre.tolist(),
    'spread': list(rounded(spreads)),
    'log': is_log,
    'quantiles': levels,
    'means': plain(numbers.mean(axis=0)),
    'medians': plain(np.median(numbers, axis=0)),
    'constants': [plain(np.quantile(numbers, q, axis=0)) for q in levels],
  }


def levels_of(asked: str, text: str) -> list[float]:
  """Returns the levels of quantiles, the median among them.

  Args:
    asked: what they belong to, for messages.
    text: such as '0.05|0.95'; '' for those of LEVELS.

  Raises:
    ValueError: one is no number between 0 and 1.
  """
  parts = (text or LEVELS).replace(';', '|').split('|')
  levels = {number_argument(asked, 'quantiles', x, 0.0, 1.0) for x in parts}
  if 0.0 in levels:
    raise ValueError(f'{asked}: no number lies below all others, quantiles=0.')
  return sorted(levels | {MEDIAN})


def _numbers(asked: str, cells: Sequence[Any]) -> np.ndarray:
  """Returns float64 `[n, O]`."""
  rows = [_row(cell) for cell in cells]
  lengths = sorted({len(row) for row in rows})
  if len(lengths) > 1 or not 1 <= lengths[0] <= MOST_NUMBERS:
    raise ValueError(
      f'{asked} has lists of {lengths[0]} to {lengths[-1]} numbers: expected '
      f'are as many in each row, 1 to {MOST_NUMBERS:,}.'
    )
  return np.array(rows, np.float64)


def _row(cell: Any) -> list[float]:
  numbers = [to_number(each) for each in to_list(cell) or []]
  if None in numbers:
    raise ValueError(f'{shown(cell)} lacks some of its numbers')
  return numbers


def _spread(asked: str, predicted: np.ndarray) -> np.ndarray:
  """Returns standard deviations `[O]`; 0 of a number that never changes."""
  with np.errstate(over='ignore', invalid='ignore'):
    spread = predicted.std(axis=0)
  if not np.isfinite(spread).all():
    raise ValueError(
      f'{asked} has numbers as large as {np.abs(predicted).max():g}: give them '
      'in another unit.'
    )
  # By their rounding, equal numbers may stand beside their own mean.
  spread = np.where(np.ptp(predicted, axis=0) > 0.0, spread, 0.0)
  if not spread.any():
    raise ValueError(
      f'{asked} is the same in all training rows: there is nothing to predict.'
    )
  return spread


def make(options: Options, asks: Options) -> Head:
  """Returns the head of numbers, each of which a learned query asks for.

  What is kept of examples is `numbers` `[n, O]` and `outputs` `[n, O, Q]`, both
  standardised.

  Args:
    options: see `suited`.
    asks: {}.
  """
  del asks
  scale = Scale(
    np.asarray(options['centre'], np.float64),
    np.asarray(options['spread'], np.float64),
    bool(options['log']),
  )
  levels = tuple(options['quantiles'])
  kind = held_out.Kind(scale, levels)
  constants = {
    'training mean': options['means'],
    'training median': options['medians'],
  }

  def loss(outputs: jax.Array, target: Mapping[str, jax.Array]) -> jax.Array:
    if not levels:
      return robust_squares(outputs, target['numbers'])
    losses = pinball(in_order(outputs, levels), target['numbers'], levels)
    return losses.mean(axis=(1, 2))

  def collect(
    outputs: jax.Array, target: Mapping[str, jax.Array]
  ) -> dict[str, jax.Array]:
    outputs = in_order(outputs, levels) if levels else outputs
    return {'numbers': target['numbers'], 'outputs': outputs}

  def tell(outputs: np.ndarray, example: Example) -> Any:
    del example
    outputs = np.asarray(in_order(outputs, levels) if levels else outputs)
    return numbers_of(outputs, levels, scale)

  answer = QUANTILES if levels else NUMBERS
  return Head(
    answer=answer._replace(outputs=answer.outputs + LOGARITHMS * scale.is_log),
    target={'numbers': array_spec(len(scale.centre))},
    read=lambda cell: {'numbers': _target(scale, cell)},
    num_queries=len(scale.centre),
    channels=max(1, len(levels)),
    loss=loss,
    collect=collect,
    metrics=lambda kept: held_out.metrics(kind, kept),
    score='r2',
    tell=tell,
    cells=cells_of,
    caption=lambda kept: held_out.caption(kind, kept),
    sections=lambda kept, note: held_out.sections(kind, kept, note),
    columns=lambda kept: held_out.columns(kind, kept),
    baselines=lambda kept: held_out.baselines(
      kind, constants, options['constants'], kept
    ),
    rivals=Rivals(
      of_numbers(len(scale.centre), levels),
      'numbers',
      lambda outputs, numbers: {'outputs': outputs, 'numbers': numbers},
    ),
  )


def _target(scale: Scale, cell: Any) -> np.ndarray:
  """Returns float32 `[O]`."""
  numbers = np.array(_row(cell), np.float64)
  if len(numbers) != len(scale.centre):
    raise ValueError(
      f'{shown(cell)} has {len(numbers)} numbers, those of training have '
      f'{len(scale.centre)}.'
    )
  if scale.is_log and numbers.min() <= 0.0:
    raise ValueError(f'{shown(cell)} is not positive, and has no logarithm.')
  with np.errstate(over='ignore'):
    target = scale.standardised(numbers).astype(np.float32)
  if not np.isfinite(target).all():
    raise ValueError(
      f'{shown(cell)} is too far from the numbers of training to be learned.'
    )
  return target


NUMBER = HeadKind(suited, make)
