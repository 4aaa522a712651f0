"""Axes of charts: where values are, which are named, and how."""

import math
from typing import NamedTuple

# What is divided by where all values are the same.
_LEAST = 1e-12


class Axis(NamedTuple):
  """From values to places, along x or along y.

  Attributes:
    low: value at `start`.
    high: value at `end`.
    start: place, in the units of a drawing.
    end: place.
    is_log: whether places follow the logarithms of values, all positive.
  """

  low: float
  high: float
  start: float
  end: float
  is_log: bool = False

  def place(self, value: float) -> float:
    """Returns where a value is."""
    low, high, value = map(self._linear, (self.low, self.high, value))
    share = (value - low) / max(high - low, _LEAST)
    return self.start + share * (self.end - self.start)

  def _linear(self, value: float) -> float:
    return math.log10(value) if self.is_log else value


def number(value: float | None) -> str:
  """Returns a number of four figures, to be read; 'n/a' for None and NaN."""
  if value is None or not math.isfinite(value):
    return 'n/a'
  if value == int(value) and abs(value) < 1e6:
    return f'{int(value):,}'
  if abs(value) >= 1e6:
    return f'{value / 1e6:,.4g} M'
  if abs(value) >= 1e4:
    return f'{value:,.0f}'
  return f'{value:.4g}'


def ticks(low: float, high: float, count: int) -> list[float]:
  """Returns round numbers from low to high, about `count` of them."""
  if high <= low:
    return [low]
  raw = (high - low) / count
  unit = 10.0 ** math.floor(math.log10(raw))
  step = next(
    unit * factor for factor in (1, 2, 2.5, 5, 10) if unit * factor >= raw
  )
  first = math.ceil(low / step - 1e-9)
  last = math.floor(high / step + 1e-9)
  return [round(i * step, 12) for i in range(first, last + 1)]


def log_ticks(low: float, high: float) -> list[float]:
  """Returns round numbers from low to high, for a logarithmic axis."""
  powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
  for factors in ((1,), (1, 3), (1, 2, 5)):
    found = [
      factor * 10.0**power
      for power in powers
      for factor in factors
      if low <= factor * 10.0**power <= high
    ]
    if len(found) >= 3:
      break
  return found if len(found) > 1 else [low * 1.1, high / 1.1]
