"""How inputs are cut into chunks, for CPUs and for GPUs.

A GPU is traced for and a CPU computes, so that the numbers of the forms for
GPUs are seen here.
"""

import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from perceiver_jax import input_chunks
from perceiver_jax.absorbed_attention import (
  NormalizedByteArray,
  Unprojected,
  absorbed_attention,
  inverse_stddev,
)
from perceiver_jax.byte_array import ByteArray
from perceiver_jax.dot_product import dot_product_attention
from perceiver_jax.input_chunks import Chunk, chunk_size
from perceiver_jax.portability import traced_for

GPU = types.SimpleNamespace(platform='gpu')


@pytest.mark.parametrize(
  ('sizes', 'on_cpu', 'on_gpu'),
  [
    # Batch, inputs, queries: ImageNet; 392 and 13 chunks.
    ((32, 50_176, 512), 128, 3968),
    # 2 ** 27 scores: 25 chunks.
    ((128, 50_176, 512), 128, 2048),
    # 2 ** 20 and 2 ** 27 scores.
    ((1, 50_176, 4096), 256, 3968),
    # However many queries and few inputs there are.
    ((1024, 5000, 2048), 125, 512),
    ((1, 1000, 1), 500, 1000),
    ((1, 7, 1), 7, 7),
  ],
)
def test_chunks_suit_what_computes_them(sizes, on_cpu, on_gpu):
  assert chunk_size(*sizes) == on_cpu
  with traced_for(GPU):
    assert chunk_size(*sizes) == on_gpu
  # A form for any platform is that for CPUs.
  with traced_for(None):
    assert chunk_size(*sizes) == on_cpu


def test_rows_are_filled_up_on_gpus():
  chunk = Chunk(jnp.ones((2, 5, 3)), jnp.ones((5, 10)), jnp.ones((2, 5)), None)
  keys = jnp.ones((2, 128, 13))
  assert chunk.scaled(keys).inputs.shape == (2, 5, 13)
  assert chunk.operand(keys) is keys
  with traced_for(GPU):
    inputs, operand = chunk.scaled(keys).inputs, chunk.operand(keys)
  assert inputs.shape == (2, 5, 16) and operand.shape == (2, 128, 16)
  for filled in (inputs, operand):
    np.testing.assert_array_equal(filled[..., :13], 1.0)
    np.testing.assert_array_equal(filled[..., 13:], 0.0)


def test_chunks_of_several_cross_attends_come_in_turn():
  """On GPUs; elsewhere jax brings all of them together first."""
  features, positions = jnp.ones((2, 24, 3)), jnp.ones((24, 10))
  byte_array = ByteArray(features, positions, None)
  ones = jnp.ones(13)
  inputs = Unprojected(
    NormalizedByteArray(byte_array, ones, ones),
    inverse_stddev(byte_array),
    (jnp.eye(13), ones),
    (jnp.eye(13), ones),
  )

  def several(queries):
    def step(queries, _):
      return absorbed_attention(queries, inputs, chunk_size=8), None

    return jax.lax.scan(step, queries, None, length=2)[0].sum()

  def gradient():
    gradient = jax.grad(lambda queries: several(queries))
    return str(jax.make_jaxpr(gradient)(jnp.ones((2, 128, 13))))

  assert 'f32[3,2,8,13]' in gradient()
  with traced_for(GPU):
    assert 'f32[3,2,8,' not in gradient()


def normal(seed, *shape):
  return jnp.asarray(np.random.default_rng(seed).normal(size=shape))


# Channels that fill rows, and that do not; chunks with a rest and without.
@pytest.mark.parametrize(
  ('channels', 'masked', 'size'),
  [((3, 10), False, 7), ((3, 10), True, 20), ((6, 2), True, 6), ((5, 0), 0, 8)],
)
@pytest.mark.parametrize(
  ('dtype', 'wide', 'tolerance'),
  [(jnp.float64, jnp.float64, 1e-9), (jnp.bfloat16, jnp.float32, 0.05)],
)
def test_the_form_for_gpus_equals_the_plain_one(
  channels, masked, size, dtype, wide, tolerance, monkeypatch
):
  monkeypatch.setattr(input_chunks, '_MANY_QUERIES', 1)
  total = sum(channels)
  with jax.enable_x64(True):
    parameters = (
      1.0 + 0.1 * normal(0, total),
      normal(1, total),
      normal(2, total, 5) / 3,
      normal(3, total, 7) / 3,
      normal(4, 20, channels[1]),
    )
    mask = (
      jnp.arange(20)[None] < jnp.array([[20], [9], [0]]) if masked else None
    )
    # Numbers of bfloat16 in either form.
    query, features = (
      normal(i, *shape).astype(jnp.bfloat16)
      for i, shape in ((5, (3, 4, 5)), (6, (3, 20, channels[0])))
    )

    def inputs(features, scale, offset, positions):
      positions = positions if channels[1] else None
      return NormalizedByteArray(
        ByteArray(features, positions, mask), scale, offset
      )

    def plain(query, features, scale, offset, key, value, positions):
      x = inputs(features, scale, offset, positions).concatenate()
      heads = (x[:, :, None] for x in (query, x @ key, x @ value))
      return dot_product_attention(*heads, mask=mask)[:, :, 0]

    def chunked(query, features, scale, offset, key, value, positions):
      normalized = inputs(features, scale, offset, positions)
      unprojected = Unprojected(
        normalized,
        inverse_stddev(normalized.byte_array),
        (key, jnp.zeros_like(key[0])),
        (value, jnp.zeros_like(value[0])),
      )
      return absorbed_attention(query, unprojected, chunk_size=size)

    def results(attend, dtype, wide):
      def loss(*arguments):
        attended = attend(*arguments).astype(wide)
        return (attended * normal(7, 3, 4, 7).astype(wide)).sum(), attended

      return jax.jit(jax.grad(loss, range(7), has_aux=True))(
        query.astype(dtype),
        features.astype(dtype),
        *(x.astype(wide) for x in parameters),
      )

    expected = results(plain, jnp.float64, jnp.float64)
    with traced_for(GPU):
      actual = results(chunked, dtype, wide)
  for x, y in zip(*map(jax.tree.leaves, (actual, expected)), strict=True):
    if y.size:
      np.testing.assert_allclose(
        np.float64(x), np.float64(y), atol=tolerance * np.abs(y).max(), rtol=0
      )
