"""Fourier features against numbers written out and closed forms."""

import dataclasses

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from perceiver_jax.position_encoding import (
  FourierPositions,
  GridPositions,
  LearnedPositions,
  fourier_features,
  frequency_bands,
)


def test_bands_are_spaced_linearly_or_logarithmically():
  np.testing.assert_allclose(frequency_bands(4, 8), [1.0, 2.0, 3.0, 4.0])
  np.testing.assert_allclose(frequency_bands(3, 8, 'log'), [1.0, 2.0, 4.0])
  imagenet = frequency_bands(64, 224)
  np.testing.assert_allclose(imagenet[[0, 1, -1]], [1.0, 1.0 + 111 / 63, 112.0])


def test_golden_values_in_one_dimension():
  # Bands 1 and 2 at x = 0.25: sines of pi/4 and pi/2, then their cosines.
  encoded = fourier_features(
    jnp.array([[0.25], [-1.0]]), num_bands=2, max_resolution=(4,)
  )
  half = 0.70710678
  np.testing.assert_allclose(
    encoded,
    [[0.25, half, 1.0, half, 0.0], [-1.0, 0.0, 0.0, -1.0, 1.0]],
    atol=1e-6,
  )


def test_order_is_coordinates_then_all_sines_then_all_cosines():
  # x = 0.5 with bands 1, 2; y = 0.25 with bands 1, 3 (another resolution).
  encoded = fourier_features(
    jnp.array([0.5, 0.25]), num_bands=2, max_resolution=(4, 6)
  )
  half = 0.70710678
  np.testing.assert_allclose(
    encoded,
    [0.5, 0.25, 1.0, 0.0, half, half, 0.0, -1.0, half, -half],
    atol=1e-6,
  )


def test_log_bands_in_the_encoding():
  encoded = fourier_features(
    jnp.array([0.125]), num_bands=3, max_resolution=(8,), spacing='log'
  )
  angles = np.pi * 0.125 * np.array([1.0, 2.0, 4.0])
  np.testing.assert_allclose(
    encoded, [0.125, *np.sin(angles), *np.cos(angles)], atol=2e-7
  )


@pytest.mark.parametrize('grid', [(5,), (3, 4), (2, 3, 4)])
@pytest.mark.parametrize('spacing', ['linear', 'log'])
def test_grid_agrees_with_free_coordinates(grid, spacing):
  resolution = tuple(range(8, 8 + len(grid)))
  axes = np.meshgrid(
    *(np.linspace(-1, 1, size) for size in grid), indexing='ij'
  )
  coordinates = np.stack(axes, axis=-1).reshape(-1, len(grid))
  expected = fourier_features(
    jnp.asarray(coordinates),
    num_bands=4,
    max_resolution=resolution,
    spacing=spacing,
  )
  encode = FourierPositions(
    num_bands=4, max_resolution=resolution, spacing=spacing
  )
  encoded = encode(grid)
  assert encoded.shape == (np.prod(grid), len(grid) * 9)
  np.testing.assert_allclose(encoded, expected, atol=2e-6)


def test_imagenet_grid_is_exact_to_float32():
  encode = FourierPositions(num_bands=64, max_resolution=(224, 224))
  encoded = np.asarray(encode((224, 224)))
  assert encoded.shape == (50_176, 258) and encoded.dtype == np.float32
  row, column = 17, 201
  x = np.array([-1 + 2 * row / 223, -1 + 2 * column / 223])
  bands = 1 + 111 * np.arange(64) / 63
  angles = (np.pi * x[:, None] * bands).ravel()
  expected = np.concatenate([x, np.sin(angles), np.cos(angles)])
  np.testing.assert_allclose(encoded[row * 224 + column], expected, atol=1e-7)


def test_features_follow_positions_not_values():
  # The same image on a finer grid gets other positions.
  encode = FourierPositions(num_bands=2, max_resolution=(8,))
  assert not np.allclose(encode((4,))[1], encode((5,))[1])


def test_bfloat16_coordinates_are_encoded_in_float32():
  coordinates = jnp.array([[0.5]], jnp.bfloat16)
  encoded = fourier_features(coordinates, num_bands=2, max_resolution=(32,))
  assert encoded.dtype == jnp.float32
  np.testing.assert_allclose(encoded[0, 2], np.sin(8 * np.pi), atol=1e-5)


def test_learned_positions():
  model = hk.without_apply_rng(
    hk.transform(lambda: LearnedPositions(num_channels=64)((30, 20)))
  )
  params = model.init(jax.random.key(0))
  encoded = model.apply(params)
  assert encoded.shape == (600, 64) and encoded.dtype == jnp.float32
  np.testing.assert_allclose(encoded.std(), 0.02 * 0.88, rtol=0.02)
  assert np.abs(encoded).max() <= 0.04
  assert list(params) == ['learned_positions']


@pytest.mark.parametrize(
  ('change', 'message'),
  [
    ({'spacing': 'cubic'}, 'spacing must be one of'),
    ({'num_bands': 0}, 'num_bands must be at least 1, got 0'),
    ({'max_resolution': (1, 8)}, 'max_resolution must be at least 2'),
  ],
)
def test_bad_arguments(change, message):
  arguments = {'num_bands': 4, 'max_resolution': (8, 8)} | change
  with pytest.raises(ValueError, match=message):
    FourierPositions(**arguments)


def test_number_of_dimensions_must_agree():
  encode = FourierPositions(num_bands=4, max_resolution=(8, 8))
  with pytest.raises(ValueError, match='each of the 1 axes'):
    encode((8,))
  with pytest.raises(ValueError, match='each of the 3 dimensions'):
    fourier_features(jnp.zeros((2, 3)), num_bands=4, max_resolution=(8, 8))


# Encoded when they are needed.

ON_DEMAND = GridPositions(
  encoding=FourierPositions(num_bands=3, max_resolution=[4, 6, 5]),
  grid_shape=(4, 6, 5),
)


def test_positions_on_demand_are_those_of_the_grid():
  whole = ON_DEMAND.encoding((4, 6, 5))
  assert ON_DEMAND.shape == whole.shape == (120, 21)
  np.testing.assert_array_equal(ON_DEMAND.encode(), whole)
  take = jax.jit(ON_DEMAND.take, static_argnums=1)
  for start in (0, 7, 113):
    np.testing.assert_array_equal(take(start, 7), whole[start : start + 7])


def test_moments_over_the_channels_of_each_position():
  whole = np.float64(ON_DEMAND.encode())
  mean, variance = ON_DEMAND.moments()
  np.testing.assert_allclose(mean, whole.mean(axis=1), atol=1e-7)
  np.testing.assert_allclose(variance, whole.var(axis=1), rtol=1e-6)


def test_positions_on_demand_are_equal_where_grid_and_encoding_are():
  same = GridPositions(
    encoding=FourierPositions(num_bands=3, max_resolution=(4, 6, 5)),
    grid_shape=(4, 6, 5),
  )
  assert same == ON_DEMAND and hash(same) == hash(ON_DEMAND)
  other = dataclasses.replace(ON_DEMAND, grid_shape=(4, 5, 6))
  assert other != ON_DEMAND
