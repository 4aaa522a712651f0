"""Preprocessors: their numbers against loops, and where positions go."""

import functools
import itertools

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from perceiver_jax.byte_array import ByteArray
from perceiver_jax.frame_preprocessors import FrameConvStem, FramePatches
from perceiver_jax.position_encoding import FourierPositions
from perceiver_jax.preprocessors import (
  AudioPatches,
  Conv1x1,
  ConvStem,
  MelSpectrogram,
  OneHot,
  Patches,
  PermutedPixels,
  Pixels,
  Points,
  preprocess,
)
from perceiver_jax.spectrogram import log_mel_spectrogram
from perceiver_jax.token_embedding import TokenEmbedding


def normal(seed, *shape):
  return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def fourier(*max_resolution):
  return FourierPositions(num_bands=2, max_resolution=max_resolution)


def run(make, params, *raw):
  """Applies the preprocessor that `make()` makes, without a random key."""
  return hk.transform(lambda *raw: make()(*raw)).apply(params, None, *raw)


def assert_positions(byte_array, positions, grid):
  np.testing.assert_array_equal(byte_array.positions, positions(grid))


def test_pixels_are_in_row_major_order_with_the_positions_of_the_grid():
  images = normal(0, 2, 3, 4, 2)
  byte_array = run(lambda: Pixels(positions=fourier(4, 6)), {}, images)
  np.testing.assert_array_equal(byte_array.features, images.reshape(2, 12, 2))
  assert_positions(byte_array, fourier(4, 6), (3, 4))
  assert byte_array.mask is None


def test_pixels_without_positions():
  images = normal(0, 2, 3, 4, 2)
  assert run(lambda: Pixels(positions=None), {}, images).positions is None


def test_strides_keep_every_nth_pixel_from_the_first():
  videos = normal(0, 2, 3, 5, 4, 2)
  byte_array = run(
    lambda: Pixels(positions=fourier(4, 6, 8), strides=(1, 2, 3)), {}, videos
  )
  kept = videos[:, :, [0, 2, 4]][:, :, :, [0, 3]]
  np.testing.assert_array_equal(byte_array.features, kept.reshape(2, 18, 2))
  assert_positions(byte_array, fourier(4, 6, 8), (3, 3, 2))


def test_permuted_pixels_are_the_same_set_in_another_fixed_order():
  images = normal(0, 2, 3, 4, 2)

  def rows(byte_array, example):
    return np.asarray(byte_array.concatenate()[example])

  pixels = run(lambda: Pixels(positions=fourier(4, 6)), {}, images)
  orders = []
  for seed in (0, 1):
    permuted = run(
      lambda seed=seed: PermutedPixels(positions=fourier(4, 6), seed=seed),
      {},
      images,
    )
    orders.append(
      [
        np.flatnonzero((rows(pixels, 0) == row).all(axis=1)).item()
        for row in rows(permuted, 0)
      ]
    )
    assert sorted(orders[-1]) == list(range(12)) != orders[-1]
    np.testing.assert_array_equal(  # The same order in every example.
      rows(permuted, 1), rows(pixels, 1)[orders[-1]]
    )
  assert orders[0] != orders[1]


def test_conv1x1_is_one_linear_layer_for_all_pixels():
  images, w, b = normal(0, 2, 3, 4, 2), normal(1, 2, 5), normal(2, 5)
  byte_array = run(
    lambda: Conv1x1(num_channels=5, positions=fourier(4, 6)),
    {'conv1x1/conv': {'w': w, 'b': b}},
    images,
  )
  np.testing.assert_allclose(
    byte_array.features, images.reshape(2, 12, 2) @ w + b, rtol=1e-5, atol=1e-5
  )
  assert_positions(byte_array, fourier(4, 6), (3, 4))


def test_patches_of_video_are_cut_and_projected():
  video = normal(0, 2, 2, 4, 6, 3)
  cut = run(
    lambda: Patches(patch_shape=(2, 2, 3), positions=fourier(4, 6, 8)),
    {},
    video,
  )
  naive = np.stack(
    [
      video[:, :, i : i + 2, j : j + 3].reshape(2, -1)
      for i in (0, 2)
      for j in (0, 3)
    ],
    axis=1,
  )
  np.testing.assert_array_equal(cut.features, naive)
  assert_positions(cut, fourier(4, 6, 8), (1, 2, 2))
  w, b = normal(1, 36, 5), normal(2, 5)
  projected = run(
    lambda: Patches(patch_shape=(2, 2, 3), positions=None, num_channels=5),
    {'patches/patches': {'w': w, 'b': b}},
    video,
  )
  np.testing.assert_allclose(
    projected.features, naive @ w + b, rtol=1e-4, atol=1e-4
  )


def test_audio_patches_are_samples_in_order_channels_last():
  stereo = normal(0, 2, 12, 2)
  make = functools.partial(
    AudioPatches, samples_per_patch=4, positions=fourier(8)
  )
  byte_array = run(make, {}, stereo)
  np.testing.assert_array_equal(byte_array.features, stereo.reshape(2, 3, 8))
  assert_positions(byte_array, fourier(8), (3,))
  mono = run(make, {}, stereo[..., 0])
  np.testing.assert_array_equal(mono.features, stereo[..., 0].reshape(2, 3, 4))


def test_audio_must_be_whole_patches():
  make = functools.partial(AudioPatches, samples_per_patch=5, positions=None)
  with pytest.raises(ValueError, match=r'patch_shape = \(5,\)'):
    run(make, {}, normal(0, 2, 12))


def test_mel_spectrogram_is_scaled_and_laid_out_frame_by_frame():
  samples = 0.1 * normal(0, 2, 200)
  settings = {
    'sample_rate': 8000,
    'window_size': 64,
    'hop_size': 50,
    'num_mels': 5,
    'min_frequency': 100.0,
    'max_frequency': 3500.0,
  }
  byte_array = run(
    lambda: MelSpectrogram(positions=fourier(4, 6), scale=0.3, **settings),
    {},
    samples,
  )
  expected = 0.3 * log_mel_spectrogram(jnp.asarray(samples), **settings)
  assert expected.shape == (2, 4, 5)
  np.testing.assert_allclose(
    byte_array.features, expected.reshape(2, 20, 1), rtol=1e-5
  )
  assert_positions(byte_array, fourier(4, 6), (4, 5))


def test_one_hot_labels_are_one_input_and_a_negative_one_is_zeros():
  byte_array = run(lambda: OneHot(num_classes=3), {}, jnp.array([2, -1, 0]))
  np.testing.assert_array_equal(
    byte_array.features, [[[0, 0, 1]], [[0, 0, 0]], [[1, 0, 0]]]
  )
  assert byte_array.positions is None


# Two points; sines and cosines of pi x and 2 pi x, then of pi y and 3 pi y.
COORDINATES = np.float32([[0.5, 0.25], [-1.0, 0.0]])
HALF = np.sqrt(0.5)
ENCODED = np.array(
  [
    [0.5, 0.25, 1.0, 0.0, HALF, HALF, 0.0, -1.0, HALF, -HALF],
    [-1.0, 0.0, 0.0, 0.0, 0.0, 0.0, -1.0, 1.0, 1.0, 1.0],
  ]
)


def points(raw):
  return run(lambda: Points(num_bands=2, max_resolution=(4, 6)), {}, raw)


def test_points_are_coordinates_then_sines_then_cosines():
  byte_array = points(COORDINATES[None])
  np.testing.assert_allclose(byte_array.concatenate()[0], ENCODED, atol=1e-6)
  np.testing.assert_array_equal(byte_array.features[0], COORDINATES)


def test_what_was_measured_at_points_comes_before_their_positions():
  colours = normal(0, 2, 3)
  byte_array = points(np.concatenate([COORDINATES, colours], axis=-1)[None])
  np.testing.assert_array_equal(byte_array.features[0], colours)
  np.testing.assert_allclose(byte_array.positions[0], ENCODED, atol=1e-6)


@pytest.mark.parametrize('shape', [(1, 5, 1), (5, 2)])
def test_points_need_all_coordinates(shape):
  with pytest.raises(ValueError, match=r'\[B, M, 2 or more\]'):
    points(np.zeros(shape, np.float32))


EMBEDDINGS, PLACES = normal(0, 6, 3), normal(1, 4, 3)


def embed(tokens):
  return run(
    lambda: TokenEmbedding(vocab_size=6, num_channels=3, max_length=4),
    {
      'token_embedding': {'embeddings': EMBEDDINGS},
      'token_embedding/positions': {'positions': PLACES},
    },
    tokens,
  )


def test_token_embedding_adds_the_vectors_of_token_and_place():
  byte_array = embed(jnp.array([[5, 0, 0], [1, 2, 5]]))
  expected = [
    [EMBEDDINGS[token] + PLACES[place] for place, token in enumerate(sequence)]
    for sequence in ([5, 0, 0], [1, 2, 5])
  ]
  np.testing.assert_allclose(byte_array.features, expected, rtol=1e-6)
  assert byte_array.positions is None


def test_text_may_not_be_too_long():
  embed(jnp.zeros((1, 4), int))
  with pytest.raises(ValueError, match='5 tokens are more than max_length = 4'):
    embed(jnp.zeros((1, 5), int))


@pytest.mark.parametrize(
  'make',
  [
    lambda positions: Pixels(positions=positions),
    lambda positions: PermutedPixels(positions=positions),
    lambda positions: Patches(patch_shape=(1, 2), positions=positions),
  ],
)
def test_a_shifted_input_is_another_byte_array_through_positions_alone(make):
  here = normal(0, 1, 3, 8, 2)
  here[:, :, 2:] = 0.0
  there = np.roll(here, 4, axis=2)

  def elements(positions, images):
    byte_array = run(lambda: make(positions), {}, images)
    rows = np.asarray(byte_array.concatenate()[0])
    return rows[np.lexsort(rows.T)]

  np.testing.assert_array_equal(elements(None, here), elements(None, there))
  positions = fourier(4, 8)
  difference = elements(positions, here) - elements(positions, there)
  assert np.abs(difference).max() > 0.1


def same_padding(size, kernel, stride):
  """Zeros before and after so that ceil(size / stride) windows fit."""
  total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
  return total // 2, total - total // 2


def windows(x, kernel, stride, fill):
  """Yields place and window of `[H, W, C]`, both axes treated alike."""
  height, width, _ = x.shape
  padded = np.pad(
    x,
    (
      same_padding(height, kernel, stride),
      same_padding(width, kernel, stride),
      (0, 0),
    ),
    constant_values=fill,
  )
  for i, j in itertools.product(range(-(-height // 2)), range(-(-width // 2))):
    top, left = stride * i, stride * j
    yield (i, j), padded[top : top + kernel, left : left + kernel]


def naive_conv(image, w):
  result = np.zeros((-(-image.shape[0] // 2), -(-image.shape[1] // 2), 3))
  for place, window in windows(np.float64(image), 7, 2, 0.0):
    result[place] = np.einsum('hwi,hwio->o', window, w)
  return result


def naive_pool(x):
  result = np.zeros((-(-x.shape[0] // 2), -(-x.shape[1] // 2), x.shape[2]))
  for place, window in windows(x, 3, 2, -np.inf):
    result[place] = window.max(axis=(0, 1))
  return result


KERNEL, SCALE, OFFSET = normal(1, 7, 7, 2, 3), normal(2, 3), normal(3, 3)
STEM_PARAMS = {
  'conv_stem/convolutions/conv_0': {'w': KERNEL},
  'conv_stem/convolutions/batch_norm_0': {
    'scale': SCALE.reshape(1, 1, 1, 3),
    'offset': OFFSET.reshape(1, 1, 1, 3),
  },
}


@functools.cache
def stem():
  """Init and jitted apply of a ConvStem with batch norm."""

  def forward(images, is_training):
    return ConvStem(num_channels=3, positions=fourier(4, 6))(
      images, is_training=is_training
    )

  model = hk.transform_with_state(forward)
  return model, jax.jit(model.apply, static_argnums=4)


def stem_state(mean, variance, counter=1):
  """State of the batch norm after training, that evaluation averages with."""
  prefix = 'conv_stem/convolutions/batch_norm_0/~/'
  return {
    prefix + name: {
      'counter': jnp.int32(counter),
      'hidden': jnp.float32(value).reshape(1, 1, 1, 3),
      'average': jnp.float32(value).reshape(1, 1, 1, 3),
    }
    for name, value in (('mean_ema', mean), ('var_ema', variance))
  }


def normalized(convolved, mean, variance):
  return SCALE * (convolved - mean) / np.sqrt(variance + 1e-5) + OFFSET


IMAGES = normal(0, 2, 9, 6, 2)
MEAN, VARIANCE = np.array([0.5, -1.0, 2.0]), np.array([4.0, 9.0, 25.0])


def test_parameters_of_a_conv_stem_are_those_of_its_parts():
  model, _ = stem()
  params, state = jax.eval_shape(
    lambda: model.init(jax.random.key(0), IMAGES, True)
  )
  shapes = functools.partial(jax.tree.map, np.shape)
  assert shapes(params) == shapes(STEM_PARAMS)
  assert shapes(state) == shapes(stem_state(MEAN, VARIANCE))


def test_conv_stem_at_evaluation_is_a_loop_with_the_statistics_of_the_state():
  state = stem_state(MEAN, VARIANCE)
  byte_array, after = stem()[1](STEM_PARAMS, state, None, IMAGES, False)
  expected = [
    naive_pool(
      np.maximum(0.0, normalized(naive_conv(image, KERNEL), MEAN, VARIANCE))
    )
    for image in IMAGES
  ]
  expected = np.reshape(expected, (2, 6, 3))  # A grid of 3 x 2.
  np.testing.assert_allclose(
    byte_array.features, expected, rtol=1e-4, atol=1e-4
  )
  assert_positions(byte_array, fourier(4, 6), (3, 2))
  jax.tree.map(np.testing.assert_array_equal, after, state)


def test_conv_stem_in_training_uses_and_learns_the_statistics_of_the_batch():
  convolved = np.stack([naive_conv(image, KERNEL) for image in IMAGES])
  mean, variance = (f(convolved, axis=(0, 1, 2)) for f in (np.mean, np.var))
  state = stem_state(MEAN, VARIANCE, counter=3)
  byte_array, after = stem()[1](STEM_PARAMS, state, None, IMAGES, True)
  expected = [
    naive_pool(np.maximum(0.0, normalized(x, mean, variance)))
    for x in convolved
  ]
  np.testing.assert_allclose(
    byte_array.features, np.reshape(expected, (2, 6, 3)), rtol=1e-3, atol=1e-3
  )
  # 0.9 of what was there; corrected for four steps that began at zero.
  learned = jax.tree.map(
    lambda before, now: (0.9 * before + 0.1 * now) / (1 - 0.9**4),
    {'mean': MEAN, 'var': VARIANCE},
    {'mean': mean, 'var': variance},
  )
  for name, value in learned.items():
    average = after[f'conv_stem/convolutions/batch_norm_0/~/{name}_ema']
    np.testing.assert_allclose(average['average'].ravel(), value, rtol=1e-4)


def plain_stem(frames):
  stem = ConvStem(num_channels=3, positions=None, use_batch_norm=False)
  return stem(frames, is_training=False).features


def test_frames_go_through_a_conv_stem_one_by_one():
  params = {'conv_stem/convolutions/conv_0': {'w': KERNEL}}
  apply = jax.jit(hk.transform(plain_stem).apply)
  video = normal(5, 2, 3, 8, 8, 2)
  together = apply(params, None, video).reshape(2, 3, 4, 3)
  alone = apply(params, None, video.reshape(6, 8, 8, 2)).reshape(2, 3, 4, 3)
  np.testing.assert_allclose(together, alone, rtol=1e-5, atol=1e-5)
  expected = naive_pool(np.maximum(0.0, naive_conv(video[1, 2], KERNEL)))
  np.testing.assert_allclose(
    together[1, 2], expected.reshape(4, 3), rtol=1e-4, atol=1e-4
  )


def test_each_layer_of_a_conv_stem_makes_the_grid_four_times_smaller():
  def forward(images):
    stem = ConvStem(num_channels=3, positions=fourier(4, 6), num_layers=2)
    return stem(images, is_training=True)

  model = hk.transform_with_state(forward)
  images = jax.ShapeDtypeStruct((2, 32, 50, 2), jnp.float32)
  params, state = jax.eval_shape(model.init, jax.random.key(0), images)
  byte_array, _ = jax.eval_shape(model.apply, params, state, None, images)
  assert byte_array.features.shape == (2, 2 * 4, 3)
  assert byte_array.positions.shape == (8, 10)


FRAMES = normal(6, 2, 2, 3, 4, 2)


def neighbourhoods(frames, size):
  """`[B, 2, H, W, size^2 C]`: rows, columns, then channels; zeros outside."""
  reach = size // 2
  padding = ((0, 0), (0, 0), (reach, reach), (reach, reach), (0, 0))
  padded = np.pad(frames, padding)
  height, width = frames.shape[2:4]
  return np.concatenate(
    [
      padded[:, :, i : i + height, j : j + width]
      for i in range(size)
      for j in range(size)
    ],
    axis=-1,
  )


@pytest.mark.parametrize('size', [1, 3])
def test_frame_patches_put_the_first_frames_channels_before_the_seconds(size):
  patches = neighbourhoods(FRAMES, size)
  both = np.concatenate([patches[:, 0], patches[:, 1]], axis=-1)
  w, b = normal(7, both.shape[-1], 5), normal(8, 5)
  byte_array = run(
    lambda: FramePatches(
      patch_size=size,
      num_channels=5,
      concatenate_frames=True,
      positions=fourier(4, 6),
    ),
    {'frame_patches/patches': {'w': w, 'b': b}},
    FRAMES,
  )
  np.testing.assert_allclose(
    byte_array.features, both.reshape(2, 12, -1) @ w + b, rtol=1e-4, atol=1e-4
  )
  assert_positions(byte_array, fourier(4, 6), (3, 4))


def test_frame_patches_apart_are_all_of_the_first_frame_then_the_second():
  patches = neighbourhoods(FRAMES, 3)
  w, b = normal(7, 18, 5), normal(8, 5)
  byte_array = run(
    lambda: FramePatches(
      patch_size=3,
      num_channels=5,
      concatenate_frames=False,
      positions=fourier(4, 4, 6),
    ),
    {'frame_patches/patches': {'w': w, 'b': b}},
    FRAMES,
  )
  features = byte_array.features
  for frame, half in enumerate((features[:, :12], features[:, 12:])):
    np.testing.assert_allclose(
      half,
      patches[:, frame].reshape(2, 12, 18) @ w + b,
      rtol=1e-4,
      atol=1e-4,
    )
  assert_positions(byte_array, fourier(4, 4, 6), (2, 3, 4))


@pytest.mark.parametrize('concatenate', [True, False])
def test_frame_conv_stem_is_a_conv_stem_of_both_frames(concatenate):
  frames = normal(9, 2, 2, 8, 8, 1)
  positions = fourier(4, 6) if concatenate else fourier(4, 4, 6)
  channels = 2 if concatenate else 1

  def forward(frames):
    stem = FrameConvStem(
      num_channels=3,
      concatenate_frames=concatenate,
      positions=positions,
      use_batch_norm=False,
    )
    return stem(frames, is_training=True)

  kernel = KERNEL[:, :, :channels]
  byte_array = jax.jit(hk.transform(forward).apply)(
    {'frame_conv_stem/stem/convolutions/conv_0': {'w': kernel}}, None, frames
  )
  images = frames.transpose(0, 2, 3, 4, 1)[..., 0, :]  # Frames as channels.
  if not concatenate:
    images = frames.reshape(4, 8, 8, 1)
  expected = np.stack(
    [naive_pool(np.maximum(0.0, naive_conv(x, kernel))) for x in images]
  )
  np.testing.assert_allclose(
    byte_array.features, expected.reshape(2, -1, 3), rtol=1e-4, atol=1e-4
  )
  assert_positions(byte_array, positions, (2, 2) if concatenate else (2, 2, 2))


@pytest.mark.parametrize('strides', [(2,), (2, 0), (1, 1, 1)])
def test_strides_must_fit_the_grid(strides):
  with pytest.raises(ValueError, match='for each of the 2 axes'):
    run(lambda: Pixels(positions=None, strides=strides), {}, IMAGES)


def test_a_model_without_preprocessor_takes_inputs_as_they_are():
  byte_array = ByteArray(normal(0, 2, 5, 3))
  assert preprocess(None, byte_array, is_training=False) is byte_array
  made = preprocess(None, byte_array.features, is_training=False)
  assert made.features is byte_array.features and made.mask is None
  with pytest.raises(ValueError, match=r'must be \[B, M, C\]'):
    preprocess(None, byte_array.features[0], is_training=False)


def test_a_token_outside_the_vocabulary_is_not_the_last_one():
  def embed(tokens):
    embedding = TokenEmbedding(vocab_size=5, num_channels=4, max_length=3)
    return embedding(tokens).features

  model = hk.without_apply_rng(hk.transform(embed))
  tokens = np.array([[0, 5, 4]])
  features = model.apply(model.init(jax.random.key(0), tokens), tokens)
  assert np.isnan(features).all(axis=-1).tolist() == [[False, True, False]]
