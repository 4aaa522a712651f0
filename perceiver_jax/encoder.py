"""The Perceiver encoder: cross-attends between latent Transformer blocks.

Shapes: B batch, N latents, M inputs, D latent channels.
"""

import collections
import contextlib
import contextvars
import dataclasses
import itertools
from collections.abc import Callable, Iterator, Sequence

import haiku as hk
import jax

from perceiver_jax.byte_array import ByteArray, check_byte_array
from perceiver_jax.layers import AFFINE, check_dropout_rate
from perceiver_jax.portability import target_platform
from perceiver_jax.transformer import CrossAttend, SelfAttend

# What the gradient of a latent layer computes again instead of keeping it; the
# values are policies of `jax.checkpoint`: what it keeps. A product with a
# parameter is kept with its bias where it has one.
REMATERIALIZATIONS = {
  'none': None,
  'elementwise': jax.checkpoint_policies.save_from_both_policies(
    jax.checkpoint_policies.save_only_these_names(AFFINE),
    jax.checkpoint_policies.dots_with_no_batch_dims_saveable,
  ),
  'layers': jax.checkpoint_policies.nothing_saveable,
}

# Haiku scope under which parameters have a leading axis, one row a layer.
LAYER_STACK = 'layers'

_UNROLLED = contextvars.ContextVar('unrolled', default=False)


@contextlib.contextmanager
def unrolled_stages() -> Iterator[None]:
  """While it is open, `Encoder` is traced one stage after the other.

  Otherwise equal stages are a scan, compiled once, except for TPUs, and what an
  intercepted method sees inside of it cannot be taken out.
  """
  token = _UNROLLED.set(True)
  try:
    yield
  finally:
    _UNROLLED.reset(token)


def is_layer_stack(module_name: str) -> bool:
  """Whether the parameters of this module are those of several layers.

  Args:
    module_name: outer key of a Haiku parameter tree.

  Returns:
    True when each of its arrays has a leading axis `[layers, ...]`.
  """
  return LAYER_STACK in module_name.split('/')


def stages(
  cross_attends: Sequence[int],
  *,
  share_cross_attends: bool = True,
  share_latent_blocks: bool = True,
) -> list[tuple[tuple[int, ...], int]]:
  """Returns what latents pass through, see `Encoder`.

  Args:
    cross_attends: before each latent block.
    share_cross_attends: all but the first.
    share_latent_blocks: all of them.

  Returns:
    For each latent block: which cross-attends come first, which block it is.
    Numbers name parameter sets, `cross_attend_0` and `latent_block_0`, so equal
    numbers share parameters.
  """
  found, done = [], 0
  for block, count in enumerate(cross_attends):
    ids = range(done, done + count)
    if share_cross_attends:
      ids = [min(i, 1) for i in ids]
    found.append((tuple(ids), 0 if share_latent_blocks else block))
    done += count
  return found


@dataclasses.dataclass(kw_only=True)
class LatentBlock(hk.Module):
  """A latent Transformer: self-attend layers with stacked parameters.

  They are a scan, compiled once; for TPUs one layer follows the other, as half
  of the time would go into stacks of what a scan keeps for its gradient.

  Attributes:
    num_layers: self-attend layers, each with its own parameters.
    num_heads: heads of each layer.
    qk_channels: see `SelfAttend`.
    v_channels: see `SelfAttend`.
    widening_factor: of the MLPs.
    dropout_rate: see `SelfAttend`.
    approximate_gelu: see `MLP`.
    rematerialize: see `Encoder`.
    name: Haiku name.
  """

  num_layers: int
  num_heads: int = 8
  qk_channels: int | None = None
  v_channels: int | None = None
  widening_factor: int = 1
  dropout_rate: float = 0.0
  approximate_gelu: bool = True
  rematerialize: str = 'none'
  name: str | None = None

  @hk.name_like('__call__')
  def prepare(self) -> list[hk.Params] | None:
    """Takes the stack of parameters apart, once for several calls.

    Gradients of several calls are then added up layer by layer.

    Returns:
      Parameters of each layer; None where layers are a scan.
    """
    if _in_scans() or not self.num_layers:
      return None
    stacked = hk.lift(lambda: {}, name=LAYER_STACK)()
    return [
      jax.tree.map(lambda x, i=i: x[i], stacked) for i in range(self.num_layers)
    ]

  def __call__(
    self,
    latents: jax.Array,
    layers: list[hk.Params] | None = None,
    *,
    is_training: bool,
  ) -> jax.Array:
    """Applies the layers.

    Args:
      latents: `[B, N, D]`.
      layers: from `prepare`, where there are several calls.
      is_training: whether dropout is active.

    Returns:
      Latents `[B, N, D]`.
    """
    if not self.num_layers:
      return latents

    def layer(latents: jax.Array) -> jax.Array:
      return SelfAttend(
        num_heads=self.num_heads,
        qk_channels=self.qk_channels,
        v_channels=self.v_channels,
        widening_factor=self.widening_factor,
        dropout_rate=self.dropout_rate,
        approximate_gelu=self.approximate_gelu,
        name='self_attend',
      )(latents, is_training=is_training)

    policy = REMATERIALIZATIONS[self.rematerialize]
    if policy is not None:
      # In scans nothing is shared with the backward pass.
      layer = hk.remat(layer, policy=policy, prevent_cse=not _in_scans())
    if _in_scans():
      return hk.layer_stack(self.num_layers, name=LAYER_STACK)(layer)(latents)
    return _one_by_one(layer, latents, layers or self.prepare())


def _in_scans() -> bool:
  """Whether equal stages, and layers, are scans, compiled once.

  On a TPU each is compiled by itself. Parameters are created in scans anywhere,
  the same everywhere.
  """
  return target_platform() != 'tpu' or hk.running_init()


def _one_by_one(
  layer: Callable[[jax.Array], jax.Array],
  latents: jax.Array,
  parameters: list[hk.Params],
) -> jax.Array:
  """What `hk.layer_stack` computes, random numbers included."""
  apply = hk.transform(layer).apply
  hk.maybe_next_rng_key()  # That of parameters that are there already.
  key = hk.maybe_next_rng_key()
  keys = [None] * len(parameters)
  if key is not None:
    keys = list(jax.random.split(key, len(parameters)))
  for params, key in zip(parameters, keys, strict=True):
    latents = apply(params, key, latents)
  return latents


@dataclasses.dataclass(kw_only=True)
class Encoder(hk.Module):
  """Byte array in, latents out (Perceiver, section 3; figure 1).

  Learned latents cross-attend to the byte array between blocks of a latent
  Transformer. `cross_attends` says where: the first paper's ImageNet model is
  `(1,) * 8`, Perceiver IO is `(1, 0, 0, 0, 0, 0, 0, 0)`, the ablation with
  cross-attends at the start is `(4, 0, ...)`.

  Attributes:
    num_latents: N.
    latent_channels: D.
    cross_attends: the number of cross-attends before each latent block.
    self_attends_per_block: layers of each latent Transformer; 0 for the
      ablation without any (Perceiver, table 5).
    cross_attend_heads: heads of the cross-attends.
    self_attend_heads: heads of the latent Transformer; they divide D.
    cross_attend_qk_channels: width of queries and keys of the cross-attends;
      default the width of the inputs.
    cross_attend_v_channels: width of their values; default that of the keys.
    self_attend_qk_channels: width of queries and keys of the latent
      Transformer; default D.
    self_attend_v_channels: width of its values; default that of the keys.
    cross_attend_widening_factor: of the MLP of the cross-attends.
    self_attend_widening_factor: of the MLPs of the latent Transformer.
    query_residual: whether cross-attends add to the latents, as in the papers.
    share_cross_attends: all cross-attends but the first share parameters.
      Sharing the first too made training unstable (Perceiver, section 4.1).
    share_latent_blocks: all latent blocks share parameters.
    dropout_rate: the papers use none.
    approximate_gelu: see `MLP`.
    latents_init_stddev: of a truncated normal (Perceiver, appendix C).
    rematerialize: what the gradient computes again in every latent layer, to
      save memory: 'none'; 'elementwise', all but products with parameters;
      'layers', everything, so that only the latents between layers are kept.
    name: Haiku name.

  Raises:
    ValueError: an attribute is out of its range, or heads do not divide
      `latent_channels`.
  """

  num_latents: int
  latent_channels: int
  cross_attends: Sequence[int]
  self_attends_per_block: int
  cross_attend_heads: int = 1
  self_attend_heads: int = 8
  cross_attend_qk_channels: int | None = None
  cross_attend_v_channels: int | None = None
  self_attend_qk_channels: int | None = None
  self_attend_v_channels: int | None = None
  cross_attend_widening_factor: int = 1
  self_attend_widening_factor: int = 1
  query_residual: bool = True
  share_cross_attends: bool = True
  share_latent_blocks: bool = True
  dropout_rate: float = 0.0
  approximate_gelu: bool = True
  latents_init_stddev: float = 0.02
  rematerialize: str = 'none'
  name: str | None = None

  def __post_init__(self):
    super().__post_init__()
    check_dropout_rate(self.dropout_rate)
    if min(self.cross_attends, default=0) < 0 or sum(self.cross_attends) == 0:
      raise ValueError(
        'cross_attends must give a number of cross-attends for each latent '
        'block, at least one in all, such as (1, 1) or (1, 0, 0); got '
        f'{self.cross_attends!r}.'
      )
    if self.rematerialize not in REMATERIALIZATIONS:
      raise ValueError(
        f'rematerialize must be one of {list(REMATERIALIZATIONS)}, got '
        f'{self.rematerialize!r}.'
      )
    if (
      self.self_attend_qk_channels is None
      and self.latent_channels % self.self_attend_heads
    ):
      raise ValueError(
        f'latent_channels = {self.latent_channels} cannot be divided into '
        f'self_attend_heads = {self.self_attend_heads} heads. Choose '
        'latent_channels as a multiple of the heads.'
      )

  def __call__(self, byte_array: ByteArray, *, is_training: bool) -> jax.Array:
    """Encodes.

    Args:
      byte_array: M inputs.
      is_training: whether dropout is active.

    Returns:
      Latents `[B, N, D]` in the dtype of the features.

    Raises:
      ValueError: the shapes of the byte array do not fit together.
    """
    check_byte_array(byte_array)
    byte_array = byte_array.zero_padding()
    steps = stages(
      self.cross_attends,
      share_cross_attends=self.share_cross_attends,
      share_latent_blocks=self.share_latent_blocks,
    )
    uses = collections.Counter(i for ids, _ in steps for i in ids)
    cross_attends = {i: self._cross_attend(i) for i in sorted(uses)}
    inputs = {
      i: cross_attend.prepare(
        byte_array,
        num_queries=self.num_latents,
        uses=uses[i],
        is_training=is_training,
      )
      for i, cross_attend in cross_attends.items()
    }
    latent_blocks = {
      i: self._latent_block(i) for i in sorted({i for _, i in steps})
    }
    layers = {i: block.prepare() for i, block in latent_blocks.items()}
    latents = self._initial_latents().astype(byte_array.features.dtype)
    for stage, repeats in itertools.groupby(steps):

      def apply_stage(latents: jax.Array, stage=stage) -> jax.Array:
        cross_attend_ids, latent_block_id = stage
        for i in cross_attend_ids:
          latents = cross_attends[i](
            latents, inputs[i], is_training=is_training
          )
        return latent_blocks[latent_block_id](
          latents, layers[latent_block_id], is_training=is_training
        )

      latents = _repeat(apply_stage, latents, times=len(list(repeats)))
    return latents

  def _initial_latents(self) -> jax.Array:
    """Returns `[1, N, D]`: the batch shares them until it attends."""
    # Haiku truncates at two standard deviations, here +-0.04.
    latents = hk.get_parameter(
      'latents',
      (self.num_latents, self.latent_channels),
      init=hk.initializers.TruncatedNormal(self.latents_init_stddev),
    )
    return latents[None]

  @hk.transparent  # Keeps the method out of the parameters' names.
  def _cross_attend(self, i: int) -> CrossAttend:
    return CrossAttend(
      num_heads=self.cross_attend_heads,
      qk_channels=self.cross_attend_qk_channels,
      v_channels=self.cross_attend_v_channels,
      query_residual=self.query_residual,
      widening_factor=self.cross_attend_widening_factor,
      dropout_rate=self.dropout_rate,
      approximate_gelu=self.approximate_gelu,
      name=f'cross_attend_{i}',
    )

  @hk.transparent
  def _latent_block(self, i: int) -> LatentBlock:
    return LatentBlock(
      num_layers=self.self_attends_per_block,
      num_heads=self.self_attend_heads,
      qk_channels=self.self_attend_qk_channels,
      v_channels=self.self_attend_v_channels,
      widening_factor=self.self_attend_widening_factor,
      dropout_rate=self.dropout_rate,
      approximate_gelu=self.approximate_gelu,
      rematerialize=self.rematerialize,
      name=f'latent_block_{i}',
    )


def _repeat(
  function: Callable[[jax.Array], jax.Array], x: jax.Array, *, times: int
) -> jax.Array:
  """Applies the same modules several times, in a scan or one by one."""
  # Parameters cannot be created inside a scan: one call creates them all.
  if times == 1 or hk.running_init():
    return function(x)
  if _UNROLLED.get() or not _in_scans():
    for _ in range(times):
      x = function(x)
    return x
  x, _ = hk.scan(lambda x, _: (function(x), None), x, None, length=times)
  return x
