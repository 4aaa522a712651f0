"""Attention in its plain form: the reference of all others.

Shapes: B batch, N queries, M inputs, H heads, Dk and Dv channels of a head of
queries/keys and of values. For masks, see masks.py.
"""

import math

import jax
import jax.numpy as jnp

from perceiver_jax.layers import check_array, dropout
from perceiver_jax.masks import check_mask, over_scores
from perceiver_jax.numerics import at_least_float32


def masked_softmax(scores: jax.Array, mask: jax.Array | None) -> jax.Array:
  """Softmax over the last axis that knows padding.

  Args:
    scores: `[..., M]`.
    mask: bool, broadcastable to `scores`, True where there is an input.

  Returns:
    Weights, in float32 or wider. They sum to one, except that a row with
    nothing but padding has all weights zero (and zero gradient), not NaN.
  """
  scores = scores.astype(at_least_float32(scores))
  if mask is None:
    return jax.nn.softmax(scores, axis=-1)
  scores = jnp.where(mask, scores, -jnp.inf)
  highest = jax.lax.stop_gradient(scores.max(axis=-1, keepdims=True))
  highest = jnp.where(jnp.isfinite(highest), highest, 0.0)
  weights = jnp.exp(scores - highest)
  total = weights.sum(axis=-1, keepdims=True)
  return weights / jnp.where(total == 0.0, 1.0, total)


def attention_weights(
  query: jax.Array, key: jax.Array, mask: jax.Array | None = None
) -> jax.Array:
  """Softmax of scaled products: `[B, H, N, M]`, float32 or wider.

  Args:
    query: `[B, N, H, Dk]`.
    key: `[B, M, H, Dk]`.
    mask: see `dot_product_attention`.
  """
  scores = jnp.einsum(
    'bnhd,bmhd->bhnm',
    query,
    key,
    preferred_element_type=at_least_float32(query),
  )
  scores = scores / math.sqrt(query.shape[-1])
  return masked_softmax(scores, None if mask is None else over_scores(mask))


def dot_product_attention(
  query: jax.Array,
  key: jax.Array,
  value: jax.Array,
  *,
  mask: jax.Array | None = None,
  dropout_rate: float = 0.0,
  is_training: bool = False,
) -> jax.Array:
  """Scaled dot-product attention (Perceiver, section 3.1).

  Args:
    query: `[B, N, H, Dk]`.
    key: `[B, M, H, Dk]`.
    value: `[B, M, H, Dv]`.
    mask: bool, True where attention goes: `[B, M]` for all queries, `[B, N, M]`
      or `[B, H, N, M]`; B and H may be 1.
    dropout_rate: share of the attention weights dropped in training.
    is_training: whether dropout is active.

  Returns:
    `[B, N, H, Dv]`; zeros where a mask has no True.

  Raises:
    ValueError: an array has other axes, or the mask does not fit.
  """
  check_array('query', query, 'B, N, H, Dk')
  check_array('key', key, 'B, M, H, Dk')
  check_array('value', value, 'B, M, H, Dv')
  batch, num_queries, heads, _ = query.shape
  check_mask(mask, (batch, heads, num_queries, key.shape[1]))
  weights = attention_weights(query, key, mask)
  weights = dropout(weights, dropout_rate, is_training=is_training)
  return jnp.einsum('bhnm,bmhd->bnhd', weights.astype(value.dtype), value)
