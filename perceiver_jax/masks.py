"""Masks of attention: which inputs a query may look at.

Shapes: B batch, H heads, N queries, M inputs.

A mask is bool, True where attention goes: `[B, M]` for all queries, such as
False for padding; `[B, N, M]` for each query; `[B, H, N, M]` for each head too.
B and H may be 1, for all examples and heads.
"""

import warnings

import jax
import jax.numpy as jnp


def causal_mask(num_queries: int, num_inputs: int | None = None) -> jax.Array:
  """Lets queries see what comes before them, and themselves.

  The queries are the last N of the M inputs: the latents of Perceiver AR (arXiv
  2202.07765, section 3.2), or of a Transformer, where N = M.

  Args:
    num_queries: N.
    num_inputs: M; default N.

  Returns:
    `[1, N, M]` bool: query n sees the inputs up to n + M - N.

  Raises:
    ValueError: there are more queries than inputs.
  """
  num_inputs = num_queries if num_inputs is None else num_inputs
  if num_queries > num_inputs:
    raise ValueError(
      'In a causal mask, queries are the last of the inputs, so there are no '
      f'more of them; got {num_queries} queries and {num_inputs} inputs.'
    )
  return jnp.tri(num_queries, num_inputs, num_inputs - num_queries, bool)[None]


def combine_masks(
  padding: jax.Array | None, mask: jax.Array | None
) -> jax.Array | None:
  """Allows what both allow.

  Args:
    padding: `[B, M]`, or None for everywhere.
    mask: of any form, or None for everywhere.
  """
  if padding is None or mask is None:
    return mask if padding is None else padding
  return mask & padding.reshape(
    padding.shape[0], *(1,) * (mask.ndim - 2), padding.shape[1]
  )


def over_scores(mask: jax.Array) -> jax.Array:
  """Brings a mask to the axes of scores, `[B, H or 1, N or 1, M]`."""
  if mask.ndim == 2:
    return mask[:, None, None]
  return mask[:, None] if mask.ndim == 3 else mask


def suits_kernels(mask: jax.Array | None) -> bool:
  """Whether fused kernels take a mask; says so, once, where they do not."""
  if mask is None or mask.ndim == 2:
    return True
  warnings.warn(
    'The fused kernels of this device take masks [B, M] only: with one that '
    'differs among queries, attention is traced as plain products instead.',
    stacklevel=2,
  )
  return False


def check_mask(
  mask: jax.Array | None, scores_shape: tuple[int, int, int, int]
) -> None:
  """Raises a ValueError unless a mask fits.

  Args:
    mask: of any form, or None.
    scores_shape: `(B, H, N, M)`.
  """
  if mask is None:
    return
  batch, heads, num_queries, num_inputs = scores_shape
  forms = {
    2: (batch, num_inputs),
    3: (batch, num_queries, num_inputs),
    4: (batch, heads, num_queries, num_inputs),
  }
  form = forms.get(mask.ndim, ())
  may_be_one = (0, 1) if mask.ndim == 4 else (0,)
  fits = len(form) > 0 and all(
    size == expected or (size == 1 and axis in may_be_one)
    for axis, (size, expected) in enumerate(zip(mask.shape, form, strict=True))
  )
  if not fits or mask.dtype != jnp.bool_:
    raise ValueError(
      f'mask must be bool [B, M], [B, N, M] or [B, H, N, M] with B = {batch}, '
      f'H = {heads}, N = {num_queries}, M = {num_inputs} (B and H may be 1), '
      f'got {mask.dtype} {mask.shape}.'
    )
