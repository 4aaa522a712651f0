"""Attention drawn over thermal pictures."""

import pathlib
from typing import Any

from experiments.data.modality import (
  Attended,
  AttentionDrawing,
  Panel,
  cannot_draw,
)
from experiments.pages.attention_parts import (
  PICTURE_SCRIPT,
  over_picture,
  picture_spec,
)
from tests.outside.thermal.view import greys


def _page(attended: Attended) -> dict[str, Any]:
  if len(attended.cells) != 2:
    raise cannot_draw(attended)
  return picture_spec('thermal', greys(attended.view), attended.cells)


def _panel(attended: Attended) -> tuple[Panel, tuple[float, float]]:
  return over_picture(greys(attended.view)), (2.0, 2.0)


OVER_THERMAL = AttentionDrawing(
  _page,
  (PICTURE_SCRIPT, pathlib.Path(__file__).parent / 'attention.js'),
  _panel,
)
