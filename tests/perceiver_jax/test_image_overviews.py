"""Images as a whole: inputs that are no windows, against numpy and scipy."""

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from perceiver_jax.byte_array import ByteArray
from perceiver_jax.image_windows import (
  ImageWindows,
  oriented_gradients,
  overview_features,
)
from perceiver_jax.layouts import layout_of
from perceiver_jax.position_encoding import FourierPositions


def applied(module, raw, rng=None, **keywords):
  function = hk.transform(lambda x: module()(x, **keywords))
  return function.apply({}, rng, raw)


def image_windows(**more):
  return lambda: ImageWindows(
    cell=2,
    positions=FourierPositions(num_bands=3, max_resolution=(6, 6)),
    **more,
  )


def test_training_leaves_out_windows_of_a_whole_batch():
  images = np.random.default_rng(2).normal(size=(3, 8, 8, 1)).astype('f4')
  module = image_windows(drop_rate=0.25)
  whole = applied(module, images)
  places = set()
  for seed in range(5):
    part = applied(module, images, jax.random.key(seed), is_training=True)
    assert part.features.shape == (3, 12, whole.features.shape[-1])
    found = [
      int(np.flatnonzero((np.asarray(whole.positions) == row).all(axis=1))[0])
      for row in np.asarray(part.positions)
    ]
    assert len(set(found)) == 12
    np.testing.assert_array_equal(part.features, whole.features[:, found])
    places.add(tuple(sorted(found)))
  assert len(places) > 1


def reference_overview(image):
  """Of an image of 64 x 64 pixels, block by block."""
  cells = np.asarray(oriented_gradients(image[None], cell=8, orientations=9))[0]
  blocks = []
  for y in range(7):
    for x in range(7):
      block = cells[y : y + 2, x : x + 2].reshape(-1)
      blocks.append(6 * block / (np.linalg.norm(block) + 0.1))
  means = [
    image[8 * y : 8 * y + 8, 8 * x : 8 * x + 8].mean(axis=(0, 1))
    for y in range(8)
    for x in range(8)
  ]
  counts = np.zeros((4, 4, 4))
  for pixel in image.reshape(-1, 3):
    blue, green, red = np.searchsorted([-1, 0, 1], pixel[::-1])
    counts[blue, green, red] += 1
  shares = np.sqrt(64 * counts.reshape(-1) / 64**2)
  return np.concatenate([*blocks, *means, shares])


def test_an_overview_has_outlines_colours_and_their_shares():
  images = np.random.default_rng(3).normal(size=(2, 64, 64, 3)).astype('f4')
  images *= np.linspace(0.1, 2, 64, dtype=np.float32)[:, None]
  ours = np.asarray(overview_features(images))
  for found, image in zip(ours, images, strict=True):
    np.testing.assert_allclose(found, reference_overview(image), atol=1e-4)


def test_overviews_come_first_and_tell_that_they_are_none_of_the_windows():
  images = np.random.default_rng(4).normal(size=(2, 8, 8, 3)).astype('f4')
  function = hk.transform(lambda x: image_windows(overviews=2)()(x))
  params = function.init(jax.random.key(0), images)
  byte_array = function.apply(params, None, images)
  alone = applied(image_windows(), images)
  channels = alone.features.shape[-1]
  assert byte_array.features.shape == (2, 2 + 16, channels + 1)
  np.testing.assert_array_equal(byte_array.features[:, 2:, :-1], alone.features)
  np.testing.assert_array_equal(byte_array.positions[2:], alone.positions)
  np.testing.assert_array_equal(byte_array.positions[:2], 0.0)
  np.testing.assert_array_equal(
    byte_array.features[0, :, -1], np.arange(18) < 2
  )
  linear = jax.tree.map(np.asarray, params['image_windows/overview'])
  seen = np.asarray(overview_features(images), np.float64)
  hidden = (seen @ linear['w'] + linear['b']).reshape(2, 2, channels)
  expected = hidden * scipy.stats.norm.cdf(hidden)
  np.testing.assert_allclose(
    byte_array.features[:, :2, :-1], expected, atol=2e-3
  )


def test_what_looks_at_an_overview_looks_everywhere():
  images = np.zeros((1, 4, 6, 3), np.float32)
  module = hk.transform(
    lambda x: layout_of(
      image_windows(overviews=2)(), x, ByteArray(np.zeros((1, 8, 1)))
    )
  )
  layout = module.apply({}, None, images)
  weights = np.array([0.1, 0.2, 0.3, 0.0, 0.05, 0.15, 0.2, 0.0])
  expected = np.array([[0.3, 0.0, 0.05], [0.15, 0.2, 0.0]]) + 0.3 / 6
  np.testing.assert_allclose(
    layout.to_grid(jnp.asarray(weights)[None])[0], expected, atol=1e-6
  )


@pytest.mark.parametrize(
  ('wrong', 'message'),
  [
    ({'overviews': -1}, 'overviews must not be negative, got -1'),
    ({'drop_rate': 1.0}, r'drop_rate must be in \[0, 1\), got 1'),
  ],
)
def test_wrong_windows(wrong, message):
  with pytest.raises(ValueError, match=message):
    applied(image_windows(**wrong), np.zeros((1, 8, 8, 3), np.float32))
