"""Byte arrays and the preprocessors that make them."""

import chex
import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from perceiver_jax.byte_array import ByteArray, check_byte_array, permute
from perceiver_jax.position_encoding import FourierPositions
from perceiver_jax.preprocessors import PermutedPixels, Pixels

POSITIONS = FourierPositions(num_bands=2, max_resolution=(4, 6))


def run(function, *args):
  return hk.testing.transform_and_run(function)(*args)


def test_concatenate_repeats_shared_positions():
  features = jnp.arange(12.0).reshape(2, 3, 2)
  positions = jnp.array([[10.0], [20.0], [30.0]])
  byte_array = ByteArray(features, positions)
  assert byte_array.num_channels == 3
  np.testing.assert_array_equal(
    byte_array.concatenate()[1], [[6, 7, 10], [8, 9, 20], [10, 11, 30]]
  )
  own = ByteArray(features, jnp.stack([positions, 2 * positions]))
  np.testing.assert_array_equal(
    own.concatenate()[1], [[6, 7, 20], [8, 9, 40], [10, 11, 60]]
  )
  assert ByteArray(features).concatenate() is features


def test_zero_padding_removes_nan():
  features = jnp.array([[[1.0], [jnp.nan]]])
  positions = jnp.array([[[2.0], [jnp.inf]]])
  mask = jnp.array([[True, False]])
  clean = ByteArray(features, positions, mask).zero_padding()
  np.testing.assert_array_equal(clean.concatenate(), [[[1, 2], [0, 0]]])


def test_permute_moves_everything_together():
  features = jnp.arange(6.0).reshape(1, 3, 2)
  byte_array = ByteArray(
    features, jnp.array([[1.0], [2.0], [3.0]]), jnp.array([[True, True, False]])
  )
  permuted = permute(byte_array, jnp.array([2, 0, 1]))
  np.testing.assert_array_equal(
    permuted.concatenate(), [[[4, 5, 3], [0, 1, 1], [2, 3, 2]]]
  )
  np.testing.assert_array_equal(permuted.mask, [[False, True, True]])


def test_pixels_keep_row_major_order():
  images = jnp.arange(2 * 4 * 6 * 3.0).reshape(2, 4, 6, 3)
  pixels = run(lambda x: Pixels(positions=POSITIONS)(x), images)
  np.testing.assert_array_equal(pixels.features[1, 6 * 2 + 5], images[1, 2, 5])
  np.testing.assert_allclose(
    pixels.positions[6 * 2 + 5, :2], [-1 + 2 * 2 / 3, 1.0], rtol=1e-6
  )
  chex.assert_shape(pixels.positions, (24, 10))
  assert pixels.mask is None


def test_pixels_without_positions():
  pixels = run(lambda x: Pixels(positions=None)(x), jnp.ones((2, 7, 3)))
  assert pixels.positions is None and pixels.features.shape == (2, 7, 3)


def test_permuted_pixels_are_the_same_set_in_another_order():
  images = jax.random.normal(jax.random.key(0), (2, 4, 6, 3))
  pixels = run(lambda x: Pixels(positions=POSITIONS)(x), images).concatenate()

  def permuted(seed):
    def preprocess(x):
      return PermutedPixels(positions=POSITIONS, seed=seed)(x)

    return np.asarray(run(preprocess, images).concatenate())

  order = np.lexsort(np.asarray(pixels[0]).T)
  other_order = np.lexsort(permuted(0)[0].T)
  np.testing.assert_array_equal(pixels[0][order], permuted(0)[0][other_order])
  assert not np.array_equal(pixels, permuted(0))
  np.testing.assert_array_equal(permuted(0), permuted(0))
  assert not np.array_equal(permuted(1), permuted(0))


@pytest.mark.parametrize(
  ('byte_array', 'message'),
  [
    (ByteArray(jnp.ones((2, 4, 4, 3))), r'must be \[B, M, C\]'),
    (ByteArray(jnp.ones((2, 5, 3)), jnp.ones((4, 8))), r'got \(4, 8\)'),
    (ByteArray(jnp.ones((2, 5, 3)), jnp.ones((3, 5, 8))), r'got \(3, 5, 8\)'),
    (
      ByteArray(jnp.ones((2, 5, 3)), None, jnp.ones((2, 5))),
      'mask must be bool',
    ),
    (
      ByteArray(jnp.ones((2, 5, 3)), None, jnp.ones((2, 4), bool)),
      r'bool \(2, 4\)',
    ),
  ],
)
def test_bad_shapes(byte_array, message):
  with pytest.raises(ValueError, match=message):
    check_byte_array(byte_array)
