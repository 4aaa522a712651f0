"""Gradients of the weighted sums of the inputs, on a TPU.

Shapes as in input_columns.py. The scores are computed again from the keys, the
weights from the logarithm of their sum. Gradients of the keys, summed over all
inputs, and of the inputs, summed over all queries, are two kernels: the second
is needed only where something before the attention is trained.
"""

import functools
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu

from perceiver_jax.kernels.absorbed_forward import bytes_read
from perceiver_jax.kernels.input_columns import MASKED, Blocks, Columns
from perceiver_jax.kernels.tiles import as_column, product


class Queries(NamedTuple):
  """What there is of each query; also blocks of it, and their specs.

  Attributes:
    keys: see `weighted_sums`.
    mixed_bar: `[B, N, C]`, gradients of the weighted sums, like the keys.
    mean_bar: `[B, 1, N]` float32, `mixed_bar` times the weighted sums.
    log_total: `[B, 1, N]` float32, see `weighted_sums`; plus infinity where the
      weights are to be zero.
  """

  keys: Any
  mixed_bar: Any
  mean_bar: Any
  log_total: Any

  def specs(self, blocks: Blocks, place) -> 'Queries':
    """Says which block of each array a step reads; see `Blocks.specs`."""

    def wide(x):
      shared = x.shape[0] == 1

      def index(*step):
        example, block = place(*step)
        return (0 if shared else example), block, 0

      return pl.BlockSpec((None, blocks.queries, x.shape[2]), index)

    def index(*step):
      example, block = place(*step)
      return example, 0, block

    row = pl.BlockSpec((None, 1, blocks.queries), index)
    return Queries(wide(self.keys), wide(self.mixed_bar), row, row)


def keys_gradient(
  queries: Queries, columns: Columns, blocks: Blocks
) -> jax.Array:
  """Returns the gradient of the scores' keys, `[B, C, N]` float32."""
  batch, num_queries, channels = queries.mixed_bar.shape
  return pl.pallas_call(
    functools.partial(_keys_step, blocks),
    name='absorbed_attention_keys_gradient',
    grid=(batch, num_queries // blocks.queries, blocks.steps),
    in_specs=[
      queries.specs(blocks, lambda b, j, i: (b, j)),
      blocks.specs(columns, lambda b, j, i: (b, i)),
    ],
    out_specs=pl.BlockSpec(
      (None, channels, blocks.queries), lambda b, j, i: (b, 0, j)
    ),
    out_shape=jax.ShapeDtypeStruct((batch, channels, num_queries), jnp.float32),
    scratch_shapes=[pltpu.VMEM((blocks.queries, 128), jnp.float32)] * 2,
    compiler_params=pltpu.CompilerParams(
      dimension_semantics=('parallel', 'parallel', 'arbitrary')
    ),
    cost_estimate=_cost(3, queries, columns, blocks),
  )(queries, columns)


def _keys_step(
  blocks: Blocks,
  queries: Queries,
  columns: Columns,
  keys_bar_ref,
  mean_bar_ref,
  log_total_ref,
):
  i = pl.program_id(2)

  @pl.when(i == 0)
  def _():
    keys_bar_ref[...] = jnp.zeros_like(keys_bar_ref)
    mean_bar_ref[...] = as_column(queries.mean_bar[...])
    log_total_ref[...] = as_column(queries.log_total[...])

  inputs = blocks.scaled(columns, i)  # [C, m]
  _, scores_bar = _weights_and_scores_bar(
    queries,
    inputs,
    blocks.present(columns, i),
    mean_bar_ref[:, :1],
    log_total_ref[:, :1],
  )
  keys_bar_ref[...] += product(inputs, scores_bar.astype(inputs.dtype), (1, 1))


def _weights_and_scores_bar(queries, inputs, present, mean_bar, log_total):
  """Weights, and the gradients of (natural) scores, `[n, m]` float32."""
  scores = product(queries.keys[...], inputs, (1, 0))
  if present is not None:
    scores = jnp.where(present, scores, MASKED)
  weights = jnp.exp2(scores - log_total)
  weights_bar = product(queries.mixed_bar[...], inputs, (1, 0))
  return weights, weights * (weights_bar - mean_bar)


class InputsGradient(NamedTuple):
  """Gradients of `Columns`, or their blocks, or their specs.

  Attributes:
    positions: `[1 or B, Cp, M]` float32, or None.
    features: like the features.
    inverse_std: `[B, 1, M]` float32.
  """

  positions: Any
  features: Any
  inverse_std: Any


def inputs_gradient(
  queries: Queries, columns: Columns, blocks: Blocks, *, positions_wanted: bool
) -> InputsGradient:
  """Returns the gradients of the inputs.

  Args:
    queries: N queries.
    columns: M inputs.
    blocks: how to divide N and M.
    positions_wanted: whether positions have a gradient.
  """
  batch, num_queries, channels = queries.mixed_bar.shape
  wanted = Columns(
    columns.positions if positions_wanted else None,
    columns.features,
    columns.inverse_std,
    None,
  )
  shared_positions = positions_wanted and columns.positions.shape[0] == 1
  # An example after the other, so that shared positions add up in place.
  specs = blocks.specs(wanted, lambda i, b, j: (b, i))
  dtypes = InputsGradient(jnp.float32, columns.features.dtype, jnp.float32)
  return pl.pallas_call(
    functools.partial(_inputs_step, blocks, shared_positions),
    name='absorbed_attention_inputs_gradient',
    grid=(blocks.steps, batch, num_queries // blocks.queries),
    in_specs=[
      queries.specs(blocks, lambda i, b, j: (b, j)),
      blocks.specs(columns, lambda i, b, j: (b, i)),
    ],
    out_specs=InputsGradient(*specs[:3]),
    out_shape=InputsGradient(
      *(
        None if x is None else jax.ShapeDtypeStruct(x.shape, dtype)
        for x, dtype in zip(wanted[:3], dtypes, strict=True)
      )
    ),
    scratch_shapes=[pltpu.VMEM((channels, blocks.inputs), jnp.float32)],
    compiler_params=pltpu.CompilerParams(
      dimension_semantics=('parallel', 'arbitrary', 'arbitrary')
    ),
    cost_estimate=_cost(4, queries, columns, blocks),
  )(queries, columns)


def _inputs_step(
  blocks: Blocks,
  shared_positions: bool,
  queries: Queries,
  columns: Columns,
  *refs,
):
  *positions, features, inverse_std, scaled_bar_ref = refs
  bars = InputsGradient(
    positions[0] if positions else None, features, inverse_std
  )
  i, example, j = (pl.program_id(axis) for axis in range(3))

  @pl.when(j == 0)
  def _():
    scaled_bar_ref[...] = jnp.zeros_like(scaled_bar_ref)

  if shared_positions:

    @pl.when((example == 0) & (j == 0))
    def _():
      bars.positions[...] = jnp.zeros_like(bars.positions)

  inputs = blocks.scaled(columns, i)  # [C, m]
  weights, scores_bar = _weights_and_scores_bar(
    queries,
    inputs,
    blocks.present(columns, i),
    as_column(queries.mean_bar[...])[:, :1],
    as_column(queries.log_total[...])[:, :1],
  )
  # The keys make logarithms to the base of two.
  keys_part = product(
    queries.keys[...], scores_bar.astype(inputs.dtype), (0, 0)
  )
  scaled_bar_ref[...] += math.log(2.0) * keys_part + product(
    queries.mixed_bar[...], weights.astype(inputs.dtype), (0, 0)
  )

  @pl.when(j == pl.num_programs(2) - 1)
  def _():
    _write_inputs_bar(
      blocks,
      scaled_bar_ref[...],
      blocks.unscaled(columns, i),
      columns,
      bars,
      shared_positions,
    )


def _write_inputs_bar(
  blocks: Blocks, scaled_bar, inputs, columns, bars, shared_positions: bool
):
  """From gradients of the scaled inputs to those of what they are made of."""
  bars.inverse_std[...] = (scaled_bar * inputs).sum(axis=0, keepdims=True)
  bar = scaled_bar * columns.inverse_std[...]
  num_positions = 0
  if columns.positions is not None:
    num_positions = columns.positions.shape[0]
  features_bar = bar[num_positions:].astype(bars.features.dtype)
  bars.features[...] = features_bar.T if blocks.rows else features_bar
  if bars.positions is None:
    return
  if shared_positions:
    bars.positions[...] += bar[:num_positions]
  else:
    bars.positions[...] = bar[:num_positions]


def _cost(products: int, queries: Queries, columns: Columns, blocks: Blocks):
  batch, num_queries, channels = queries.mixed_bar.shape
  scores = batch * num_queries * columns.inverse_std.shape[2]
  return pl.CostEstimate(
    flops=2 * products * scores * channels,
    transcendentals=scores,
    bytes_accessed=bytes_read(columns, num_queries // blocks.queries)
    + batch * num_queries * channels * (2 * queries.keys.dtype.itemsize + 4),
  )
