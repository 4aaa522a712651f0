"""Models for a fixed size, applied to larger images tile by tile."""

import itertools
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np


def tile_starts(size: int, tile: int, min_overlap: int) -> list[int]:
  """Where tiles begin on an axis, as in the released notebook.

  Neighbours overlap by `min_overlap`, the last two by what is left.

  Args:
    size: of the image.
    tile: of a tile, at most `size`.
    min_overlap: pixels that neighbours have in common, at least; below `tile`.

  Returns:
    The fewest starts that satisfy both, 0 first and `size - tile` last: (0,
    476, 528) for 1,024 pixels in tiles of 496 that overlap by 20.

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
  return [*range(0, size - tile, tile - min_overlap), size - tile]


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


def cut_tiles(
  images: jax.Array, *, tile_shape: Sequence[int], min_overlap: int
) -> jax.Array:
  """Cuts images into tiles of one shape that overlap and cover them.

  Args:
    images: `[B, ..., H, W, C]`; `[B, 2, H, W, 3]` for flow.
    tile_shape: `(h, w)`; (368, 496) for the published flow model.
    min_overlap: of neighbouring tiles, in pixels, on each axis.

  Returns:
    `[T, B, ..., h, w, C]`, row by row.

  Raises:
    ValueError: images are smaller than a tile, or the overlap too large.
  """
  places = _places(images.shape[-3:-1], tile_shape, min_overlap)
  return jnp.stack([images[..., *place, :] for place in places])


def join_tiles(
  tiles: jax.Array, *, size: Sequence[int], min_overlap: int
) -> jax.Array:
  """Joins predictions for the tiles of `cut_tiles`.

  Where tiles overlap, predictions are averaged with weights that grow with the
  distance to the tile's edge (Perceiver IO, appendix H).

  Args:
    tiles: `[T, B, h, w, F]`.
    size: `(H, W)` of the images.
    min_overlap: as they were cut.

  Returns:
    `[B, H, W, F]` float32.
  """
  _, batch, *tile_shape, channels = tiles.shape
  weights = edge_distance(tile_shape)[..., None]
  total = jnp.zeros((batch, *size, channels), jnp.float32)
  total_weight = np.zeros((*size, 1), np.float32)
  places = _places(size, tile_shape, min_overlap)
  for place, tile in zip(places, tiles, strict=True):
    total = total.at[:, *place].add(weights[None] * tile)
    total_weight[place] += weights
  return total / total_weight[None]


def tiled(
  predict: Callable[[jax.Array], jax.Array],
  images: jax.Array,
  *,
  tile_shape: Sequence[int],
  min_overlap: int = 20,
) -> jax.Array:
  """Predicts for images of any size from `tile_shape` on, tile by tile.

  As the papers' flow of large frames (Perceiver IO, appendix H).

  Args:
    predict: maps `[B, ..., h, w, C]` to `[B, h, w, F]`, with `(h, w) =
      tile_shape`; jit it, it always sees the same shape. Inside a transformed
      function map it over the tiles of `cut_tiles` by `hk.map` instead.
    images: see `cut_tiles`.
    tile_shape: see `cut_tiles`.
    min_overlap: see `cut_tiles`.

  Returns:
    `[B, H, W, F]` float32, joined as by `join_tiles`.

  Raises:
    ValueError: images are smaller than a tile, or the overlap too large.
  """
  tiles = cut_tiles(images, tile_shape=tile_shape, min_overlap=min_overlap)
  return join_tiles(
    jnp.stack([predict(tile) for tile in tiles]),
    size=images.shape[-3:-1],
    min_overlap=min_overlap,
  )


def _places(
  size: Sequence[int], tile_shape: Sequence[int], min_overlap: int
) -> list[tuple[slice, slice]]:
  """Rows and columns of each tile, row by row."""
  starts = (
    tile_starts(whole, tile, min_overlap)
    for whole, tile in zip(size, tile_shape, strict=True)
  )
  return [
    (slice(top, top + tile_shape[0]), slice(left, left + tile_shape[1]))
    for top, left in itertools.product(*starts)
  ]
