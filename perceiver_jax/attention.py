"""Attention: the plain form, and the form for byte arrays.

Shapes: B batch, N queries, M inputs, H heads, Dk and Dv channels of a head of
queries/keys and of values, C channels of the inputs, Cf of their features and
Cp of their positions (C = Cf + Cp).

`project_and_attend` is the readable reference: it projects inputs to keys and
values and attends. `absorbed_attention` computes the same numbers for a single
head with the projections moved to the latent side: the byte array is never
normalised, projected or copied per example, and what depends on positions
alone is computed once for the whole batch. The `Attention` module takes the
one that needs fewer operations.
"""

import dataclasses
import math
from typing import NamedTuple

import haiku as hk
import jax
import jax.numpy as jnp

from perceiver_jax.byte_array import ByteArray
from perceiver_jax.layers import (
  LAYER_NORM_EPSILON,
  Linear,
  check_dropout_rate,
  dropout,
  layer_norm,
)


class NormalizedByteArray(NamedTuple):
  """A byte array together with the layer norm that is still to be done.

  Attributes:
    byte_array: M inputs of C channels, zeros as padding.
    scale: `[C]`.
    offset: `[C]`.
  """

  byte_array: ByteArray
  scale: jax.Array
  offset: jax.Array

  def concatenate(self) -> jax.Array:
    """Returns the normalised inputs as one array `[B, M, C]`."""
    return layer_norm(self.byte_array.concatenate(), self.scale, self.offset)


class Projections(NamedTuple):
  """Weights `[C in, C out]` and biases `[C out]` of queries, keys, values."""

  query: tuple[jax.Array, jax.Array]
  key: tuple[jax.Array, jax.Array]
  value: tuple[jax.Array, jax.Array]


def masked_softmax(scores: jax.Array, mask: jax.Array | None) -> jax.Array:
  """Softmax over the last axis in float32 that knows padding.

  Args:
    scores: `[..., M]`.
    mask: bool, broadcastable to `scores`, True where there is an input.

  Returns:
    float32 weights. They sum to one, except that a row with nothing but
    padding has all weights zero (and zero gradient) instead of NaN.
  """
  scores = scores.astype(jnp.float32)
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
    'bnhd,bmhd->bhnm', query, key, preferred_element_type=jnp.float32
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
  """Multi-head attention in its plain form.

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

  def split_heads(x: jax.Array, linear: tuple[jax.Array, jax.Array]):
    x = _affine(x, *linear)
    return x.reshape(*x.shape[:-1], num_heads, x.shape[-1] // num_heads)

  query = split_heads(queries, projections.query)
  attended = dot_product_attention(
    jnp.broadcast_to(query, (inputs.shape[0], *query.shape[1:])),
    split_heads(inputs, projections.key),
    split_heads(inputs, projections.value),
    mask=mask,
    dropout_rate=dropout_rate,
    is_training=is_training,
  )
  return attended.reshape(*attended.shape[:2], -1)


def absorbed_attention(
  queries: jax.Array, inputs: NormalizedByteArray, projections: Projections
) -> jax.Array:
  """Single-head attention to layer-normalised inputs that stay as they are.

  With x the inputs, r their inverse standard deviation, m their mean, and g, o
  the scale and offset of the layer norm, the plain form is
  softmax(q ((x - m) r g + o) Wk) ((x - m) r g + o) Wv. Here k = (q Wk^T) g is
  formed first, and:

  * what o and the bias of the keys add is the same for every input, so the
    softmax does not see it;
  * subtracting m from every channel of x is the same as subtracting from k its
    mean over channels;
  * weights sum to one, so Wv may follow the weighted sum.

  Args:
    queries: `[B, N, Cq]`, or `[1, N, Cq]` when the batch shares them.
    inputs: M inputs of C channels.
    projections: of a single head.

  Returns:
    `[B, N, Dv]`; zeros for an example whose mask has no True.
  """
  (features, positions, mask), scale, offset = inputs
  dtype = features.dtype
  mean, inverse_std = byte_array_statistics(inputs.byte_array)  # [B, M]
  query = _affine(queries, *projections.query)
  key_w, _ = projections.key
  keys = (query @ key_w.T.astype(dtype)) * scale  # [B or 1, N, C]
  keys = keys - keys.mean(axis=-1, keepdims=True)
  keys = (keys / math.sqrt(query.shape[-1])).astype(dtype)
  scores = _scores(keys, features, positions) * inverse_std[:, None]
  weights = masked_softmax(
    scores, None if mask is None else mask[:, None]
  )  # [B, N, M]
  scaled = weights * inverse_std[:, None]
  mixed = _mix(scaled.astype(dtype), features, positions)
  mixed = mixed - jnp.einsum('bnm,bm->bn', scaled, mean)[..., None]
  # One, or zero for an example without any input.
  total = weights.sum(axis=-1, keepdims=True)  # [B, N, 1]
  mixed = mixed * scale + total * offset  # [B, N, C]
  value_w, value_b = projections.value
  return (mixed @ value_w + total * value_b).astype(dtype)


def byte_array_statistics(
  byte_array: ByteArray,
) -> tuple[jax.Array, jax.Array]:
  """Mean and inverse standard deviation that layer norm gives each input.

  The two parts of the byte array are never brought together: the joint variance
  follows from those within the parts and the gap between their means.

  Args:
    byte_array: M inputs.

  Returns:
    mean and inverse standard deviation, float32, `[B, M]` each.
  """
  features = byte_array.features.astype(jnp.float32)
  mean, variance = features.mean(axis=-1), features.var(axis=-1)
  if byte_array.positions is not None:
    positions = byte_array.positions.astype(jnp.float32)
    if positions.ndim == 2:
      positions = positions[None]  # [1, M, Cp]
    share = positions.shape[-1] / byte_array.num_channels
    gap = positions.mean(axis=-1) - mean
    mean = mean + share * gap
    variance = (
      (1.0 - share) * variance
      + share * positions.var(axis=-1)
      + share * (1.0 - share) * jnp.square(gap)
    )
  return mean, jax.lax.rsqrt(variance + LAYER_NORM_EPSILON)


def _affine(x: jax.Array, w: jax.Array, b: jax.Array) -> jax.Array:
  return x @ w.astype(x.dtype) + b.astype(x.dtype)


def _scores(
  keys: jax.Array, features: jax.Array, positions: jax.Array | None
) -> jax.Array:
  """Products of keys `[B or 1, N, C]` and inputs: `[B, N, M]`, float32."""

  def product(keys: jax.Array, part: jax.Array) -> jax.Array:
    # An axis that only one of the two has is not repeated for the other: one
    # matrix product serves the whole batch.
    left = 'nc' if keys.shape[0] == 1 else 'bnc'
    right = 'mc' if part.ndim == 2 else 'bmc'
    result = 'bnm' if 'b' in left + right else 'nm'
    scores = jnp.einsum(
      f'{left},{right}->{result}',
      keys[0] if keys.shape[0] == 1 else keys,
      part.astype(keys.dtype),
      preferred_element_type=jnp.float32,
    )
    return scores if scores.ndim == 3 else scores[None]

  keys_f, keys_p = jnp.split(keys, [features.shape[-1]], axis=-1)
  scores = product(keys_f, features)
  return scores if positions is None else scores + product(keys_p, positions)


def _mix(
  weights: jax.Array, features: jax.Array, positions: jax.Array | None
) -> jax.Array:
  """Sums of the inputs weighted by `[B, N, M]`: `[B, N, C]`, float32."""

  def product(part: jax.Array) -> jax.Array:
    return jnp.einsum(
      'bnm,mc->bnc' if part.ndim == 2 else 'bnm,bmc->bnc',
      weights,
      part.astype(weights.dtype),
      preferred_element_type=jnp.float32,
    )

  parts = [features] if positions is None else [features, positions]
  return jnp.concatenate([product(part) for part in parts], axis=-1)


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
    of_bytes = isinstance(inputs, NormalizedByteArray)
    source = inputs.byte_array.features if of_bytes else inputs
    num_inputs = source.shape[1]
    channels = inputs.byte_array.num_channels if of_bytes else source.shape[-1]
    projections = self._projections(queries.shape[-1], channels)
    drops = is_training and self.dropout_rate > 0.0
    projected = projections.key[1].size + projections.value[1].size
    if (
      of_bytes
      and self.num_heads == 1
      and not drops
      and absorbing_pays(queries.shape[1], num_inputs, channels, projected)
    ):
      attended = absorbed_attention(queries, inputs, projections)
    else:
      attended = project_and_attend(
        queries,
        inputs.concatenate() if of_bytes else inputs,
        projections,
        num_heads=self.num_heads,
        mask=inputs.byte_array.mask if of_bytes else None,
        dropout_rate=self.dropout_rate,
        is_training=is_training,
      )
    output_channels = self.output_channels or queries.shape[-1]
    return Linear(output_channels=output_channels, name='output')(attended)

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
