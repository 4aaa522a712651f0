"""Inputs of an attention, chunk by chunk.

Shapes: B batch, N queries, M inputs, m inputs of a chunk, C channels of the
inputs, Cf of their features and Cp of their positions (C = Cf + Cp).
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from perceiver_jax.byte_array import ByteArray
from perceiver_jax.portability import (
  may_be_several,
  planned_batch,
  target_platform,
)
from perceiver_jax.position_encoding import GridPositions


class Cut(NamedTuple):
  """How inputs are cut into chunks.

  Attributes:
    fewest: inputs of a chunk, whatever their scores take.
    most: inputs of a chunk, however little their scores take.
    scores: of a chunk, for the whole batch and all queries, between the two.
    inputs_multiple: inputs of a chunk are a multiple of it.
    channels_multiple: inputs brought together have zeros after their channels,
      up to a multiple of it.
    casts_gradients: whether gradients of inputs are products in the dtype of
      the inputs, as their scores and sums are, or in that of the scores.
    in_turn: whether chunks are kept from being brought together ahead.
  """

  fewest: int
  most: int
  scores: int
  inputs_multiple: int
  channels_multiple: int
  casts_gradients: bool
  in_turn: bool


# On 2 CPU cores, more inputs than `most` make scores that leave the caches,
# fewer than `fewest` make products too small; between them, scores of the whole
# batch fill 4 MiB in float32.
_ON_CPU = Cut(128, 512, 2**20, 1, 1, False, False)
# On GPUs every chunk reads and writes the sums for all queries, which is what
# small chunks spend their time on; of larger ones, the scores are most of what
# is read and written, and that is in proportion to the inputs. 2 ** 27 scores
# are 512 MiB in float32; the gradient holds two and a half times that. Rows of
# 16 bytes are what the tensor cores' loads want, and products in float32 take
# twice the memory and a fraction of the rate.
_ON_GPU = Cut(512, 4096, 2**27, 128, 8, True, True)


def _cut() -> Cut:
  return _ON_GPU if target_platform() == 'gpu' else _ON_CPU


def chunk_size(batch: int, num_inputs: int, num_queries: int) -> int:
  """Returns inputs a chunk, of chunks of nearly the same size.

  Args:
    batch: B, or a symbol where it is not known.
    num_inputs: M.
    num_queries: N.
  """
  cut = _cut()
  size = cut.scores // (planned_batch(batch) * num_queries)
  size = min(cut.most, max(cut.fewest, size))
  size = math.ceil(num_inputs / math.ceil(num_inputs / size))
  return min(num_inputs, _up_to(size, cut.inputs_multiple))


def _up_to(size: int, multiple: int) -> int:
  return math.ceil(size / multiple) * multiple


# With fewer queries than this, products of the whole batch with positions that
# it shares are worth more than products with features and positions together.
_MANY_QUERIES = 128

# Products with no more channels than this are done element by element: a
# matrix product of such a width costs more than it computes.
_FEW_CHANNELS = 4


class Chunk(NamedTuple):
  """Some of the inputs: `[B, m, Cf]`, `[m, Cp]` or `[B, m, Cp]`, `[B, m]`.

  The mask is `[B, m]`, or `[B or 1, N, m]` with a row for each query.
  """

  features: jax.Array
  positions: jax.Array | GridPositions | None
  inverse_std: jax.Array
  mask: jax.Array | None

  @property
  def num_inputs(self) -> int:
    """m, or M before anything is taken."""
    return self.features.shape[1]

  def take(self, start: jax.Array | int, size: int) -> 'Chunk':
    """Returns `size` inputs from `start` on."""

    def slice_inputs(x: jax.Array, axis: int) -> jax.Array:
      return jax.lax.dynamic_slice_in_dim(x, start, size, axis=axis)

    features, positions, inverse_std, mask = self
    if isinstance(positions, GridPositions):
      positions = positions.take(start, size)
    elif positions is not None:
      positions = slice_inputs(positions, -2)
    return Chunk(
      slice_inputs(features, 1),
      positions,
      slice_inputs(inverse_std, 1),
      None if mask is None else slice_inputs(mask, mask.ndim - 1),
    )

  def concatenate(self) -> jax.Array:
    """Returns features and positions as `[B, m, C]`."""
    return ByteArray(self.features, self.positions).concatenate()

  def scaled(self, keys: jax.Array) -> 'Together | Apart':
    """Returns the inputs times `inverse_std`, for products with `keys`."""
    features, positions, inverse_std, _ = self
    if stays_apart(keys, features, positions):
      return Apart(features, positions, inverse_std)
    parts = [features]
    if positions is not None:
      parts.append(positions if positions.ndim == 3 else positions[None])
    # Scaled before they are joined: XLA's CPU backend does both in one go.
    scale = inverse_std[..., None].astype(features.dtype)
    parts = [x.astype(features.dtype) * scale for x in parts]
    channels = sum(x.shape[-1] for x in parts)
    filling = _up_to(channels, _cut().channels_multiple) - channels
    if filling:
      shape = (*features.shape[:-1], filling)
      parts.append(jnp.zeros(shape, features.dtype))
    return Together(jnp.concatenate(parts, axis=-1), keys.dtype)

  def operand(self, keys: jax.Array) -> jax.Array:
    """Returns `[B, N, C]` keys as products with scaled inputs take them.

    For all chunks at once: no chunk then has to cast or to fill up keys.
    """
    if stays_apart(keys, self.features, self.positions):
      return keys
    channels = keys.shape[-1]
    filling = _up_to(channels, _cut().channels_multiple) - channels
    keys = keys.astype(self.features.dtype)
    return jnp.pad(keys, ((0, 0), (0, 0), (0, filling))) if filling else keys

  def gradient_operand(self, x: jax.Array) -> jax.Array:
    """Returns x as the products take it that are gradients of the inputs."""
    return x.astype(self.features.dtype) if _cut().casts_gradients else x


def stays_apart(
  keys: jax.Array, features: jax.Array, positions: jax.Array | None
) -> bool:
  """Whether a chunk is used without bringing it together; see `Apart`."""
  return (
    may_be_several(features.shape[0])
    and positions is not None
    and positions.ndim == 2
    and keys.shape[1] < _MANY_QUERIES
  )


class Together(NamedTuple):
  """Scaled inputs as one array `[B, m, C]`, C with what fills it up."""

  inputs: jax.Array
  scores_dtype: jnp.dtype

  def products(self, keys: jax.Array) -> jax.Array:
    """Products of `Chunk.operand` with the inputs: `[B, N, m]` float32."""
    return jnp.einsum(
      'bnc,bmc->bnm',
      keys,
      self.inputs,
      preferred_element_type=self.scores_dtype,
    )

  def mix(self, weights: jax.Array, sum_batch: bool = False) -> jax.Array:
    """Sums of the inputs weighted by `[B, N, m]`: `[B, N, C]` float32.

    With `sum_batch` the sum is over the batch too: `[1, N, C]`.
    """
    return _mix(weights, self.inputs, sum_batch)


class Apart(NamedTuple):
  """Features, positions that the batch shares, and what scales them.

  Keys may still be shared by the batch, `[1, N, C]`: their products with the
  positions are then the same for all examples.
  """

  features: jax.Array
  positions: jax.Array
  inverse_std: jax.Array

  def products(self, keys: jax.Array) -> jax.Array:
    """See `Together.products`."""
    keys_f, keys_p = jnp.split(keys, [self.features.shape[-1]], axis=-1)
    products = _products(keys_f, self.features)
    products = products + _products(keys_p, self.positions)
    return products * self.inverse_std[:, None]

  def mix(self, weights: jax.Array, sum_batch: bool = False) -> jax.Array:
    """See `Together.mix`."""
    weights = weights * self.inverse_std[:, None]
    parts = [
      _mix(weights, part, sum_batch) for part in (self.features, self.positions)
    ]
    return jnp.concatenate(parts, axis=-1)


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


def over_chunks(
  step: Callable, carry: Any, num_inputs: int, chunk_size: int
) -> tuple[Any, Any]:
  """Scans `step(carry, start, size)`, a smaller last chunk included.

  Args:
    step: returns the carry, and what it makes of its chunk: arrays with the
      axis of inputs where `Chunk` has it.
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
      lambda carry, i: step(carry, _in_turn(i * chunk_size, carry), chunk_size),
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


def _in_turn(start: jax.Array, carry: Any) -> jax.Array:
  """The start of a chunk, which on GPUs is not known before its turn.

  jax moves what does not change out of loops: in the gradient of blocks that
  attend to the same inputs, all chunks would be brought together first, and
  the byte array be written out as a whole.
  """
  if not _cut().in_turn:
    return start
  smallest = min(jax.tree.leaves(carry), key=lambda x: x.size)
  return jax.lax.optimization_barrier((start, smallest))[0]


# Axis of the inputs in features, positions and inverse_std.
_INPUTS_AXES = (-2, -2, -1)


def _join(chunks: jax.Array, axis: int) -> jax.Array:
  """Puts the leading axis of chunks in front of the axis of inputs."""
  axis = chunks.ndim + axis
  moved = jnp.moveaxis(chunks, 0, axis - 1)
  shape = moved.shape
  return moved.reshape(*shape[: axis - 1], -1, *shape[axis + 1 :])
