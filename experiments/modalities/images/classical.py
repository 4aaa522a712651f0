"""Classical features of a picture: colours and oriented gradients."""

import numpy as np

from experiments.data.classical import Classical, support_vectors
from experiments.modalities.images.view import Image
from perceiver_jax.image_windows import oriented_gradients

_SIDE, _CELL, _ORIENTATIONS = 64, 8, 9


def picture_features(pixels: np.ndarray) -> np.ndarray:
  """Returns colours, a thumbnail, and oriented gradients in blocks.

  Args:
    pixels: `[H, W, 3]` from 0 to 255.
  """
  pixels = shrunk(np.asarray(pixels, np.float32), _SIDE) / 255
  codes = np.minimum((pixels * 4).astype(int), 3) @ (16, 4, 1)
  colours = np.bincount(codes.reshape(-1), minlength=64) / codes.size
  cells = np.asarray(
    oriented_gradients(pixels[None], cell=_CELL, orientations=_ORIENTATIONS)
  )[0]
  blocks = np.concatenate(
    [cells[:-1, :-1], cells[1:, :-1], cells[:-1, 1:], cells[1:, 1:]], axis=-1
  )
  blocks /= np.sqrt(np.square(blocks).sum(axis=-1, keepdims=True) + 1e-4)
  thumbnail = shrunk(pixels, 8)
  return np.concatenate([colours, thumbnail.reshape(-1), blocks.reshape(-1)])


def shrunk(pixels: np.ndarray, side: int) -> np.ndarray:
  """Returns means of areas or, of a smaller picture, its nearest pixels.

  Args:
    pixels: `[H, W, 3]`.
    side: of the result `[side, side, 3]`.
  """
  height, width = pixels.shape[:2]
  rows = np.linspace(0, height, side + 1).astype(int)[:-1]
  columns = np.linspace(0, width, side + 1).astype(int)[:-1]
  if min(height, width) < side:
    return pixels[rows][:, columns]
  sums = np.add.reduceat(np.add.reduceat(pixels, rows, 0), columns, 1)
  counts = np.multiply.outer(
    np.diff(rows, append=height), np.diff(columns, append=width)
  )
  return sums / counts[..., None]


def _of_view(view: Image) -> np.ndarray:
  return picture_features(view.pixels)


GRADIENTS = Classical(
  'colours and oriented gradients, support vectors', _of_view, support_vectors
)
