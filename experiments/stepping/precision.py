"""Models that compute in bfloat16 and keep their parameters in float32.

The parts of `perceiver_jax` compute in the dtype of what they are given, with
softmax, norms, long sums and positions in float32 whatever it is. So the dtype
is chosen at a model's doors: what enters an encoder, a stack of latent layers
or a decoder is cast. Preprocessing, embeddings and losses stay in float32.
"""

from typing import Any

import haiku as hk
import jax
import jax.numpy as jnp

from perceiver_jax.byte_array import ByteArray
from perceiver_jax.decoder import Decoder
from perceiver_jax.encoder import Encoder
from perceiver_jax.transformer import LatentBlock

COMPUTE_DTYPES = ('float32', 'bfloat16')
_DOORS = (Encoder, LatentBlock, Decoder)


def computing_in(
  dtype: str, model: hk.TransformedWithState
) -> hk.TransformedWithState:
  """Returns a model that computes in a dtype; its parameters are the same.

  Args:
    dtype: one of `COMPUTE_DTYPES`.
    model: of the parts of `perceiver_jax`.

  Raises:
    ValueError: there is no such dtype to compute in.
  """
  if dtype not in COMPUTE_DTYPES:
    raise ValueError(
      f'config.compute_dtype is {dtype!r}; choose one of {COMPUTE_DTYPES}.'
    )
  if dtype == 'float32':
    return model

  def cast(x: Any) -> Any:
    if isinstance(x, ByteArray):  # Positions stay as they are.
      return x._replace(features=x.features.astype(dtype))
    if isinstance(x, jax.Array) and jnp.issubdtype(x.dtype, jnp.floating):
      return x.astype(dtype)
    return x

  def at_doors(next_method, args, kwargs, context):
    if context.method_name == '__call__' and isinstance(context.module, _DOORS):
      args = [cast(x) for x in args]
    return next_method(*args, **kwargs)

  def apply(*args: Any, **kwargs: Any) -> Any:
    with hk.intercept_methods(at_doors):
      return model.apply(*args, **kwargs)

  return model._replace(apply=apply)
