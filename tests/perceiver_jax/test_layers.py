"""Initial values, layer norm, dropout; metrics."""

import types

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from perceiver_jax.layers import LayerNorm, Linear, dropout
from perceiver_jax.metrics import Mean, compute, weighted_mean
from perceiver_jax.numerics import affine, layer_norm
from perceiver_jax.portability import traced_for


def test_linear_weights_have_the_papers_standard_deviation():
  linear = hk.transform(lambda x: Linear(output_channels=512, name='out')(x))
  params = linear.init(jax.random.key(0), jnp.zeros((1, 256)))['out']
  # VarianceScaling(1.0): 1 / sqrt(fan in), where Haiku's default is 0.88 of it.
  np.testing.assert_allclose(params['w'].std(), 1 / 16, rtol=0.01)
  assert np.abs(params['w']).max() < 2.3 / 16
  np.testing.assert_array_equal(params['b'], 0.0)


def test_linear_is_an_affine_map():
  linear = hk.without_apply_rng(
    hk.transform(lambda x: Linear(output_channels=2, name='out')(x))
  )
  params = {'out': {'w': jnp.array([[1.0, 2.0]]), 'b': jnp.array([10.0, 0.5])}}
  np.testing.assert_allclose(
    linear.apply(params, jnp.array([[3.0]])), [[13.0, 6.5]]
  )


def test_layer_norm_closed_form_and_bfloat16():
  x = jnp.array([[1.0, 3.0]])
  normalized = layer_norm(x, jnp.array([2.0, 2.0]), jnp.array([0.0, 1.0]))
  np.testing.assert_allclose(normalized, [[-2.0, 3.0]], rtol=1e-4)
  # Statistics are taken in float32: 256 + small steps do not vanish.
  x = 256.0 + jnp.arange(0, 16, 2, dtype=jnp.bfloat16)[None]
  module = hk.transform(lambda x: LayerNorm()(x))
  params = module.init(jax.random.key(0), x)
  result = module.apply(params, None, x)
  assert result.dtype == jnp.bfloat16
  expected = (np.arange(8) - 3.5) / np.std(np.arange(8))
  np.testing.assert_allclose(result[0].astype(np.float32), expected, rtol=0.01)


@pytest.mark.parametrize('platform', ['cpu', 'gpu', 'tpu'])
@pytest.mark.parametrize('offset', [0.0, 30.0])
def test_layer_norm_and_its_gradients_are_those_of_float64(platform, offset):
  rng = np.random.default_rng(0)
  x, bar = rng.normal(size=(2, 2, 24, 64))
  x += offset
  scale, shift = rng.normal(size=(2, 64))

  def plain(x, scale, shift):
    normalized = (x - x.mean(-1, keepdims=True)) / jnp.sqrt(
      x.var(-1, keepdims=True) + 1e-5
    )
    return normalized * scale[None, None] + shift[None, None]

  with traced_for(types.SimpleNamespace(platform=platform)):
    got, pull = jax.vjp(
      layer_norm, *(jnp.asarray(a, jnp.float32) for a in (x, scale, shift))
    )
    got = got, *pull(jnp.asarray(bar, jnp.float32))
  with jax.enable_x64(True):
    wanted, pull = jax.vjp(plain, *map(jnp.asarray, (x, scale, shift)))
    wanted = wanted, *pull(jnp.asarray(bar))
  # On TPUs E[x^2] - E[x]^2 loses digits with the square of the offset.
  tolerance = 1e-5 if platform != 'tpu' or not offset else 1e-3
  for a, b in zip(got, wanted, strict=True):
    np.testing.assert_allclose(a, b, atol=tolerance * np.abs(b).max())


def test_rows_of_one_number_have_no_variance_on_tpus():
  x = jnp.full((4, 64), 1000.1)
  with traced_for(types.SimpleNamespace(platform='tpu')):
    normalized = layer_norm(x, jnp.ones(64), jnp.zeros(64))
  assert jnp.isfinite(normalized).all()


@pytest.mark.parametrize('dtype', [jnp.float32, jnp.bfloat16])
def test_affine_on_tpus_does_not_round_gradients_of_parameters(dtype):
  rng = np.random.default_rng(0)
  x, bar = rng.integers(-8, 9, size=(2, 3, 40, 16)).astype(np.float32)
  w, b = rng.integers(-8, 9, size=(17, 16)).astype(np.float32)[:16], x[0, 0]
  with traced_for(types.SimpleNamespace(platform='tpu')):
    result, pull = jax.vjp(affine, jnp.asarray(x, dtype), w, b)
    x_bar, w_bar, b_bar = pull(jnp.asarray(bar, dtype))
  assert (result.dtype, x_bar.dtype) == (dtype, dtype)
  assert (w_bar.dtype, b_bar.dtype) == (jnp.float32, jnp.float32)
  # Whole numbers: exact, but for two roundings to bfloat16.
  bits = 2**-7 if dtype == jnp.bfloat16 else 0.0
  np.testing.assert_allclose(result.astype(np.float32), x @ w + b, rtol=bits)
  np.testing.assert_allclose(x_bar.astype(np.float32), bar @ w.T, rtol=bits)
  np.testing.assert_array_equal(w_bar, np.einsum('bnc,bnd->cd', x, bar))
  np.testing.assert_array_equal(b_bar, bar.sum((0, 1)))


def test_dropout_asks_for_no_key_when_it_drops_nothing():
  x = jnp.ones(1000)
  for rate, is_training in ((0.5, False), (0.0, True)):
    keep = hk.transform(
      lambda x, rate=rate, on=is_training: dropout(x, rate, is_training=on)
    )
    np.testing.assert_array_equal(keep.apply({}, None, x), x)
  drop = hk.transform(lambda x: dropout(x, 0.25, is_training=True))
  dropped = drop.apply({}, jax.random.key(0), x)
  np.testing.assert_allclose(dropped[dropped > 0], 1 / 0.75, rtol=1e-6)
  assert 0.2 < (dropped == 0).mean() < 0.3
  with pytest.raises(Exception, match='PRNG'):
    drop.apply({}, None, x)


def test_metrics_add_up_over_uneven_batches():
  first = weighted_mean(jnp.array([1.0, 2.0, 9.0]), jnp.array([1.0, 1.0, 0.0]))
  second = weighted_mean(jnp.array([6.0]), jnp.array([1.0]))
  assert compute([{'loss': first}, {'loss': second}]) == {'loss': 3.0}
  nothing = Mean(jnp.zeros(()), jnp.zeros(()))
  assert np.isnan(compute([{'loss': nothing}])['loss'])


def test_layer_norm_gradient_against_autodiff_of_its_definition():
  def definition(x, scale, offset):
    centred = x - x.mean(axis=-1, keepdims=True)
    variance = (centred**2).mean(axis=-1, keepdims=True)
    normalized = centred / jnp.sqrt(variance + 1e-5)
    return normalized * scale[None, None] + offset[None, None]

  with jax.enable_x64(True):
    x, cotangent = jax.random.normal(jax.random.key(0), (2, 3, 4, 5))
    scale, offset = jax.random.normal(jax.random.key(1), (2, 5))
    arguments = (x, scale, offset)
    for gradient, expected in zip(
      jax.vjp(layer_norm, *arguments)[1](cotangent),
      jax.vjp(definition, *arguments)[1](cotangent),
      strict=True,
    ):
      np.testing.assert_allclose(gradient, expected, rtol=1e-10, atol=1e-12)
