"""Attention: the module, its plain form, and which form it takes.

Shapes: B batch, N queries, M inputs, H heads, Dk and Dv channels of a head of
queries/keys and of values, C channels of the inputs.

`dot_product_attention` is the readable reference; recomputed_attention.py gives
the same numbers with a gradient that keeps no weights. `project_and_attend`
projects inputs to keys and values first. For a single head,
absorbed_attention.py does without projecting; the `Attention` module takes what
needs fewer operations.
"""

import contextlib
import contextvars
import dataclasses
import math
from collections.abc import Iterator
from typing import NamedTuple

import einops
import haiku as hk
import jax
import jax.numpy as jnp

from perceiver_jax.absorbed_attention import (
  NormalizedByteArray,
  absorbed_attention,
)
from perceiver_jax.layers import (
  Linear,
  affine,
  at_least_float32,
  check_dropout_rate,
  dropout,
)
from perceiver_jax.recomputed_attention import recomputed_attention

_PLAIN_ONLY = contextvars.ContextVar('plain_only', default=False)


@contextlib.contextmanager
def plain_attention() -> Iterator[None]:
  """While it is open, `Attention` is traced in its plain form.

  For counting operations as the papers do, and for comparing the forms. A
  function that was traced (jitted) outside keeps the form it was traced with.
  """
  token = _PLAIN_ONLY.set(True)
  try:
    yield
  finally:
    _PLAIN_ONLY.reset(token)


class Projections(NamedTuple):
  """Weights `[C in, C out]` and biases `[C out]` of queries, keys, values."""

  query: tuple[jax.Array, jax.Array]
  key: tuple[jax.Array, jax.Array]
  value: tuple[jax.Array, jax.Array]


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
    mask: `[B, M]` bool, True where there is an input.
    dropout_rate: share of the attention weights dropped in training.
    is_training: whether dropout is active.

  Returns:
    `[B, N, H, Dv]`; zeros for an example whose mask has no True.
  """
  scores = jnp.einsum(
    'bnhd,bmhd->bhnm',
    query,
    key,
    preferred_element_type=at_least_float32(query),
  )
  scores = scores / math.sqrt(query.shape[-1])
  weights = masked_softmax(
    scores, None if mask is None else mask[:, None, None]
  )
  weights = dropout(weights, dropout_rate, is_training=is_training)
  return jnp.einsum('bhnm,bmhd->bnhd', weights.astype(value.dtype), value)


def project_and_attend(
  queries: jax.Array,
  inputs: jax.Array,
  projections: Projections,
  *,
  num_heads: int,
  mask: jax.Array | None = None,
  dropout_rate: float = 0.0,
  is_training: bool = False,
) -> jax.Array:
  """Multi-head attention to projected inputs.

  Args:
    queries: `[B, N, Cq]`, or `[1, N, Cq]` when the batch shares them.
    inputs: `[B, M, C]`.
    projections: their widths are multiples of `num_heads`.
    num_heads: H.
    mask: `[B, M]` bool, True where there is an input.
    dropout_rate: share of the attention weights dropped in training.
    is_training: whether dropout is active.

  Returns:
    `[B, N, H Dv]`; zeros for an example whose mask has no True.
  """

  if queries is inputs:
    # Self-attention: one wide product runs faster than three narrow ones.
    w = jnp.concatenate([w for w, _ in projections], axis=-1)
    b = jnp.concatenate([b for _, b in projections])
    widths = [b.size for _, b in projections]
    query, key, value = jnp.split(
      affine(queries, w, b), [widths[0], widths[0] + widths[1]], axis=-1
    )
  else:
    query = affine(queries, *projections.query)
    query = jnp.broadcast_to(query, (inputs.shape[0], *query.shape[1:]))
    key = affine(inputs, *projections.key)
    value = affine(inputs, *projections.value)
  heads = [
    einops.rearrange(x, 'b n (h c) -> b n h c', h=num_heads)
    for x in (query, key, value)
  ]
  if _keeps_weights(dropout_rate, is_training):
    attended = dot_product_attention(
      *heads, mask=mask, dropout_rate=dropout_rate, is_training=is_training
    )
  else:
    attended = recomputed_attention(*heads, mask)
  return einops.rearrange(attended, 'b n h c -> b n (h c)')


def _keeps_weights(dropout_rate: float, is_training: bool) -> bool:
  """Whether only the plain form will do: weights are dropped, or asked for."""
  return _PLAIN_ONLY.get() or (is_training and dropout_rate > 0.0)


def absorbing_pays(
  num_queries: int, num_inputs: int, channels: int, projected_channels: int
) -> bool:
  """Whether `absorbed_attention` takes fewer operations than projecting.

  Args:
    num_queries: N.
    num_inputs: M.
    channels: C of the inputs.
    projected_channels: width of keys and of values, added up.

  Returns:
    True when N (M 2 C + C projected) < M (C projected + N projected).
  """
  absorbed = num_queries * channels * (2 * num_inputs + projected_channels)
  projected = num_inputs * projected_channels * (channels + num_queries)
  return absorbed < projected


# Inputs a chunk. On 2 CPU cores, more than the first make scores that leave the
# caches, fewer than the second make products too small; between them, scores
# of the whole batch fill 4 MiB in float32.
_LARGEST_CHUNK, _SMALLEST_CHUNK, _SCORES = 512, 128, 2**20


def _chunk_size(num_inputs: int, rows: int) -> int:
  """Inputs a chunk, of chunks of nearly the same size."""
  size = min(_LARGEST_CHUNK, max(_SMALLEST_CHUNK, _SCORES // rows))
  return math.ceil(num_inputs / math.ceil(num_inputs / size))


@dataclasses.dataclass(kw_only=True)
class Attention(hk.Module):
  """Attention of queries to inputs: project, attend, project back.

  Attributes:
    num_heads: H.
    qk_channels: width of queries and keys over all heads; default the width
      of the inputs (Perceiver, appendix C).
    v_channels: width of the values over all heads; default `qk_channels`.
    output_channels: width of the result; default the width of the queries.
    dropout_rate: dropout on the attention weights.
    name: Haiku name.
  """

  num_heads: int = 1
  qk_channels: int | None = None
  v_channels: int | None = None
  output_channels: int | None = None
  dropout_rate: float = 0.0
  name: str | None = None

  def __post_init__(self):
    super().__post_init__()
    check_dropout_rate(self.dropout_rate)

  def __call__(
    self,
    queries: jax.Array,
    inputs: jax.Array | NormalizedByteArray,
    *,
    is_training: bool,
  ) -> jax.Array:
    """Attends.

    Args:
      queries: normalised, `[B, N, Cq]`, or `[1, N, Cq]` shared by the batch.
      inputs: a byte array, or an array `[B, M, C]` that is normalised already.
      is_training: whether dropout is active.

    Returns:
      `[B, N, output_channels]`.

    Raises:
      ValueError: the heads do not divide the channels.
    """
    if isinstance(inputs, NormalizedByteArray):
      attended = self._attend_to_bytes(queries, inputs, is_training)
    else:
      attended = project_and_attend(
        queries,
        inputs,
        self._projections(queries.shape[-1], inputs.shape[-1]),
        num_heads=self.num_heads,
        dropout_rate=self.dropout_rate,
        is_training=is_training,
      )
    output_channels = self.output_channels or queries.shape[-1]
    return Linear(output_channels=output_channels, name='output')(attended)

  @hk.transparent
  def _attend_to_bytes(
    self, queries: jax.Array, inputs: NormalizedByteArray, is_training: bool
  ) -> jax.Array:
    batch, num_inputs, _ = inputs.byte_array.features.shape
    num_queries, channels = queries.shape[1], inputs.byte_array.num_channels
    projections = self._projections(queries.shape[-1], channels)
    projected = projections.key[1].size + projections.value[1].size
    if (
      self.num_heads == 1
      and not _keeps_weights(self.dropout_rate, is_training)
      and absorbing_pays(num_queries, num_inputs, channels, projected)
    ):
      return absorbed_attention(
        affine(queries, *projections.query),
        inputs,
        projections.key[0],
        projections.value,
        chunk_size=_chunk_size(num_inputs, batch * num_queries),
      )
    return project_and_attend(
      queries,
      inputs.concatenate(),
      projections,
      num_heads=self.num_heads,
      mask=inputs.byte_array.mask,
      dropout_rate=self.dropout_rate,
      is_training=is_training,
    )

  @hk.transparent
  def _projections(self, query_channels: int, channels: int) -> Projections:
    qk_channels = self.qk_channels or channels
    v_channels = self.v_channels or qk_channels
    for name, width in (('qk', qk_channels), ('v', v_channels)):
      if width % self.num_heads:
        raise ValueError(
          f'{name}_channels = {width} cannot be divided into num_heads = '
          f'{self.num_heads} heads. Set {name}_channels to a multiple of the '
          'heads, or change the number of heads.'
        )

    def linear(name: str, input_channels: int, output_channels: int):
      module = Linear(output_channels=output_channels, name=name)
      return module.parameters(input_channels)

    return Projections(
      query=linear('query', query_channels, qk_channels),
      key=linear('key', channels, qk_channels),
      value=linear('value', channels, v_channels),
    )
