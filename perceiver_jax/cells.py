"""A cell of a table as one input: a number, a category, a date.

Each column has a vector of its own, to which what the cell says is added, as in
the FT-Transformer (Gorishniy et al., arXiv 2106.11959).

Shapes: B batch, F features, R rows of an embedding, C channels.
"""

import dataclasses

import haiku as hk
import jax
import jax.numpy as jnp

from perceiver_jax.byte_array import ByteArray
from perceiver_jax.numerics import affine


@dataclasses.dataclass(kw_only=True)
class CellFeatures(hk.Module):
  """Features of a cell through a linear layer.

  Weights and the column's vector begin with a standard deviation of
  1/sqrt(C), whatever F is: of shares of many names few are not zero.

  Attributes:
    num_channels: C.
    name: Haiku name.
  """

  num_channels: int
  name: str | None = None

  def __call__(
    self, features: jax.Array, *, is_training: bool = False
  ) -> ByteArray:
    """Makes one input of a cell.

    Args:
      features: `[B, F]`.
      is_training: not read.

    Returns:
      One input `[B, 1, C]`.
    """
    del is_training
    weights = _parameter('w', (features.shape[-1], self.num_channels))
    column = _parameter('column', (self.num_channels,))
    return ByteArray(affine(features, weights, column)[:, None])


@dataclasses.dataclass(kw_only=True)
class CellEmbedding(hk.Module):
  """The number of a category as a learned vector.

  Attributes:
    num_rows: R, how many categories there are.
    num_channels: C.
    name: Haiku name.
  """

  num_rows: int
  num_channels: int
  name: str | None = None

  def __call__(
    self, indices: jax.Array, *, is_training: bool = False
  ) -> ByteArray:
    """Makes one input of a cell.

    Args:
      indices: `[B]` int in [0, R).
      is_training: not read.

    Returns:
      One input `[B, 1, C]`; NaN of an index that is out of its range.
    """
    del is_training
    rows = _parameter('embeddings', (self.num_rows, self.num_channels))
    column = _parameter('column', (self.num_channels,))
    embedded = jnp.take(rows, indices, axis=0, mode='fill', fill_value=jnp.nan)
    return ByteArray((embedded + column[None])[:, None])


def _parameter(name: str, shape: tuple[int, ...]) -> jax.Array:
  stddev = shape[-1] ** -0.5
  return hk.get_parameter(
    name, shape, init=hk.initializers.TruncatedNormal(stddev)
  )
