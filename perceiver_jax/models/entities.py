"""Perceiver IO as encoder of a set of entities (arXiv 2107.14795, 4.5, B)."""

import dataclasses

import haiku as hk
import jax
import jax.numpy as jnp

from perceiver_jax.byte_array import ByteArray
from perceiver_jax.decoder import Decoder
from perceiver_jax.encoder import Encoder
from perceiver_jax.layers import Linear


@dataclasses.dataclass(kw_only=True)
class EntityEncoder(hk.Module):
  """Entities in, an embedding of each in the light of all others out.

  `published.STARCRAFT` (section 4.5, appendix B) replaces the Transformer over
  the units of a StarCraft II game; 512 entities of 256 channels in, 512 of 128
  out, 32 latents. Queries are the entities themselves.

  Attributes:
    num_channels: width of inputs and queries, after a linear layer.
    encoder: reads the entities.
    decoder: its `output_channels` are those of an embedding.
    name: Haiku name.
  """

  num_channels: int
  encoder: Encoder
  decoder: Decoder
  name: str | None = None

  def __call__(
    self,
    entities: jax.Array,
    *,
    is_training: bool,
    mask: jax.Array | None = None,
  ) -> jax.Array:
    """Encodes.

    Args:
      entities: `[B, M, C]`, a set: their order does not matter.
      is_training: whether dropout is active.
      mask: `[B, M]` bool, False where there is no entity.

    Returns:
      `[B, M, output_channels]`, zeros where there is no entity.
    """
    if mask is not None:  # What is not there may hold NaN: no gradient of it.
      entities = jnp.where(mask[..., None], entities, 0)
    features = Linear(output_channels=self.num_channels, name='entities')(
      entities
    )
    byte_array = ByteArray(features).with_mask(mask)
    latents = self.encoder(byte_array, is_training=is_training)
    return self.decoder(
      features, latents, is_training=is_training, query_mask=mask
    )
