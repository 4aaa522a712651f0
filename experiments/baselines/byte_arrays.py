"""Byte arrays as the plain arrays that baselines take.

Shapes: B batch, M inputs, H x W grid, C channels of features and positions.

A baseline reads the same byte array as a Perceiver. Where its elements were
permuted, with their positions, or are points of a cloud in random order, they
fill a grid row by row in that order: neighbours are then neighbours no more
(Perceiver, section 4.1 'Permuted ImageNet' and section 4.3).
"""

import math
from collections.abc import Sequence

import jax

from perceiver_jax.byte_array import ByteArray


def to_sequence(byte_array: ByteArray) -> jax.Array:
  """Returns features and positions of all inputs, `[B, M, C]`.

  Raises:
    ValueError: there is padding, which no baseline can leave out.
  """
  if byte_array.mask is not None:
    raise ValueError(
      'Baselines take no masks: give them examples of one size, without '
      'padding.'
    )
  return byte_array.concatenate()


def to_grid(byte_array: ByteArray, grid_shape: Sequence[int]) -> jax.Array:
  """Lays the inputs out on a grid, row by row.

  Args:
    byte_array: M inputs of C channels.
    grid_shape: (H, W) with H W = M.

  Returns:
    `[B, H, W, C]`.

  Raises:
    ValueError: the inputs do not fill the grid, or there is padding.
  """
  sequence = to_sequence(byte_array)
  batch, elements, channels = sequence.shape
  if len(grid_shape) != 2 or math.prod(grid_shape) != elements:
    raise ValueError(
      f'baseline.grid_shape = {tuple(grid_shape)} must be two numbers whose '
      f'product is the number of inputs, {elements}.'
    )
  return sequence.reshape(batch, *grid_shape, channels)
