"""Inputs and weights as the page of attention takes them, to be JSON.

Each kind is drawn by the class of that name in attention_inputs.js.
"""

import base64
from collections.abc import Sequence
from typing import Any

import numpy as np

from experiments.attention.maps import Modality
from experiments.data.views import Image, Points, Series, Sound, Text, Video
from experiments.pages.encodings import picture_data

# Of a curve over time.
_MOST_COLUMNS = 1024
# Pixels of smaller pictures stay squares.
_SMOOTH_SIDE = 100
# Shown even where several share a map.
_FEW_FRAMES = 8
_SPECTROGRAM_ASPECT = 0.45


def page_input(modality: Modality) -> dict[str, Any]:
  """Returns an input as it is drawn, without weights.

  Args:
    modality: what it is, and into which cells it is divided.

  Returns:
    `kind` is one of image, spectrogram, video, curves, points and text.

  Raises:
    ValueError: the model divides it in a way that nothing is drawn of.
  """
  view, cells = modality.view, modality.cells
  match view, len(cells):
    case Image(), 2:
      return _image(view.pixels, cells)
    case Video(), 3:
      return _video(view, cells[0])
    case Sound(), 2 if modality.spectrogram is not None:
      return _spectrogram(
        modality.spectrogram, cells, view.samples.size / view.rate
      )
    case Sound(), 1:
      return _sound(view)
    case Series(), 1:
      return _series(view)
    case Points(), 1:
      return _points(view.coordinates[modality.points])
    case Text(), 1:
      return {'kind': 'text', 'pieces': list(modality.pieces)}
  raise ValueError(
    f'Attention to {type(view).__name__.lower()} on a grid of {len(cells)} '
    'axes cannot be drawn.'
  )


def page_weights(levels: np.ndarray) -> dict[str, Any]:
  """Returns the maps of a modality, 8 bit a cell.

  Args:
    levels: `[depths, rows, *cells]` in [0, 1], see `attention_maps.levels`.

  Returns:
    `cells`, their shape, and `levels`, base64 of bytes.
  """
  data = np.rint(255 * levels).astype(np.uint8).tobytes()
  return {
    'cells': list(levels.shape[2:]),
    'levels': base64.b64encode(data).decode(),
  }


def _image(pixels: np.ndarray, cells: Sequence[int]) -> dict[str, Any]:
  return {'kind': 'image', 'rows_columns': list(cells), **_picture(pixels)}


def _spectrogram(
  values: np.ndarray, cells: Sequence[int], seconds: float
) -> dict[str, Any]:
  low, high = np.percentile(values, [2, 99.5])
  grey = np.clip((values - low) / max(high - low, 1e-9), 0, 1).T[::-1]
  grey = np.rint(30 + 225 * grey).astype(np.uint8)
  pixels = np.repeat(grey[..., None], 3, axis=-1)
  return {
    'kind': 'spectrogram',
    'rows_columns': [cells[1], cells[0]],
    **_picture(pixels),
    'aspect': _SPECTROGRAM_ASPECT,
    'seconds': seconds,
  }


def _video(view: Video, num_times: int) -> dict[str, Any]:
  """Frames side by side: all of a few, else one for each time of the maps."""
  count = len(view.frames)
  if count <= max(_FEW_FRAMES, num_times):
    chosen = np.arange(count)
  else:
    chosen = ((np.arange(num_times) + 0.5) * count / num_times).astype(int)
  frames = view.frames[chosen]
  strip = _picture(np.concatenate(frames, axis=1), parts=len(frames))
  return {
    'kind': 'video',
    **strip,
    'frame_cells': (chosen * num_times // count).tolist(),
    'seconds': count / view.rate,
  }


def _picture(pixels: np.ndarray, parts: int = 1) -> dict[str, Any]:
  """A picture, of several parts side by side, as a data URI."""
  height, width = pixels.shape[0], pixels.shape[1] // parts
  return {
    'source': picture_data(pixels),
    'aspect': height / width,
    'smooth': max(height, width) >= _SMOOTH_SIDE,
  }


def _sound(view: Sound) -> dict[str, Any]:
  samples = view.samples.reshape(-1)
  loudest = max(float(np.abs(samples).max(initial=0.0)), 1e-6)
  columns = min(_MOST_COLUMNS, samples.size)
  starts = np.arange(columns) * samples.size // columns
  low, high = (
    _levels(each.reduceat(samples, starts), -loudest, loudest)
    for each in (np.minimum, np.maximum)
  )
  return {
    'kind': 'curves',
    'curves': [{'low': low, 'high': high}],
    'seconds': samples.size / view.rate,
  }


def _series(view: Series) -> dict[str, Any]:
  steps = len(view.values)
  chosen = np.arange(min(_MOST_COLUMNS, steps)) * steps
  values = view.values[chosen // min(_MOST_COLUMNS, steps)]
  curves = []
  for curve in values.T:
    high = _levels(curve, float(curve.min()), float(curve.max()))
    curves.append({'high': high})
  return {
    'kind': 'curves',
    'curves': curves,
    'steps': steps,
    'seconds': None if view.rate is None else steps / view.rate,
  }


def _levels(values: np.ndarray, lowest: float, highest: float) -> list[int]:
  span = max(highest - lowest, 1e-9)
  return np.rint(255 * (values - lowest) / span).astype(int).tolist()


def _points(coordinates: np.ndarray) -> dict[str, Any]:
  """Centred, the farthest from the middle at 1,000."""
  centred = (
    coordinates - (coordinates.min(axis=0) + coordinates.max(axis=0)) / 2
  )
  radius = max(float(np.linalg.norm(centred, axis=1).max()), 1e-9)
  points = np.rint(1000 * centred / radius).astype(int)
  return {'kind': 'points', 'points': points.reshape(-1).tolist()}
