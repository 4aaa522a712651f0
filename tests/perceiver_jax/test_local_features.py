"""Elements with local features, against loops and closed forms."""

import functools

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.signal

from perceiver_jax.image_windows import ImageWindows, oriented_gradients
from perceiver_jax.mel_frames import MelFrames
from perceiver_jax.ngram_embedding import NgramEmbedding, hash_ngrams
from perceiver_jax.point_neighbourhoods import (
  PointNeighbourhoods,
  neighbourhoods,
)
from perceiver_jax.series_windows import (
  RelativeWindows,
  SeriesWindows,
  relative_series,
  window_spectra,
)
from perceiver_jax.spectrogram import log_mel_spectrogram


def apply(module, *arguments, rng=None, **keywords):
  """Returns random parameters and the byte array of a module."""
  function = hk.transform(lambda *x, **more: module()(*x, **more))
  shapes = function.init(jax.random.key(0), *arguments)
  normal = np.random.default_rng(3).normal
  params = jax.tree.map(lambda x: np.float32(normal(size=x.shape)), shapes)
  return params, function.apply(params, rng, *arguments, **keywords)


# Sound.


def mel_frames(**more):
  return lambda: MelFrames(
    positions=None,
    sample_rate=8000,
    window_size=128,
    hop_size=64,
    num_mels=10,
    **more,
  )


def test_frames_are_bands_and_their_changes():
  samples = np.random.default_rng(0).normal(size=(2, 640)).astype(np.float32)
  _, byte_array = apply(mel_frames(frames_per_input=2), samples)
  spectrogram = 0.25 * np.asarray(
    log_mel_spectrogram(
      samples,
      sample_rate=8000,
      window_size=128,
      hop_size=64,
      num_mels=10,
      floor=1e-3,
    )
  )
  assert byte_array.features.shape == (2, 5, 40)
  features = np.asarray(byte_array.features).reshape(2, 10, 20)
  np.testing.assert_allclose(features[..., :10], spectrogram, atol=1e-6)
  change = (spectrogram[:, 5] - spectrogram[:, 3]) / 2
  np.testing.assert_allclose(features[:, 4, 10:], change, atol=1e-6)
  first = (spectrogram[:, 1] - spectrogram[:, 0]) / 2
  np.testing.assert_allclose(features[:, 0, 10:], first, atol=1e-6)


def test_frames_that_are_no_whole_inputs_repeat_the_last():
  samples = np.random.default_rng(1).normal(size=(1, 640)).astype(np.float32)
  _, byte_array = apply(mel_frames(frames_per_input=4), samples)
  assert byte_array.features.shape == (1, 3, 80)
  frames = np.asarray(byte_array.features).reshape(12, 20)
  np.testing.assert_array_equal(frames[10, :10], frames[9, :10])
  np.testing.assert_array_equal(frames[11, 10:], 0.0)


def test_training_masks_bands():
  samples = np.random.default_rng(2).normal(size=(4, 6400)).astype(np.float32)
  masked = mel_frames(frequency_masks=1, max_masked_bands=10)
  _, plain = apply(masked, samples)
  _, byte_array = apply(
    masked, samples, rng=jax.random.key(1), is_training=True
  )
  bands = np.asarray(byte_array.features)[..., :10]
  is_masked = (bands.std(axis=1) < 1e-6).any(axis=1)
  assert is_masked.any()
  assert not (np.asarray(plain.features)[..., :10].std(axis=1) < 1e-6).any()


# Text.


def reference_hash(codes, num_rows):
  """Of whole numbers in Python, which do not overflow."""
  hashed = len(codes)
  for code in codes:
    hashed = ((hashed ^ code) * 0x01000193) % 2**32
  hashed = ((hashed ^ (hashed >> 15)) * 0x9E3779B1) % 2**32
  return hashed // (2**32 // num_rows)


def test_hashes_are_those_of_whole_numbers():
  tokens = np.random.default_rng(0).integers(0, 262, size=(2, 9))
  for length in (2, 5):
    hashes = np.asarray(hash_ngrams(tokens, length, 2**10))
    for i in range(2):
      for j in range(9):
        codes = [
          int(tokens[i, k]) + 1 if k >= 0 else 0
          for k in range(j - length + 1, j + 1)
        ]
        assert hashes[i, j] == reference_hash(codes, 2**10)


def test_hashes_spread():
  """Of as many rows as n-grams a share 1 / e stays empty."""
  pairs = np.stack(np.meshgrid(range(6, 134), range(6, 134)), -1).reshape(-1, 2)
  rows = np.asarray(hash_ngrams(pairs, 2, 2**14))[:, 1]
  empty = 1 - len(np.unique(rows)) / 2**14
  assert empty == pytest.approx(np.exp(-1), abs=0.02)


def test_an_element_is_its_byte_and_the_ngrams_that_end_there():
  def module():
    return NgramEmbedding(
      vocab_size=9,
      num_channels=4,
      max_length=6,
      ngrams=(2, 3),
      num_rows=64,
      row_channels=3,
    )

  tokens = np.array([[3, 5, 5, 8]])
  params, byte_array = apply(module, tokens)
  table, letters = (
    params['ngram_embedding'][name] for name in ('ngrams', 'embeddings')
  )
  (positions,) = params['ngram_embedding/positions'].values()
  linear = params['ngram_embedding/ngrams']
  for place in range(4):
    expected = letters[tokens[0, place]] + positions[place]
    for length in (2, 3):
      row = hash_ngrams(tokens, length, 64)[0, place]
      expected = expected + table[row] @ linear['w']
    expected = expected + linear['b']
    np.testing.assert_allclose(
      byte_array.features[0, place], expected, atol=1e-6
    )


def test_ngrams_that_were_never_seen_say_nothing():
  function = hk.transform(
    lambda x: NgramEmbedding(vocab_size=9, num_channels=4, max_length=6)(x)
  )
  params = function.init(jax.random.key(0), np.zeros((1, 6), int))
  assert not params['ngram_embedding']['ngrams'].any()
  assert params['ngram_embedding']['embeddings'].all()


def test_training_drops_ngrams_and_keeps_their_mean():
  def module():
    return NgramEmbedding(
      vocab_size=9, num_channels=2, max_length=8, num_rows=8, drop_rate=0.5
    )

  tokens = np.random.default_rng(0).integers(0, 9, size=(400, 8))
  _, plain = apply(module, tokens)
  _, dropped = apply(module, tokens, rng=jax.random.key(1), is_training=True)
  assert np.abs(dropped.features - plain.features).max() > 1.0
  difference = np.asarray(dropped.features - plain.features).mean(axis=(0, 1))
  np.testing.assert_allclose(difference, 0.0, atol=0.2)


@pytest.mark.parametrize(
  ('wrong', 'message'),
  [
    ({'num_rows': 12}, 'power of two, got 12'),
    ({'ngrams': (1, 2)}, r'lengths from 2 on, got \(1, 2\)'),
    ({'drop_rate': 1.0}, r'drop_rate must be in \[0, 1\)'),
  ],
)
def test_wrong_tables_of_ngrams(wrong, message):
  with pytest.raises(ValueError, match=message):
    apply(
      lambda: NgramEmbedding(
        vocab_size=9, num_channels=2, max_length=8, **wrong
      ),
      np.zeros((1, 4), int),
    )


# Images.


def reference_gradients(image, cell, orientations):
  """Pixel by pixel."""
  height, width, _ = image.shape
  padded = np.pad(image, ((1, 1), (1, 1), (0, 0)), mode='edge')
  cells = np.zeros((height // cell, width // cell, orientations))
  for y in range(height):
    for x in range(width):
      down = (padded[y + 2, x + 1] - padded[y, x + 1]) / 2
      right = (padded[y + 1, x + 2] - padded[y + 1, x]) / 2
      best = np.argmax(down**2 + right**2)
      length = np.hypot(down[best], right[best])
      turn = np.arctan2(down[best], right[best]) / np.pi % 1 * orientations
      low, part = int(turn) % orientations, turn % 1
      cells[y // cell, x // cell, low] += length * (1 - part)
      cells[y // cell, x // cell, (low + 1) % orientations] += length * part
  return cells / cell**2


def test_gradients_are_those_of_a_loop():
  images = np.random.default_rng(0).normal(size=(2, 6, 9, 3))
  ours = oriented_gradients(images, cell=3, orientations=5)
  for image, cells in zip(images, ours, strict=True):
    np.testing.assert_allclose(
      cells, reference_gradients(image, 3, 5), atol=1e-5
    )


def test_a_slope_has_one_orientation():
  """To the right: no turn. Downwards: half of pi."""
  slope = np.broadcast_to(np.arange(8.0)[None, None, :, None], (1, 8, 8, 1))
  right = oriented_gradients(slope, cell=4, orientations=4)[0]
  np.testing.assert_allclose(right[..., 1:], 0.0, atol=1e-5)
  down = oriented_gradients(np.swapaxes(slope, 1, 2), cell=4, orientations=4)[0]
  np.testing.assert_allclose(down[..., [0, 1, 3]], 0.0, atol=1e-5)
  # At the edges a half difference has one side only.
  np.testing.assert_allclose(down[..., 2], 0.875, atol=1e-5)


def test_windows_overlap_and_forget_contrast():
  images = np.random.default_rng(0).normal(size=(1, 8, 12, 3))

  def windows():
    return ImageWindows(cell=4, positions=None, orientations=6)

  _, byte_array = apply(windows, images)
  assert byte_array.features.shape == (1, 6, 48 + 9 * (3 + 6))
  features = np.asarray(byte_array.features)[0].reshape(2, 3, -1)
  colours = images[0].reshape(2, 4, 3, 4, 3).mean(axis=(1, 3))
  # The cell to the right of the first one, in the middle row of its window.
  np.testing.assert_allclose(
    features[0, 0, 48:75].reshape(3, 3, 3)[1, 2], colours[0, 1], atol=1e-5
  )
  _, stronger = apply(windows, 30 * images)
  ours, theirs = features[..., 75:], stronger.features[0, :, 75:]
  np.testing.assert_allclose(ours.reshape(6, -1), theirs, rtol=0.1, atol=0.05)


# Points.


def reference_moments(points, radius):
  """Point by point."""
  rows = []
  for point in points:
    weights = np.exp(-np.square(points - point).sum(-1) / (2 * radius**2))
    mean = weights @ points / weights.sum()
    covariance = np.cov(points.T, aweights=weights, ddof=0)
    rows.append(
      np.concatenate(
        [
          [np.log(weights.mean())],
          (mean - point) / radius,
          (covariance / np.trace(covariance))[np.triu_indices(3)],
        ]
      )
    )
  return np.array(rows)


def test_neighbourhoods_are_those_of_a_loop():
  points = np.random.default_rng(0).uniform(-1, 1, size=(2, 40, 3))
  ours = neighbourhoods(points.astype(np.float32), radius=0.8, num_scales=2)
  for cloud, features in zip(points, ours, strict=True):
    expected = [reference_moments(cloud, radius) for radius in (0.8, 0.4)]
    np.testing.assert_allclose(
      features, np.concatenate(expected, axis=-1), atol=2e-4
    )


def test_a_plane_has_its_normal():
  """Of a plane that is even around a point: (1 - n n^T) / 2."""
  ticks = np.linspace(-1, 1, 21)
  first, second = np.array([1.0, 0, 0]), np.array([0, 0.6, 0.8])
  points = (
    ticks[:, None, None] * first + ticks[None, :, None] * second
  ).reshape(1, -1, 3)
  features = neighbourhoods(points.astype(np.float32), radius=0.2, num_scales=1)
  middle = np.asarray(features)[0, len(points[0]) // 2]
  normal = np.cross(first, second)
  expected = (np.eye(3) - np.outer(normal, normal)) / 2
  np.testing.assert_allclose(
    middle[4:], expected[np.triu_indices(3)], atol=1e-3
  )
  np.testing.assert_allclose(middle[1:4], 0.0, atol=1e-4)


def test_points_have_extents_and_what_else_is_known():
  points = np.random.default_rng(0).uniform(-1, 1, size=(1, 30, 4))
  points = points.astype(np.float32)
  _, byte_array = apply(
    lambda: PointNeighbourhoods(num_bands=2, max_resolution=(4, 4, 4)), points
  )
  assert byte_array.features.shape == (1, 30, 4 + 3 + 30)
  assert byte_array.positions.shape == (1, 30, 12)
  np.testing.assert_array_equal(byte_array.features[..., :4], points)
  np.testing.assert_allclose(
    byte_array.features[0, 7, 4:7], np.ptp(points[0, :, :3], axis=0)
  )


# Series.


def test_spectra_are_those_of_scipy():
  series = np.random.default_rng(0).normal(size=(2, 32, 3))
  means, spectra = window_spectra(
    series.astype(np.float32), hop=4, window=16, floor=1e-9
  )
  assert means.shape == (2, 8, 3) and spectra.shape == (2, 8, 3, 8)
  padded = np.pad(series, ((0, 0), (6, 6), (0, 0)), mode='edge')
  hann = scipy.signal.get_window('hann', 16)
  for place in (0, 3, 7):
    window = padded[:, 4 * place : 4 * place + 16]
    mean = (window * hann[:, None]).sum(axis=1) / hann.sum()
    np.testing.assert_allclose(means[:, place], mean, atol=1e-5)
    _, power = scipy.signal.periodogram(
      window - mean[:, None],
      window='hann',
      detrend=False,
      scaling='spectrum',
      axis=1,
    )
    # One-sided: the power of both signs, but for the highest.
    power[:, 1:-1] /= 2
    np.testing.assert_allclose(
      np.exp(spectra[:, place]), power[:, 1:].swapaxes(1, 2), rtol=1e-3
    )


def test_the_power_of_a_sine():
  """Of amplitude a, turning four times in a window: a^2 / 4."""
  sine = 3 * np.sin(2 * np.pi * np.arange(64) / 8)
  _, spectra = window_spectra(
    sine[None, :, None].astype(np.float32), hop=8, window=32, floor=0.0
  )
  assert np.exp(spectra[0, 4, 0, 3]) == pytest.approx(9 / 4, rel=1e-3)


def test_parts_have_values_means_and_spectra():
  series = np.random.default_rng(0).normal(size=(1, 24, 2)).astype(np.float32)
  _, byte_array = apply(
    lambda: SeriesWindows(patch=3, positions=None, window=8), series
  )
  assert byte_array.features.shape == (1, 8, 2 * (3 + 1 + 4))
  np.testing.assert_array_equal(
    byte_array.features[0, 2, :6], series[0, 6:9].reshape(-1)
  )


def test_a_series_is_seen_from_its_last_step():
  series = np.random.default_rng(0).normal(2, 3, (2, 12, 3)).astype(np.float32)
  series[1, :, 2] = 7.0
  expected = (series - series[:, -1:]) / np.maximum(
    series.std(axis=1, keepdims=True), 0.01
  )
  for kind in (np.asarray, jnp.asarray):
    relative, last, spread = relative_series(kind(series))
    np.testing.assert_allclose(relative, expected, atol=1e-5)
    np.testing.assert_allclose(relative * spread + last, series, atol=1e-5)
  assert not relative[1, :, 2].any() and spread[1, 0, 2] == np.float32(0.01)


def test_relative_windows_do_not_know_the_level_of_a_series():
  series = np.random.default_rng(0).normal(size=(1, 24, 2)).astype(np.float32)

  def windows(series, kind=RelativeWindows):
    make = functools.partial(kind, patch=3, positions=None, window=8)
    return np.asarray(apply(make, series)[1].features)

  relative = (series - series[:, -1:]) / series.std(axis=1, keepdims=True)
  expected = windows(relative, SeriesWindows)
  np.testing.assert_allclose(windows(series), expected, atol=1e-4)
  moved = 5 * series + np.float32([40, -40])
  np.testing.assert_allclose(windows(moved), expected, atol=2e-3)
