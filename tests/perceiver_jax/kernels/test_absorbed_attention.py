"""The TPU's kernels of the absorbed cross-attend, interpreted on the CPU.

The interpreter fills what was not written, and what lies behind an array's end,
with NaN.
"""

import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental.pallas import tpu as pltpu

from perceiver_jax.absorbed_attention import (
  NormalizedByteArray,
  Unprojected,
  inverse_stddev,
)
from perceiver_jax.absorbed_attention import absorbed_attention as attend
from perceiver_jax.byte_array import ByteArray
from perceiver_jax.kernels import absorbed_attention, input_columns
from perceiver_jax.kernels.tiles import as_column, as_row
from perceiver_jax.portability import target_device, traced_for
from perceiver_jax.position_encoding import FourierPositions, GridPositions

TPU = types.SimpleNamespace(platform='tpu', device_kind='TPU v5 lite')


def normal(seed, *shape):
  return np.random.default_rng(seed).normal(size=shape)


def make_inputs(batch, num_inputs, cf, cp, positions_shared, masked):
  """Features, positions, `inverse_std` and mask; one example is all padding."""
  positions = None
  if cp:
    positions = normal(
      1, *(() if positions_shared else (batch,)), num_inputs, cp
    )
  mask = None
  if masked:
    mask = np.random.default_rng(2).random((batch, num_inputs)) < 0.7
    mask[0] = False
    mask[1, : num_inputs // 2] = False
  inverse_std = 0.5 + np.random.default_rng(3).random((batch, num_inputs))
  return normal(4, batch, num_inputs, cf), positions, inverse_std, mask


def plain(keys, features, positions, inverse_std, mask):
  """Softmax attention in one piece, float64."""
  parts = [features]
  if positions is not None:
    shape = (*features.shape[:2], positions.shape[-1])
    parts.append(jnp.broadcast_to(positions, shape))
  inputs = jnp.concatenate(parts, axis=-1) * inverse_std[..., None]
  keys = jnp.broadcast_to(keys, (features.shape[0], *keys.shape[1:]))
  weights = jnp.exp(jnp.einsum('bnc,bmc->bnm', keys, inputs))
  if mask is not None:
    weights = weights * mask[:, None]
  total = weights.sum(axis=-1, keepdims=True)
  weights = weights / jnp.where(total == 0.0, 1.0, total)
  return jnp.einsum('bnm,bmc->bnc', weights, inputs), weights.sum(axis=-1)


def with_gradients(attend, arguments, mask, wanted):
  """Sums, sums of the weights, and gradients of the wanted arguments."""
  keys, features = arguments[:2]
  direction = normal(5, features.shape[0], *keys.shape[1:])

  def loss(*arguments):
    mixed, total = attend(*arguments, mask)
    return (mixed * direction.astype(mixed.dtype)).sum(), (mixed, total)

  gradients, results = jax.jit(jax.grad(loss, wanted, has_aux=True))(*arguments)
  return results, gradients


def kernel(arguments, mask, wanted, dtype=jnp.float32):
  keys, features, positions, inverse_std = arguments
  arguments = (
    keys.astype(np.float32),
    jnp.asarray(features, dtype),
    None if positions is None else jnp.asarray(positions, jnp.float32),
    inverse_std.astype(np.float32),
  )
  with pltpu.force_tpu_interpret_mode():
    return with_gradients(absorbed_attention.attend, arguments, mask, wanted)


CASES = {
  # batch, keys of, N, M, Cf, Cp, positions shared, mask
  'ImageNet': (2, 2, 32, 400, 3, 26, True, False),
  'one query, rows': (2, 2, 1, 200, 128, 0, True, False),
  'seven queries': (3, 1, 7, 300, 8, 9, False, True),
  'blocks of queries': (2, 1, 300, 200, 6, 10, True, True),
  'whole blocks, rows': (2, 2, 130, 256, 128, 4, False, False),
}


@pytest.fixture
def small_blocks(monkeypatch):
  monkeypatch.setattr(input_columns, '_LARGEST_BLOCK', 128)
  monkeypatch.setattr(input_columns, '_MOST_QUERIES', 128)


@pytest.mark.usefixtures('small_blocks')
@pytest.mark.parametrize('case', list(CASES))
def test_equals_softmax_attention_with_all_gradients(case):
  batch, keys_batch, num_queries, num_inputs, cf, cp, shared, masked = CASES[
    case
  ]
  *inputs, mask = make_inputs(batch, num_inputs, cf, cp, shared, masked)
  arguments = (normal(0, keys_batch, num_queries, cf + cp) / 4, *inputs)
  wanted = (0, 1, 2, 3) if cp else (0, 1, 3)
  with jax.enable_x64(True):
    expected = with_gradients(plain, arguments, mask, wanted)
  actual = kernel(arguments, mask, wanted)
  jax.tree.map(
    lambda x, y: np.testing.assert_allclose(
      x, y, rtol=2e-5, atol=1e-5 * np.abs(y).max()
    ),
    actual,
    expected,
  )
  if masked:
    np.testing.assert_array_equal(actual[0][0][0], 0.0)
    np.testing.assert_array_equal(actual[0][1][0], 0.0)
    np.testing.assert_array_equal(actual[1][1][0], 0.0)


@pytest.mark.usefixtures('small_blocks')
def test_bfloat16_is_off_by_its_rounding_alone():
  *inputs, mask = make_inputs(2, 200, 6, 10, True, True)
  inputs = [np.asarray(jnp.asarray(x, jnp.bfloat16), float) for x in inputs]
  arguments = (normal(0, 2, 24, 16) / 4, *inputs)
  with jax.enable_x64(True):
    expected = with_gradients(plain, arguments, mask, (0,))
  actual = kernel(arguments, mask, (0,), jnp.bfloat16)
  # Keys, inputs and weights have 8 bits; sums over inputs even it out.
  jax.tree.map(
    lambda x, y: np.testing.assert_allclose(x, y, atol=0.02 * np.abs(y).max()),
    actual,
    expected,
  )


def test_a_model_for_a_tpu_takes_the_kernel_and_gets_the_same_numbers():
  def parameters(seed, *shape):
    return jnp.asarray(normal(seed, *shape) / 4, jnp.float32)

  encoding = FourierPositions(num_bands=2, max_resolution=(4, 6))
  positions = GridPositions(encoding=encoding, grid_shape=(4, 6))
  mask = jnp.arange(24)[None] < jnp.asarray([24, 0])[:, None]
  channels = 3 + 10
  query, features = parameters(0, 1, 5, 8), 4 * parameters(1, 2, 24, 3)
  key = parameters(2, channels, 8), parameters(3, 8)
  value = parameters(4, channels, 7), parameters(5, 7)
  scale, offset = parameters(6, channels), parameters(7, channels)

  def loss(query, features):
    byte_array = ByteArray(features, positions, mask)
    normalized = NormalizedByteArray(byte_array, scale, offset)
    inputs = Unprojected(normalized, inverse_stddev(byte_array), key, value)
    attended = attend(query, inputs, chunk_size=7)
    return (attended**2).sum(), attended

  def results():
    # A function of its own: what was traced for the CPU would be found again.
    gradient = jax.grad(lambda *x: loss(*x), (0, 1), has_aux=True)
    traced = str(jax.make_jaxpr(gradient)(query, features))
    assert ('pallas_call' in traced) == (target_device() is TPU)
    return jax.jit(gradient)(query, features)

  expected = results()
  with traced_for(TPU), pltpu.force_tpu_interpret_mode():
    actual = results()
  jax.tree.map(
    lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-4, atol=1e-5),
    actual,
    expected,
  )
  np.testing.assert_array_equal(actual[1][1], 0.0)


@pytest.mark.parametrize(
  ('device', 'channels', 'takes'),
  [
    (TPU, 261, True),
    (TPU, 1024, True),
    (TPU, 2**15, False),  # Not even 128 queries and inputs fit.
    (types.SimpleNamespace(platform='tpu', device_kind='TPU v3'), 261, False),
    (types.SimpleNamespace(platform='gpu', device_kind='H100'), 261, False),
    (None, 261, False),
  ],
)
def test_kernels_are_for_tpus_that_have_them(device, channels, takes):
  keys = jax.ShapeDtypeStruct((1, 512, channels), jnp.float32)
  features = jax.ShapeDtypeStruct((8, 50176, 3), jnp.bfloat16)
  with traced_for(device):
    assert absorbed_attention.takes(keys, features) == takes


@pytest.mark.parametrize(
  ('num_queries', 'num_inputs', 'channels', 'queries', 'inputs'),
  [
    (512, 50176, 261, 512, 1024),  # ImageNet: 49 whole blocks.
    (1, 512, 1024, 16, 512),  # A decoder of classes.
    (784, 52097, 704, 784, 384),  # Films: all queries at once, fewer inputs.
    (2048, 182528, 322, 512, 1024),  # Optical flow.
    (1100, 77, 261, 384, 77),  # Blocks of nearly the same size; all inputs.
  ],
)
def test_blocks_are_as_large_as_fit(
  num_queries, num_inputs, channels, queries, inputs
):
  keys = jax.ShapeDtypeStruct((1, num_queries, channels), jnp.float32)
  features = jax.ShapeDtypeStruct((1, num_inputs, 128), jnp.bfloat16)
  blocks = input_columns.plan_blocks(keys, features)
  assert blocks == (queries, inputs, num_inputs, True)


@pytest.mark.parametrize('size', [16, 128, 400])
def test_columns_and_rows_are_turned(size):
  numbers = jnp.arange(size, dtype=jnp.float32)
  np.testing.assert_array_equal(as_row(numbers[:, None]), numbers[None])
  column = as_column(numbers[None])
  np.testing.assert_array_equal(column, numbers[:, None].repeat(128, axis=1))
