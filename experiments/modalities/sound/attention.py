"""Attention drawn over sounds: over their wave, or their spectrogram."""

from typing import Any

import numpy as np

from experiments.data.modality import (
  Attended,
  AttentionDrawing,
  Panel,
  cannot_draw,
)
from experiments.modalities.sound.view import Sound
from experiments.pages.attention_parts import (
  CURVES_SCRIPT,
  MOST_COLUMNS,
  PICTURE_SCRIPT,
  bytes_of,
  greys,
  over_curves,
  over_picture,
  picture_spec,
)

_WAVE_SIZE, _SPECTROGRAM_SIZE = (4.2, 1.0), (3.4, 1.6)  # In inches.
_SPECTROGRAM_ASPECT = 0.45
# Of a spectrogram on a page, the darkest grey and the span to white.
_DARKEST, _SPAN = 30, 225


def _page(attended: Attended) -> dict[str, Any]:
  view, cells = attended.view, attended.cells
  if len(cells) == 1:
    return _wave(view)
  if len(cells) != 2 or attended.values is None:
    raise cannot_draw(attended)
  grey = np.rint(_DARKEST + _SPAN * greys(attended.values)).astype(np.uint8)
  pixels = np.repeat(grey[..., None], 3, axis=-1)
  return {
    **picture_spec('spectrogram', pixels, cells[::-1]),
    'aspect': _SPECTROGRAM_ASPECT,
    'seconds': view.samples.size / view.rate,
  }


def _wave(view: Sound) -> dict[str, Any]:
  samples = view.samples.reshape(-1)
  loudest = max(float(np.abs(samples).max(initial=0.0)), 1e-6)
  columns = min(MOST_COLUMNS, samples.size)
  starts = np.arange(columns) * samples.size // columns
  low, high = (
    bytes_of(each.reduceat(samples, starts), -loudest, loudest)
    for each in (np.minimum, np.maximum)
  )
  return {
    'kind': 'curves',
    'curves': [{'low': low, 'high': high}],
    'seconds': samples.size / view.rate,
  }


def _panel(attended: Attended) -> tuple[Panel, tuple[float, float]]:
  if len(attended.cells) == 1:
    return over_curves(attended.view.samples[:, None]), _WAVE_SIZE
  if len(attended.cells) != 2 or attended.values is None:
    raise cannot_draw(attended)
  pixels = np.repeat(255 * greys(attended.values)[..., None], 3, axis=-1)
  over = over_picture(pixels)
  # Of a spectrogram time comes first, and low bands are at the bottom.
  return lambda axes, levels: over(axes, levels.T[::-1]), _SPECTROGRAM_SIZE


OVER_SOUNDS = AttentionDrawing(_page, (PICTURE_SCRIPT, CURVES_SCRIPT), _panel)
