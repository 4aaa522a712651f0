"""Perceiver IO on text (arXiv 2107.14795, section 4.1)."""

import dataclasses
from collections.abc import Mapping

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np

from perceiver_jax.decoder import Decoder
from perceiver_jax.encoder import Encoder
from perceiver_jax.postprocessors import MLPLogits, TiedTokenLogits
from perceiver_jax.queries import LearnedQueries
from perceiver_jax.token_embedding import TokenEmbedding


@dataclasses.dataclass(kw_only=True)
class MaskedLanguageModel(hk.Module):
  """Tokens in, logits of the token at every place out.

  `published.LANGUAGE` (section 4.1, appendix F): 2,048 UTF-8 bytes, 256 x 1280
  latents, 26 layers, 201,108,230 parameters; with 512 SentencePiece tokens 223M
  (table 1); IO++ 256 x 1536, 40 layers, 425M.

  Attributes:
    embedding: of the tokens; its vectors give the logits too.
    encoder: reads the embedded tokens.
    queries: one for each place, `embedding.num_channels` wide.
    decoder: without a last linear layer, `output_channels=None`.
    name: Haiku name.

  Raises:
    ValueError: queries and embedding differ in width, or the decoder has a last
      layer.
  """

  embedding: TokenEmbedding
  encoder: Encoder
  queries: LearnedQueries
  decoder: Decoder
  name: str | None = None

  def __post_init__(self):
    super().__post_init__()
    widths = (self.queries.num_channels, self.embedding.num_channels)
    if widths[0] != widths[1] or self.decoder.output_channels is not None:
      raise ValueError(
        'Outputs are compared with embeddings: queries and embedding must have '
        f'the same num_channels, got {widths[0]} and {widths[1]}, and '
        'decoder.output_channels must be None, got '
        f'{self.decoder.output_channels}.'
      )

  def __call__(
    self,
    tokens: jax.Array,
    *,
    is_training: bool,
    input_mask: jax.Array | None = None,
    query_mask: jax.Array | None = None,
  ) -> jax.Array:
    """Predicts.

    Args:
      tokens: `[B, M]` int, at most `embedding.max_length` of them.
      is_training: whether dropout is active.
      input_mask: `[B, M]` bool, False for padding.
      query_mask: `[B, M]` bool, False where no prediction is wanted.

    Returns:
      Logits `[B, M, vocab_size]` float32.

    Raises:
      ValueError: there are more tokens than positions or queries.
    """
    byte_array = self.embedding(tokens, is_training=is_training)
    latents = self.encoder(
      byte_array.with_mask(input_mask), is_training=is_training
    )
    outputs = self.decoder(
      self.queries(np.arange(tokens.shape[1])),
      latents,
      is_training=is_training,
      query_mask=query_mask,
    )
    logits = TiedTokenLogits(name='token_logits')(
      outputs, self.embedding.embeddings()
    )
    return logits.astype(jnp.float32)


@dataclasses.dataclass(kw_only=True)
class TextClassifier(hk.Module):
  """Tokens in, logits of one or several tasks out, a query for each task.

  Fine-tuning on GLUE (section 4.1, appendix F.4, tables 2 and 13): one task,
  or all of them at once with a learned query each ('multitask query', 81.8).

  Attributes:
    embedding: of the tokens.
    encoder: reads the embedded tokens.
    queries: as many as tasks.
    decoder: without a last linear layer, `output_channels=None`.
    tasks: number of classes of each task, 1 for a value to regress.
    name: Haiku name.

  Raises:
    ValueError: there is not one query for each task.
  """

  embedding: TokenEmbedding
  encoder: Encoder
  queries: LearnedQueries
  decoder: Decoder
  tasks: Mapping[str, int]
  name: str | None = None

  def __post_init__(self):
    super().__post_init__()
    if self.queries.num_queries != len(self.tasks):
      raise ValueError(
        f'There are {self.queries.num_queries} queries for the '
        f'{len(self.tasks)} tasks {sorted(self.tasks)}; each needs one.'
      )

  def __call__(
    self,
    tokens: jax.Array,
    *,
    is_training: bool,
    input_mask: jax.Array | None = None,
  ) -> dict[str, jax.Array]:
    """Classifies.

    Args:
      tokens: `[B, M]` int, at most `embedding.max_length` of them.
      is_training: whether dropout is active.
      input_mask: `[B, M]` bool, False for padding.

    Returns:
      For each task, logits `[B, classes]` float32.
    """
    byte_array = self.embedding(tokens, is_training=is_training)
    latents = self.encoder(
      byte_array.with_mask(input_mask), is_training=is_training
    )
    outputs = self.decoder(self.queries(), latents, is_training=is_training)
    logits = {}
    for i, (task, num_classes) in enumerate(sorted(self.tasks.items())):
      head = MLPLogits(num_classes=num_classes, name=f'{task}_head')
      logits[task] = head(outputs[:, i]).astype(jnp.float32)
    return logits
