"""Attention drawn over images."""

from typing import Any

from experiments.data.modality import (
  Attended,
  AttentionDrawing,
  Panel,
  cannot_draw,
)
from experiments.pages.attention_parts import (
  PICTURE_SCRIPT,
  fitted,
  over_picture,
  picture_spec,
)

_SIDE = 2.2  # In inches.


def _page(attended: Attended) -> dict[str, Any]:
  if len(attended.cells) != 2:
    raise cannot_draw(attended)
  return picture_spec('image', attended.view.pixels, attended.cells)


def _panel(attended: Attended) -> tuple[Panel, tuple[float, float]]:
  if len(attended.cells) != 2:
    raise cannot_draw(attended)
  height, width = attended.view.pixels.shape[:2]
  return over_picture(attended.view.pixels), fitted(width, height, _SIDE)


OVER_IMAGES = AttentionDrawing(_page, (PICTURE_SCRIPT,), _panel)
