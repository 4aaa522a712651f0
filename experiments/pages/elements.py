"""Elements of a page that need nothing around them, not even a style sheet."""

import html

import cv2
import numpy as np

WIDTH = 320  # Of drawings, in units of their own.
# Pixels in a page. Smaller pictures are shown enlarged, without smoothing;
# larger ones are made smaller before.
_LEAST_SIDE, _MOST_SIDE = 160, 448


def fitting(pixels: np.ndarray) -> np.ndarray:
  """Makes a picture `[H, W, 3]` smaller where it is too large for a page."""
  longest = max(pixels.shape[:2])
  if longest <= _MOST_SIDE:
    return pixels
  size = [
    max(1, round(side * _MOST_SIDE / longest)) for side in pixels.shape[1::-1]
  ]
  return cv2.resize(
    np.ascontiguousarray(pixels), size, interpolation=cv2.INTER_AREA
  )


def picture(data: str, shape: tuple[int, ...]) -> str:
  """Returns an element that shows a picture, as squares where pixels are few.

  Args:
    data: URI of the picture, see `encodings`.
    shape: its height and width in pixels, and more.
  """
  height, width = shape[:2]
  factor = max(1, -(-_LEAST_SIDE // max(height, width)))
  style = 'display:block;max-width:100%;height:auto'
  if factor > 1:
    style += ';image-rendering:pixelated'
  return (
    f'<img alt="" width="{factor * width}" height="{factor * height}" '
    f'style="{style}" src="{data}">'
  )


def drawing(height: int, drawn: str, label: str) -> str:
  """Returns a drawing.

  Args:
    height: of the drawing; its width is `WIDTH`.
    drawn: elements of SVG.
    label: what it shows, in words.
  """
  return (
    f'<svg viewBox="0 0 {WIDTH} {height}" role="img" '
    f'style="display:block;width:100%;max-width:{WIDTH}px">'
    f'<title>{html.escape(label)}</title>{drawn}</svg>'
  )
