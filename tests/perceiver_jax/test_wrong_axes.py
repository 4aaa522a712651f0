"""Plain arrays go in everywhere; wrong axes are refused by name."""

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import perceiver_jax as pj

ENCODER = {
  'num_latents': 4,
  'latent_channels': 8,
  'cross_attends': (1,),
  'self_attends_per_block': 1,
}


def shape_of(function):
  """The shape that comes out of a function of modules."""

  model = hk.without_apply_rng(hk.transform(function))
  params = jax.eval_shape(model.init, jax.random.key(0))
  return jax.eval_shape(model.apply, params).shape


def zeros(*shape, dtype=jnp.float32):
  return jnp.zeros(shape, dtype)


def encoder(inputs):
  return pj.Encoder(**ENCODER)(inputs, is_training=False)


def classifier(inputs):
  model = pj.PerceiverClassifier(
    preprocessor=None, encoder=pj.Encoder(**ENCODER), num_classes=3
  )
  return model(inputs, is_training=False)


def self_attend(latents):
  return pj.SelfAttend(num_heads=2)(latents, is_training=False)


def latent_block(latents):
  return pj.LatentBlock(num_layers=2)(latents, is_training=False)


def cross_attend(queries, inputs):
  return pj.CrossAttend()(queries, inputs, is_training=False)


def decoder(queries, latents):
  return pj.Decoder(output_channels=3)(queries, latents, is_training=False)


def attention(*arguments):
  return pj.Attention(num_heads=2)(*arguments)


@pytest.mark.parametrize(
  ('function', 'shape'),
  [
    (lambda: encoder(zeros(2, 5, 3)), (2, 4, 8)),
    (lambda: encoder(np.zeros((2, 5, 3), np.float32)), (2, 4, 8)),
    (lambda: classifier(zeros(2, 5, 3)), (2, 3)),
    (lambda: self_attend(zeros(2, 4, 8)), (2, 4, 8)),
    (lambda: latent_block(zeros(2, 4, 8)), (2, 4, 8)),
    (lambda: cross_attend(zeros(1, 4, 8), zeros(2, 5, 3)), (2, 4, 8)),
    (lambda: decoder(zeros(1, 7, 6), zeros(2, 4, 8)), (2, 7, 3)),
    (lambda: attention(zeros(2, 4, 8)), (2, 4, 8)),
    (lambda: attention(zeros(1, 4, 8), zeros(2, 5, 6)), (2, 4, 8)),
    (lambda: pj.AveragePool(num_outputs=3)(zeros(2, 4, 8)), (2, 3)),
  ],
)
def test_arrays_in(function, shape):
  assert shape_of(function) == shape


INPUTS = r'Inputs, ByteArray.features, must be \[B, M, C\], got shape '


@pytest.mark.parametrize(
  ('function', 'message'),
  [
    (lambda: encoder(zeros(5, 3)), INPUTS + r'\(5, 3\)'),
    (lambda: encoder(zeros(2, 5, 3, 1)), INPUTS + r'\(2, 5, 3, 1\)'),
    (lambda: classifier(zeros(5, 3)), INPUTS + r'\(5, 3\)'),
    (lambda: encoder([zeros(2, 5, 3)]), r'array \[B, M, C\] or .* got list'),
    (
      lambda: encoder(zeros(2, 5, 3, dtype=jnp.int32)),
      'must be floating-point numbers, got int32',
    ),
    (lambda: self_attend(zeros(4, 8)), r'latents must be .*\[B, N, D\], got'),
    (
      lambda: self_attend(zeros(2, 4, 8, dtype=jnp.uint8)),
      r'latents must be a floating-point array \[B, N, D\], got uint8',
    ),
    (lambda: latent_block(zeros(4, 8)), r'latents must be .*\[B, N, D\]'),
    (
      lambda: cross_attend(zeros(4, 8), zeros(2, 5, 3)),
      r'queries must be .*\[B, N, E\], got float32 \(4, 8\)',
    ),
    (lambda: cross_attend(zeros(1, 4, 8), zeros(5, 3)), INPUTS),
    (lambda: decoder(zeros(7, 6), zeros(2, 4, 8)), r'queries .*\[B, O, E\]'),
    (lambda: decoder(zeros(1, 7, 6), zeros(4, 8)), r'latents .*\[B, N, D\]'),
    (lambda: attention(zeros(4, 8)), r'queries must be .*\[B, N, C\]'),
    (
      lambda: attention(zeros(2, 4, 8), zeros(5, 8)),
      r'inputs must be .*\[B, M, C\]',
    ),
    (
      lambda: attention(zeros(3, 4, 8), zeros(2, 5, 8)),
      r'queries \(3, 4, 8\) are of another batch .* 2 examples',
    ),
    (
      lambda: pj.AveragePool(num_outputs=3)(zeros(4, 8)),
      r'latents must be .*\[B, N, D\]',
    ),
    (
      lambda: pj.Attention(dropout_rate=0.1)(zeros(2, 4, 8)),
      r'dropout_rate = 0.1, is_training must be given',
    ),
    (
      lambda: pj.Attention(num_heads=0)(zeros(2, 4, 8)),
      'num_heads must be at least 1, got 0',
    ),
    (
      lambda: pj.dot_product_attention(*3 * [zeros(2, 4, 8)]),
      r'query must be .*\[B, N, H, Dk\], got float32 \(2, 4, 8\)',
    ),
  ],
)
def test_wrong_axes(function, message):
  with pytest.raises(ValueError, match=message):
    shape_of(function)
