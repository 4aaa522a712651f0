"""Perceiver IO for optical flow (arXiv 2107.14795, section 4.2)."""

import dataclasses
import math

import haiku as hk
import jax
import jax.numpy as jnp

from perceiver_jax.convolutions import ConvexUpsample
from perceiver_jax.decoder import Decoder
from perceiver_jax.encoder import Encoder
from perceiver_jax.preprocessors import Preprocessor


@dataclasses.dataclass(kw_only=True)
class OpticalFlow(hk.Module):
  """Two frames in, the motion of each pixel of the first out, in pixels.

  `published.FLOW` (section 4.2, appendix H): 368 x 496 = 182,528 inputs of 322
  channels, 2,048 x 512 latents, 24 layers, 41,057,134 parameters; queries are
  the inputs themselves. For larger frames see `tiling`.

  The unit of flow is pixels, everywhere. The released network's output is
  divided by 100 inside and multiplied by 20 outside: `flow_scale` = 0.2.

  Attributes:
    preprocessor: of frames `[B, 2, H, W, C]`. Where it keeps frames apart,
      those of the first come first.
    encoder: reads both frames.
    decoder: `output_channels` 2 without `upsample`, None with it.
    flow_scale: pixels for one unit of the last layer's output.
    stride: pixels from input to input, on both axes; 1 for each pixel.
    upsample: from the grid of inputs to pixels, when the stride is not 1.
    name: Haiku name.

  Raises:
    ValueError: outputs are upsampled another number of times than the stride.
  """

  preprocessor: Preprocessor
  encoder: Encoder
  decoder: Decoder
  flow_scale: float = 0.2
  stride: int = 1
  upsample: ConvexUpsample | None = None
  name: str | None = None

  def __post_init__(self):
    super().__post_init__()
    factor = 1 if self.upsample is None else self.upsample.factor
    if factor != self.stride:
      raise ValueError(
        f'Inputs are stride = {self.stride} pixels apart, but outputs are '
        f'upsampled {factor} times; both must be the same.'
      )

  def __call__(
    self,
    frames: jax.Array,
    *,
    is_training: bool,
    input_mask: jax.Array | None = None,
    query_mask: jax.Array | None = None,
  ) -> jax.Array:
    """Estimates flow.

    Args:
      frames: `[B, 2, H, W, C]`; H and W are multiples of `stride`.
      is_training: whether dropout is active, and batch norm learns.
      input_mask: `[B, M]` bool, False where an input is padding.
      query_mask: `[B, H/stride x W/stride]` bool, False where no flow is
        wanted; it is zero there.

    Returns:
      `[B, H, W, 2]` float32: motion to the right and down, in pixels.

    Raises:
      ValueError: the shape of the frames does not fit.
    """
    if (
      frames.ndim != 5
      or frames.shape[1] != 2
      or frames.shape[2] % self.stride
      or frames.shape[3] % self.stride
    ):
      raise ValueError(
        'frames must be [B, 2, H, W, C] with H and W multiples of '
        f'{self.stride}, got {frames.shape}.'
      )
    grid_shape = [side // self.stride for side in frames.shape[2:4]]
    byte_array = self.preprocessor(frames, is_training=is_training)
    byte_array = byte_array.with_mask(input_mask)
    latents = self.encoder(byte_array, is_training=is_training)
    queries = byte_array.concatenate()[:, : math.prod(grid_shape)]
    outputs = self.decoder(
      queries, latents, is_training=is_training, query_mask=query_mask
    )
    outputs = outputs.reshape(-1, *grid_shape, outputs.shape[-1])
    if self.upsample is not None:
      outputs = self.upsample(outputs)
      if query_mask is not None:  # Where it was zero, neighbours came in.
        wanted = query_mask.reshape(-1, *grid_shape, 1)
        for axis in (1, 2):
          wanted = wanted.repeat(self.stride, axis=axis)
        outputs = jnp.where(wanted, outputs, 0)
    return self.flow_scale * outputs.astype(jnp.float32)
