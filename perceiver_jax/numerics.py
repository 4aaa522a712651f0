"""Affine maps and layer norm as functions, with gradients of their own.

Sums and statistics are float32 or wider, whatever the dtype of the arrays.
"""

import jax
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name

from perceiver_jax.portability import only_plain_forms, target_platform
from perceiver_jax.reverse_mode import reverse_mode

# What `jax.checkpoint` can be told to keep: products with parameters.
AFFINE = 'affine'
LAYER_NORM_EPSILON = 1e-5


def at_least_float32(x: jax.Array) -> jnp.dtype:
  """The dtype in which norms, softmax and long sums of x are computed."""
  return jnp.promote_types(x.dtype, jnp.float32)


def sums_are_fast() -> bool:
  """Whether plain sums are what suits the devices that are traced for.

  XLA's CPU backend is slow at sums over rows and at sums of products; products
  with ones and einsums are not. On GPUs and TPUs it is the other way round:
  these products would be taken in several passes, as one rounds its operands.
  """
  return target_platform() in ('gpu', 'tpu')


def affine(x: jax.Array, w: jax.Array, b: jax.Array) -> jax.Array:
  """Maps `[..., C in]` to `[..., C out]` by x w + b, in the dtype of x."""
  if target_platform() == 'tpu' and not only_plain_forms():
    return reverse_mode(_affine)(x, w, b)
  return _affine_fwd(x, w, b)[0]


@jax.custom_vjp
def _affine(x: jax.Array, w: jax.Array, b: jax.Array) -> jax.Array:
  """`affine`, with gradients of w and b that the dtype of x does not round."""
  return _affine_fwd(x, w, b)[0]


def _affine_fwd(x, w, b):
  narrow = w.astype(x.dtype)
  result = x @ narrow + _last_axis(b.astype(x.dtype), x.ndim)
  # With its bias, so that a gradient need not add that again.
  result = checkpoint_name(result, AFFINE)
  return result, (x, narrow, w[:0], b)  # None of its rows: only the dtype of w.


def _affine_bwd(residuals, result_bar):
  x, narrow, w, b = residuals
  rows = x.reshape(-1, x.shape[-1])
  rows_bar = result_bar.reshape(-1, result_bar.shape[-1])
  # A sum over rows is a pass of its own that takes as long as the product of
  # the weights; as rows of a product, of which a register has eight, it takes a
  # fifteenth of that. Ones times bfloat16 is exact.
  ones = jnp.ones((rows.shape[0], 8), x.dtype)
  wide = at_least_float32(x)
  w_bar = jnp.matmul(rows.T, rows_bar, preferred_element_type=wide)
  b_bar = jnp.matmul(
    ones.T, rows_bar, precision='highest', preferred_element_type=wide
  )[0]
  return result_bar @ narrow.T, w_bar.astype(w.dtype), b_bar.astype(b.dtype)


_affine.defvjp(_affine_fwd, _affine_bwd)


def layer_norm(x: jax.Array, scale: jax.Array, offset: jax.Array) -> jax.Array:
  """Normalises the last axis of `[..., C]`; the result has the dtype of x."""
  if only_plain_forms():
    return _layer_norm_fwd(x, scale, offset)[0]
  return reverse_mode(_layer_norm)(x, scale, offset)


@jax.custom_vjp
def _layer_norm(x: jax.Array, scale: jax.Array, offset: jax.Array) -> jax.Array:
  return _layer_norm_fwd(x, scale, offset)[0]


def _layer_norm_fwd(x, scale, offset):
  wide = x.astype(at_least_float32(x))
  mean = wide.mean(axis=-1, keepdims=True)
  if target_platform() == 'tpu':
    # Both sums end the product that makes x, instead of passes of their own.
    variance = jnp.square(wide).mean(axis=-1, keepdims=True)
    variance = jnp.maximum(variance - jnp.square(mean), 0.0)
  else:
    variance = jnp.square(wide - mean).mean(axis=-1, keepdims=True)
  inverse_std = jax.lax.rsqrt(variance + LAYER_NORM_EPSILON)
  normalized = (wide - mean) * inverse_std
  scaled = normalized * _last_axis(scale, x.ndim)
  result = (scaled + _last_axis(offset, x.ndim)).astype(x.dtype)
  return result, (x, mean, inverse_std, scale, offset)


def _layer_norm_bwd(residuals, result_bar):
  """The usual gradient, 13 times as fast on the CPU as the derived one."""
  x, mean, inverse_std, scale, offset = residuals
  normalized = (x.astype(mean.dtype) - mean) * inverse_std
  result_bar = result_bar.astype(mean.dtype)

  def mean_product(a: jax.Array, b: jax.Array) -> jax.Array:
    if sums_are_fast():
      return (a * b).mean(axis=-1, keepdims=True)
    products = jnp.einsum('...c,...c->...', a, b, precision='highest')
    return products[..., None] / x.shape[-1]

  def sum_rows(a: jax.Array) -> jax.Array:
    rows = a.reshape(-1, a.shape[-1])
    if sums_are_fast():
      return rows.sum(axis=0)
    ones = jnp.ones(rows.shape[0], rows.dtype)
    return jnp.einsum('r,rc->c', ones, rows, precision='highest')

  scaled_bar = result_bar * _last_axis(scale, x.ndim).astype(mean.dtype)
  x_bar = inverse_std * (
    scaled_bar
    - mean_product(scaled_bar, jnp.ones_like(scaled_bar))
    - normalized * mean_product(scaled_bar, normalized)
  )
  scale_bar = sum_rows(result_bar * normalized).astype(scale.dtype)
  offset_bar = sum_rows(result_bar).astype(offset.dtype)
  return x_bar.astype(x.dtype), scale_bar, offset_bar


_layer_norm.defvjp(_layer_norm_fwd, _layer_norm_bwd)


def _last_axis(x: jax.Array, ndim: int) -> jax.Array:
  """`[C]` with leading axes of size one: no larger copy is ever kept."""
  return x.reshape((1,) * (ndim - 1) + x.shape)
