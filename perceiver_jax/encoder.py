"""The Perceiver encoder: cross-attends between latent Transformer blocks.

Shapes: B batch, N latents, M inputs of C channels, D latent channels, H heads.
"""

import collections
import dataclasses
import itertools
from collections.abc import Callable, Sequence
from typing import Any

import haiku as hk
import jax

from perceiver_jax.byte_array import ByteArray, as_byte_array
from perceiver_jax.layers import check_dropout_rate
from perceiver_jax.stacking import REMATERIALIZATIONS, repeat
from perceiver_jax.transformer import (
  PAPERS_PARTS,
  CrossAttend,
  LatentBlock,
  Parts,
)

Layer = Callable[[jax.Array], jax.Array]


def stages(
  cross_attends: Sequence[int],
  *,
  share_cross_attends: bool = True,
  share_latent_blocks: bool = True,
) -> list[tuple[tuple[int, ...], int]]:
  """Returns what latents pass through, see `Encoder`.

  Args:
    cross_attends: the number of them before each latent block.
    share_cross_attends: whether all but the first share parameters.
    share_latent_blocks: whether all share parameters.

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
    cross_attend_widening_factor: hidden width of their MLP over D.
    self_attend_widening_factor: the same in the latent Transformer.
    query_residual: whether cross-attends add to the latents, as in the papers.
    share_cross_attends: all cross-attends but the first share parameters.
      Sharing the first too made training unstable (Perceiver, section 4.1).
    share_latent_blocks: all latent blocks share parameters.
    dropout_rate: the papers use none.
    approximate_gelu: see `MLP`.
    latents_init_stddev: standard deviation of the truncated normal that latents
      are drawn from (Perceiver, appendix C).
    rematerialize: what the gradient computes again in every latent layer, to
      save memory: 'none'; 'elementwise', all but products with parameters;
      'layers', everything, so that only the latents between layers are kept.
    cross_attend_parts: what the cross-attends are made of.
    self_attend_parts: what the layers of the latent Transformer are made of.
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
  cross_attend_parts: Parts = PAPERS_PARTS
  self_attend_parts: Parts = PAPERS_PARTS
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

  def __call__(
    self,
    inputs: ByteArray | jax.Array,
    *,
    is_training: bool,
    latents: jax.Array | None = None,
    cross_attend_mask: jax.Array | None = None,
    self_attend_mask: jax.Array | None = None,
  ) -> jax.Array:
    """Encodes.

    Args:
      inputs: a byte array of M inputs, or `[B, M, C]`.
      is_training: whether dropout is active.
      latents: `[B, N, D]` or `[1, N, D]` to start from, such as those of the
        moment before; None for the learned ones.
      cross_attend_mask: which inputs latents may look at, besides the mask of
        the byte array: `[B, N, M]` or `[B, H, N, M]` bool; B and H may be 1.
      self_attend_mask: which latents latents may look at: `[B, N]`, `[B, N, N]`
        or `[B, H, N, N]` bool; B and H may be 1, and B must be before the first
        cross-attend.

    Returns:
      Latents `[B, N, D]` in the dtype of the features.

    Raises:
      ValueError: inputs, latents or a mask have other axes or sizes.
    """
    byte_array = as_byte_array(inputs).zero_padding()  # [B, M, C]
    cross_attends = self._cross_attends(
      byte_array, mask=cross_attend_mask, is_training=is_training
    )
    latent_blocks = self._latent_blocks(
      mask=self_attend_mask, is_training=is_training
    )
    latents = self._initial_latents(latents, byte_array)  # [B or 1, N, D]
    for stage, repeats in itertools.groupby(self._stages()):

      def apply_stage(latents: jax.Array, stage=stage) -> jax.Array:
        cross_attend_ids, latent_block_id = stage
        for i in cross_attend_ids:
          latents = cross_attends[i](latents)  # [B, N, D]
        return latent_blocks[latent_block_id](latents)  # [B, N, D]

      latents = repeat(apply_stage, latents, times=len(list(repeats)))
    return latents

  def _stages(self) -> list[tuple[tuple[int, ...], int]]:
    return stages(
      self.cross_attends,
      share_cross_attends=self.share_cross_attends,
      share_latent_blocks=self.share_latent_blocks,
    )

  @hk.transparent  # Keeps the method out of the parameters' names.
  def _cross_attends(
    self, byte_array: ByteArray, **settings: Any
  ) -> dict[int, Layer]:
    """Cross-attends by number; what they share of the inputs is made once."""
    uses = collections.Counter(i for ids, _ in self._stages() for i in ids)
    modules = {i: self._cross_attend(i) for i in sorted(uses)}
    prepared = {
      i: module.prepare(
        byte_array,
        num_queries=self.num_latents,
        uses=uses[i],
        is_training=settings['is_training'],
      )
      for i, module in modules.items()
    }
    return {
      i: lambda latents, i=i: modules[i](latents, prepared[i], **settings)
      for i in modules
    }

  @hk.transparent
  def _latent_blocks(self, **settings: Any) -> dict[int, Layer]:
    """Latent Transformers by number; their parameters are unstacked once."""
    ids = sorted({i for _, i in self._stages()})
    modules = {i: self._latent_block(i) for i in ids}
    layers = {i: module.prepare() for i, module in modules.items()}
    return {
      i: lambda latents, i=i: modules[i](latents, layers[i], **settings)
      for i in modules
    }

  def _initial_latents(
    self, latents: jax.Array | None, byte_array: ByteArray
  ) -> jax.Array:
    """Returns `[B, N, D]`, or `[1, N, D]` while the batch shares them."""
    batch = byte_array.features.shape[0]
    shape = self.num_latents, self.latent_channels
    if latents is None:
      # Haiku truncates at two standard deviations, here +-0.04.
      init = hk.initializers.TruncatedNormal(self.latents_init_stddev)
      latents = hk.get_parameter('latents', shape, init=init)[None]
    elif latents.shape not in ((1, *shape), (batch, *shape)):
      raise ValueError(
        f'latents must be [{batch}, {shape[0]}, {shape[1]}], num_latents and '
        f'latent_channels of the encoder, or the same for all with [1, ...]; '
        f'got {latents.shape}.'
      )
    return latents.astype(byte_array.features.dtype)

  @hk.transparent
  def _cross_attend(self, i: int) -> CrossAttend:
    return CrossAttend(
      num_heads=self.cross_attend_heads,
      qk_channels=self.cross_attend_qk_channels,
      v_channels=self.cross_attend_v_channels,
      query_residual=self.query_residual,
      widening_factor=self.cross_attend_widening_factor,
      dropout_rate=self.dropout_rate,
      approximate_gelu=self.approximate_gelu,
      parts=self.cross_attend_parts,
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
      parts=self.self_attend_parts,
      name=f'latent_block_{i}',
    )
