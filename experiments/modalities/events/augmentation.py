"""Events on the host, changed at random.

Every random choice comes from the `np.random.Generator` that the caller hands
in.
"""

from typing import NamedTuple

import numpy as np


class Changes(NamedTuple):
  """How training examples are changed; see `folder.events_files`."""

  max_drop: float
  max_speed_change: float
  jitter: float
  max_scale: float
  noise: float

  def check(self) -> None:
    """Raises a ValueError unless all are in their ranges."""
    for name in ('max_drop', 'max_speed_change'):
      if not 0.0 <= getattr(self, name) < 1.0:
        raise ValueError(
          f'{name} must be in [0, 1), got {getattr(self, name)}.'
        )
    for name in ('jitter', 'max_scale', 'noise'):
      if getattr(self, name) < 0.0:
        raise ValueError(
          f'{name} must not be negative, got {getattr(self, name)}. 0 changes '
          'nothing.'
        )


def change_events(
  time: np.ndarray,
  channel: np.ndarray,
  value: np.ndarray,
  changes: Changes,
  gap: float,
  rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
  """Leaves out events, and changes the times and values of the others.

  Args:
    time: float64 `[n]`, rising, n > 0.
    channel: int32 `[n]`.
    value: float32 `[n]`.
    changes: what is done.
    gap: usual distance of events of a channel, in the unit of the times.
    rng: source of randomness.

  Returns:
    The events that are left, at least one, in order of time. The last of all
    keeps its time but for the jitter: time is stretched from there.
  """
  kept = rng.random(len(time)) >= rng.uniform(0.0, changes.max_drop)
  kept[rng.integers(len(time))] = True
  speed = 1.0 + rng.uniform(-changes.max_speed_change, changes.max_speed_change)
  time = time[-1] + (time - time[-1])[kept] / speed
  time = time + changes.jitter * gap * rng.standard_normal(len(time))
  channel, value = channel[kept], value[kept]
  scales = rng.uniform(
    1 - changes.max_scale, 1 + changes.max_scale, channel.max() + 1
  )
  value = value * scales[channel]
  value = value + changes.noise * rng.standard_normal(len(value))
  order = np.argsort(time, kind='stable')
  return time[order], channel[order], value[order].astype(np.float32)
