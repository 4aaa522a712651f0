"""The next steps of a series."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np


class Forecast(NamedTuple):
  """The next steps of a series, in the units of its file.

  Attributes:
    history: float64 `[W, C]`, what the model was shown.
    values: float64 `[K, C]`, the medians.
    quantiles: `[K, C]` by their levels, in order, without the median; {} for a
      model that gives none.
    spreads: float64 `[C]`, what counts as much in each channel.
    channels: their names; '' of a single one.
  """

  history: np.ndarray
  values: np.ndarray
  quantiles: Mapping[float, np.ndarray]
  spreads: np.ndarray
  channels: Sequence[str]

  def interval(self) -> tuple[np.ndarray, np.ndarray] | None:
    """Returns the outermost quantiles `[K, C]`; None where there are none."""
    if not self.quantiles:
      return None
    levels = list(self.quantiles)
    return self.quantiles[levels[0]], self.quantiles[levels[-1]]


def channel_names(asks: Mapping[str, Any]) -> tuple[str, ...]:
  """Returns the names of several channels, or their numbers from 1.

  Args:
    asks: settled options of a column of series, see `series_files`.

  Returns:
    Of a single channel, '': the column says what it is.
  """
  count = asks['num_channels']
  if count == 1:
    return ('',)
  return tuple(asks['channels'] or map(str, range(1, count + 1)))
