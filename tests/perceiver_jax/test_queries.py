"""Queries: numbers, and some of the points against all of them."""

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from perceiver_jax.position_encoding import (
  FourierPositions,
  LearnedPositions,
  ProjectedPositions,
  axis_coordinates,
  fourier_features,
)
from perceiver_jax.queries import GridQueries, LearnedQueries


def normal(seed, *shape):
  return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def fourier(axes, **settings):
  return FourierPositions(
    num_bands=2, max_resolution=(4, 6, 8)[:axes], **settings
  )


def learned(function, params):
  """Runs a function of Haiku modules with these parameters, without a key."""
  return lambda *args: hk.transform(function).apply(params, None, *args)


TABLE = normal(0, 12, 5)


@pytest.mark.parametrize('grid', [(12,), (3, 4), (3, 2, 2)])
def test_some_fourier_queries_are_rows_of_all(grid):
  queries = GridQueries(positions=fourier(len(grid)), grid_shape=grid)
  everything = queries()
  assert everything.shape == (1, 12, 5 * len(grid))
  indices = np.array([11, 0, 7, 7])
  np.testing.assert_array_equal(queries(indices), everything[:, indices])
  own = np.array([[1, 2, 3], [0, 11, 5]])
  np.testing.assert_array_equal(queries(own), everything[0, own])


@pytest.mark.parametrize('grid', [(12,), (3, 2, 2)])
def test_some_learned_queries_are_rows_of_all(grid):
  queries = learned(
    lambda indices: GridQueries(
      positions=LearnedPositions(num_channels=5), grid_shape=grid
    )(indices),
    {'learned_positions': {'positions': TABLE}},
  )
  np.testing.assert_array_equal(queries(None), TABLE[None])
  indices = np.array([11, 0, 7, 7])
  np.testing.assert_array_equal(queries(indices), TABLE[None, indices])
  own = np.array([[1, 2, 3], [0, 11, 5]])
  np.testing.assert_array_equal(queries(own), TABLE[own])


def test_some_projected_queries_are_rows_of_all():
  w, b = normal(1, 10, 3), normal(2, 3)
  queries = learned(
    lambda indices: GridQueries(
      positions=ProjectedPositions(positions=fourier(2), num_channels=3),
      grid_shape=(3, 4),
    )(indices),
    {'projected_positions/projection': {'w': w, 'b': b}},
  )
  everything = queries(None)
  expected = np.asarray(fourier(2)((3, 4))) @ w + b
  np.testing.assert_allclose(everything[0], expected, rtol=1e-5, atol=1e-5)
  own = np.array([[1, 2], [11, 5]])
  np.testing.assert_allclose(queries(own), expected[own], rtol=1e-5, atol=1e-5)


def test_indices_may_be_traced():
  queries = GridQueries(positions=fourier(2), grid_shape=(3, 4))
  own = jnp.array([[1, 2, 3], [0, 11, 5]])
  np.testing.assert_array_equal(jax.jit(queries)(own), queries(own))


def test_learned_queries_are_a_table_of_their_own():
  queries = learned(
    lambda indices: LearnedQueries(num_queries=12, num_channels=5)(indices),
    {'learned_queries/queries': {'positions': TABLE}},
  )
  np.testing.assert_array_equal(queries(None), TABLE[None])
  np.testing.assert_array_equal(queries(np.array([3, 1])), TABLE[None, [3, 1]])


def test_learned_queries_start_as_small_as_asked_for():
  model = hk.transform(
    lambda: LearnedQueries(num_queries=40, num_channels=50, init_stddev=0.5)()
  )
  queries = model.apply(model.init(jax.random.key(0)), None)
  assert queries.dtype == jnp.float32 and np.abs(queries).max() <= 1.0
  np.testing.assert_allclose(queries.std(), 0.5 * 0.88, rtol=0.05)


def test_without_the_end_points_lie_at_minus_one_plus_2_i_over_n():
  np.testing.assert_allclose(
    axis_coordinates(5, include_end=False), [-1.0, -0.6, -0.2, 0.2, 0.6]
  )
  np.testing.assert_allclose(axis_coordinates(5), [-1.0, -0.5, 0.0, 0.5, 1.0])
  rows, columns = -1 + 2 * np.arange(3) / 3, -1 + 2 * np.arange(4) / 4
  coordinates = np.stack(np.meshgrid(rows, columns, indexing='ij'), axis=-1)
  queries = GridQueries(
    positions=fourier(2, include_end=False), grid_shape=(3, 4)
  )
  expected = fourier_features(
    coordinates.reshape(12, 2), num_bands=2, max_resolution=(4, 6)
  )
  np.testing.assert_allclose(queries()[0], expected, atol=2e-6)
  np.testing.assert_allclose(
    queries(np.array([7, 2]))[0], expected[np.array([7, 2])], atol=2e-6
  )


@pytest.mark.parametrize('kind', ['fourier', 'learned'])
@pytest.mark.parametrize(
  ('indices', 'message'),
  [
    (np.array([0, 12]), r'grid \(3, 4\), from 0 to 11; got 0 to 12'),
    (np.array([[-1], [3]]), 'got -1 to 3'),
    (np.array([0.0, 1.0]), 'indices must be integers, got float'),
    (np.array([True, False]), 'indices must be integers, got bool'),
  ],
)
def test_indices_that_are_not_points_of_the_grid(kind, indices, message):
  def queries(indices):
    positions = (
      fourier(2) if kind == 'fourier' else LearnedPositions(num_channels=5)
    )
    return GridQueries(positions=positions, grid_shape=(3, 4))(indices)

  with pytest.raises(ValueError, match=message):
    learned(queries, {'learned_positions': {'positions': TABLE}})(indices)


def test_no_indices_ask_for_nothing():
  queries = GridQueries(positions=fourier(2), grid_shape=(3, 4))
  assert queries(np.zeros((2, 0), int)).shape == (2, 0, 10)


def test_grid_and_positions_must_have_the_same_axes():
  queries = GridQueries(positions=fourier(2), grid_shape=(12,))
  with pytest.raises(ValueError, match='each of the 1 axes'):
    queries()
