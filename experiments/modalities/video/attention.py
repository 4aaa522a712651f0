"""Attention drawn over the frames of videos."""

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
from experiments.pages.attention_parts import (
  fitted,
  over_picture,
  picture_data_of,
)

# Shown even where several share a map.
_FEW_FRAMES = 8
_SIDE = 1.5  # Of a frame, in inches.


def _cells(
  grid_shape: tuple[int, ...], example: Mapping[str, Any], num_inputs: int
) -> Cells:
  del example, num_inputs
  if len(grid_shape) == 2:  # One grid for all frames, channels of its points.
    grid_shape = (1, *grid_shape)
  return Cells(grid_shape, divided(grid_shape))


def _page(attended: Attended) -> dict[str, Any]:
  """Frames side by side: all of a few, else one for each time of the maps."""
  if len(attended.cells) != 3:
    raise cannot_draw(attended)
  view, num_times = attended.view, attended.cells[0]
  count = len(view.frames)
  if count <= max(_FEW_FRAMES, num_times):
    chosen = np.arange(count)
  else:
    chosen = ((np.arange(num_times) + 0.5) * count / num_times).astype(int)
  frames = view.frames[chosen]
  return {
    'kind': 'video',
    **picture_data_of(np.concatenate(frames, axis=1), parts=len(frames)),
    'frame_cells': (chosen * num_times // count).tolist(),
    'seconds': count / view.rate,
  }


def _panel(attended: Attended) -> tuple[Panel, tuple[float, float]]:
  """Frames side by side, one or more for each time of the maps."""
  if len(attended.cells) != 3:
    raise cannot_draw(attended)
  view, num_times = attended.view, attended.cells[0]
  count = len(view.frames)
  num_shown = min(count, max(_FEW_FRAMES, num_times))
  shown = np.arange(num_shown) * count // num_shown
  frames = view.frames[shown]
  strip = over_picture(np.concatenate(frames, axis=1))

  def draw(axes: Any, levels: np.ndarray) -> None:
    strip(axes, np.concatenate(levels[shown * num_times // count], axis=1))

  width, height = fitted(frames.shape[2], frames.shape[1], _SIDE)
  return draw, (len(frames) * width, height)


OVER_VIDEOS = AttentionDrawing(
  _page,
  (importlib.resources.files('experiments.modalities.video') / 'attention.js',),
  _panel,
  _cells,
)
