"""The plain Transformer over all inputs (Perceiver, section 4.1).

Shapes: B batch, M inputs, C their channels, D channels of the Transformer.
"""

import dataclasses

import haiku as hk
import jax

from experiments.baselines.byte_arrays import to_sequence
from perceiver_jax.byte_array import ByteArray
from perceiver_jax.decoder import AveragePool
from perceiver_jax.layers import Linear
from perceiver_jax.transformer import LatentBlock


@dataclasses.dataclass(kw_only=True)
class Transformer(hk.Module):
  """Every input is a token, and attends to all others in every layer.

  Its layers are those of the Perceiver's latent Transformer, and so is its
  head: the mean over tokens, then one linear layer. Work grows with M squared,
  so the paper gives it images of 64 x 64.

  Attributes:
    num_classes: number of classes.
    num_channels: D.
    num_layers: self-attend layers.
    num_heads: of each layer; they divide D.
    widening_factor: of the MLPs; 1 as in the latent Transformer.
    rematerialize: see `encoder.Encoder`.
    name: Haiku name.
  """

  num_classes: int
  num_channels: int
  num_layers: int
  num_heads: int = 8
  widening_factor: int = 1
  rematerialize: str = 'none'
  name: str | None = None

  def __call__(self, byte_array: ByteArray, *, is_training: bool) -> jax.Array:
    """Maps M inputs to logits `[B, num_classes]` float32."""
    tokens = Linear(output_channels=self.num_channels, name='tokens')(
      to_sequence(byte_array)
    )  # [B, M, D]
    tokens = LatentBlock(
      num_layers=self.num_layers,
      num_heads=self.num_heads,
      widening_factor=self.widening_factor,
      rematerialize=self.rematerialize,
      name='blocks',
    )(tokens, is_training=is_training)
    return AveragePool(num_outputs=self.num_classes, name='average_pool')(
      tokens
    )
