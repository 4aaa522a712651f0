"""Single-head attention to raw inputs on a TPU, with its gradients.

The same as `_attend` of perceiver_jax/absorbed_attention.py, whose head derives
it. Shapes: B batch, N queries, M inputs, C channels of the inputs, Cf of their
features and Cp of their positions (C = Cf + Cp).
"""

import math

import jax
import jax.numpy as jnp
from jax import export

from perceiver_jax.kernels import target
from perceiver_jax.kernels.absorbed_forward import weighted_sums
from perceiver_jax.kernels.absorbed_gradients import (
  Queries,
  inputs_gradient,
  keys_gradient,
)
from perceiver_jax.kernels.input_columns import (
  Blocks,
  as_columns,
  plan_blocks,
  positions_first,
)
from perceiver_jax.position_encoding import GridPositions


def takes(keys: jax.Array, features: jax.Array) -> bool:
  """Whether `attend` suits the devices that are traced for, and these shapes.

  Args:
    keys: `[1 or B, N, C]`.
    features: `[B, M, Cf]`.
  """
  if not target.is_taken():
    return False
  if any(map(export.is_symbolic_dim, (*keys.shape, *features.shape))):
    return False
  return plan_blocks(keys, features) is not None


@jax.custom_vjp
def attend(
  keys: jax.Array,
  features: jax.Array,
  positions: jax.Array | GridPositions | None,
  inverse_std: jax.Array,
  mask: jax.Array | None,
) -> tuple[jax.Array, jax.Array]:
  """Attention weights from scores r (k x); sums of r x under them.

  Args:
    keys: `[B, N, C]` float32, or `[1, N, C]` when the batch shares them.
    features: `[B, M, Cf]`; products are made in their dtype.
    positions: `[M, Cp]`, `[B, M, Cp]`, of a grid, or None.
    inverse_std: `[B, M]`, r.
    mask: `[B, M]` bool, True where there is an input, or None.

  Returns:
    `[B, N, C]` sums and `[B, N]` sums of the weights, float32: one, or zero for
    an example without any input. The latter has no gradient.
  """
  (mixed, total), _ = _forward(keys, features, positions, inverse_std, mask)
  return mixed, total


def _kernel_keys(keys: jax.Array, features: jax.Array, blocks: Blocks):
  """Keys as the kernels take them, for logarithms to the base of two."""
  keys = positions_first(keys * math.log2(math.e), features.shape[-1])
  return blocks.padded(keys.astype(features.dtype))


def _forward(keys, features, positions, inverse_std, mask):
  blocks = plan_blocks(keys, features)
  _, num_queries, channels = keys.shape
  columns = as_columns(features, positions, inverse_std, mask)
  mixed, log_total = weighted_sums(
    _kernel_keys(keys, features, blocks), columns, blocks
  )
  mixed = jnp.swapaxes(mixed, 1, 2)[:, :num_queries]
  mixed = positions_first(mixed, channels - features.shape[-1])
  log_total = log_total[:, 0, :num_queries]
  total = jnp.ones_like(log_total)
  if mask is not None:
    present = mask.any(axis=1)[:, None]
    mixed = jnp.where(present[..., None], mixed, 0.0)
    # exp(score - inf) makes the weights zero.
    log_total = jnp.where(present, log_total, jnp.inf)
    total = jnp.where(present, total, 0.0)
  return (mixed, total), log_total


def _attend_fwd(keys, features, positions, inverse_std, mask):
  inputs = jax.tree.map(
    lambda x: x.value, (features, positions, inverse_std, mask)
  )

  def perturbed(*inputs):
    return any(x.perturbed for x in jax.tree.leaves(inputs))

  # Residuals are arrays and trees of them: an empty tree says yes, None no.
  wanted = (
    () if perturbed(features, positions, inverse_std) else None,
    () if perturbed(positions) else None,
  )
  results, log_total = _forward(keys.value, *inputs)
  return results, (keys.value, inputs, results[0], log_total, wanted)


def _attend_bwd(residuals, cotangents):
  keys, inputs, mixed, log_total, wanted = residuals
  if isinstance(cotangents[0], jax.custom_derivatives.SymbolicZero):
    return jnp.zeros_like(keys), None, None, None, None
  features = inputs[0]
  num_features, channels = features.shape[-1], keys.shape[-1]
  blocks = plan_blocks(keys, features)
  columns = as_columns(*inputs)
  queries = Queries(
    _kernel_keys(keys, features, blocks),
    _kernel_gradient(cotangents[0], features, blocks),
    blocks.padded((cotangents[0] * mixed).sum(axis=-1))[:, None],
    blocks.padded(log_total, jnp.inf)[:, None],
  )
  keys_bar = keys_gradient(queries, columns, blocks)
  keys_bar = jnp.swapaxes(keys_bar, 1, 2)[:, : keys.shape[1]]
  keys_bar = positions_first(keys_bar, channels - num_features)
  if keys.shape[0] == 1:
    keys_bar = keys_bar.sum(axis=0, keepdims=True)
  if wanted[0] is None:
    return keys_bar, None, None, None, None
  positions_bar, features_bar, inverse_std_bar = inputs_gradient(
    queries, columns, blocks, positions_wanted=wanted[1] is not None
  )
  if positions_bar is not None:
    positions_bar = jnp.swapaxes(positions_bar, 1, 2)
    positions_bar = positions_bar.reshape(inputs[1].shape)
    positions_bar = positions_bar.astype(inputs[1].dtype)
  if not blocks.rows:
    features_bar = jnp.swapaxes(features_bar, 1, 2)
  return (
    keys_bar,
    features_bar,
    positions_bar,
    inverse_std_bar[:, 0],
    None,
  )


def _kernel_gradient(bar: jax.Array, features: jax.Array, blocks: Blocks):
  return blocks.padded(
    positions_first(bar, features.shape[-1]).astype(features.dtype)
  )


attend.defvjp(_attend_fwd, _attend_bwd, symbolic_zeros=True)
