"""The TPU's kernel of multi-head attention, interpreted on the CPU."""

import functools
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental import pallas as pl

from perceiver_jax.dot_product import dot_product_attention
from perceiver_jax.kernels import latent_attention
from perceiver_jax.portability import traced_for

TPU = types.SimpleNamespace(platform='tpu', device_kind='TPU v5 lite')


@pytest.fixture(autouse=True)
def interpreted(monkeypatch):
  interpreted = functools.partial(pl.pallas_call, interpret=True)
  monkeypatch.setattr(latent_attention.pl, 'pallas_call', interpreted)


def inputs_of(queries, inputs, heads, qk, v):
  """Queries, keys, values and a gradient for the result, of two examples."""
  rng = np.random.default_rng(queries + inputs)
  shapes = ((queries, qk), (inputs, qk), (inputs, v), (queries, v))
  return [
    rng.normal(size=(2, rows, heads, channels)).astype(np.float32)
    for rows, channels in shapes
  ]


def value_and_gradients(attend, query, key, value, attended_bar):
  attended, pull = jax.vjp(attend, query, key, value)
  return attended, *pull(attended_bar)


@pytest.mark.parametrize(
  ('queries', 'inputs', 'heads', 'qk', 'v'),
  [
    (128, 128, 2, 128, 128),  # A head fills registers.
    (64, 80, 4, 32, 160),  # Four heads do.
    (40, 24, 3, 8, 16),  # None do.
    (768, 512, 1, 8, 8),  # Queries in several blocks.
  ],
)
@pytest.mark.parametrize('masked', [False, True])
def test_values_and_gradients_are_those_of_plain_attention_in_float64(
  queries, inputs, heads, qk, v, masked
):
  arrays = inputs_of(queries, inputs, heads, qk, v)
  mask = None
  if masked:
    mask = np.random.default_rng(1).random((2, inputs)) < 0.6
    mask[1] = False  # Nothing but padding.
  got = jax.jit(
    lambda *x: value_and_gradients(
      lambda *qkv: latent_attention.attend(*qkv, mask), *x
    )
  )(*arrays)
  with jax.enable_x64(True):
    wanted = value_and_gradients(
      lambda *qkv: dot_product_attention(*qkv, mask=mask),
      *(jnp.asarray(x, jnp.float64) for x in arrays),
    )
  for a, b in zip(got, wanted, strict=True):
    assert np.abs(b).max() > 0.1
    np.testing.assert_allclose(a, b, atol=5e-6 * np.abs(b).max())
  if masked:
    assert all(not np.asarray(x[1]).any() for x in got)


def test_bfloat16_comes_out_as_close_as_it_can_be():
  arrays = inputs_of(128, 256, 2, 64, 64)
  narrow = [jnp.asarray(x, jnp.bfloat16) for x in arrays]
  got = value_and_gradients(latent_attention.attend, *narrow)
  wanted = value_and_gradients(
    dot_product_attention, *(x.astype(jnp.float32) for x in narrow)
  )
  for a, b in zip(got, wanted, strict=True):
    assert a.dtype == jnp.bfloat16
    np.testing.assert_allclose(
      a.astype(jnp.float32), b, atol=0.01 * np.abs(b).max()
    )


@pytest.mark.parametrize(
  ('queries', 'inputs', 'heads', 'qk', 'v', 'taken'),
  [
    (512, 512, 8, 128, 128, True),  # Latents of ImageNet,
    (256, 256, 8, 32, 160, True),  # of the language model,
    (2048, 256, 8, 32, 96, True),  # its decoder,
    (2048, 2048, 16, 32, 32, True),  # optical flow,
    (784, 784, 8, 64, 64, True),  # and several senses.
    (256, 2048, 8, 32, 160, False),  # Sums of 2,048 x 640 gradients.
    (1, 512, 1, 1024, 1024, False),  # Registers of one query.
    (1000, 50_176, 8, 32, 32, False),  # No block of 1,000 fills registers.
  ],
)
def test_what_fits_on_a_core_is_taken(queries, inputs, heads, qk, v, taken):
  query, key, value = (
    jax.ShapeDtypeStruct((2, rows, heads, channels), jnp.bfloat16)
    for rows, channels in ((queries, qk), (inputs, qk), (inputs, v))
  )
  with traced_for(TPU):
    assert latent_attention.takes(query, key, value) == taken
  with traced_for(types.SimpleNamespace(platform='tpu', device_kind='TPU v3')):
    assert not latent_attention.takes(query, key, value)
  assert not latent_attention.takes(query, key, value)
