"""Perceiver and Perceiver IO in JAX and Haiku: arrays in, arrays out.

    from perceiver_jax import Encoder, FourierPositions, Pixels

What is listed here is the interface. In the order in which data flows:

- What comes in: `ByteArray`, features `[B, M, Cf]`, positions and a mask. A
  `Preprocessor` makes one of images, sound, video, points, text, events,
  cells of a table, or of several (`Multimodal`); a `PositionEncoding` says
  where the inputs are.
- `Encoder`: a byte array, or a plain array `[B, M, C]`, to latents `[B, N, D]`.
- What it is made of, for models of your own: `CrossAttend`, `LatentBlock`,
  `SelfAttend`, `Attention`, `MLP`, `dot_product_attention`.
- What to hand in instead, in `Parts`: rotary positions, other norms and MLPs.
- What goes out: queries `[B, O, E]` and the latents through a `Decoder` to
  `[B, O, F]`, and a postprocessor, or the `AveragePool` of the first paper.
- Whole models, wired from these, one for each experiment of both papers;
  `published`: their sizes, as values.
- `pretrained`: published weights to parameters; `huggingface`: the config.json
  of `transformers` to sections of our models.

All are Haiku modules, to be built inside `hk.transform`, or plain functions.
Their modules hold more, such as the forms of attention, which may change.
"""

from perceiver_jax import huggingface, pretrained, published
from perceiver_jax.attention import Attention
from perceiver_jax.attention_weights import Lookups, with_lookups
from perceiver_jax.byte_array import ByteArray
from perceiver_jax.cells import CellEmbedding, CellFeatures
from perceiver_jax.convolutions import ConvexUpsample
from perceiver_jax.decoder import AveragePool, Decoder
from perceiver_jax.dot_product import dot_product_attention
from perceiver_jax.encoder import Encoder
from perceiver_jax.event_embedding import EventEmbedding
from perceiver_jax.frame_preprocessors import FrameConvStem, FramePatches
from perceiver_jax.image_windows import ImageWindows
from perceiver_jax.layers import LayerNorm
from perceiver_jax.masks import causal_mask
from perceiver_jax.mel_frames import MelFrames
from perceiver_jax.models import (
  AnyToAny,
  EntityEncoder,
  MaskedLanguageModel,
  MultimodalAutoencoder,
  OpticalFlow,
  Output,
  PerceiverClassifier,
  PerceiverIOClassifier,
  TextClassifier,
)
from perceiver_jax.multimodal import Multimodal
from perceiver_jax.ngram_embedding import NgramEmbedding
from perceiver_jax.patches import depth_to_space, space_to_depth
from perceiver_jax.point_neighbourhoods import PointNeighbourhoods
from perceiver_jax.portability import plain_forms
from perceiver_jax.position_encoding import (
  FourierPositions,
  LearnedPositions,
  PositionEncoding,
  ProjectedPositions,
  fourier_features,
)
from perceiver_jax.postprocessors import (
  AudioSamples,
  ClassLogits,
  ConvValues,
  MLPLogits,
  PixelPatches,
  PixelValues,
  TiedTokenLogits,
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
from perceiver_jax.series_windows import RelativeWindows, SeriesWindows
from perceiver_jax.tiling import tiled
from perceiver_jax.token_embedding import TokenEmbedding
from perceiver_jax.tokenizer import ByteTokenizer
from perceiver_jax.transformer import (
  MLP,
  CrossAttend,
  LatentBlock,
  Parts,
  SelfAttend,
)
from perceiver_jax.variants import (
  GatedMLP,
  JoinedAttention,
  QueryKeyNorm,
  RMSNorm,
  RotaryPositions,
)

__all__ = [
  'MLP',
  'AnyToAny',
  'Attention',
  'AudioPatches',
  'AudioSamples',
  'AveragePool',
  'ByteArray',
  'ByteTokenizer',
  'CellEmbedding',
  'CellFeatures',
  'ClassLogits',
  'Conv1x1',
  'ConvStem',
  'ConvValues',
  'ConvexUpsample',
  'CrossAttend',
  'Decoder',
  'Encoder',
  'EntityEncoder',
  'EventEmbedding',
  'FourierPositions',
  'FrameConvStem',
  'FramePatches',
  'GatedMLP',
  'GridQueries',
  'ImageWindows',
  'JoinedAttention',
  'LatentBlock',
  'LayerNorm',
  'LearnedPositions',
  'LearnedQueries',
  'Lookups',
  'MLPLogits',
  'MaskedLanguageModel',
  'MelFrames',
  'MelSpectrogram',
  'Multimodal',
  'MultimodalAutoencoder',
  'NgramEmbedding',
  'OneHot',
  'OpticalFlow',
  'Output',
  'Parts',
  'Patches',
  'PerceiverClassifier',
  'PerceiverIOClassifier',
  'PermutedPixels',
  'PixelPatches',
  'PixelValues',
  'Pixels',
  'PointNeighbourhoods',
  'Points',
  'PositionEncoding',
  'Preprocessor',
  'ProjectedPositions',
  'QueryKeyNorm',
  'RMSNorm',
  'RelativeWindows',
  'RotaryPositions',
  'SelfAttend',
  'SeriesWindows',
  'TextClassifier',
  'TiedTokenLogits',
  'TokenEmbedding',
  'causal_mask',
  'depth_to_space',
  'dot_product_attention',
  'fourier_features',
  'huggingface',
  'plain_forms',
  'pretrained',
  'published',
  'space_to_depth',
  'tiled',
  'with_lookups',
]
