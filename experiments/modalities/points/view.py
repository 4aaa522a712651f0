"""What a person sees of points."""

from typing import NamedTuple

import numpy as np

from experiments.pages.elements import picture
from experiments.pages.encodings import moving_data

_SIDE, _FRAMES, _SECONDS = 200, 20, 5.0
_TILT, _TURN = np.deg2rad(20.0), np.deg2rad(35.0)
_MOST_POINTS = 800
_COLOUR = (82, 146, 250)


class Points(NamedTuple):
  """Points of a surface.

  Attributes:
    coordinates: float32 `[N, 3]`, in no unit.
    scale: what 1 is in the unit of the file; 1 where it is not known.
  """

  coordinates: np.ndarray
  scale: float = 1.0


def points_html(view: Points) -> str:
  """Returns a cloud that turns."""
  frames = [
    _cloud(view.coordinates, _TURN + 2 * np.pi * i / _FRAMES)
    for i in range(_FRAMES)
  ]
  return picture(moving_data(frames, _FRAMES / _SECONDS), frames[0].shape)


def _cloud(coordinates: np.ndarray, turn: float) -> np.ndarray:
  """Draws points from a side, seen a little from above; y is up.

  Args:
    coordinates: `[N, 3]`.
    turn: around y, in radians.

  Returns:
    uint8 `[side, side, 4]`; what is behind is paler.
  """
  points = np.asarray(coordinates, np.float64)
  points = points[:: -(-len(points) // _MOST_POINTS)]
  points = points - (points.min(axis=0) + points.max(axis=0)) / 2
  points /= max(float(np.linalg.norm(points, axis=1).max()), 1e-9)
  x, y, z = points.T
  cosine, sine = np.cos(turn), np.sin(turn)
  right, depth = cosine * x - sine * z, sine * x + cosine * z
  up = np.cos(_TILT) * y + np.sin(_TILT) * depth
  away = np.cos(_TILT) * depth - np.sin(_TILT) * y
  half = (_SIDE - 3) / 2
  columns = np.rint(half * (1 + right)).astype(int)
  rows = np.rint(half * (1 - up)).astype(int)
  opacity = np.rint(255 - 70 * (1 + away)).astype(np.uint8)
  picture = np.zeros((_SIDE, _SIDE, 4), np.uint8)
  picture[..., :3] = _COLOUR
  for i in (0, 1):
    for j in (0, 1):
      np.maximum.at(picture[..., 3], (rows + i, columns + j), opacity)
  return picture
