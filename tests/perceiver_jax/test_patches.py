"""Patches against loops over patches and pixels."""

import itertools
import math

import numpy as np
import pytest

from perceiver_jax.patches import (
  depth_to_space,
  extract_patches,
  space_to_depth,
)

CASES = [
  ((6,), (3,)),
  ((4, 6), (2, 3)),
  ((2, 4, 6), (2, 1, 3)),
]


def numbered(*shape):
  """An array in which every entry is different."""
  return np.arange(math.prod(shape), dtype=np.float32).reshape(shape)


def places(shape):
  return itertools.product(*map(range, shape))


@pytest.mark.parametrize(('grid', 'patch'), CASES)
def test_space_to_depth_lists_each_patch_in_row_major_order(grid, patch):
  x = numbered(2, *grid, 2)
  coarse = [side // size for side, size in zip(grid, patch, strict=True)]
  expected = np.zeros((2, *coarse, math.prod(patch) * 2), np.float32)
  for place in places(coarse):
    corner = np.array(place) * patch
    pixels = [x[:, *(corner + offset)] for offset in places(patch)]
    expected[:, *place] = np.concatenate(pixels, axis=-1)
  np.testing.assert_array_equal(space_to_depth(x, patch), expected)


@pytest.mark.parametrize(('grid', 'patch'), CASES)
def test_depth_to_space_undoes_space_to_depth(grid, patch):
  x = numbered(2, *grid, 2)
  np.testing.assert_array_equal(
    depth_to_space(space_to_depth(x, patch), patch), x
  )


@pytest.mark.parametrize(('grid', 'patch'), CASES)
def test_space_to_depth_undoes_depth_to_space(grid, patch):
  x = numbered(2, *grid, 3 * math.prod(patch))
  finer = depth_to_space(x, patch)
  sides = [side * size for side, size in zip(grid, patch, strict=True)]
  assert finer.shape == (2, *sides, 3)
  np.testing.assert_array_equal(space_to_depth(finer, patch), x)


@pytest.mark.parametrize(
  ('grid', 'patch'),
  [((5,), (3,)), ((3, 4), (3, 5)), ((2, 3, 4), (1, 3, 3))],
)
def test_extract_patches_surrounds_every_point_with_zeros_outside(grid, patch):
  x = 1.0 + numbered(2, *grid, 2)  # No zero inside.
  reach = np.array(patch) // 2
  expected = np.zeros((2, *grid, math.prod(patch), 2), np.float32)
  for place in places(grid):
    for i, offset in enumerate(places(patch)):
      neighbour = np.array(place) + offset - reach
      if (neighbour >= 0).all() and (neighbour < grid).all():
        expected[:, *place, i] = x[:, *neighbour]
  np.testing.assert_array_equal(
    extract_patches(x, patch), expected.reshape(2, *grid, -1)
  )


@pytest.mark.parametrize(
  ('function', 'patch', 'message'),
  [
    (space_to_depth, (2,), r'must divide the grid \(4, 6\)'),
    (space_to_depth, (3, 3), r'patch_shape = \(3, 3\) must divide'),
    (space_to_depth, (2, 0), 'must divide the grid'),
    (space_to_depth, (2, 2, 1), 'must divide the grid'),
    (depth_to_space, (2,), 'one size for each of the 2 axes'),
    (depth_to_space, (3, 1), 'must divide its 8 channels'),
    (depth_to_space, (0, 1), r'patch_shape = \(0, 1\)'),
    (extract_patches, (3,), 'one odd size for each of the 2 axes'),
    (extract_patches, (3, 2), r'patch_shape = \(3, 2\)'),
    (extract_patches, (3, -1), 'one odd size'),
  ],
)
def test_patches_that_do_not_fit(function, patch, message):
  with pytest.raises(ValueError, match=message):
    function(numbered(1, 4, 6, 8), patch)
