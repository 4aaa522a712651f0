"""Classical features of events: statistics and rates of each channel."""

import numpy as np

from experiments.data.classical import Classical, trees
from experiments.modalities.events.view import Events

_QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


def event_statistics(view: Events) -> np.ndarray:
  """Returns statistics of each channel.

  Args:
    view: of an example.

  Returns:
    float64 `[R * 12]`, of each channel: how many events it has; mean, standard
    deviation and quantiles at 0.05, 0.25, 0.5, 0.75 and 0.95; the last value,
    and how long it is before the end of all; the slope of a line, and the
    median absolute rate of change, both by second. NaN of what too few events
    say nothing about.
  """
  return np.concatenate(
    [
      _of_channel(view, view.channel == number)
      for number in range(len(view.names))
    ]
  )


def _of_channel(view: Events, chosen: np.ndarray) -> np.ndarray:
  time, value = view.time[chosen], view.value[chosen]
  if not value.size:
    return np.array([0.0] + [np.nan] * 11)
  steps, gaps = np.diff(value), np.diff(time)
  rates = np.abs(steps[gaps > 0] / gaps[gaps > 0])
  slope = rate = np.nan
  if rates.size:
    rate = np.median(rates)
    around = time - time.mean()
    slope = around @ value / (around @ around)
  return np.array(
    [
      *(len(value), value.mean(), value.std()),
      *np.quantile(value, _QUANTILES),
      *(value[-1], view.time.max() - time[-1], slope, rate),
    ]
  )


def _numbers(view: Events) -> np.ndarray:
  # Random trees take no NaN in older versions.
  return np.nan_to_num(event_statistics(view), nan=0.0)


STATISTICS = Classical('statistics and rates, trees', _numbers, trees)
