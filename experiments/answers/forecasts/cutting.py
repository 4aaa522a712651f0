"""Series cut into what a model is shown and what it is to predict.

Shapes: T steps of a series, W of what is shown, K to predict, C channels.
"""

from typing import NamedTuple

import numpy as np

from perceiver_jax.series_windows import relative_series

# A deviation, and a difference to the step before, need as many.
LEAST_HISTORY = 2


# Of so many periods the mean is taken.
_MOST_PERIODS = 4


class Cut(NamedTuple):
  """A series that was cut, in the units of the series.

  Attributes:
    shown: float32 `[W, C]`.
    spread: what differences are measured in `[C]`; see `relative_series`.
    base: `[K, C]`, see `projected`.
    future: `[K, C]`, the differences to the base in spreads.
    last: the last step before `[C]`.
    seasonal: `[K, C]`, what a period before was.
    naive_error: `[C]`, the mean absolute difference of the steps before to
      those of a period before them.
  """

  shown: np.ndarray
  spread: np.ndarray
  base: np.ndarray
  future: np.ndarray
  last: np.ndarray
  seasonal: np.ndarray
  naive_error: np.ndarray


def newest(series: np.ndarray, num_steps: int) -> np.ndarray:
  """Returns the last steps of a series, as a model is shown them.

  What is to be predicted then always follows the same place. A shorter series
  has its first step repeated before it.

  Args:
    series: `[T, C]`, T at least 1.
    num_steps: W.

  Returns:
    float32 `[W, C]`.
  """
  newest_steps = series[-num_steps:]
  before = num_steps - len(newest_steps)
  padded = np.pad(newest_steps, ((before, 0), (0, 0)), mode='edge')
  return padded.astype(np.float32)


def cut(
  series: np.ndarray,
  horizon: int,
  num_steps: int,
  period: int,
  rng: np.random.Generator | None,
) -> Cut:
  """Cuts a series.

  Args:
    series: `[T, C]`, T at least K + 2.
    horizon: K.
    num_steps: W.
    period: in steps; 1 for none.
    rng: cuts at any step before which there is at least half of what could be
      shown; None cuts K steps before the end.

  Raises:
    ValueError: the series is too short.
  """
  latest = len(series) - horizon
  if latest < LEAST_HISTORY:
    raise ValueError(
      f'A series of {len(series)} steps is too short to predict {horizon} of '
      f'them: at least {horizon + LEAST_HISTORY} are needed.'
    )
  now = latest
  if rng is not None:
    least = max(LEAST_HISTORY, min(latest, num_steps) // 2)
    now = int(rng.integers(least, latest + 1))
  history, future = series[:now], series[now : now + horizon]
  shown = newest(history, num_steps)
  _, _, spread = relative_series(shown)
  base = projected(shown, horizon, period)
  return Cut(
    shown=shown,
    spread=spread[0],
    base=base,
    future=((future - base) / spread).astype(np.float32),
    last=history[-1],
    seasonal=repeated(history, horizon, period),
    naive_error=naive_errors(history, period).mean(axis=0),
  )


def projected(shown: np.ndarray, horizon: int, period: int) -> np.ndarray:
  """Returns the mean period over and over, at the level of the last one.

  That is what a model corrects: it need not learn first what is plain. The mean
  of at most four periods has less noise than the last alone. Without a period
  it is the last step, and likewise where less than a period is shown.

  Args:
    shown: `[W, C]`, see `newest`.
    horizon: K.
    period: in steps.

  Returns:
    float32 `[K, C]`.
  """
  # Steps that were repeated to fill up are no history.
  changes = np.flatnonzero((shown != shown[0]).any(axis=1))
  steps = len(shown) - changes[0] + 1 if changes.size else 1
  count = min(steps // period, _MOST_PERIODS)
  if count == 0:
    return np.repeat(shown[-1:], horizon, axis=0)
  periods = shown[len(shown) - count * period :].reshape(count, period, -1)
  levels = periods.mean(axis=1, keepdims=True)
  mean_period = levels[-1] + (periods - levels).mean(axis=0)
  return mean_period[np.arange(horizon) % period]


def repeated(history: np.ndarray, horizon: int, period: int) -> np.ndarray:
  """Returns the last period over and over, `[K, C]`, the seasonal naive way.

  Where the history has not as much, it is the last step.

  Args:
    history: `[T, C]`.
    horizon: K.
    period: in steps.
  """
  period = period if period <= len(history) else 1
  return history[len(history) - period + np.arange(horizon) % period]


def naive_errors(history: np.ndarray, period: int) -> np.ndarray:
  """Returns absolute differences to a period before, `[T - period, C]`.

  Where the history has not as much, those to the step before.

  Args:
    history: `[T, C]`, T at least 2.
    period: in steps.
  """
  period = period if period < len(history) else 1
  return np.abs(history[period:] - history[:-period])
