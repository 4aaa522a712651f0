"""Multi-head attention whose gradient computes the weights again.

Shapes: B batch, N queries, M inputs, H heads, Dk and Dv channels of a head of
queries/keys and of values.

Instead of the weights `[B, H, N, M]` the gradient keeps the result and the
logarithm of the softmax's denominator, `[B, H, N]`; the weights follow from
queries and keys once more. That is less memory, and on CPUs less time, too.

Many queries, such as those of all pixels, attend in chunks, so that neither
pass ever holds all scores.
"""

import math

import einops
import jax
import jax.numpy as jnp

from perceiver_jax.masks import over_scores
from perceiver_jax.numerics import at_least_float32, sums_are_fast
from perceiver_jax.portability import planned_batch, target_platform
from perceiver_jax.reverse_mode import reverse_mode


def recomputed_attention(
  query: jax.Array,
  key: jax.Array,
  value: jax.Array,
  mask: jax.Array | None = None,
) -> jax.Array:
  """Scaled dot-product attention; same numbers as `dot_product_attention`.

  Args:
    query: `[B, N, H, Dk]`.
    key: `[B, M, H, Dk]`.
    value: `[B, M, H, Dv]`.
    mask: bool, `[B, M]`, `[B, N, M]` or `[B, H, N, M]`, True where attention
      goes.

  Returns:
    `[B, N, H, Dv]`; zeros where a mask has no True.
  """
  query = query / math.sqrt(query.shape[-1])
  query, key, value = (x.swapaxes(1, 2) for x in (query, key, value))
  return _attend_in_chunks(query, key, value, mask).swapaxes(1, 2)


# Scores held at a time: 256 MiB in float32; on GPUs 1 GiB, since every chunk
# reads and writes the gradients of all keys and values.
_MOST_SCORES, _MOST_SCORES_ON_GPU = 2**26, 2**28


def _most_scores() -> int:
  return _MOST_SCORES_ON_GPU if target_platform() == 'gpu' else _MOST_SCORES


def _attend_in_chunks(
  query: jax.Array, key: jax.Array, value: jax.Array, mask: jax.Array | None
) -> jax.Array:
  """Maps `[B, H, N or M, D]` to `[B, H, N, Dv]`."""
  batch, heads, num_queries, _ = query.shape
  rows = planned_batch(batch) * heads
  size = max(1, _most_scores() // (rows * key.shape[2]))
  if num_queries <= size:
    return reverse_mode(_attend)(query, key, value, mask)
  whole = num_queries // size * size
  by_query = mask is not None and mask.ndim > 2  # Then masks are cut as well.
  rows = (query, over_scores(mask)) if by_query else (query,)

  def attend(query: jax.Array, rows_mask: jax.Array | None = mask) -> jax.Array:
    return reverse_mode(_attend)(query, key, value, rows_mask)

  chunks = [
    einops.rearrange(x[:, :, :whole], 'b h (k n) d -> k b h n d', n=size)
    for x in rows
  ]
  attended = jax.lax.map(lambda chunk: attend(*chunk), chunks)
  attended = einops.rearrange(attended, 'k b h n d -> b h (k n) d')
  if whole == num_queries:
    return attended
  rest = attend(*(x[:, :, whole:] for x in rows))
  return jnp.concatenate([attended, rest], axis=2)


@jax.custom_vjp
def _attend(
  query: jax.Array, key: jax.Array, value: jax.Array, mask: jax.Array | None
) -> jax.Array:
  """Maps `[B, H, N or M, D]` to `[B, H, N, Dv]`."""
  return _attend_fwd(query, key, value, mask)[0]


def _scores(query, key, mask):
  scores = jnp.einsum(
    'bhnd,bhmd->bhnm',
    query,
    key,
    preferred_element_type=at_least_float32(query),
  )
  if mask is None:
    return scores
  return jnp.where(over_scores(mask), scores, -jnp.inf)


def _attend_fwd(query, key, value, mask):
  scores = _scores(query, key, mask)
  highest = scores.max(axis=-1, keepdims=True)
  highest = jnp.where(jnp.isfinite(highest), highest, 0.0)
  weights = jnp.exp(scores - highest)
  if sums_are_fast():
    total = weights.sum(axis=-1)
  else:
    ones = jnp.ones(weights.shape[-1], weights.dtype)
    total = jnp.einsum('bhnm,m->bhn', weights, ones, precision='highest')
  total = total[..., None]
  empty = total == 0.0
  safe_total = jnp.where(empty, 1.0, total)
  mixed = jnp.einsum(
    'bhnm,bhmd->bhnd',
    weights.astype(value.dtype),
    value,
    preferred_element_type=weights.dtype,
  )
  attended = (mixed / safe_total).astype(value.dtype)
  # Where there is no input, exp(score - inf) makes the weights zero.
  log_total = jnp.where(empty, jnp.inf, highest + jnp.log(safe_total))
  return attended, (query, key, value, mask, attended, log_total)


def _attend_bwd(residuals, attended_bar):
  query, key, value, mask, attended, log_total = residuals
  weights = jnp.exp(_scores(query, key, mask) - log_total)
  value_bar = jnp.einsum(
    'bhnm,bhnd->bhmd', weights.astype(value.dtype), attended_bar
  )
  weights_bar = jnp.einsum(
    'bhnd,bhmd->bhnm',
    attended_bar,
    value,
    preferred_element_type=weights.dtype,
  )
  if sums_are_fast():
    products = attended.astype(weights.dtype) * attended_bar
    mean_bar = products.sum(axis=-1)
  else:
    mean_bar = jnp.einsum(
      'bhnd,bhnd->bhn',
      attended,
      attended_bar,
      precision='highest',
      preferred_element_type=weights.dtype,
    )
  scores_bar = weights * (weights_bar - mean_bar[..., None])
  scores_bar = scores_bar.astype(query.dtype)
  query_bar = jnp.einsum('bhnm,bhmd->bhnd', scores_bar, key)
  key_bar = jnp.einsum('bhnm,bhnd->bhmd', scores_bar, query)
  return query_bar, key_bar, value_bar, None


_attend.defvjp(_attend_fwd, _attend_bwd)
