"""Multi-head attention on a TPU, where all scores of a query fit on the core.

Shapes: B batch, N queries, M inputs, H heads, Dk and Dv channels of a head of
queries/keys and of values; of a program: h heads, n queries.

A program takes a few heads of one example and some or all of its queries, in
the layout that the projections leave, `[B, N, H D]`: nothing is transposed in
memory. It holds the scores of all inputs, so that no online softmax is needed,
as `[M, n]`, with inputs along the sublanes of registers: sums over inputs are
sums of registers, statistics are rows, and only what is as narrow as a head is
ever transposed.

The gradient keeps queries, keys and values, and computes the weights again.
"""

import functools
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu

from perceiver_jax.kernels import target
from perceiver_jax.kernels.tiles import product

# Lanes of a register: blocks are as wide as a multiple of them.
_LANES = 128
# Scores of a program where its queries can be divided: 1 MiB in float32.
_MANY_SCORES = 2**18
# Bytes of a program; XLA grants 16 MiB on every TPU.
_MOST_BYTES = 15 * 2**20
# Scores of padding, and below all others but those: both finite, so that their
# difference is a number.
_PADDING, _LOWEST = -1e30, -1e20


def takes(query: jax.Array, key: jax.Array, value: jax.Array) -> bool:
  """Whether `attend` suits the devices that are traced for, and these shapes.

  They must fill registers, and a program's share must fit on the core.

  Args:
    query: `[B, N, H, Dk]`.
    key: `[B, M, H, Dk]`.
    value: `[B, M, H, Dv]`.
  """
  return (
    target.is_taken()
    and query.shape[1] >= _LANES
    and _Program.of(query, key, value).fits
  )


def attend(
  query: jax.Array,
  key: jax.Array,
  value: jax.Array,
  mask: jax.Array | None = None,
) -> jax.Array:
  """Scaled dot-product attention; same numbers as `dot_product_attention`.

  Args:
    query: `[B, N, H, Dk]`.
    key: `[B, M, H, Dk]`.
    value: `[B, M, H, Dv]`.
    mask: `[B, M]` bool, True where there is an input.

  Returns:
    `[B, N, H, Dv]`; zeros for an example whose mask has no True.
  """
  program = _Program.of(query, key, value)
  bias = None
  if mask is not None:
    bias = jnp.where(mask, 0.0, _PADDING)[:, None]  # [B, 1, M]
  query, key, value = (x.reshape(*x.shape[:2], -1) for x in (query, key, value))
  attended = _attend(program, query, key, value, bias)
  return attended.reshape(*query.shape[:2], program.num_heads, -1)


class _Program(NamedTuple):
  """What one program of the grid takes.

  Attributes:
    num_heads: H.
    heads: h, the fewest whose channels fill whole registers.
    num_queries: N.
    queries: n, all of them or as many as scores are few enough.
    num_inputs: M.
    qk_channels: Dk.
    v_channels: Dv.
    itemsize: bytes of a number.
  """

  num_heads: int
  heads: int
  num_queries: int
  queries: int
  num_inputs: int
  qk_channels: int
  v_channels: int
  itemsize: int

  @classmethod
  def of(cls, query: jax.Array, key: jax.Array, value: jax.Array):
    """Plans for `[B, N, H, Dk]`, `[B, M, H, Dk]` and `[B, M, H, Dv]`."""
    _, num_queries, num_heads, qk_channels = query.shape
    num_inputs, v_channels = key.shape[1], value.shape[-1]
    widths = qk_channels, v_channels
    heads = [
      h
      for h in range(1, num_heads)
      if num_heads % h == 0 and all(h * width % _LANES == 0 for width in widths)
    ]
    queries = num_queries
    while queries * num_inputs > _MANY_SCORES and queries % (2 * _LANES) == 0:
      queries //= 2
    return cls(
      num_heads=num_heads,
      heads=min(heads, default=num_heads),
      num_queries=num_queries,
      queries=queries,
      num_inputs=num_inputs,
      qk_channels=qk_channels,
      v_channels=v_channels,
      itemsize=query.dtype.itemsize,
    )

  @property
  def several(self) -> bool:
    """Whether the queries of an example are divided among programs."""
    return self.queries < self.num_queries

  @property
  def fits(self) -> bool:
    """Whether what the gradient needs fits on the core."""
    # Scores, weights and their gradients, in float32 and for products.
    num_bytes = 20 * self.queries * self.num_inputs
    width = self.heads * (self.qk_channels + self.v_channels)
    blocks = 2 * (self.queries + self.num_inputs) * width
    num_bytes += 2 * blocks * self.itemsize  # The next ones are on their way.
    if self.several:
      num_bytes += 4 * self.num_inputs * width
    return num_bytes <= _MOST_BYTES

  def grid(self, batch: int) -> tuple[int, int, int]:
    """Examples, groups of heads, blocks of queries."""
    return (
      batch,
      self.num_heads // self.heads,
      self.num_queries // self.queries,
    )

  def query_block(self, channels: int) -> pl.BlockSpec:
    """Of `[B, N, H channels]`."""
    shape = (None, self.queries, self.heads * channels)
    return pl.BlockSpec(shape, lambda b, h, i: (b, i, h))

  def input_block(self, channels: int) -> pl.BlockSpec:
    """Of `[B, M, H channels]`."""
    shape = (None, self.num_inputs, self.heads * channels)
    return pl.BlockSpec(shape, lambda b, h, i: (b, 0, h))

  def in_blocks(self, bias: jax.Array | None) -> list[pl.BlockSpec | None]:
    """Of queries, keys, values and the bias of padding."""
    return [
      self.query_block(self.qk_channels),
      self.input_block(self.qk_channels),
      self.input_block(self.v_channels),
      None
      if bias is None
      else pl.BlockSpec((None, 1, self.num_inputs), lambda b, h, i: (b, 0, 0)),
    ]


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _attend(program, query, key, value, bias):
  """Maps `[B, N or M, H D]`, and a bias `[B, 1, M]`, to `[B, N, H Dv]`."""
  return _attend_fwd(program, query, key, value, bias)[0]


# What is done along an axis of the grid, for a TPU of two cores.
_COMPILER_PARAMS = pltpu.CompilerParams(
  dimension_semantics=('parallel', 'parallel', 'arbitrary')
)


def _attend_fwd(program, query, key, value, bias):
  batch, num_queries, _ = query.shape
  width = program.num_heads * program.v_channels
  attended = pl.pallas_call(
    functools.partial(_forward_kernel, program),
    grid=program.grid(batch),
    in_specs=program.in_blocks(bias),
    out_specs=program.query_block(program.v_channels),
    out_shape=jax.ShapeDtypeStruct((batch, num_queries, width), value.dtype),
    compiler_params=_COMPILER_PARAMS,
    cost_estimate=_cost(program, batch, products=2),
    name='latent_attention_forward',
  )(query, key, value, bias)
  return attended, (query, key, value, bias)


def _attend_bwd(program, residuals, attended_bar):
  query, key, value, bias = residuals
  batch, num_inputs, _ = key.shape
  sums = []
  if program.several:
    sums = [
      pltpu.VMEM((num_inputs, program.heads * channels), jnp.float32)
      for channels in (program.qk_channels, program.v_channels)
    ]
  query_bar, key_bar, value_bar = pl.pallas_call(
    functools.partial(_backward_kernel, program),
    grid=program.grid(batch),
    in_specs=[
      *program.in_blocks(bias),
      program.query_block(program.v_channels),
    ],
    out_specs=program.in_blocks(None)[:3],
    out_shape=[
      jax.ShapeDtypeStruct(x.shape, x.dtype) for x in (query, key, value)
    ],
    scratch_shapes=sums,
    compiler_params=_COMPILER_PARAMS,
    cost_estimate=_cost(program, batch, products=5),
    name='latent_attention_backward',
  )(query, key, value, bias, attended_bar)
  return query_bar, key_bar, value_bar, None


_attend.defvjp(_attend_fwd, _attend_bwd)


def _cost(program: _Program, batch: int, *, products: int) -> pl.CostEstimate:
  """Of products of scores, half with keys and half with values or so."""
  scores = batch * program.num_heads * program.num_queries * program.num_inputs
  channels = program.qk_channels + program.v_channels
  width = program.num_heads * channels
  rows = program.num_queries + program.num_inputs
  return pl.CostEstimate(
    flops=products * scores * channels,
    transcendentals=scores,
    bytes_accessed=(products - 1)
    // 2
    * batch
    * rows
    * width
    * program.itemsize,
  )


def _weights(
  key: jax.Array, query: jax.Array, bias: jax.Array | None
) -> tuple[jax.Array, jax.Array]:
  """Weights `[M, n]`, up to a factor of each query, and these, `[1, n]`."""
  scores = product(key, query, (1, 1))
  if bias is not None:
    scores += bias.T
  highest = jnp.maximum(scores.max(axis=0, keepdims=True), _LOWEST)
  # TPUs have powers of two: others cost a product, which scales as well.
  weights = jnp.exp2((scores - highest) * (_scale(query) * math.log2(math.e)))
  total = weights.sum(axis=0, keepdims=True)
  return weights, 1.0 / jnp.where(total == 0.0, 1.0, total)


def _heads(program: _Program, bias_ref):
  """For each head: its columns of keys and of values; and the bias."""
  bias = None if bias_ref is None else bias_ref[...]
  for head in range(program.heads):
    yield (
      pl.ds(head * program.qk_channels, program.qk_channels),
      pl.ds(head * program.v_channels, program.v_channels),
      bias,
    )


def _scale(query: jax.Array) -> float:
  return 1.0 / math.sqrt(query.shape[-1])


def _forward_kernel(
  program, query_ref, key_ref, value_ref, bias_ref, attended_ref
):
  for qk, v, bias in _heads(program, bias_ref):
    value = value_ref[:, v]
    weights, factor = _weights(key_ref[:, qk], query_ref[:, qk], bias)
    mixed = product(value.T, weights.astype(value.dtype), (1, 0))  # [Dv, n]
    attended_ref[:, v] = (mixed * factor).T.astype(attended_ref.dtype)


def _backward_kernel(
  program,
  query_ref,
  key_ref,
  value_ref,
  bias_ref,
  attended_bar_ref,
  query_bar_ref,
  key_bar_ref,
  value_bar_ref,
  *sums,
):
  for qk, v, bias in _heads(program, bias_ref):
    query, key = query_ref[:, qk], key_ref[:, qk]
    attended_bar = attended_bar_ref[:, v]
    weights, factor = _weights(key, query, bias)
    weights *= factor
    weights_bar = product(value_ref[:, v], attended_bar, (1, 1))  # [M, n]
    mean_bar = (weights * weights_bar).sum(axis=0, keepdims=True)
    scores_bar = (weights * (weights_bar - mean_bar)).astype(query.dtype)
    value_bar = product(weights.astype(query.dtype), attended_bar, (1, 0))
    key_bar = product(scores_bar, query, (1, 0)) * _scale(query)
    query_bar = product(key.T, scores_bar, (1, 0)) * _scale(query)  # [Dk, n]
    query_bar_ref[:, qk] = query_bar.T.astype(query.dtype)
    _add(program, key_bar_ref, sums[:1], qk, key_bar)
    _add(program, value_bar_ref, sums[1:], v, value_bar)


def _add(program, result_ref, sum_refs, columns, x):
  """Adds up over blocks of queries in float32, where there are several."""
  if not program.several:
    result_ref[:, columns] = x.astype(result_ref.dtype)
    return
  (sum_ref,) = sum_refs
  block = pl.program_id(2)

  @pl.when(block == 0)
  def start():
    sum_ref[:, columns] = x

  @pl.when(block > 0)
  def go_on():
    sum_ref[:, columns] += x

  @pl.when(block == pl.num_programs(2) - 1)
  def end():
    result_ref[:, columns] = sum_ref[:, columns].astype(result_ref.dtype)
