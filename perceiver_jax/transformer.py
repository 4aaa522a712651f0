"""Transformer sub-blocks of the Perceiver: MLP, self-attend, cross-attend.

Shapes: B batch, N latents, M inputs, D latent channels, C input channels.
All are pre-norm with residuals, as in GPT-2 (Perceiver, appendix C).
"""

import dataclasses

import haiku as hk
import jax

from perceiver_jax.absorbed_attention import NormalizedByteArray
from perceiver_jax.attention import Attention
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
    name: Haiku name.
  """

  widening_factor: int = 1
  name: str | None = None

  def __call__(self, x: jax.Array) -> jax.Array:
    """Maps `[..., D]` to `[..., D]`."""
    channels = x.shape[-1]
    hidden_channels = self.widening_factor * channels
    hidden = Linear(output_channels=hidden_channels, name='hidden')(x)
    # The papers' code uses the tanh approximation.
    hidden = jax.nn.gelu(hidden, approximate=True)
    return Linear(output_channels=channels, name='output')(hidden)


@dataclasses.dataclass(kw_only=True)
class SelfAttend(hk.Module):
  """One block of the latent Transformer (Perceiver, appendix C).

  Attributes:
    num_heads: heads; they divide D.
    widening_factor: of the MLP.
    dropout_rate: on attention weights and on both residual branches.
    name: Haiku name.
  """

  num_heads: int = 8
  widening_factor: int = 1
  dropout_rate: float = 0.0
  name: str | None = None

  def __call__(self, latents: jax.Array, *, is_training: bool) -> jax.Array:
    """Maps latents `[B, N, D]` to latents `[B, N, D]`."""
    normalized = LayerNorm(name='norm')(latents)
    attended = Attention(
      num_heads=self.num_heads,
      dropout_rate=self.dropout_rate,
      name='attention',
    )(normalized, normalized, is_training=is_training)
    latents += dropout(attended, self.dropout_rate, is_training=is_training)
    hidden = MLP(widening_factor=self.widening_factor, name='mlp')(
      LayerNorm(name='mlp_norm')(latents)
    )
    return latents + dropout(hidden, self.dropout_rate, is_training=is_training)


@dataclasses.dataclass(kw_only=True)
class CrossAttend(hk.Module):
  """The latents query the byte array (Perceiver, section 3.1).

  Attributes:
    num_heads: heads; they divide `qk_channels`.
    qk_channels: width of queries, keys and values; default C.
    widening_factor: of the MLP.
    dropout_rate: on attention weights and on both residual branches.
    name: Haiku name.
  """

  num_heads: int = 1
  qk_channels: int | None = None
  widening_factor: int = 1
  dropout_rate: float = 0.0
  name: str | None = None

  def __post_init__(self):
    super().__post_init__()
    check_dropout_rate(self.dropout_rate)

  def __call__(
    self, latents: jax.Array, byte_array: ByteArray, *, is_training: bool
  ) -> jax.Array:
    """Lets the latents attend.

    Args:
      latents: `[B, N, D]`, or `[1, N, D]` while the batch still shares them.
      byte_array: M inputs of C channels, zeros as padding.
      is_training: whether dropout is active.

    Returns:
      Latents `[B, N, D]`.
    """
    norm = LayerNorm(name='inputs_norm').parameters(byte_array.num_channels)
    attended = Attention(
      num_heads=self.num_heads,
      qk_channels=self.qk_channels,
      dropout_rate=self.dropout_rate,
      name='attention',
    )(
      LayerNorm(name='norm')(latents),
      NormalizedByteArray(byte_array, *norm),
      is_training=is_training,
    )
    latents = latents + dropout(
      attended, self.dropout_rate, is_training=is_training
    )  # [B, N, D]
    hidden = MLP(widening_factor=self.widening_factor, name='mlp')(
      LayerNorm(name='mlp_norm')(latents)
    )
    return latents + dropout(hidden, self.dropout_rate, is_training=is_training)
