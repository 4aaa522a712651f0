"""Perceiver IO (arXiv 2107.14795) as a classifier."""

import dataclasses
from typing import Any

import haiku as hk
import jax
import jax.numpy as jnp

from perceiver_jax.decoder import Decoder
from perceiver_jax.encoder import Encoder
from perceiver_jax.preprocessors import Preprocessor, preprocess
from perceiver_jax.queries import LearnedQueries


@dataclasses.dataclass(kw_only=True)
class PerceiverIOClassifier(hk.Module):
  """Byte array in, class logits out, decoded by one learned query.

  ImageNet (section 4.4, appendix A): `published.IMAGENET_IO`, 512 x 1024
  latents, one cross-attend, 8 shared blocks of 6 layers, a query of 1,024
  channels; 50,176 inputs x 261 with Fourier positions (48,440,627 parameters),
  x 512 with learned positions (62,255,848), 3,136 x 322 after convolutions
  (48,646,522). AudioSet (appendix C): `published.AUDIOSET_IO`.

  Attributes:
    preprocessor: turns the raw input into a `ByteArray`; None when the caller
      gives one, or `[B, M, C]`.
    encoder: Perceiver IO attends once, `cross_attends=(1, 0, ...)`.
    queries: a single one.
    decoder: its `output_channels` are the classes.
    name: Haiku name.

  Raises:
    ValueError: there is more than one query.
  """

  preprocessor: Preprocessor | None
  encoder: Encoder
  queries: LearnedQueries
  decoder: Decoder
  name: str | None = None

  def __post_init__(self):
    super().__post_init__()
    if self.queries.num_queries != 1:
      raise ValueError(
        'A classifier asks for one output, its queries for '
        f'{self.queries.num_queries}. Set num_queries = 1.'
      )

  def __call__(
    self,
    inputs: Any,
    *,
    is_training: bool,
    input_mask: jax.Array | None = None,
  ) -> jax.Array:
    """Classifies.

    Args:
      inputs: what the preprocessor takes: images `[B, H, W, C]` for `Pixels`,
        an array for each modality for `Multimodal`.
      is_training: whether dropout is active, and batch norm learns.
      input_mask: `[B, M]` bool, False where an input is padding.

    Returns:
      Logits `[B, num_classes]` float32.
    """
    byte_array = preprocess(self.preprocessor, inputs, is_training=is_training)
    latents = self.encoder(
      byte_array.with_mask(input_mask), is_training=is_training
    )
    outputs = self.decoder(self.queries(), latents, is_training=is_training)
    return outputs[:, 0].astype(jnp.float32)
