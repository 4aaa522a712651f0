"""Bytes that know their neighbours: hashed n-grams as features of elements.

Shapes: B batch, M tokens, R rows of the table, Cf channels.
"""

import dataclasses
from collections.abc import Sequence

import haiku as hk
import jax
import jax.numpy as jnp

from perceiver_jax.byte_array import ByteArray
from perceiver_jax.layers import Linear
from perceiver_jax.position_encoding import LearnedPositions

# Odd multipliers of a hash modulo 2^32: that of FNV-1a, and one to mix with.
_PRIME, _MIX = 0x01000193, 0x9E3779B1


def hash_ngrams(tokens: jax.Array, length: int, num_rows: int) -> jax.Array:
  """Returns a number for the tokens that end at each place.

  Args:
    tokens: `[B, M]` int, not negative.
    length: n, tokens of an n-gram.
    num_rows: R, how many numbers there are; a power of two.

  Returns:
    int32 `[B, M]` in [0, R): of the token and the n - 1 before it, as if there
    were zeros before the first.
  """
  codes = tokens.astype(jnp.uint32) + jnp.uint32(1)
  hashed = jnp.full_like(codes, length)
  for back in range(length - 1, -1, -1):
    earlier = jnp.pad(codes, ((0, 0), (back, 0)))[:, : codes.shape[1]]
    hashed = (hashed ^ earlier) * jnp.uint32(_PRIME)
  hashed = (hashed ^ (hashed >> 15)) * jnp.uint32(_MIX)
  # The high bits of a product depend on all bits of its factors.
  shift = 32 - (num_rows.bit_length() - 1)
  return (hashed >> shift).astype(jnp.int32)


@dataclasses.dataclass(kw_only=True)
class NgramEmbedding(hk.Module):
  """Tokens with the n-grams that end there, as learned vectors.

  An element is the vector of its token and, through a linear layer, the sum of
  those of its n-grams, found in a table by their hashes (as in fastText, arXiv
  1607.04606), positions added. Of single bytes a model has to learn to spell
  before it can read; that takes more texts than most people have.

  Attributes:
    vocab_size: number of tokens; 262 for bytes with special tokens.
    num_channels: Cf.
    max_length: longest sequence.
    ngrams: lengths of the n-grams.
    num_rows: R of the table, a power of two; n-grams of one hash share a row.
    row_channels: width of the table: narrow rows are learned from fewer texts.
    drop_rate: share of the n-grams that training leaves out, each by itself.
    init_stddev: of the vectors of tokens, and of positions. Those of n-grams
      start at zero: what training has not seen then says nothing.
    name: Haiku name.

  Raises:
    ValueError: an attribute is out of its range.
  """

  vocab_size: int
  num_channels: int
  max_length: int
  ngrams: Sequence[int] = (2, 3, 4, 5)
  num_rows: int = 2**17
  row_channels: int = 16
  drop_rate: float = 0.0
  init_stddev: float = 0.02
  name: str | None = None

  def __post_init__(self):
    super().__post_init__()
    if self.num_rows < 2 or self.num_rows & (self.num_rows - 1):
      raise ValueError(f'num_rows must be a power of two, got {self.num_rows}.')
    if not self.ngrams or min(self.ngrams) < 2:
      raise ValueError(
        f'ngrams must be lengths from 2 on, got {tuple(self.ngrams)}.'
      )
    if not 0.0 <= self.drop_rate < 1.0:
      raise ValueError(f'drop_rate must be in [0, 1), got {self.drop_rate}.')

  def __call__(
    self, tokens: jax.Array, *, is_training: bool = False
  ) -> ByteArray:
    """Embeds.

    Args:
      tokens: `[B, M]` int, M at most `max_length`.
      is_training: whether n-grams are left out.

    Returns:
      M inputs.

    Raises:
      ValueError: there are more tokens than positions.
    """
    length = tokens.shape[-1]
    if length > self.max_length:
      raise ValueError(
        f'{length} tokens are more than max_length = {self.max_length}. '
        'Truncate the text, or train a longer model.'
      )
    table = hk.get_parameter(
      'ngrams', (self.num_rows, self.row_channels), init=jnp.zeros
    )
    rows = jnp.stack(
      [hash_ngrams(tokens, n, self.num_rows) for n in self.ngrams], axis=-1
    )  # [B, M, n-grams]
    kept = jnp.ones(rows.shape, table.dtype)
    if is_training and self.drop_rate:
      kept = hk.dropout(hk.next_rng_key(), self.drop_rate, kept)
    ngrams = jnp.einsum('bmnc,bmn->bmc', table[rows], kept)
    # A token that is not in the vocabulary becomes NaN, not the last token.
    embedded = jnp.take(
      self.embeddings(), tokens, axis=0, mode='fill', fill_value=jnp.nan
    )
    positions = LearnedPositions(
      num_channels=self.num_channels,
      init_stddev=self.init_stddev,
      name='positions',
    )((self.max_length,))[None, :length]
    linear = Linear(output_channels=self.num_channels, name='ngrams')
    features = embedded + linear(ngrams)
    return ByteArray(features + jnp.broadcast_to(positions, features.shape))

  def embeddings(self) -> jax.Array:
    """Returns the vectors of the tokens `[V, Cf]`."""
    return hk.get_parameter(
      'embeddings',
      (self.vocab_size, self.num_channels),
      init=hk.initializers.TruncatedNormal(self.init_stddev),
    )
