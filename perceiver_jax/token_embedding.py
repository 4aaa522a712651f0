"""Tokens in, byte array out.

Shapes: B batch, M tokens, V vocabulary, Cf channels.
"""

import dataclasses

import haiku as hk
import jax
import jax.numpy as jnp

from perceiver_jax.byte_array import ByteArray
from perceiver_jax.position_encoding import LearnedPositions


@dataclasses.dataclass(kw_only=True)
class TokenEmbedding(hk.Module):
  """Tokens as learned vectors, positions added (Perceiver IO, section 4.1).

  Attributes:
    vocab_size: V, number of tokens; 262 for bytes with special tokens.
    num_channels: Cf.
    max_length: longest sequence.
    init_stddev: of embeddings and positions.
    name: Haiku name.
  """

  vocab_size: int
  num_channels: int
  max_length: int
  init_stddev: float = 0.02
  name: str | None = None

  def __call__(
    self, tokens: jax.Array, *, is_training: bool = False
  ) -> ByteArray:
    """Embeds.

    Args:
      tokens: `[B, M]` int, M at most `max_length`.
      is_training: not read.

    Returns:
      M inputs.

    Raises:
      ValueError: there are more tokens than positions.
    """
    del is_training
    length = tokens.shape[-1]
    if length > self.max_length:
      raise ValueError(
        f'{length} tokens are more than max_length = {self.max_length}. '
        'Truncate the text, or train a longer model.'
      )
    positions = LearnedPositions(
      num_channels=self.num_channels,
      init_stddev=self.init_stddev,
      name='positions',
    )((self.max_length,))[None, :length]
    # A token that is not in the vocabulary becomes NaN, not the last token.
    embedded = jnp.take(
      self.embeddings(), tokens, axis=0, mode='fill', fill_value=jnp.nan
    )
    return ByteArray(embedded + jnp.broadcast_to(positions, embedded.shape))

  def embeddings(self) -> jax.Array:
    """Returns the vectors `[V, Cf]`, for tied logits."""
    return hk.get_parameter(
      'embeddings',
      (self.vocab_size, self.num_channels),
      init=hk.initializers.TruncatedNormal(self.init_stddev),
    )
