"""Flow as colours: the hue is the direction, the strength the speed.

The colour wheel of the Middlebury flow benchmark (Baker et al., 2011).
"""

import numpy as np

# Colours of the wheel and how many steps it takes from each to the next: red,
# yellow, green, cyan, blue, magenta, and red again.
_CORNERS = np.array(
  [[1, 0, 0], [1, 1, 0], [0, 1, 0], [0, 1, 1], [0, 0, 1], [1, 0, 1], [1, 0, 0]],
  np.float64,
)
_STEPS = (15, 6, 4, 11, 13, 6)
# How bright the colours of motion beyond the largest are.
_BEYOND = 0.75


def colour_wheel() -> np.ndarray:
  """Returns the colours around the wheel, float64 `[55, 3]`, RGB from 0 to 1.

  The first is red, motion to the right; then they go on clockwise, as it is
  seen: yellow is down, cyan left, violet up.
  """
  ends = np.cumsum((0, *_STEPS))
  places = np.arange(ends[-1])
  return np.stack(
    [np.interp(places, ends, channel) for channel in _CORNERS.T], axis=-1
  )


def flow_colours(
  flow: np.ndarray, *, max_motion: float, valid: np.ndarray | None = None
) -> np.ndarray:
  """Returns a picture of flow, uint8 `[H, W, 3]`.

  White is rest, full colour is `max_motion`; faster motion is darker, and
  unknown flow black.

  Args:
    flow: `[H, W, 2]`, right and down, in pixels.
    max_motion: in pixels.
    valid: bool `[H, W]`, where flow is known; None for everywhere.
  """
  wheel = colour_wheel()
  speed = np.linalg.norm(flow, axis=-1, keepdims=True) / max_motion
  turn = np.arctan2(flow[..., 1], flow[..., 0]) / (2 * np.pi) % 1.0
  place = turn * len(wheel)
  first = np.floor(place).astype(int)
  share = (place - first)[..., None]
  first %= len(wheel)
  hue = (1 - share) * wheel[first] + share * wheel[(first + 1) % len(wheel)]
  colours = np.where(speed <= 1, 1 - speed * (1 - hue), _BEYOND * hue)
  if valid is not None:
    colours = np.where(valid[..., None], colours, 0.0)
  return np.rint(255 * colours).astype(np.uint8)
