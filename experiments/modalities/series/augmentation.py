"""Series of measurements on the host: windows of them, changed at random.

A series is float32 `[T, C]`, C channels of any kind. Every random choice comes
from the `np.random.Generator` that the caller hands in.
"""

import numpy as np


def window(
  series: np.ndarray, *, start: float, speed: float, num_steps: int
) -> tuple[np.ndarray, np.ndarray]:
  """Cuts a window and plays it faster or slower; linear between the steps.

  Args:
    series: `[T, C]`.
    start: step of the series at which the window begins.
    speed: steps of the series a step of the window.
    num_steps: of the window.

  Returns:
    float32 `[num_steps, C]`, zeros past the end of the series, and bool
    `[num_steps]`, False there.
  """
  times = start + speed * np.arange(num_steps)
  before = np.minimum(times.astype(np.int64), len(series) - 1)
  after = np.minimum(before + 1, len(series) - 1)
  share = (times - before).astype(np.float32)[:, None]
  values = (1 - share) * series[before] + share * series[after]
  inside = times <= len(series) - 1
  return np.where(inside[:, None], values, 0).astype(np.float32), inside


def augment_series(
  series: np.ndarray,
  rng: np.random.Generator,
  *,
  num_steps: int,
  max_speed_change: float,
  max_scale: float,
  noise: float,
) -> tuple[np.ndarray, np.ndarray]:
  """Returns a window anywhere, changed at random; see `window`.

  Args:
    series: `[T, C]`, of about zero mean and unit variance.
    rng: source of randomness.
    num_steps: of the window.
    max_speed_change: 0.1 is from 0.9 to 1.1 times as fast.
    max_scale: of each channel; 0.1 is from 0.9 to 1.1 times.
    noise: standard deviation of what is added to each number.
  """
  values, inside, _ = augment_steps(
    series,
    rng,
    num_steps=num_steps,
    max_speed_change=max_speed_change,
    max_scale=max_scale,
    noise=noise,
  )
  return values, inside


def augment_steps(
  series: np.ndarray,
  rng: np.random.Generator,
  *,
  num_steps: int,
  max_speed_change: float,
  max_scale: float,
  noise: float,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
  """Does what `augment_series` does, and says where each step comes from.

  Args:
    series: see `augment_series`, like all that follows.
    rng: source of randomness.
    num_steps: of the window.
    max_speed_change: of the window.
    max_scale: of each channel.
    noise: of each number.

  Returns:
    What `augment_series` returns, and int `[num_steps]`, for each step of the
    window the nearest of the series; the last where it lies past the end.
  """
  speed = 1.0 + rng.uniform(-max_speed_change, max_speed_change)
  latest = len(series) - 1 - (num_steps - 1) * speed
  start = rng.uniform(0.0, max(latest, 0.0))
  values, inside = window(series, start=start, speed=speed, num_steps=num_steps)
  scales = rng.uniform(1 - max_scale, 1 + max_scale, values.shape[1])
  values = values * scales.astype(np.float32)
  values += np.float32(noise) * rng.standard_normal(values.shape, np.float32)
  values = np.where(inside[:, None], values, np.float32(0))
  nearest = np.rint(start + speed * np.arange(num_steps)).astype(np.int64)
  return values, inside, np.minimum(nearest, len(series) - 1)
