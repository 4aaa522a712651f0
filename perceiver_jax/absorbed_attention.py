"""Single-head attention that leaves the byte array as it is.

Shapes: B batch, N queries, M inputs, C channels of the inputs, Cf of their
features and Cp of their positions (C = Cf + Cp), Dk and Dv channels of queries
and of values, m inputs of a chunk.

With x an input, r the inverse of its standard deviation, g and o the scale and
offset of the layer norm, the plain form is

  softmax(q LN(x) Wk) LN(x) Wv,   LN(x) = (x - mean(x)) r g + o.

`absorbed_attention` forms k = (q Wk^T) g first and gets the same numbers from
sums over the raw inputs:

* what o and the bias of the keys add is the same for every input, so the
  softmax does not see it;
* taking mean(x) from every channel of x is the same as taking from k its mean
  over channels; after the weighted sum it is taken from the sum;
* weights sum to one, so Wv may follow the weighted sum.

The sums run over chunks of inputs with an online softmax; the gradient
recomputes the scores. Neither keys, values nor all scores are ever stored. A
chunk is brought together, features and positions, when it is needed; with few
queries, and positions that the batch shares, it is left apart instead, so that
products with the positions are one product for the batch. On a TPU the loop
over chunks is a kernel of kernels/absorbed_attention.py instead.
"""

import functools
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp

from perceiver_jax.byte_array import ByteArray
from perceiver_jax.input_chunks import (
  Apart,
  Chunk,
  Together,
  over_chunks,
  stays_apart,
)
from perceiver_jax.kernels import absorbed_attention as kernel
from perceiver_jax.masks import suits_kernels
from perceiver_jax.numerics import (
  LAYER_NORM_EPSILON,
  at_least_float32,
  layer_norm,
)
from perceiver_jax.position_encoding import GridPositions
from perceiver_jax.reverse_mode import reverse_mode


class NormalizedByteArray(NamedTuple):
  """A byte array together with the layer norm that is still to be done.

  Attributes:
    byte_array: M inputs of C channels, zeros as padding.
    scale: `[C]`; None where the inputs are normalised.
    offset: `[C]`; None where the inputs are normalised.
  """

  byte_array: ByteArray
  scale: jax.Array | None = None
  offset: jax.Array | None = None

  def concatenate(self) -> jax.Array:
    """Returns the normalised inputs as one array `[B, M, C]`."""
    if self.scale is None:
      return self.byte_array.concatenate()
    return layer_norm(self.byte_array.concatenate(), self.scale, self.offset)


class Unprojected(NamedTuple):
  """Inputs as they are, with the weights that make keys and values of them.

  Attributes:
    inputs: M inputs of C channels.
    inverse_std: `[B, M]`, what the layer norm multiplies each input with.
    key: `[C, Dk]` weights and `[Dk]` biases of the keys.
    value: `[C, Dv]` weights and `[Dv]` biases of the values.
  """

  inputs: NormalizedByteArray
  inverse_std: jax.Array
  key: tuple[jax.Array, jax.Array]
  value: tuple[jax.Array, jax.Array]

  @property
  def mask(self) -> jax.Array | None:
    """True where attention goes."""
    return self.inputs.byte_array.mask

  @property
  def batch_and_inputs(self) -> tuple[int, int]:
    """B and M."""
    return self.inverse_std.shape

  @property
  def qk_channels(self) -> int:
    """Dk."""
    return self.key[1].size

  def with_mask(self, mask: jax.Array | None) -> 'Unprojected':
    """Returns them with attention going only where `mask` allows it too."""
    if mask is not None and mask.ndim == 4:  # Of the only head.
      mask = mask[:, 0]
    byte_array = self.inputs.byte_array.with_mask(mask)
    return self._replace(inputs=self.inputs._replace(byte_array=byte_array))


def absorbed_attention(
  query: jax.Array, inputs: Unprojected, *, chunk_size: int
) -> jax.Array:
  """Attends; see the head of this file.

  Args:
    query: projected, `[B, N, Dk]`, or `[1, N, Dk]` when the batch shares them.
    inputs: M inputs and the weights of keys and values.
    chunk_size: m, inputs whose scores are held at a time; a TPU's kernel has
      its own.

  Returns:
    `[B, N, Dv]` in the dtype of `query`; zeros where a mask has no True.
  """
  (byte_array, scale, offset), inverse_std, (key_w, _), value = inputs
  scale, offset = scale[None, None], offset[None, None]
  keys = query @ key_w.T.astype(query.dtype)
  keys = keys.astype(at_least_float32(query)) * scale
  keys = keys - keys.mean(axis=-1, keepdims=True)  # [B or 1, N, C]
  keys = keys / math.sqrt(query.shape[-1])
  attend = functools.partial(_attend, chunk_size)
  if kernel.takes(keys, byte_array.features) and suits_kernels(inputs.mask):
    attend = kernel.attend
  elif not stays_apart(keys, byte_array.features, byte_array.positions):
    batch = byte_array.features.shape[0]
    keys = jnp.broadcast_to(keys, (batch, *keys.shape[1:]))
  mixed, total = reverse_mode(attend)(
    keys,
    byte_array.features,
    byte_array.positions,
    inverse_std,
    inputs.mask,
  )
  mixed = mixed - mixed.mean(axis=-1, keepdims=True)
  mixed = mixed * scale + total[..., None] * offset  # [B, N, C]
  value_w, value_b = value
  attended = mixed @ value_w + total[..., None] * value_b[None, None]
  return attended.astype(query.dtype)


def inverse_stddev(byte_array: ByteArray) -> jax.Array:
  """What layer norm multiplies each input with, `[B, M]` float32.

  Features and positions are never brought together: the joint variance follows
  from those of the two parts and the gap between their means.
  """
  features = byte_array.features
  features = features.astype(at_least_float32(features))
  variance = features.var(axis=-1)
  positions = byte_array.positions
  if positions is not None:
    share = positions.shape[-1] / byte_array.num_channels
    if isinstance(positions, GridPositions):
      mean, positions_variance = (x[None] for x in positions.moments())
    else:
      positions = positions.astype(features.dtype)
      if positions.ndim == 2:
        positions = positions[None]  # [1, M, Cp]
      mean, positions_variance = positions.mean(axis=-1), positions.var(axis=-1)
    gap = mean - features.mean(axis=-1)
    variance = (
      (1.0 - share) * variance
      + share * positions_variance
      + share * (1.0 - share) * jnp.square(gap)
    )
  return jax.lax.rsqrt(variance + LAYER_NORM_EPSILON)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _attend(
  chunk_size: int,
  keys: jax.Array,
  features: jax.Array,
  positions: jax.Array | GridPositions | None,
  inverse_std: jax.Array,
  mask: jax.Array | None,
) -> tuple[jax.Array, jax.Array]:
  """Attention weights from scores r (k x); sums of r x under them.

  Returns:
    `[B, N, C]` sums and `[B, N]` sums of the weights: one, or zero for a query
    without any input. The latter has no gradient.
  """
  inputs = Chunk(features, positions, inverse_std, mask)
  (mixed, total), _ = _forward(chunk_size, keys, inputs)
  return mixed, total


def _forward(chunk_size: int, keys: jax.Array, every: Chunk):
  """Returns the sums, and the logarithm of the softmax's denominator."""
  batch, num_inputs, _ = every.features.shape
  rows = (batch, keys.shape[1])
  operand = every.operand(keys)

  def step(carry, start, size):
    highest, total, mixed = carry
    chunk = every.take(start, size)
    inputs = chunk.scaled(keys)
    scores = _scores(operand, inputs, chunk.mask)  # [B, N, m]
    new_highest = jnp.maximum(highest, scores.max(axis=-1))
    # Before any input the maximum is -inf, and -inf - -inf is NaN.
    shift = jnp.where(jnp.isfinite(new_highest), new_highest, 0.0)
    weights = jnp.exp(scores - shift[..., None])
    decay = jnp.exp(highest - shift)
    total = total * decay + weights.sum(axis=-1)
    mixed = mixed * decay[..., None] + inputs.mix(weights)
    return (new_highest, total, mixed), ()

  carry = (
    jnp.full(rows, -jnp.inf, keys.dtype),
    jnp.zeros(rows, keys.dtype),
    jnp.zeros((*rows, operand.shape[-1]), keys.dtype),
  )
  (highest, total, mixed), _ = over_chunks(step, carry, num_inputs, chunk_size)
  mixed = mixed[..., : keys.shape[-1]]
  empty = total == 0.0
  safe_total = jnp.where(empty, 1.0, total)
  # Where there is no input, exp(score - inf) makes the weights zero.
  log_total = jnp.where(empty, jnp.inf, highest + jnp.log(safe_total))
  weight_sum = jnp.where(empty, 0.0, 1.0).astype(keys.dtype)
  return (mixed / safe_total[..., None], weight_sum), log_total


def _scores(
  keys: jax.Array, inputs: Together | Apart, mask: jax.Array | None
) -> jax.Array:
  scores = inputs.products(keys)
  if mask is None:
    return scores
  return jnp.where(mask[:, None] if mask.ndim == 2 else mask, scores, -jnp.inf)


def _attend_fwd(chunk_size, keys, features, positions, inverse_std, mask):
  inputs = jax.tree.map(
    lambda x: x.value, Chunk(features, positions, inverse_std, mask)
  )
  # Residuals are arrays and trees of them: an empty tree says yes, None no.
  wanted = any(
    x.perturbed for x in jax.tree.leaves((features, positions, inverse_std))
  )
  inputs_wanted = () if wanted else None
  results, log_total = _forward(chunk_size, keys.value, inputs)
  return results, (keys.value, inputs, results[0], log_total, inputs_wanted)


def _attend_bwd(chunk_size, residuals, cotangents):
  keys, every, mixed, log_total, inputs_wanted = residuals
  mixed_bar = jnp.zeros_like(mixed)
  if not isinstance(cotangents[0], jax.custom_derivatives.SymbolicZero):
    mixed_bar = cotangents[0]
  mean_bar = (mixed_bar * mixed).sum(axis=-1)  # [B, N]
  shared_keys = keys.shape[0] == 1
  operand, mixed_operand = every.operand(keys), every.operand(mixed_bar)

  def step(keys_bar, start, size):
    chunk = every.take(start, size)
    inputs = chunk.scaled(keys)
    scores = _scores(operand, inputs, chunk.mask)
    weights = jnp.exp(scores - log_total[..., None])
    weights_bar = inputs.products(mixed_operand)
    scores_bar = weights * (weights_bar - mean_bar[..., None])
    keys_bar = keys_bar + inputs.mix(scores_bar, sum_batch=shared_keys)
    if inputs_wanted is None:
      return keys_bar, ()
    bars = _chunk_bar(keys, scores_bar, mixed_bar, weights, chunk)
    if isinstance(every.positions, GridPositions):
      bars = (bars[0], None, bars[2])
    return keys_bar, bars

  sums = jnp.zeros((*keys.shape[:-1], operand.shape[-1]), keys.dtype)
  keys_bar, inputs_bar = over_chunks(step, sums, every.num_inputs, chunk_size)
  keys_bar = keys_bar[..., : keys.shape[-1]]
  inputs_bar = inputs_bar or (None, None, None)
  return keys_bar, *inputs_bar, None


def _chunk_bar(keys, scores_bar, mixed_bar, weights, chunk):
  """Gradients of features, positions and `inverse_std` of a chunk."""
  operand = chunk.gradient_operand

  def products(x: jax.Array, y: jax.Array) -> jax.Array:
    return jnp.einsum(
      'bnm,bnc->bmc',
      operand(x),
      operand(y),
      preferred_element_type=mixed_bar.dtype,
    )

  keys = jnp.broadcast_to(keys, mixed_bar.shape)
  scaled_bar = products(scores_bar, keys) + products(weights, mixed_bar)
  inverse_std_bar = (scaled_bar * chunk.concatenate()).sum(axis=-1)
  bar = scaled_bar * chunk.inverse_std[..., None]
  features_bar, positions_bar = jnp.split(
    bar, [chunk.features.shape[-1]], axis=-1
  )
  features_bar = features_bar.astype(chunk.features.dtype)
  if chunk.positions is None:
    return features_bar, None, inverse_std_bar
  if chunk.positions.ndim == 2:
    positions_bar = positions_bar.sum(axis=0)
  positions_bar = positions_bar.astype(chunk.positions.dtype)
  return features_bar, positions_bar, inverse_std_bar


_attend.defvjp(_attend_fwd, _attend_bwd, symbolic_zeros=True)
