"""The Perceiver of the first paper (arXiv 2103.03206): a classifier."""

import dataclasses
from typing import Any

import haiku as hk
import jax

from perceiver_jax.decoder import AveragePool
from perceiver_jax.encoder import Encoder
from perceiver_jax.preprocessors import Preprocessor, preprocess


@dataclasses.dataclass(kw_only=True)
class PerceiverClassifier(hk.Module):
  """Byte array in, class logits out (Perceiver, figure 1).

  On ImageNet (section 4.1) the input is 50,176 pixels of 261 channels, the
  latents are 512 x 1024, 8 cross-attends are each followed by a latent
  Transformer of 6 layers; with shared parameters that makes 44,912,254 of them.

  Build it inside `hk.transform`, parts first:

      model = PerceiverClassifier(
        preprocessor=Pixels(
          positions=FourierPositions(num_bands=64, max_resolution=(224, 224))
        ),
        encoder=Encoder(
          num_latents=512,
          latent_channels=1024,
          cross_attends=(1,) * 8,
          self_attends_per_block=6,
        ),
        num_classes=1000,
      )
      logits = model(images, is_training=True)

  Attributes:
    preprocessor: turns the raw input into a `ByteArray`; None when the caller
      gives `[B, M, C]`, or a `ByteArray` with positions of his own.
    encoder: where and how often the latents attend.
    num_classes: number of classes.
    name: Haiku name.
  """

  preprocessor: Preprocessor | None
  encoder: Encoder
  num_classes: int
  name: str | None = None

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
      is_training: whether dropout is active; without it no rng is needed.
      input_mask: `[B, M]` bool, False where an input is padding.

    Returns:
      Logits `[B, num_classes]` float32.
    """
    byte_array = preprocess(self.preprocessor, inputs, is_training=is_training)
    latents = self.encoder(
      byte_array.with_mask(input_mask), is_training=is_training
    )
    return AveragePool(num_outputs=self.num_classes, name='average_pool')(
      latents
    )
