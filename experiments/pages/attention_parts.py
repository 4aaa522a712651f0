"""Parts of drawings of attention that several senses share.

Pictures are drawn in grey and darker than they were, so that the attention over
them is seen. Of each kind of input there is what a page's script is given, and
what draws it on axes of matplotlib.
"""

import importlib.resources
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from experiments.pages.attention_colours import overlay
from experiments.pages.encodings import picture_data

# Scripts of the same kinds, for pages.
PICTURE_SCRIPT, CURVES_SCRIPT = (
  importlib.resources.files('experiments.pages') / f'attention_{name}.js'
  for name in ('picture', 'curves')
)
# Points of a curve over time.
MOST_COLUMNS = 1024
# Pixels of smaller pictures stay squares.
_SMOOTH_SIDE = 100
_LINE = (0.92, 0.92, 0.96)
_DIMMED = 0.65  # Of an input's brightness, below the attention.
# Of the values of a spectrogram, those that are black and white.
_DARKEST, _BRIGHTEST = 2, 99.5


def picture_data_of(pixels: np.ndarray, parts: int = 1) -> dict[str, Any]:
  """Returns a picture for a page.

  Args:
    pixels: uint8 `[H, W, 3]`.
    parts: pictures in it, side by side.
  """
  height, width = pixels.shape[0], pixels.shape[1] // parts
  return {
    'source': picture_data(pixels),
    'aspect': height / width,
    'smooth': max(height, width) >= _SMOOTH_SIDE,
  }


def greys(values: np.ndarray) -> np.ndarray:
  """Returns a spectrogram `[frames, bands]` as a picture `[bands, frames]`.

  Returns:
    float from 0 to 1; the lowest band is at the bottom.
  """
  low, high = np.percentile(values, [_DARKEST, _BRIGHTEST])
  return np.clip((values - low) / max(high - low, 1e-9), 0, 1).T[::-1]


def bytes_of(values: np.ndarray, lowest: float, highest: float) -> list[int]:
  """Returns values from `lowest` to `highest` as whole numbers to 255."""
  span = max(highest - lowest, 1e-9)
  return np.rint(255 * (values - lowest) / span).astype(int).tolist()


def fitted(width: int, height: int, most: float) -> tuple[float, float]:
  """Returns a size in inches, of which the longer side is `most`."""
  scale = most / max(width, height)
  return scale * width, scale * height


def over_picture(
  pixels: np.ndarray,
) -> Callable[[Any, np.ndarray], None]:
  """Returns what draws levels `[rows, columns]` over a picture.

  Args:
    pixels: `[H, W, 3]` from 0 to 255.
  """
  grey = pixels.mean(axis=-1, keepdims=True) / 255 * _DIMMED
  dimmed = np.repeat(grey, 3, axis=-1)
  height, width = pixels.shape[:2]
  placed = dict(
    extent=(0, width, height, 0), aspect='auto', interpolation='nearest'
  )

  def draw(axes: Any, levels: np.ndarray) -> None:
    axes.imshow(dimmed, **placed)
    axes.imshow(overlay(levels), **placed)

  return draw


def over_curves(values: np.ndarray) -> Callable[[Any, np.ndarray], None]:
  """Returns what draws levels `[cells]` behind curves.

  Args:
    values: `[T, C]`; each channel is drawn on a scale of its own.
  """
  centred = values - values.mean(axis=0)
  curves = centred / np.maximum(np.abs(centred).max(axis=0), 1e-9)

  def draw(axes: Any, levels: np.ndarray) -> None:
    steps = len(curves)
    axes.imshow(
      overlay(levels)[None],
      extent=(0, steps, -1.1, 1.1),
      aspect='auto',
      interpolation='nearest',
    )
    width = 0.4 if steps > 1000 else 0.8
    axes.plot(np.arange(steps) + 0.5, curves, color=_LINE, linewidth=width)
    axes.set(xlim=(0, steps), ylim=(-1.1, 1.1))

  return draw


def picture_spec(
  kind: str, pixels: np.ndarray, cells: Sequence[int]
) -> dict[str, Any]:
  """Returns a picture with cells for the class `Picture` of a page.

  Args:
    kind: of input.
    pixels: uint8 `[H, W, 3]`.
    cells: numbers of rows and columns.
  """
  return {
    'kind': kind,
    'rows_columns': list(cells),
    **picture_data_of(pixels),
  }
