"""Perceiver and Perceiver IO in JAX and Haiku: arrays in, arrays out.

    from perceiver_jax import Encoder, FourierPositions, Pixels

What is listed here is the interface. In the order in which data flows:

- What comes in: `ByteArray`, features `[B, M, Cf]`, positions and a mask. A
  `Preprocessor` makes one of images, sound, video, points, text, or of several
  (`Multimodal`); a `PositionEncoding` says where the inputs are.
- `Encoder`: a byte array to latents `[B, N, D]`.
- What goes out: queries `[B, O, E]` and the latents through a `Decoder` to
  `[B, O, F]`, or the `AveragePool` of the first paper.
- Whole models, wired from these, one for each experiment of both papers.
- `pretrained`: published weights to parameters; `huggingface`: the config.json
  of `transformers` to sections of our models.

All are Haiku modules, to be built inside `hk.transform`, or plain functions.
Their modules hold more (`published`: the papers' models as values; the forms of
attention), which may change.
"""

from perceiver_jax import huggingface, pretrained
from perceiver_jax.attention_weights import Lookups, with_lookups
from perceiver_jax.byte_array import ByteArray
from perceiver_jax.decoder import AveragePool, Decoder
from perceiver_jax.encoder import Encoder
from perceiver_jax.models import (
  EntityEncoder,
  MaskedLanguageModel,
  MultimodalAutoencoder,
  OpticalFlow,
  PerceiverClassifier,
  PerceiverIOClassifier,
  TextClassifier,
)
from perceiver_jax.multimodal import Multimodal
from perceiver_jax.position_encoding import (
  FourierPositions,
  LearnedPositions,
  PositionEncoding,
  ProjectedPositions,
  fourier_features,
)
from perceiver_jax.preprocessors import (
  AudioPatches,
  Conv1x1,
  ConvStem,
  MelSpectrogram,
  OneHot,
  Patches,
  PermutedPixels,
  Pixels,
  Points,
  Preprocessor,
)
from perceiver_jax.queries import GridQueries, LearnedQueries
from perceiver_jax.token_embedding import TokenEmbedding
from perceiver_jax.tokenizer import ByteTokenizer

__all__ = [
  'AudioPatches',
  'AveragePool',
  'ByteArray',
  'ByteTokenizer',
  'Conv1x1',
  'ConvStem',
  'Decoder',
  'Encoder',
  'EntityEncoder',
  'FourierPositions',
  'GridQueries',
  'LearnedPositions',
  'LearnedQueries',
  'Lookups',
  'MaskedLanguageModel',
  'MelSpectrogram',
  'Multimodal',
  'MultimodalAutoencoder',
  'OneHot',
  'OpticalFlow',
  'Patches',
  'PerceiverClassifier',
  'PerceiverIOClassifier',
  'PermutedPixels',
  'Pixels',
  'Points',
  'PositionEncoding',
  'Preprocessor',
  'ProjectedPositions',
  'TextClassifier',
  'TokenEmbedding',
  'fourier_features',
  'huggingface',
  'pretrained',
  'with_lookups',
]
