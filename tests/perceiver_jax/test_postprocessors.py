"""Postprocessors and the convolutions after the decoder, against loops."""

import itertools

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from perceiver_jax.convolutions import ConvexUpsample
from perceiver_jax.postprocessors import (
  AudioSamples,
  ClassLogits,
  ConvValues,
  MLPLogits,
  PixelPatches,
  PixelValues,
  TiedTokenLogits,
)


def normal(seed, *shape):
  return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def run(make, params, *args):
  """Applies, jitted, the module that `make()` makes, without a random key."""
  model = hk.transform(lambda *args: make()(*args))
  return np.asarray(jax.jit(model.apply)(params, None, *args))


def shapes_of(make, *args):
  """Shapes of the parameters that `make()` creates."""
  model = hk.transform(lambda *args: make()(*args))
  params = jax.eval_shape(model.init, jax.random.key(0), *args)
  return jax.tree.map(np.shape, params)


def assert_close(actual, expected):
  np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-4)


OUTPUTS = normal(0, 2, 3, 4)
W, B = normal(1, 4, 5), normal(2, 5)
LINEAR = {'w': W, 'b': B}


def test_class_logits_are_a_linear_layer_of_the_single_output():
  logits = run(
    lambda: ClassLogits(num_classes=5),
    {'class_logits/logits': LINEAR},
    OUTPUTS[:, :1],
  )
  assert_close(logits, OUTPUTS[:, 0] @ W + B)


def test_mlp_logits_have_a_hidden_layer_with_tanh_of_the_same_width():
  hidden_w, hidden_b = normal(3, 4, 4), normal(4, 4)
  logits = run(
    lambda: MLPLogits(num_classes=5),
    {
      'mlp_logits/hidden': {'w': hidden_w, 'b': hidden_b},
      'mlp_logits/logits': LINEAR,
    },
    OUTPUTS,
  )
  assert_close(logits, np.tanh(OUTPUTS @ hidden_w + hidden_b) @ W + B)


def test_tied_token_logits_are_products_with_the_embeddings():
  embeddings = normal(5, 7, 4)
  bias = normal(6, 7)
  logits = run(
    lambda: TiedTokenLogits(),
    {'tied_token_logits': {'b': bias}},
    OUTPUTS,
    embeddings,
  )
  assert_close(logits, np.einsum('bof,vf->bov', OUTPUTS, embeddings) + bias)


def test_audio_samples_follow_each_other_patch_by_patch():
  samples = run(
    lambda: AudioSamples(samples_per_patch=5),
    {'audio_samples/samples': LINEAR},
    OUTPUTS,
  )
  assert samples.shape == (2, 15)
  for patch in range(3):
    assert_close(
      samples[:, 5 * patch : 5 * patch + 5], OUTPUTS[:, patch] @ W + B
    )


def test_pixel_values_are_a_linear_layer_of_each_output():
  pixels = run(
    lambda: PixelValues(num_channels=5),
    {'pixel_values/pixels': LINEAR},
    OUTPUTS,
  )
  assert_close(pixels, OUTPUTS @ W + B)


def test_pixel_patches_are_a_linear_layer_of_each_patch():
  w, b = normal(7, W.shape[0], 2 * 2 * 3), normal(8, 2 * 2 * 3)
  patches = run(
    lambda: PixelPatches(patch_shape=(2, 2), num_channels=3),
    {'pixel_patches/pixels': {'w': w, 'b': b}},
    OUTPUTS,
  )
  assert patches.shape == (2, 3, 12)
  assert_close(patches, OUTPUTS @ w + b)


def naive_transposed_conv(x, w, b, strides):
  """Every point of `[*grid, C]` spreads over 4 points an axis.

  With stride 2 these are 2 i - 1 to 2 i + 2, what is outside falls away.
  """
  grid = x.shape[:-1]
  sides = [side * stride for side, stride in zip(grid, strides, strict=True)]
  result = np.zeros((*sides, w.shape[-2])) + b
  offsets = list(itertools.product(range(4), repeat=len(grid)))
  for place in itertools.product(*map(range, grid)):
    for offset in offsets:
      target = np.array(place) * strides + 2 - np.array(offset)
      if (target >= 0).all() and (target < sides).all():
        result[*target] += w[offset] @ x[place]
  return result


def conv_params(seed, axes, input_channels, output_channels):
  return {
    'w': normal(seed, *(4,) * axes, output_channels, input_channels),
    'b': normal(seed + 1, output_channels),
  }


def test_conv_values_of_images_are_two_transposed_convolutions():
  upsample = 'conv_values/upsample/conv_transpose_'
  params = {
    f'{upsample}0': conv_params(10, 2, 4, 6),
    f'{upsample}1': conv_params(12, 2, 6, 3),
  }
  outputs = normal(0, 2, 6, 4)
  values = run(
    lambda: ConvValues(grid_shape=(2, 3), num_channels=3), params, outputs
  )
  assert values.shape == (2, 8, 12, 3)
  for example, value in zip(outputs, values, strict=True):
    expected = naive_transposed_conv(
      example.reshape(2, 3, 4), **params[f'{upsample}0'], strides=(2, 2)
    )
    expected = naive_transposed_conv(
      np.maximum(0.0, expected), **params[f'{upsample}1'], strides=(2, 2)
    )
    assert_close(value, expected)


def test_conv_values_of_video_double_time_in_their_first_layers_only():
  upsample = 'conv_values/upsample/conv_transpose_'
  params = {
    f'{upsample}0': conv_params(10, 3, 4, 4),
    f'{upsample}1': conv_params(12, 3, 4, 2),
  }
  outputs = normal(0, 1, 4, 4)
  values = run(
    lambda: ConvValues(
      grid_shape=(2, 1, 2),
      num_channels=2,
      num_time_doublings=1,
      num_space_doublings=2,
    ),
    params,
    outputs,
  )
  assert values.shape == (1, 4, 4, 8, 2)
  expected = naive_transposed_conv(
    outputs.reshape(2, 1, 2, 4), **params[f'{upsample}0'], strides=(2, 2, 2)
  )
  expected = naive_transposed_conv(
    np.maximum(0.0, expected), **params[f'{upsample}1'], strides=(1, 2, 2)
  )
  assert_close(values[0], expected)


def test_channels_of_conv_values_halve_from_layer_to_layer():
  shapes = shapes_of(
    lambda: ConvValues(
      grid_shape=(1, 2, 2),
      num_channels=3,
      num_time_doublings=3,
      num_space_doublings=1,
    ),
    normal(0, 1, 4, 5),
  )
  prefix = 'conv_values/upsample/conv_transpose_'
  assert {name: leaf['w'] for name, leaf in shapes.items()} == {
    f'{prefix}0': (4, 4, 4, 12, 5),
    f'{prefix}1': (4, 4, 4, 6, 12),
    f'{prefix}2': (4, 4, 4, 3, 6),
  }


@pytest.mark.parametrize(
  'settings',
  [
    {'grid_shape': (4,)},
    {'grid_shape': (1, 2, 3, 4)},
    {'grid_shape': (2, 3), 'num_time_doublings': 1},
    {'grid_shape': (2, 3), 'num_space_doublings': 3},
  ],
)
def test_grids_that_conv_values_do_not_know(settings):
  with pytest.raises(ValueError, match=r'grid_shape must be \(H, W\)'):
    shapes_of(lambda: ConvValues(num_channels=3, **settings), OUTPUTS)


FACTOR, CHANNELS = 2, 3
COARSE = normal(20, 2, 3, 4, 5)  # [B, H, W, C]
CONVEX = {
  'convex_upsample/values': {'w': normal(21, 5, CHANNELS), 'b': normal(22, 3)},
  'convex_upsample/weights': {
    'w': normal(23, 5, 9 * FACTOR**2),
    'b': normal(24, 9 * FACTOR**2),
  },
}


def convex(params, features):
  return run(
    lambda: ConvexUpsample(num_channels=CHANNELS, factor=FACTOR),
    params,
    features,
  )


def test_convex_upsample_is_a_loop_over_fine_points():
  coarse = np.float64(COARSE)
  of_values, of_weights = CONVEX.values()
  values = coarse @ of_values['w'] + of_values['b']
  weights = np.exp(coarse @ of_weights['w'] + of_weights['b'])
  batch, height, width, _ = coarse.shape
  expected = np.zeros((batch, FACTOR * height, FACTOR * width, CHANNELS))
  for y, x in itertools.product(range(FACTOR * height), range(FACTOR * width)):
    (i, p), (j, q) = divmod(y, FACTOR), divmod(x, FACTOR)
    total = 0.0
    for n, (di, dj) in enumerate(itertools.product((-1, 0, 1), repeat=2)):
      # The neighbour, or the nearest point inside.
      row, column = np.clip([i + di, j + dj], 0, [height - 1, width - 1])
      weight = weights[:, i, j, n * FACTOR**2 + p * FACTOR + q, None]
      expected[:, y, x] += weight * values[:, row, column]
      total += weight
    expected[:, y, x] /= total
  assert_close(convex(CONVEX, COARSE), expected)


def test_a_constant_field_stays_constant_in_convex_upsampling():
  # The weights, but not the values, differ from point to point: they sum to 1.
  constant = np.float32([7.0, -2.0, 0.5])
  values = {'w': jnp.zeros((5, CHANNELS)), 'b': constant}
  fine = convex(CONVEX | {'convex_upsample/values': values}, COARSE)
  assert_close(fine, np.broadcast_to(constant, (2, 6, 8, CHANNELS)))


def test_convex_upsampling_stays_between_the_coarse_values():
  fine = convex(CONVEX, COARSE)
  of_values = CONVEX['convex_upsample/values']
  values = COARSE @ of_values['w'] + of_values['b']
  for extreme, sign in ((values.max, 1), (values.min, -1)):
    bound = extreme(axis=(1, 2), keepdims=True)
    assert (sign * (bound - fine) >= -1e-5).all()
