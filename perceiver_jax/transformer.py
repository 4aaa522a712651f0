"""Transformer sub-blocks of the Perceiver: MLP, self-attend, cross-attend.

Shapes: B batch, N latents or other queries, M inputs, D latent channels, C
input channels.
All are pre-norm with residuals, as in GPT-2 (Perceiver, appendix C).
"""

import dataclasses

import haiku as hk
import jax

from perceiver_jax.absorbed_attention import (
  NormalizedByteArray,
  Unprojected,
)
from perceiver_jax.attention import Attention, KeysValues
from perceiver_jax.byte_array import ByteArray
from perceiver_jax.layers import (
  LayerNorm,
  Linear,
  check_dropout_rate,
  dropout,
)


@dataclasses.dataclass(kw_only=True)
class MLP(hk.Module):
  """Two linear layers with a GELU between; keeps the width.

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


@dataclasses.dataclass(kw_only=True)
class SelfAttend(hk.Module):
  """One block of the latent Transformer (Perceiver, appendix C).

  Attributes:
    num_heads: heads; they divide the widths below.
    qk_channels: width of queries and keys; default D.
    v_channels: width of the values; default `qk_channels`.
    widening_factor: of the MLP.
    dropout_rate: on attention weights and on both residual branches.
    approximate_gelu: see `MLP`.
    name: Haiku name.
  """

  num_heads: int = 8
  qk_channels: int | None = None
  v_channels: int | None = None
  widening_factor: int = 1
  dropout_rate: float = 0.0
  approximate_gelu: bool = True
  name: str | None = None

  def __call__(self, latents: jax.Array, *, is_training: bool) -> jax.Array:
    """Maps latents `[B, N, D]` to latents `[B, N, D]`."""
    normalized = LayerNorm(name='norm')(latents)
    attended = Attention(
      num_heads=self.num_heads,
      qk_channels=self.qk_channels,
      v_channels=self.v_channels,
      dropout_rate=self.dropout_rate,
      name='attention',
    )(normalized, is_training=is_training)
    latents += dropout(attended, self.dropout_rate, is_training=is_training)
    hidden = MLP(
      widening_factor=self.widening_factor,
      approximate_gelu=self.approximate_gelu,
      name='mlp',
    )(LayerNorm(name='mlp_norm')(latents))
    return latents + dropout(hidden, self.dropout_rate, is_training=is_training)


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
    widening_factor: of the MLP.
    dropout_rate: on attention weights and on both residual branches.
    approximate_gelu: see `MLP`.
    name: Haiku name.
  """

  num_heads: int = 1
  qk_channels: int | None = None
  v_channels: int | None = None
  query_residual: bool = True
  widening_factor: int = 1
  dropout_rate: float = 0.0
  approximate_gelu: bool = True
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
  ) -> KeysValues | Unprojected:
    """Makes the inputs ready, once for all calls that attend to them.

    Args:
      byte_array: M inputs of C channels, zeros as padding.
      num_queries: N of each call.
      uses: calls that there will be.
      is_training: whether dropout is active in them.
    """
    norm = LayerNorm(name='inputs_norm').parameters(byte_array.num_channels)
    return self._attention().prepare(
      NormalizedByteArray(byte_array, *norm),
      num_queries=num_queries,
      uses=uses,
      is_training=is_training,
    )

  def __call__(
    self,
    queries: jax.Array,
    inputs: KeysValues | Unprojected,
    *,
    is_training: bool,
  ) -> jax.Array:
    """Lets the queries attend.

    Args:
      queries: `[B, N, E]`, or `[1, N, E]` while the batch still shares them.
      inputs: from `prepare`.
      is_training: whether dropout is active.

    Returns:
      `[B, N, E]`.
    """
    attended = self._attention()(
      LayerNorm(name='norm')(queries), inputs, is_training=is_training
    )
    result = dropout(
      attended, self.dropout_rate, is_training=is_training
    )  # [B, N, E]
    if self.query_residual:
      result = queries + result
    hidden = MLP(
      widening_factor=self.widening_factor,
      approximate_gelu=self.approximate_gelu,
      name='mlp',
    )(LayerNorm(name='mlp_norm')(result))
    return result + dropout(hidden, self.dropout_rate, is_training=is_training)

  @hk.transparent  # Keeps the method out of the parameters' names.
  def _attention(self) -> Attention:
    return Attention(
      num_heads=self.num_heads,
      qk_channels=self.qk_channels,
      v_channels=self.v_channels,
      dropout_rate=self.dropout_rate,
      name='attention',
    )
