"""Attention drawn over a cell of a table: a box, the brighter the more."""

import importlib.resources
from typing import Any

import numpy as np

from experiments.data.modality import (
  Attended,
  AttentionDrawing,
  Panel,
  cannot_draw,
)
from experiments.pages.attention_colours import marker

_SIZE = 3.4, 0.4  # In inches.
_MOST_LETTERS = 30


def _text(attended: Attended) -> str:
  if attended.cells != (1,):
    raise cannot_draw(attended)
  return attended.view.text


def _page(attended: Attended) -> dict[str, Any]:
  return {'kind': 'cell', 'text': _text(attended)}


def _panel(attended: Attended) -> tuple[Panel, tuple[float, float]]:
  text = _text(attended)
  if len(text) > _MOST_LETTERS:
    text = f'{text[: _MOST_LETTERS - 3]}...'

  def draw(axes: Any, levels: np.ndarray) -> None:
    axes.set_facecolor('white')
    axes.imshow(marker(levels[None]), aspect='auto')
    # A dollar begins no formula.
    axes.text(0, 0, text, ha='center', va='center', size=8, parse_math=False)

  return draw, _SIZE


OVER_CELLS = AttentionDrawing(
  _page,
  (importlib.resources.files('experiments.modalities.cells') / 'attention.js',),
  _panel,
)
