"""Learned position tables for another grid, by cubic interpolation.

A learned vector belongs to a coordinate. Grids put their first point at -1 and
their last at 1 of the crop, on every axis, whatever its number of points (see
`position_encoding.axis_coordinates`), so tables are interpolated with corners
aligned: corners keep their vectors, and what was learned for a place of the
crop stays there. Image resizing as in `jax.image.resize` puts points at the
centres of cells instead and would move the border inwards.

There is no antialiasing. A smaller grid asks for the vectors at fewer places,
not for averages over what lies between them.
"""

import math
from collections.abc import Sequence

import numpy as np

from perceiver_jax.position_encoding import axis_coordinates


def resample_positions(
  table: np.ndarray,
  grid_shape: Sequence[int],
  new_grid_shape: Sequence[int],
) -> np.ndarray:
  """Interpolates a table of learned positions at the points of another grid.

  Quadratic functions of the coordinates are met exactly where the old axis has
  three points, linear ones where it has two. An axis of one old point says
  nothing about other places: all its new points get the same vector. An axis
  of one new point takes the vector at -1, where such a point lies.

  Args:
    table: `[M, C]`, for M points in row-major order; not changed.
    grid_shape: of the M points.
    new_grid_shape: of M' points, with as many axes.

  Returns:
    `[M', C]` in the dtype of the table.

  Raises:
    ValueError: the table is not one of this grid, or the grids do not match.
  """
  table = np.asarray(table)
  old, new = tuple(grid_shape), tuple(new_grid_shape)
  if len(old) != len(new) or min((*old, *new), default=0) < 1:
    raise ValueError(
      f'new_grid_shape = {new} must have as many axes as grid_shape = {old}, '
      'each with at least one point.'
    )
  if table.ndim != 2 or len(table) != math.prod(old):
    raise ValueError(
      f'table must be [points, channels] with {math.prod(old)} points of '
      f'grid_shape = {old}, got {table.shape}. Give the grid that the table '
      'was learned for.'
    )
  values = table.reshape(*old, -1)
  for axis, (size, new_size) in enumerate(zip(old, new, strict=True)):
    if size != new_size:
      weights = _interpolation(size, new_size)
      values = np.tensordot(weights, values.astype(np.float64), (1, axis))
      values = np.moveaxis(values, 0, axis)
  return values.reshape(-1, table.shape[1]).astype(table.dtype)


def _interpolation(size: int, new_size: int) -> np.ndarray:
  """Weights `[new_size, size]` of the old points of an axis for the new ones.

  Cubic convolution (Keys, 1981) with a = -1/2; one point beyond either end is
  extrapolated from those inside.
  """
  if size == 1:
    return np.ones((new_size, 1))
  places = (axis_coordinates(new_size) + 1.0) / 2.0 * (size - 1)
  left = np.clip(np.floor(places).astype(int), 0, size - 2)
  t = places - left
  kernel = (
    -t / 2 + t**2 - t**3 / 2,
    1 - 5 * t**2 / 2 + 3 * t**3 / 2,
    t / 2 + 2 * t**2 - 3 * t**3 / 2,
    -(t**2) / 2 + t**3 / 2,
  )
  weights = np.zeros((new_size, size + 2))  # Columns: points -1 to size.
  for offset, weight in enumerate(kernel):
    weights[np.arange(new_size), left + offset] = weight
  beyond = [3.0, -3.0, 1.0] if size > 2 else [2.0, -1.0]
  inside = weights[:, 1:-1]
  inside[:, : len(beyond)] += np.outer(weights[:, 0], beyond)
  inside[:, -len(beyond) :] += np.outer(weights[:, -1], beyond[::-1])
  return inside
