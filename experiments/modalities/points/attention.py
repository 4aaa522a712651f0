"""Attention drawn over points."""

import importlib.resources
from collections.abc import Mapping
from typing import Any

import numpy as np

from experiments.data.modality import (
  Attended,
  AttentionDrawing,
  Cells,
  Panel,
  cannot_draw,
  divided,
)
from experiments.pages.attention_colours import colours

_SIZE = 2.4, 2.4  # In inches.
# How points are looked at: turned around the vertical, then tilted.
_TURN, _TILT = 0.7, 0.45


def _cells(
  grid_shape: tuple[int, ...], example: Mapping[str, Any], num_inputs: int
) -> Cells:
  del example, num_inputs
  starts = divided(grid_shape)
  return Cells(grid_shape, starts, labels=np.array(starts[0]))


def _page(attended: Attended) -> dict[str, Any]:
  """Centred, the farthest from the middle at 1,000."""
  coordinates = _coordinates(attended)
  centred = (
    coordinates - (coordinates.min(axis=0) + coordinates.max(axis=0)) / 2
  )
  radius = max(float(np.linalg.norm(centred, axis=1).max()), 1e-9)
  points = np.rint(1000 * centred / radius).astype(int)
  return {'kind': 'points', 'points': points.reshape(-1).tolist()}


def _coordinates(attended: Attended) -> np.ndarray:
  if len(attended.cells) != 1:
    raise cannot_draw(attended)
  return attended.view.coordinates[attended.labels]


def _panel(attended: Attended) -> tuple[Panel, tuple[float, float]]:
  """Points, y up, seen from one side and a little from above."""
  coordinates = _coordinates(attended)
  middle = (coordinates.min(axis=0) + coordinates.max(axis=0)) / 2
  a, up, c = (coordinates - middle).T
  away = np.sin(_TURN) * a - np.cos(_TURN) * c
  x = np.cos(_TURN) * a + np.sin(_TURN) * c
  y = np.cos(_TILT) * up - np.sin(_TILT) * away
  nearness = -(np.cos(_TILT) * away + np.sin(_TILT) * up)
  reach = 1.05 * max(np.abs(x).max(), np.abs(y).max(), 1e-9)
  order = np.argsort(nearness)

  def draw(axes: Any, levels: np.ndarray) -> None:
    unseen = np.array([0.42, 0.45, 0.55])
    seen = colours(0.45 + 0.55 * levels)
    share = np.clip(3 * levels, 0, 1)[:, None]
    colour = share * seen + (1 - share) * unseen
    size = 4 + 14 * levels
    axes.scatter(x[order], y[order], s=size[order], c=colour[order], lw=0)
    axes.set(xlim=(-reach, reach), ylim=(-reach, reach))

  return draw, _SIZE


OVER_POINTS = AttentionDrawing(
  _page,
  (
    importlib.resources.files('experiments.modalities.points') / 'attention.js',
  ),
  _panel,
  _cells,
)
