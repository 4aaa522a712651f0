"""Inputs of an attention as the TPU's kernels read them: a column each.

Shapes: B batch, N queries, M inputs, C channels of the inputs, Cf of their
features and Cp of their positions (C = Cf + Cp); n queries and m inputs of a
block.

A TPU stores the last axis of an array in multiples of 128, the one before it in
multiples of 8 or 16: `[B, M, 3]` features take 42 times their size, `[M, 258]`
positions half as much again. With the inputs last nothing is padded, and the
matrix unit streams 261 channels as 264 rows, not as 384 columns. Features and
positions are brought together block by block, in the kernel: an array of B M C
numbers is never written. Features of a multiple of 128 channels are not padded
as they are; they are read as rows, and a block of them is turned in the kernel.

Positions come first: they are most of the channels, and what follows rows that
are no multiple of 8 has to be shifted.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl

from perceiver_jax.byte_array import encoded
from perceiver_jax.position_encoding import GridPositions

# What no score is below; minus infinity would make NaN of a first block that
# is masked as a whole.
MASKED = -1e30

_LARGEST_BLOCK = 1024  # Inputs: more make the schedule no better.
_FEW_INPUTS = 256  # Fewer in a block are worth dividing the queries.
_MOST_QUERIES = 512  # Of a block; twice as many when that is all.
_MOST_SCORES = 2**19  # Of a block.
_VMEM_BYTES = 15.5 * 2**20  # Every generation lets a kernel have 16 MiB.
_LANES = 128


class Columns(NamedTuple):
  """Inputs, the axis of inputs last; also blocks of them, and their specs.

  Attributes:
    positions: `[1 or B, Cp, M]` or None, in the dtype of the features.
    features: `[B, Cf, M]`, or `[B, M, Cf]` where they are read as rows.
    inverse_std: `[B, 1, M]` float32.
    mask: `[B, 1, M]` float32, one where there is an input, or None.
  """

  positions: Any
  features: Any
  inverse_std: Any
  mask: Any


def as_columns(
  features: jax.Array,
  positions: jax.Array | GridPositions | None,
  inverse_std: jax.Array,
  mask: jax.Array | None,
) -> Columns:
  """Turns `[B, M, Cf]`, `[M or B, M, Cp]`, `[B, M]` and `[B, M]`."""
  positions = encoded(positions)
  if positions is not None:
    positions = positions if positions.ndim == 3 else positions[None]
    positions = jnp.swapaxes(positions.astype(features.dtype), 1, 2)
  return Columns(
    positions,
    features if read_as_rows(features) else jnp.swapaxes(features, 1, 2),
    inverse_std[:, None].astype(jnp.float32),
    None if mask is None else mask[:, None].astype(jnp.float32),
  )


def read_as_rows(features: jax.Array) -> bool:
  """Whether `[B, M, Cf]` is read as it is."""
  return features.shape[-1] % _LANES == 0


def positions_first(x: jax.Array, num_features: int) -> jax.Array:
  """Moves the first `num_features` of the last axis to its end."""
  return jnp.concatenate([x[..., num_features:], x[..., :num_features]], -1)


class Blocks(NamedTuple):
  """How queries and inputs are divided.

  Attributes:
    queries: n, a multiple of 16; N is padded to a multiple of it.
    inputs: m, M itself or a multiple of 128; the last block may be smaller.
    num_inputs: M.
    rows: whether the features are read as rows.
  """

  queries: int
  inputs: int
  num_inputs: int
  rows: bool

  @property
  def steps(self) -> int:
    """Blocks of inputs."""
    return pl.cdiv(self.num_inputs, self.inputs)

  def padded(self, x: jax.Array, value: float = 0.0) -> jax.Array:
    """Pads the queries, axis 1, to whole blocks."""
    widths = [(0, 0)] * x.ndim
    widths[1] = (0, -x.shape[1] % self.queries)
    return jnp.pad(x, widths, constant_values=value)

  def specs(self, columns: Columns, place: Callable) -> Columns:
    """Says which block of each array a step reads.

    Args:
      columns: all inputs.
      place: from a step's place in the grid to (example, block of inputs).
    """

    def spec(x: jax.Array) -> pl.BlockSpec:
      shared = x.shape[0] == 1

      def index(*step):
        example, block = place(*step)
        return (0 if shared else example), 0, block

      return pl.BlockSpec((None, x.shape[1], self.inputs), index)

    def row_spec(x: jax.Array) -> pl.BlockSpec:
      def index(*step):
        example, block = place(*step)
        return example, block, 0

      return pl.BlockSpec((None, self.inputs, x.shape[2]), index)

    specs = jax.tree.map(spec, columns)
    if self.rows:
      specs = specs._replace(features=row_spec(columns.features))
    return specs

  def present(self, columns: Columns, block: jax.Array) -> jax.Array | None:
    """`[1, m]` bool, which inputs of a block there are; None for all."""
    mask = None if columns.mask is None else columns.mask[...] > 0.0
    if self.num_inputs % self.inputs:
      inside = self._inside(block)
      mask = inside if mask is None else mask & inside
    return mask

  def scaled(self, columns: Columns, block: jax.Array) -> jax.Array:
    """`[C, m]`, the inputs of a block times `inverse_std`."""
    x = self.unscaled(columns, block) * columns.inverse_std[...]
    if self.num_inputs % self.inputs:  # `inverse_std` ends there, too.
      x = jnp.where(self._inside(block), x, 0.0)
    return x.astype(columns.features.dtype)

  def unscaled(self, columns: Columns, block: jax.Array) -> jax.Array:
    """`[C, m]` float32, positions and features of a block."""
    x = columns.features[...]
    x = (x.T if self.rows else x).astype(jnp.float32)
    if columns.positions is not None:
      positions = columns.positions[...].astype(jnp.float32)
      x = jnp.concatenate([positions, x], axis=0)
    if self.num_inputs % self.inputs:  # What lies behind may be NaN.
      x = jnp.where(self._inside(block), x, 0.0)
    return x

  def _inside(self, block: jax.Array) -> jax.Array:
    lanes = jax.lax.broadcasted_iota(jnp.int32, (1, self.inputs), 1)
    return block * self.inputs + lanes < self.num_inputs


def plan_blocks(keys: jax.Array, features: jax.Array) -> Blocks | None:
  """Divides an attention so that a block fits in a core's fast memory.

  As many queries as possible at once, then as many inputs: then the products
  are large, and inputs are read once.

  Args:
    keys: `[1 or B, N, C]`.
    features: `[B, M, Cf]`.

  Returns:
    The blocks; None when even the smallest do not fit.
  """
  _, num_queries, channels = keys.shape
  num_inputs = features.shape[1]
  plans = []
  for most_queries in (2 * _MOST_QUERIES, _MOST_QUERIES, _LANES):
    queries = _round_up(num_queries, 16)
    if queries > most_queries:
      queries = _even_share(queries, min(most_queries, _MOST_QUERIES))
    inputs = _most_inputs(queries, num_inputs, channels, features.dtype)
    if inputs is not None:
      rows = read_as_rows(features)
      plans.append(Blocks(queries, inputs, num_inputs, rows))
  for plan in plans:
    if plan.inputs >= min(_FEW_INPUTS, num_inputs):
      return plan
  return plans[-1] if plans else None


def _most_inputs(
  queries: int, num_inputs: int, channels: int, dtype: jnp.dtype
) -> int | None:
  """m of the largest blocks that fit with n queries; None when none do."""
  largest = min(_LARGEST_BLOCK, _MOST_SCORES // queries // _LANES * _LANES)
  while largest > 0:
    inputs = num_inputs
    if num_inputs > largest:
      inputs = _even_share(num_inputs, largest)
    if _bytes(queries, inputs, channels, dtype) <= _VMEM_BYTES:
      return inputs
    largest -= _LANES
  return None


def _bytes(queries: int, inputs: int, channels: int, dtype: jnp.dtype) -> int:
  """What the larger of the gradients' kernels needs.

  Arrays that are read or written are there twice, with their last axis in
  multiples of 128; values that outlive the registers are there once. For blocks
  of up to 18 MiB the compiler needed 88 to 100 % of this.
  """
  size = dtype.itemsize
  wide = _round_up(channels, _LANES)
  both = (
    2 * 2 * queries * wide * size  # Keys and gradients of the sums.
    + queries * inputs * (4 + size)  # Scores, weights.
    + inputs * channels * (2 * size + 4 + size)  # Read, widened, scaled.
  )
  keys_gradient = 2 * channels * _round_up(queries, _LANES) * 4
  inputs_gradient = (
    inputs * channels * (2 * 4 + 4)  # Written, added up.
    + 2 * queries * channels * size  # Keys and gradients, turned.
  )
  return both + max(keys_gradient, inputs_gradient)


def _even_share(size: int, largest: int) -> int:
  """Size of a block, a multiple of 128, of blocks of nearly the same size."""
  return _round_up(pl.cdiv(size, pl.cdiv(size, largest)), _LANES)


def _round_up(size: int, multiple: int) -> int:
  return pl.cdiv(size, multiple) * multiple
