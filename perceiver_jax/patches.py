"""Patches of arrays: pure functions, any number of grid axes.

Shapes: B batch, C channels; a grid is images `[H, W]`, sound `[T]`, video
`[T, H, W]`.
"""

import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp


def space_to_depth(x: jax.Array, patch_shape: Sequence[int]) -> jax.Array:
  """Cuts a grid into patches that do not overlap (Perceiver, section 4.2).

  Args:
    x: `[B, *grid_shape, C]`.
    patch_shape: one size for each axis of the grid, each dividing it.

  Returns:
    `[B, *(grid_shape / patch_shape), prod(patch_shape) C]`; inside a patch in
    row-major order, channels last.

  Raises:
    ValueError: patches do not fit the grid.
  """
  batch, *grid_shape, channels = x.shape
  if len(patch_shape) != len(grid_shape) or any(
    size < 1 or side % size
    for side, size in zip(grid_shape, patch_shape, strict=False)
  ):
    raise ValueError(
      f'patch_shape = {tuple(patch_shape)} must divide the grid '
      f'{tuple(grid_shape)} of an array {x.shape} on each of its axes.'
    )
  split = [
    n
    for side, size in zip(grid_shape, patch_shape, strict=True)
    for n in (side // size, size)
  ]
  axes = len(grid_shape)
  x = x.reshape(batch, *split, channels)
  x = x.transpose(
    0, *range(1, 2 * axes, 2), *range(2, 2 * axes + 1, 2), 2 * axes + 1
  )
  return x.reshape(*x.shape[: axes + 1], -1)


def depth_to_space(x: jax.Array, patch_shape: Sequence[int]) -> jax.Array:
  """Undoes `space_to_depth` (Perceiver IO, section 4.3).

  Args:
    x: `[B, *grid_shape, prod(patch_shape) C]`.
    patch_shape: one size for each axis of the grid.

  Returns:
    `[B, *(grid_shape x patch_shape), C]`.

  Raises:
    ValueError: patches do not fit the array.
  """
  batch, *grid_shape, channels = x.shape
  axes = len(grid_shape)
  if (
    len(patch_shape) != axes
    or min(patch_shape) < 1
    or channels % math.prod(patch_shape)
  ):
    raise ValueError(
      f'patch_shape = {tuple(patch_shape)} must have one size for each of the '
      f'{axes} axes of the grid of an array {x.shape}, and their product must '
      f'divide its {channels} channels.'
    )
  x = x.reshape(batch, *grid_shape, *patch_shape, -1)
  order = [n for i in range(1, axes + 1) for n in (i, i + axes)]
  x = x.transpose(0, *order, 2 * axes + 1)
  sides = [
    side * size for side, size in zip(grid_shape, patch_shape, strict=True)
  ]
  return x.reshape(batch, *sides, -1)


def extract_patches(x: jax.Array, patch_shape: Sequence[int]) -> jax.Array:
  """A patch around every point of a grid, zeros beyond its border.

  Args:
    x: `[B, *grid_shape, C]`.
    patch_shape: one odd size for each axis of the grid.

  Returns:
    `[B, *grid_shape, prod(patch_shape) C]`, ordered as in `space_to_depth`.

  Raises:
    ValueError: a size is even, or their number wrong.
  """
  grid_shape = x.shape[1:-1]
  if len(patch_shape) != len(grid_shape) or any(
    size < 1 or size % 2 == 0 for size in patch_shape
  ):
    raise ValueError(
      f'patch_shape = {tuple(patch_shape)} must have one odd size for each of '
      f'the {len(grid_shape)} axes of the grid of an array {x.shape}.'
    )
  for i, size in enumerate(patch_shape):
    axis, reach = i + 1, size // 2
    padding = [(0, 0)] * x.ndim
    padding[axis] = (reach, reach)
    padded = jnp.pad(x, padding)
    shifted = [
      jax.lax.slice_in_dim(padded, j, j + grid_shape[i], axis=axis)
      for j in range(size)
    ]
    x = jnp.stack(shifted, axis=len(grid_shape) + 1 + i)
  return x.reshape(*x.shape[: len(grid_shape) + 1], -1)
