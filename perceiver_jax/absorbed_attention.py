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
recomputes the scores. Neither keys, values nor all scores are ever stored, and
products with positions that the batch shares are one product for the batch.
"""

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from perceiver_jax.byte_array import ByteArray
from perceiver_jax.layers import (
  LAYER_NORM_EPSILON,
  at_least_float32,
  layer_norm,
)

# Products with no more channels than this are done element by element: a
# matrix product of such a width costs more than it computes.
_FEW_CHANNELS = 4


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


def absorbed_attention(
  query: jax.Array,
  inputs: NormalizedByteArray,
  key_w: jax.Array,
  value: tuple[jax.Array, jax.Array],
  *,
  chunk_size: int,
) -> jax.Array:
  """Attends; see the head of this file.

  Args:
    query: projected, `[B, N, Dk]`, or `[1, N, Dk]` when the batch shares them.
    inputs: M inputs of C channels.
    key_w: `[C, Dk]` weights of the keys.
    value: `[C, Dv]` weights and `[Dv]` biases of the values.
    chunk_size: m, inputs whose scores are held at a time.

  Returns:
    `[B, N, Dv]` in the dtype of `query`; zeros for an example whose mask has
    no True.
  """
  byte_array, scale, offset = inputs
  scale, offset = scale[None, None], offset[None, None]
  keys = query @ key_w.T.astype(query.dtype)
  keys = keys.astype(at_least_float32(query)) * scale
  keys = keys - keys.mean(axis=-1, keepdims=True)  # [B or 1, N, C]
  keys = keys / math.sqrt(query.shape[-1])
  mixed, total = _attend(
    chunk_size,
    keys,
    byte_array.features,
    byte_array.positions,
    inverse_stddev(byte_array),
    byte_array.mask,
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
  if byte_array.positions is not None:
    positions = byte_array.positions.astype(features.dtype)
    if positions.ndim == 2:
      positions = positions[None]  # [1, M, Cp]
    share = positions.shape[-1] / byte_array.num_channels
    gap = positions.mean(axis=-1) - features.mean(axis=-1)
    variance = (
      (1.0 - share) * variance
      + share * positions.var(axis=-1)
      + share * (1.0 - share) * jnp.square(gap)
    )
  return jax.lax.rsqrt(variance + LAYER_NORM_EPSILON)


class _Chunk(NamedTuple):
  """Some of the inputs: `[B, m, Cf]`, `[m, Cp]` or `[B, m, Cp]`, `[B, m]`."""

  features: jax.Array
  positions: jax.Array | None
  inverse_std: jax.Array
  mask: jax.Array | None

  @property
  def num_inputs(self) -> int:
    return self.features.shape[1]

  def take(self, start: jax.Array | int, size: int) -> '_Chunk':
    """Returns `size` inputs from `start` on."""

    def slice_inputs(x: jax.Array, axis: int) -> jax.Array:
      return jax.lax.dynamic_slice_in_dim(x, start, size, axis=axis)

    features, positions, inverse_std, mask = self
    return _Chunk(
      slice_inputs(features, 1),
      None if positions is None else slice_inputs(positions, -2),
      slice_inputs(inverse_std, 1),
      None if mask is None else slice_inputs(mask, 1),
    )

  def products(self, keys: jax.Array) -> jax.Array:
    """Products of `[B or 1, N, C]` with the inputs: `[B, N, m]` float32."""
    keys_f, keys_p = jnp.split(keys, [self.features.shape[-1]], axis=-1)
    products = _products(keys_f, self.features)
    if self.positions is None:
      return products
    return products + _products(keys_p, self.positions)

  def mix(self, weights: jax.Array, sum_batch: bool = False) -> jax.Array:
    """Sums of the inputs weighted by `[B, N, m]`: `[B, N, C]` float32.

    With `sum_batch` the sum is over the batch too: `[1, N, C]`.
    """
    parts = [self.features]
    if self.positions is not None:
      parts.append(self.positions)
    return jnp.concatenate(
      [_mix(weights, part, sum_batch) for part in parts], axis=-1
    )


def _products(keys: jax.Array, part: jax.Array) -> jax.Array:
  """`[B or 1, N, c]` with `[B, m, c]` or `[m, c]` to `[B or 1, N, m]`."""
  channels = part.shape[-1]
  if channels <= _FEW_CHANNELS:
    part = (part if part.ndim == 3 else part[None]).astype(keys.dtype)
    return sum(
      keys[:, :, None, i] * part[:, None, :, i] for i in range(channels)
    )
  shared = keys.shape[0] == 1
  left, right = 'nc' if shared else 'bnc', 'mc' if part.ndim == 2 else 'bmc'
  result = 'bnm' if 'b' in left + right else 'nm'
  products = jnp.einsum(
    f'{left},{right}->{result}',
    (keys[0] if shared else keys).astype(part.dtype),
    part,
    preferred_element_type=keys.dtype,
  )
  return products if products.ndim == 3 else products[None]


def _mix(weights: jax.Array, part: jax.Array, sum_batch: bool) -> jax.Array:
  """`[B, N, m]` with `[B, m, c]` or `[m, c]` to `[B or 1, N, c]`."""
  shared = part.ndim == 2
  if shared and sum_batch:
    weights = weights.sum(axis=0, keepdims=True)
  mixed = jnp.einsum(
    'bnm,mc->bnc' if shared else 'bnm,bmc->bnc',
    weights.astype(part.dtype),
    part,
    preferred_element_type=weights.dtype,
  )
  return mixed.sum(axis=0, keepdims=True) if sum_batch else mixed


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _attend(
  chunk_size: int,
  keys: jax.Array,
  features: jax.Array,
  positions: jax.Array | None,
  inverse_std: jax.Array,
  mask: jax.Array | None,
) -> tuple[jax.Array, jax.Array]:
  """Attention weights from scores r (k x); sums of r x under them.

  Returns:
    `[B, N, C]` sums and `[B, N]` sums of the weights: one, or zero for an
    example without any input. The latter has no gradient.
  """
  inputs = _Chunk(features, positions, inverse_std, mask)
  (mixed, total), _ = _forward(chunk_size, keys, inputs)
  return mixed, total


def _forward(chunk_size: int, keys: jax.Array, inputs: _Chunk):
  """Returns the sums, and the logarithm of the softmax's denominator."""
  batch, num_inputs, _ = inputs.features.shape
  rows = (batch, keys.shape[1])

  def step(carry, start, size):
    highest, total, mixed = carry
    chunk = inputs.take(start, size)
    scores = _scores(keys, chunk)  # [B, N, m]
    new_highest = jnp.maximum(highest, scores.max(axis=-1))
    # Before any input the maximum is -inf, and -inf - -inf is NaN.
    shift = jnp.where(jnp.isfinite(new_highest), new_highest, 0.0)
    weights = jnp.exp(scores - shift[..., None])
    decay = jnp.exp(highest - shift)
    total = total * decay + weights.sum(axis=-1)
    mixed = mixed * decay[..., None] + chunk.mix(
      weights * chunk.inverse_std[:, None]
    )
    return (new_highest, total, mixed), ()

  carry = (
    jnp.full(rows, -jnp.inf, keys.dtype),
    jnp.zeros(rows, keys.dtype),
    jnp.zeros((*rows, keys.shape[-1]), keys.dtype),
  )
  (highest, total, mixed), _ = _over_chunks(step, carry, num_inputs, chunk_size)
  empty = total == 0.0
  safe_total = jnp.where(empty, 1.0, total)
  # Where there is no input, exp(score - inf) makes the weights zero.
  log_total = jnp.where(empty, jnp.inf, highest + jnp.log(safe_total))
  weight_sum = jnp.where(empty, 0.0, 1.0).astype(keys.dtype)
  return (mixed / safe_total[..., None], weight_sum), log_total


def _scores(keys: jax.Array, chunk: _Chunk) -> jax.Array:
  scores = chunk.products(keys) * chunk.inverse_std[:, None]
  if chunk.mask is None:
    return scores
  return jnp.where(chunk.mask[:, None], scores, -jnp.inf)


def _attend_fwd(chunk_size, keys, features, positions, inverse_std, mask):
  primals = (features, positions, inverse_std, mask)
  inputs = _Chunk(*(None if x is None else x.value for x in primals))
  # Residuals are arrays and trees of them: an empty tree says yes, None no.
  wanted = any(x is not None and x.perturbed for x in primals[:3])
  inputs_wanted = () if wanted else None
  results, log_total = _forward(chunk_size, keys.value, inputs)
  return results, (keys.value, inputs, results[0], log_total, inputs_wanted)


def _attend_bwd(chunk_size, residuals, cotangents):
  keys, inputs, mixed, log_total, inputs_wanted = residuals
  mixed_bar = jnp.zeros_like(mixed)
  if not isinstance(cotangents[0], jax.custom_derivatives.SymbolicZero):
    mixed_bar = cotangents[0]
  mean_bar = (mixed_bar * mixed).sum(axis=-1)  # [B, N]
  shared_keys = keys.shape[0] == 1

  def step(keys_bar, start, size):
    chunk = inputs.take(start, size)
    inverse_std = chunk.inverse_std[:, None]
    scores = _scores(keys, chunk)
    weights = jnp.exp(scores - log_total[..., None])
    weights_bar = chunk.products(mixed_bar)
    scores_bar = weights * (weights_bar * inverse_std - mean_bar[..., None])
    products_bar = scores_bar * inverse_std
    keys_bar = keys_bar + chunk.mix(products_bar, sum_batch=shared_keys)
    inputs_bar = ()
    if inputs_wanted is not None:
      parts_bar = _parts_bar(
        keys, products_bar, mixed_bar, weights * inverse_std, chunk
      )
      # d scores / d inverse_std is k x, taken again to be safe from masks.
      inverse_std_bar = (
        scores_bar * chunk.products(keys) + weights * weights_bar
      ).sum(axis=1)
      inputs_bar = (*parts_bar, inverse_std_bar)
    return keys_bar, inputs_bar

  keys_bar, inputs_bar = _over_chunks(
    step, jnp.zeros_like(keys), inputs.num_inputs, chunk_size
  )
  inputs_bar = inputs_bar or (None, None, None)
  return keys_bar, *inputs_bar, None


def _parts_bar(keys, products_bar, mixed_bar, weights, chunk):
  """Gradients of features and positions, in their shapes and dtypes."""
  splits = [chunk.features.shape[-1]]
  keys = jnp.split(keys, splits, axis=-1)
  mixed_bar = jnp.split(mixed_bar, splits, axis=-1)
  bars = []
  for i, part in enumerate((chunk.features, chunk.positions)):
    if part is None:
      bars.append(None)
      continue
    result = 'bmc' if part.ndim == 3 else 'mc'
    shared = keys[i].shape[0] == 1
    bar = jnp.einsum(
      f'bnm,{"nc" if shared else "bnc"}->{result}',
      products_bar,
      keys[i][0] if shared else keys[i],
    ) + jnp.einsum(f'bnm,bnc->{result}', weights, mixed_bar[i])
    bars.append(bar.astype(part.dtype))
  return bars


_attend.defvjp(_attend_fwd, _attend_bwd, symbolic_zeros=True)


def _over_chunks(
  step: Callable, carry: Any, num_inputs: int, chunk_size: int
) -> tuple[Any, Any]:
  """Scans `step(carry, start, size)`, a smaller last chunk included.

  Args:
    step: returns the carry, and what it makes of its chunk: arrays with the
      axis of inputs where `_Chunk` has it.
    carry: at the start.
    num_inputs: M.
    chunk_size: m.

  Returns:
    The carry at the end; what the steps made, joined along the inputs.
  """
  chunk_size = min(chunk_size, num_inputs)
  chunks, rest = divmod(num_inputs, chunk_size)
  if chunks == 1:
    carry, made = step(carry, 0, chunk_size)
  else:
    carry, made = jax.lax.scan(
      lambda carry, i: step(carry, i * chunk_size, chunk_size),
      carry,
      jnp.arange(chunks),
    )
    made = tuple(
      None if x is None else _join(x, axis)
      for x, axis in zip(made, _INPUTS_AXES, strict=False)
    )
  if rest:
    carry, last = step(carry, chunks * chunk_size, rest)
    made = tuple(
      None if x is None else jnp.concatenate([x, y], axis=axis)
      for x, y, axis in zip(made, last, _INPUTS_AXES, strict=False)
    )
  return carry, made


# Axis of the inputs in features, positions and inverse_std.
_INPUTS_AXES = (-2, -2, -1)


def _join(chunks: jax.Array, axis: int) -> jax.Array:
  """Puts the leading axis of chunks in front of the axis of inputs."""
  axis = chunks.ndim + axis
  moved = jnp.moveaxis(chunks, 0, axis - 1)
  shape = moved.shape
  return moved.reshape(*shape[: axis - 1], -1, *shape[axis + 1 :])
