"""Position tables on other grids: functions of the coordinates stay put."""

import itertools

import jax.numpy as jnp
import numpy as np
import pytest

from perceiver_jax.resample import resample_positions

GRIDS = [
  ((7,), (15,)),
  ((16,), (5,)),
  ((3,), (2,)),
  ((2,), (3,)),
  ((9, 6), (13, 17)),
  ((12, 14), (6, 5)),
  ((8, 14), (14, 8)),
  ((4, 6, 5), (7, 3, 9)),
  ((4, 6, 5), (4, 6, 7)),
]


def tabulate(function, grid):
  """`[M, C]` of a function of coordinates, written without the library."""
  axes = [
    [-1 + 2 * i / (n - 1) if n > 1 else -1 for i in range(n)] for n in grid
  ]
  return np.array([function(*point) for point in itertools.product(*axes)])


def quadratic(*point):
  """A different quadratic of every axis in each channel, and their product."""
  powers = [(x, 0.5 * x**2 - x, 1 + x) for x in point]
  return [
    sum(p[0] for p in powers),
    np.prod([p[2] for p in powers]),
    *powers[-1],
  ]


def smooth(*point):
  """Slow waves, not symmetric, running differently along the axes."""
  phase = sum((i + 1) * x for i, x in enumerate(point))
  return [
    np.sin(phase + 0.3),
    np.cos(0.7 * phase),
    point[0] * np.exp(point[-1]),
  ]


@pytest.mark.parametrize(('old', 'new'), GRIDS)
def test_low_orders_are_exact(old, new):
  """Linear functions, and quadratic ones where axes have three points."""
  function = quadratic if min(old) > 2 else lambda *point: [1 + point[0], 2.0]
  actual = resample_positions(tabulate(function, old), old, new)
  np.testing.assert_allclose(actual, tabulate(function, new), atol=1e-12)


@pytest.mark.parametrize(
  ('old', 'new', 'tolerance'),
  [
    ((16,), (40,), 2e-3),
    ((40,), (16,), 1e-4),
    ((20, 32), (33, 21), 3e-3),
    ((32, 20), (7, 9), 3e-3),
    ((17, 19, 21), (12, 23, 21), 2e-2),
  ],
)
def test_smooth_functions_of_the_coordinates_stay(old, new, tolerance):
  actual = resample_positions(tabulate(smooth, old), old, new)
  np.testing.assert_allclose(actual, tabulate(smooth, new), atol=tolerance)


def test_finer_grids_are_closer():
  def error(size):
    actual = resample_positions(tabulate(smooth, (size,)), (size,), (50,))
    return np.abs(actual - tabulate(smooth, (50,))).max()

  # Third order: half the distance, an eighth of the error.
  assert error(40) < error(20) / 6 < error(10) / 36


def test_corners_keep_their_vectors():
  table = np.random.default_rng(0).normal(size=(5 * 4, 3))
  actual = resample_positions(table, (5, 4), (11, 9)).reshape(11, 9, 3)
  expected = table.reshape(5, 4, 3)
  for i, j in itertools.product((0, -1), (0, -1)):
    np.testing.assert_allclose(actual[i, j], expected[i, j], atol=1e-12)
  # Every second of the 9 points is one of 5.
  np.testing.assert_allclose(
    resample_positions(table[:5], (5,), (9,))[::2], table[:5], atol=1e-12
  )


@pytest.mark.parametrize(('old', 'new'), GRIDS)
def test_constant_tables_stay_constant(old, new):
  table = np.tile(np.float32([3.0, -2.0]), (np.prod(old), 1))
  actual = resample_positions(table, old, new)
  assert actual.shape == (np.prod(new), 2) and actual.dtype == np.float32
  np.testing.assert_allclose(actual, np.tile([3.0, -2.0], (np.prod(new), 1)))


@pytest.mark.parametrize('dtype', [np.float32, np.float64, jnp.bfloat16])
def test_equal_grids_give_the_same_to_the_bit(dtype):
  table = np.random.default_rng(0).normal(size=(6, 2)).astype(dtype)
  actual = resample_positions(table, (3, 2), [3, 2])
  assert actual.dtype == dtype
  np.testing.assert_array_equal(actual, table)


def test_axes_of_one_point():
  table = np.arange(6.0).reshape(3, 2)
  repeated = resample_positions(table, (1, 3), (2, 3))
  np.testing.assert_array_equal(repeated, np.concatenate([table, table]))
  np.testing.assert_array_equal(
    resample_positions(table, (3, 1), (1, 1)), table[:1]
  )


@pytest.mark.parametrize(
  ('shape', 'old', 'new', 'expected'),
  [
    ((12, 2), (3, 5), (4, 4), '15 points of grid_shape = (3, 5), got (12, 2)'),
    ((3, 4, 2), (3, 4), (4, 4), 'must be [points, channels]'),
    ((12, 2), (3, 4), (12,), 'as many axes as grid_shape = (3, 4)'),
    ((12, 2), (3, 4), (4, 0), 'at least one point'),
    ((1, 2), (), (), 'at least one point'),
  ],
)
def test_what_does_not_fit(shape, old, new, expected):
  with pytest.raises(ValueError) as error:
    resample_positions(np.zeros(shape), old, new)
  assert expected in str(error.value)
