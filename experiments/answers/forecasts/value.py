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
    channels: their names; of a single one it may be ''.
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
  """Returns the names of channels, numbers from 1 where several have none.

  Args:
    asks: settled options of a column of series, see `series_files`.
  """
  if asks['channels']:
    return tuple(asks['channels'])
  count = asks['num_channels']
  return ('',) if count == 1 else tuple(map(str, range(1, count + 1)))
