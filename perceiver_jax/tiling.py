"""Models for a fixed size, applied to larger images tile by tile."""

from collections.abc import Callable, Sequence

import numpy as np


def tile_starts(size: int, tile: int, min_overlap: int) -> list[int]:
  """Where tiles begin on an axis, evenly spread from border to border.

  Args:
    size: of the image.
    tile: of a tile, at most `size`.
    min_overlap: pixels that neighbours have in common, at least; below `tile`.

  Returns:
    The fewest starts that satisfy both, 0 first and `size - tile` last.

  Raises:
    ValueError: the image is smaller than a tile, or the overlap too large.
  """
  if not 0 <= min_overlap < tile:
    raise ValueError(
      f'min_overlap must be from 0 to {tile - 1}, below the tile of {tile} '
      f'pixels; got {min_overlap}.'
    )
  if size < tile:
    raise ValueError(
      f'The image has {size} pixels where a tile has {tile}. Enlarge or pad '
      'the image, or take a model for smaller tiles.'
    )
  count = 1 + -(-(size - tile) // (tile - min_overlap))
  if count == 1:
    return [0]
  return [round(i * (size - tile) / (count - 1)) for i in range(count)]


def edge_distance(tile_shape: Sequence[int]) -> np.ndarray:
  """Weights of a tile's pixels, their distance to its edge in pixels.

  Args:
    tile_shape: `(h, w)`.

  Returns:
    `[h, w]` float32, 1 on the edge.
  """
  height, width = (
    np.minimum(np.arange(1, size + 1), np.arange(size, 0, -1))
    for size in tile_shape
  )
  return np.minimum(height[:, None], width[None, :]).astype(np.float32)


def tiled(
  predict: Callable[[np.ndarray], np.ndarray],
  images: np.ndarray,
  *,
  tile_shape: Sequence[int],
  min_overlap: int = 20,
) -> np.ndarray:
  """Predicts for images of any size from `tile_shape` on.

  Where tiles overlap, predictions are averaged with weights that grow with the
  distance to the tile's edge (Perceiver IO, appendix H).

  Args:
    predict: maps `[B, ..., h, w, C]` to `[B, h, w, F]`, with `(h, w) =
      tile_shape`; jit it, it always sees the same shape.
    images: `[B, ..., H, W, C]`; `[B, 2, H, W, 3]` for flow.
    tile_shape: `(h, w)`; (368, 496) for the published flow model.
    min_overlap: of neighbouring tiles, in pixels, on each axis.

  Returns:
    `[B, H, W, F]` float32.

  Raises:
    ValueError: images are smaller than a tile, or the overlap too large.
  """
  height, width = images.shape[-3:-1]
  rows = tile_starts(height, tile_shape[0], min_overlap)
  columns = tile_starts(width, tile_shape[1], min_overlap)
  weights = edge_distance(tile_shape)[..., None]
  total, total_weight = None, np.zeros((height, width, 1), np.float32)
  for top in rows:
    for left in columns:
      place = (
        slice(top, top + tile_shape[0]),
        slice(left, left + tile_shape[1]),
      )
      prediction = np.asarray(predict(images[..., *place, :]))
      if total is None:
        shape = (images.shape[0], height, width, prediction.shape[-1])
        total = np.zeros(shape, np.float32)
      total[:, *place] += weights * prediction
      total_weight[place] += weights
  return total / total_weight
