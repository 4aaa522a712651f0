"""Attention drawn over measurements over time."""

from typing import Any

import numpy as np

from experiments.data.modality import (
  Attended,
  AttentionDrawing,
  Panel,
  cannot_draw,
)
from experiments.pages.attention_parts import (
  CURVES_SCRIPT,
  MOST_COLUMNS,
  bytes_of,
  over_curves,
)

_SIZE = 4.2, 1.3  # In inches.


def _page(attended: Attended) -> dict[str, Any]:
  if len(attended.cells) != 1:
    raise cannot_draw(attended)
  view = attended.view
  steps = len(view.values)
  chosen = np.arange(min(MOST_COLUMNS, steps)) * steps
  values = view.values[chosen // min(MOST_COLUMNS, steps)]
  return {
    'kind': 'curves',
    'curves': [
      {'high': bytes_of(curve, float(curve.min()), float(curve.max()))}
      for curve in values.T
    ],
    'steps': steps,
    'seconds': None if view.rate is None else steps / view.rate,
  }


def _panel(attended: Attended) -> tuple[Panel, tuple[float, float]]:
  if len(attended.cells) != 1:
    raise cannot_draw(attended)
  return over_curves(attended.view.values), _SIZE


OVER_SERIES = AttentionDrawing(_page, (CURVES_SCRIPT,), _panel)
