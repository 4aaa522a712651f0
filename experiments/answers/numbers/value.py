"""Numbers, what they are measured by, and how they come of outputs.

Shapes: O numbers of a row, Q quantiles of each.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

# The quantile that is told where one number is asked for.
MEDIAN = 0.5


class Scale(NamedTuple):
  """Where the numbers of a column lie, in training.

  Attributes:
    centre: mean float64 `[O]` of the numbers, or of their logarithms.
    spread: standard deviation `[O]` of the same, positive.
    is_log: whether they are those of logarithms.
  """

  centre: np.ndarray
  spread: np.ndarray
  is_log: bool

  def standardised(self, numbers: np.ndarray) -> np.ndarray:
    """Returns numbers `[..., O]`, positive ones for logarithms, in spreads."""
    numbers = np.log(numbers) if self.is_log else numbers
    return (numbers - self.centre) / self.spread

  def restored(self, outputs: np.ndarray) -> np.ndarray:
    """Returns numbers float64 `[..., O, Q]` of such in spreads."""
    numbers = (
      np.asarray(outputs, np.float64) * self.spread[:, None]
      + self.centre[:, None]
    )
    return np.exp(numbers) if self.is_log else numbers

  def spread_at(self, numbers: np.ndarray) -> np.ndarray:
    """Returns what counts as much at numbers `[..., O]`, in their units."""
    return self.spread * (numbers if self.is_log else np.ones_like(numbers))


class Numbers(NamedTuple):
  """What a model says of one or several numbers.

  Attributes:
    values: float64 `[O]`.
    quantiles: `[O]` by their levels, in order, without the median, which
      `values` then are; {} for a model that gives none.
    spreads: `[O]`, what counts as much; see `Scale.spread_at`.
  """

  values: np.ndarray
  quantiles: Mapping[float, np.ndarray]
  spreads: np.ndarray

  def interval(self) -> tuple[np.ndarray, np.ndarray] | None:
    """Returns the outermost quantiles; None unless one is on either side."""
    levels = list(self.quantiles)
    if not levels or not levels[0] < MEDIAN < levels[-1]:
      return None
    return self.quantiles[levels[0]], self.quantiles[levels[-1]]


def numbers_of(
  outputs: np.ndarray, levels: Sequence[float], scale: Scale
) -> Numbers:
  """Returns what standardised numbers say.

  Args:
    outputs: `[O, Q]`.
    levels: of the quantiles, MEDIAN among them; () for a single number.
    scale: that they were standardised by.
  """
  numbers = scale.restored(outputs)
  middle = middle_of(levels)
  return Numbers(
    numbers[:, middle],
    {level: numbers[:, i] for i, level in enumerate(levels) if level != MEDIAN},
    scale.spread_at(numbers[:, middle]),
  )


def middle_of(levels: Sequence[float]) -> int:
  """Returns which of the outputs of a number is the one that is told."""
  return list(levels).index(MEDIAN) if levels else 0


def level_name(level: float) -> str:
  """Returns '10%' for 0.1."""
  return f'{100 * level:.6g}%'


def told(number: float, spread: float) -> str:
  """Returns a number to be read, to about a hundredth of its spread."""
  if not math.isfinite(number):
    return 'n/a'
  decimals = _decimals(spread, 1.5)
  if decimals > 9 or abs(number) >= 1e12:
    return f'{number:.4g}'
  # Plus zero: of -0.0, too, it makes 0.
  text = f'{round(number, decimals) + 0.0:,.{max(decimals, 0)}f}'
  return text.rstrip('0').rstrip('.') if '.' in text else text


def shortened(number: float, spread: float) -> float:
  """Returns a number to about a hundred-thousandth of its spread.

  Models compute with seven digits of it: more would be noise.
  """
  if not math.isfinite(number):
    return float(number)
  return round(float(number), _decimals(spread, 4.5))


def _decimals(spread: float, digits: float) -> int:
  # Of what is zero, or no number, all decimals.
  if not 0.0 < spread < math.inf:
    return 17
  return math.ceil(digits - math.log10(spread))


def joined(numbers: Sequence[float], spreads: Sequence[float]) -> Any:
  """Returns a cell of a table: one number, or a text of several with |.

  Args:
    numbers: `[O]`.
    spreads: `[O]`, what counts as much.
  """
  plain = [shortened(x, s) for x, s in zip(numbers, spreads, strict=True)]
  return plain[0] if len(plain) == 1 else '|'.join(map(str, plain))
