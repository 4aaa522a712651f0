"""Weighted sums of the inputs, and the logarithm of the weights' sum, on a TPU.

Shapes as in input_columns.py. Scores have their inputs last, so that masks and
sums over inputs are those of a row; the weighted sums have their channels
first, so that the matrix unit streams C rows.
"""

import functools

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu

from perceiver_jax.kernels.input_columns import MASKED, Blocks, Columns
from perceiver_jax.kernels.tiles import as_row, product


def weighted_sums(
  keys: jax.Array, columns: Columns, blocks: Blocks
) -> tuple[jax.Array, jax.Array]:
  """Attends to blocks of inputs with an online softmax.

  Args:
    keys: `[1 or B, N, C]` in the dtype of the features, channels ordered as in
      `Columns`, N a multiple of n. Scores are logarithms to the base of two.
    columns: M inputs.
    blocks: how to divide N and M.

  Returns:
    `[B, C, N]` float32 and `[B, 1, N]` float32, a logarithm to the base of two.
    Both are without meaning for an example without any input.
  """
  batch, _, num_inputs = columns.inverse_std.shape
  _, num_queries, channels = keys.shape
  shared = keys.shape[0] == 1
  return pl.pallas_call(
    functools.partial(_step, blocks),
    name='absorbed_attention',
    grid=(batch, num_queries // blocks.queries, blocks.steps),
    in_specs=[
      pl.BlockSpec(
        (None, blocks.queries, channels),
        lambda b, j, i: (0 if shared else b, j, 0),
      ),
      blocks.specs(columns, lambda b, j, i: (b, i)),
    ],
    out_specs=[
      pl.BlockSpec((None, rows, blocks.queries), lambda b, j, i: (b, 0, j))
      for rows in (channels, 1)
    ],
    out_shape=[
      jax.ShapeDtypeStruct((batch, rows, num_queries), jnp.float32)
      for rows in (channels, 1)
    ],
    scratch_shapes=[pltpu.VMEM((blocks.queries, 1), jnp.float32)] * 2,
    compiler_params=pltpu.CompilerParams(
      dimension_semantics=('parallel', 'parallel', 'arbitrary')
    ),
    cost_estimate=pl.CostEstimate(
      flops=4 * batch * num_queries * num_inputs * channels,
      transcendentals=batch * num_queries * num_inputs,
      bytes_accessed=bytes_read(columns, num_queries // blocks.queries)
      + batch * num_queries * channels * (keys.dtype.itemsize + 4),
    ),
  )(keys, columns)


def bytes_read(columns: Columns, times: int) -> int:
  """Bytes of the inputs; shared ones are read for each example."""
  batch = columns.inverse_std.shape[0]
  return times * sum(
    batch * x[0].size * x.dtype.itemsize for x in jax.tree.leaves(columns)
  )


def _step(
  blocks: Blocks,
  keys_ref,
  columns: Columns,
  mixed_ref,
  log_total_ref,
  highest_ref,
  total_ref,
):
  i = pl.program_id(2)

  @pl.when(i == 0)
  def _():
    highest_ref[...] = jnp.full_like(highest_ref, MASKED)
    total_ref[...] = jnp.zeros_like(total_ref)
    mixed_ref[...] = jnp.zeros_like(mixed_ref)

  inputs = blocks.scaled(columns, i)  # [C, m]
  scores = product(keys_ref[...], inputs, (1, 0))  # [n, m]
  present = blocks.present(columns, i)
  if present is not None:
    scores = jnp.where(present, scores, MASKED)
  highest = jnp.maximum(highest_ref[...], scores.max(axis=1, keepdims=True))
  weights = jnp.exp2(scores - highest)
  decay = jnp.exp2(highest_ref[...] - highest)  # [n, 1]
  total_ref[...] = total_ref[...] * decay + weights.sum(axis=1, keepdims=True)
  mixed_ref[...] = mixed_ref[...] * as_row(decay) + product(
    inputs, weights.astype(inputs.dtype), (1, 1)
  )
  highest_ref[...] = highest

  @pl.when(i == blocks.steps - 1)
  def _():
    total = as_row(total_ref[...])
    mixed_ref[...] = mixed_ref[...] / total
    log_total_ref[...] = as_row(highest_ref[...]) + jnp.log2(total)
