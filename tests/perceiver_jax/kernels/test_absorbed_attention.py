"""The TPU's kernels of the absorbed cross-attend, interpreted on the CPU."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental.pallas import tpu as pltpu

from perceiver_jax.kernels import absorbed_attention, input_columns


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
  'one query': (2, 2, 1, 70, 24, 0, True, False),
  'seven queries': (3, 1, 7, 300, 8, 9, False, True),
  'shared keys': (3, 1, 24, 260, 3, 10, True, True),
  'whole blocks': (2, 2, 16, 256, 5, 6, True, False),
  'blocks of queries': (2, 1, 300, 200, 6, 10, True, True),
  'own positions': (2, 2, 130, 140, 6, 4, False, False),
}


@pytest.mark.parametrize('case', list(CASES))
def test_equals_softmax_attention_with_all_gradients(case, monkeypatch):
  batch, keys_batch, num_queries, num_inputs, cf, cp, shared, masked = CASES[
    case
  ]
  monkeypatch.setattr(input_columns, '_LARGEST_BLOCK', 128)
  monkeypatch.setattr(input_columns, '_MOST_QUERIES', 128)
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
