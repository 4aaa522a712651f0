"""Blocks of the Perceiver: MLP, self-attends and their stacks, cross-attend.

Shapes: B batch, N latents or other queries, M inputs, D latent channels, C
input channels, E channels of other queries. For masks, see masks.py.
All are pre-norm with residuals, as in GPT-2 (Perceiver, appendix C).
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import haiku as hk
import jax

from perceiver_jax.absorbed_attention import (
  NormalizedByteArray,
  Unprojected,
)
from perceiver_jax.attention import Attention
from perceiver_jax.attention_forms import KeysValues
from perceiver_jax.byte_array import ByteArray, as_byte_array
from perceiver_jax.layers import (
  LayerNorm,
  Linear,
  check_array,
  check_dropout_rate,
  dropout,
)
from perceiver_jax.stacking import apply_layers, unstack

# Inputs that several calls attend to, as `CrossAttend.prepare` makes them.
Prepared = KeysValues | Unprojected | NormalizedByteArray


@dataclasses.dataclass(kw_only=True)
class MLP(hk.Module):
  """Two linear layers with a GELU between; keeps the width.

  Perceiver, appendix C.

  Attributes:
    widening_factor: hidden width over input width. 1 in the papers (ImageNet
      pre-training on JFT: 4).
    approximate_gelu: the tanh approximation, as in the papers' code; the exact
      erf form, as in PyTorch, is up to 4.7e-4 away from it.
    name: Haiku name.
  """

  widening_factor: int = 1
  approximate_gelu: bool = True
  name: str | None = None

  def __call__(self, x: jax.Array) -> jax.Array:
    """Maps `[..., D]` to `[..., D]`."""
    channels = x.shape[-1]
    hidden_channels = self.widening_factor * channels
    hidden = Linear(output_channels=hidden_channels, name='hidden')(x)
    hidden = jax.nn.gelu(hidden, approximate=self.approximate_gelu)
    return Linear(output_channels=channels, name='output')(hidden)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Parts:
  """What attends are made of: classes, or other functions that make modules.

  The default is what both papers use (Perceiver, appendix C). Settings are
  handed in with `functools.partial(Attention, process_heads=...)`.

  Attributes:
    norm: called with `name`; maps `[..., C]` to `[..., C]`.
    attention: called with `num_heads`, `qk_channels`, `v_channels`,
      `dropout_rate` and `name`; has the methods of `Attention`.
    mlp: called with `widening_factor`, `approximate_gelu` and `name`; maps
      `[..., D]` to `[..., D]`.
  """

  norm: Callable[..., hk.Module] = LayerNorm
  attention: Callable[..., hk.Module] = Attention
  mlp: Callable[..., hk.Module] = MLP


PAPERS_PARTS = Parts()


@dataclasses.dataclass(kw_only=True)
class SelfAttend(hk.Module):
  """One block of the latent Transformer (Perceiver, appendix C).

  Attributes:
    num_heads: heads; they divide the widths below.
    qk_channels: width of queries and keys; default D.
    v_channels: width of the values; default `qk_channels`.
    widening_factor: hidden width of the MLP over D.
    dropout_rate: on attention weights and on both residual branches.
    approximate_gelu: see `MLP`.
    parts: what it is made of.
    name: Haiku name.
  """

  num_heads: int = 8
  qk_channels: int | None = None
  v_channels: int | None = None
  widening_factor: int = 1
  dropout_rate: float = 0.0
  approximate_gelu: bool = True
  parts: Parts = PAPERS_PARTS
  name: str | None = None

  def __call__(
    self,
    latents: jax.Array,
    *,
    is_training: bool,
    mask: jax.Array | None = None,
  ) -> jax.Array:
    """Maps latents `[B, N, D]` to latents `[B, N, D]`.

    Args:
      latents: `[B, N, D]`.
      is_training: whether dropout is active.
      mask: where latents may look: `[B, N]`, `[B, N, N]` or `[B, H, N, N]`
        bool; B and H may be 1.

    Raises:
      ValueError: latents have other axes, or the mask does not fit.
    """
    check_array('latents', latents, 'B, N, D')
    normalized = self.parts.norm(name='norm')(latents)
    attended = self.parts.attention(
      num_heads=self.num_heads,
      qk_channels=self.qk_channels,
      v_channels=self.v_channels,
      dropout_rate=self.dropout_rate,
      name='attention',
    )(normalized, mask=mask, is_training=is_training)
    latents += dropout(attended, self.dropout_rate, is_training=is_training)
    return _add_mlp(self, latents, is_training=is_training)


@dataclasses.dataclass(kw_only=True)
class LatentBlock(hk.Module):
  """A latent Transformer: self-attend layers with stacked parameters.

  Perceiver, section 3.1 and appendix C.

  Attributes:
    num_layers: self-attend layers, each with its own parameters.
    num_heads: heads of each layer.
    qk_channels: see `SelfAttend`.
    v_channels: see `SelfAttend`.
    widening_factor: see `SelfAttend`.
    dropout_rate: see `SelfAttend`.
    approximate_gelu: see `MLP`.
    rematerialize: see `Encoder`.
    parts: what the layers are made of.
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
  parts: Parts = PAPERS_PARTS
  name: str | None = None

  @hk.name_like('__call__')
  def prepare(self) -> list[hk.Params] | None:
    """Returns what several calls need once; see `stacking.unstack`."""
    return unstack(self.num_layers)

  def __call__(
    self,
    latents: jax.Array,
    layers: list[hk.Params] | None = None,
    *,
    is_training: bool,
    mask: jax.Array | None = None,
  ) -> jax.Array:
    """Applies the layers.

    Args:
      latents: `[B, N, D]`.
      layers: from `prepare`, where there are several calls.
      is_training: whether dropout is active.
      mask: see `SelfAttend`.

    Returns:
      Latents `[B, N, D]`.

    Raises:
      ValueError: latents have other axes, or the mask does not fit.
    """
    check_array('latents', latents, 'B, N, D')

    def layer(latents: jax.Array) -> jax.Array:
      return SelfAttend(
        num_heads=self.num_heads,
        qk_channels=self.qk_channels,
        v_channels=self.v_channels,
        widening_factor=self.widening_factor,
        dropout_rate=self.dropout_rate,
        approximate_gelu=self.approximate_gelu,
        parts=self.parts,
        name='self_attend',
      )(latents, is_training=is_training, mask=mask)

    return apply_layers(
      layer,
      latents,
      self.num_layers,
      layers,
      rematerialize=self.rematerialize,
    )


@dataclasses.dataclass(kw_only=True)
class CrossAttend(hk.Module):
  """Queries attend to a byte array (Perceiver, section 3.1).

  In the encoder the queries are the latents and the inputs the byte array; in
  the decoder they are the output queries and the latents (Perceiver IO,
  section 3.1). E is the width of the queries.

  Attributes:
    num_heads: heads; they divide the widths below.
    qk_channels: width of queries and keys; default C.
    v_channels: width of the values; default `qk_channels`.
    query_residual: whether the result is added to the queries. Perceiver IO
      leaves it out where queries and outputs mean different things.
    widening_factor: hidden width of the MLP over E.
    dropout_rate: on attention weights and on both residual branches.
    approximate_gelu: see `MLP`.
    parts: what it is made of.
    name: Haiku name.

  Raises:
    ValueError: `dropout_rate` is out of its range.
  """

  num_heads: int = 1
  qk_channels: int | None = None
  v_channels: int | None = None
  query_residual: bool = True
  widening_factor: int = 1
  dropout_rate: float = 0.0
  approximate_gelu: bool = True
  parts: Parts = PAPERS_PARTS
  name: str | None = None

  def __post_init__(self):
    super().__post_init__()
    check_dropout_rate(self.dropout_rate)

  @hk.name_like('__call__')
  def prepare(
    self,
    byte_array: ByteArray,
    *,
    num_queries: int,
    uses: int = 1,
    is_training: bool,
  ) -> Prepared:
    """Makes inputs ready, once for all calls that attend to them.

    Args:
      byte_array: M inputs of C channels, zeros as padding.
      num_queries: N of each call.
      uses: calls that there will be.
      is_training: whether dropout is active in them.
    """
    return self._prepare(
      self._attention(),
      byte_array,
      num_queries=num_queries,
      uses=uses,
      is_training=is_training,
    )

  def __call__(
    self,
    queries: jax.Array,
    inputs: ByteArray | jax.Array | Prepared,
    *,
    is_training: bool,
    mask: jax.Array | None = None,
  ) -> jax.Array:
    """Lets the queries attend.

    Args:
      queries: `[B, N, E]`, or `[1, N, E]` while the batch still shares them.
      inputs: M inputs of C channels, `[B, M, C]`, or what `prepare` made.
      is_training: whether dropout is active.
      mask: where queries may look, besides the mask of the inputs: `[B, M]`,
        `[B, N, M]` or `[B, H, N, M]` bool; B and H may be 1.

    Returns:
      `[B, N, E]`.

    Raises:
      ValueError: an array has other axes, or the mask does not fit.
    """
    check_array('queries', queries, 'B, N, E')
    attention = self._attention()
    if not isinstance(inputs, Prepared):
      inputs = self._prepare(
        attention,
        as_byte_array(inputs).zero_padding(),
        num_queries=queries.shape[1],
        is_training=is_training,
      )
    attended = attention(
      self.parts.norm(name='norm')(queries),
      inputs,
      mask=mask,
      is_training=is_training,
    )
    result = dropout(
      attended, self.dropout_rate, is_training=is_training
    )  # [B, N, E]
    if self.query_residual:
      result = queries + result
    return _add_mlp(self, result, is_training=is_training)

  @hk.transparent  # Keeps the method out of the parameters' names.
  def _prepare(
    self, attention: hk.Module, byte_array: ByteArray, **settings: Any
  ) -> Prepared:
    norm = self.parts.norm(name='inputs_norm')
    if isinstance(norm, LayerNorm):  # It may wait until attention needs it.
      scale_offset = norm.parameters(byte_array.num_channels)
      normalized = NormalizedByteArray(byte_array, *scale_offset)
    else:
      features = norm(byte_array.concatenate())
      normalized = NormalizedByteArray(
        ByteArray(features, mask=byte_array.mask)
      )
    return attention.prepare(normalized, **settings)

  @hk.transparent
  def _attention(self) -> hk.Module:
    return self.parts.attention(
      num_heads=self.num_heads,
      qk_channels=self.qk_channels,
      v_channels=self.v_channels,
      dropout_rate=self.dropout_rate,
      name='attention',
    )


def _add_mlp(
  attend: SelfAttend | CrossAttend, x: jax.Array, *, is_training: bool
) -> jax.Array:
  """The second half of an attend: `[B, N, D]` to `[B, N, D]`."""
  hidden = attend.parts.mlp(
    widening_factor=attend.widening_factor,
    approximate_gelu=attend.approximate_gelu,
    name='mlp',
  )(attend.parts.norm(name='mlp_norm')(x))
  return x + dropout(hidden, attend.dropout_rate, is_training=is_training)
