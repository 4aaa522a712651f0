"""Multi-head attention by cuDNN, on GPUs that have it.

Shapes: B batch, N queries, M inputs, H heads, Dk and Dv channels of a head of
queries/keys and of values, W channels of what cuDNN is given.

cuDNN never writes scores to memory. It takes half precision and one width for
queries, keys and values, a multiple of eight; ours are filled up with zeros,
which add nothing to products, and what is too much of the result is cut off.

A mask is one more channel: one for each query, and for each key zero or, where
there is no input, a number so low that its weight is exactly zero. As a bias it
would be an array `[B, 1, N, M]` with a gradient of its size, for even lengths
alone; as lengths it would have to be a mask of first inputs.
"""

import math
import re

import jax
import jax.numpy as jnp

from perceiver_jax.portability import target_device, target_platform

# Compute capabilities: Ampere, with which cuDNN's attention begins; Hopper,
# which has wider heads. Its gradient on Blackwell ends at 128 channels again.
_FIRST, _HOPPER = 8.0, 9
_WIDEST, _WIDEST_ON_HOPPER = 128, 256

# Scores of no input, before they are divided by sqrt(Dk). cuDNN has been wrong
# about differences of numbers near the largest of bfloat16.
_NO_INPUT = {'bfloat16': -(2.0**40), 'float16': -(2.0**15)}


def cudnn_takes(
  query: jax.Array,
  key: jax.Array,
  value: jax.Array,
  mask: jax.Array | None,
) -> bool:
  """Whether devices traced for, cuDNN and jax take this in `cudnn_attention`.

  jax asks for the cuDNN of this process: without one, as on a machine that only
  compiles for GPUs, the answer is no.

  Args:
    query: `[B, N, H, Dk]`.
    key: `[B, M, H, Dk]`.
    value: `[B, M, H, Dv]`.
    mask: `[B, M]` bool, or None.
  """
  return (
    target_platform() == 'gpu'
    and query.dtype.name in _NO_INPUT
    and query.dtype == key.dtype == value.dtype
    and _width(query, value, mask) <= _widest(target_device())
    and _admitted(query, key, value, mask)
  )


def cudnn_attention(
  query: jax.Array,
  key: jax.Array,
  value: jax.Array,
  mask: jax.Array | None,
) -> jax.Array:
  """Scaled dot-product attention; same numbers as `dot_product_attention`.

  Args:
    query: `[B, N, H, Dk]`, bfloat16 or float16.
    key: `[B, M, H, Dk]`.
    value: `[B, M, H, Dv]`.
    mask: `[B, M]` bool, True where there is an input; None for everywhere.

  Returns:
    `[B, N, H, Dv]`; zeros for an example whose mask has no True.
  """
  channels, width = value.shape[-1], _width(query, value, mask)
  scale = 1 / math.sqrt(query.shape[-1])
  if mask is not None:
    query, key = _with_mask(query, key, mask)
  query, key, value = (_filled(x, width) for x in (query, key, value))
  attended = jax.nn.dot_product_attention(
    query, key, value, scale=scale, implementation='cudnn'
  )
  attended = attended[..., :channels]
  if mask is None:
    return attended
  # Without any input all scores are equally low, and weights are not zero.
  some = mask.any(axis=-1)[:, None, None, None]
  return jnp.where(some, attended, jnp.zeros_like(attended))


def _with_mask(query, key, mask):
  ones = jnp.ones((*query.shape[:-1], 1), query.dtype)
  low = jnp.where(mask, 0.0, _NO_INPUT[key.dtype.name]).astype(key.dtype)
  low = jnp.broadcast_to(low[:, :, None, None], (*key.shape[:-1], 1))
  return (
    jnp.concatenate([query, ones], axis=-1),
    jnp.concatenate([key, low], axis=-1),
  )


def _filled(x: jax.Array, width: int) -> jax.Array:
  """`[..., D]` to `[..., width]` with zeros."""
  return jnp.pad(x, [(0, 0)] * (x.ndim - 1) + [(0, width - x.shape[-1])])


def _width(query: jax.Array, value: jax.Array, mask: jax.Array | None) -> int:
  """W: the wider of keys, with their mask, and values, in eights."""
  keys = query.shape[-1] + (mask is not None)
  return 8 * math.ceil(max(keys, value.shape[-1]) / 8)


def _widest(device: jax.Device) -> int:
  """Channels of a head that cuDNN takes on a device; 0 if it takes none."""
  # Not a number where the GPU is none of CUDA's.
  capability = str(getattr(device, 'compute_capability', ''))
  if not re.fullmatch(r'\d+\.\d+', capability) or float(capability) < _FIRST:
    return 0
  on_hopper = int(float(capability)) == _HOPPER
  return _WIDEST_ON_HOPPER if on_hopper else _WIDEST


def _admitted(
  query: jax.Array, key: jax.Array, value: jax.Array, mask: jax.Array | None
) -> bool:
  """Whether this jax, on this machine, takes value and gradient."""

  def value_and_gradient(query, key, value, mask):
    attended, gradient = jax.vjp(
      lambda *heads: cudnn_attention(*heads, mask), query, key, value
    )
    return gradient(attended)

  shapes = jax.tree.map(
    lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), (query, key, value, mask)
  )
  try:
    jax.eval_shape(value_and_gradient, *shapes)
  except (NotImplementedError, RuntimeError):
    return False
  return True
