"""The period of series, by their autocorrelation."""

from collections.abc import Sequence

import numpy as np

# A peak counts that is so high, and rises so much above what lies before it.
_LEAST_PEAK, _LEAST_RISE = 0.3, 0.2
# Periods that are whole multiples have peaks about as high: the first counts.
_ABOUT_AS_HIGH = 0.9


def find_period(series: Sequence[np.ndarray]) -> int:
  """Returns after how many steps series are most alike; 1 for none.

  Args:
    series: `[T, C]` of any lengths. Those shorter than the median do not count.
  """
  longest = int(np.median([len(each) for each in series])) // 2
  if longest < 3:
    return 1
  found = [
    autocorrelation(channel, longest + 1)
    for each in series
    if len(each) >= 2 * longest
    for channel in np.asarray(each, np.float64).T
  ]
  found = [each for each in found if each is not None]
  if not found:
    return 1
  return _first_peak(np.mean(found, axis=0))


def autocorrelation(values: np.ndarray, count: int) -> np.ndarray | None:
  """Returns the autocorrelation at lags 0 to below `count`, without a trend.

  Args:
    values: `[T]`.
    count: of lags, at most T.

  Returns:
    Of each lag the mean product of what lies so far apart, over the mean
    square; None where there is nothing but a straight line.
  """
  steps = np.arange(len(values))
  rest = values - np.polyval(np.polyfit(steps, values, 1), steps)
  power = np.mean(np.square(rest))
  if power <= 1e-12 * max(np.var(values), np.square(values).max()):
    return None
  # Twice as long with zeros, so that the ends do not meet.
  spectrum = np.fft.rfft(rest, 2 * len(rest))
  products = np.fft.irfft(np.square(np.abs(spectrum)))[:count]
  return products / (len(rest) - np.arange(count)) / power


def _first_peak(correlations: np.ndarray) -> int:
  """The lag of the first peak that is about as high as the highest."""
  peaks = [
    lag
    for lag in range(2, len(correlations) - 1)
    if _is_peak(correlations, lag)
  ]
  if not peaks:
    return 1
  highest = max(correlations[lag] for lag in peaks)
  return next(
    lag for lag in peaks if correlations[lag] >= _ABOUT_AS_HIGH * highest
  )


def _is_peak(correlations: np.ndarray, lag: int) -> bool:
  """Whether none nearby is higher, and the way there leads up."""
  nearby = max(1, lag // 10)
  around = correlations[lag - nearby : lag + nearby + 1]
  height = correlations[lag]
  rise = height - correlations[:lag].min()
  return height == around.max() and height > _LEAST_PEAK and rise > _LEAST_RISE
