"""Two frames in, byte array out: the inputs of optical flow.

Shapes: B batch, H height, W width, C channels of a frame, Cf of the features.
"""

import dataclasses

import einops
import haiku as hk
import jax

from perceiver_jax.byte_array import ByteArray
from perceiver_jax.layers import Linear
from perceiver_jax.patches import extract_patches
from perceiver_jax.position_encoding import PositionEncoding
from perceiver_jax.preprocessors import ConvStem, grid_byte_array


@dataclasses.dataclass(kw_only=True)
class FramePatches(hk.Module):
  """Each pixel with its neighbours, of two frames (Perceiver IO, 4.2).

  Attributes:
    patch_size: 3 for neighbourhoods of 3 x 3, 1 for the pixel alone.
    num_channels: Cf of the linear layer.
    concatenate_frames: whether a pixel of both frames is one input, or one
      of each frame; positions are then of time, height and width.
    positions: encoding of the grid `[H, W]` or `[2, H, W]`.
    name: Haiku name.
  """

  patch_size: int
  num_channels: int
  concatenate_frames: bool
  positions: PositionEncoding | None
  name: str | None = None

  def __call__(
    self, frames: jax.Array, *, is_training: bool = False
  ) -> ByteArray:
    """Maps `[B, 2, H, W, C]`."""
    del is_training
    features = extract_patches(frames, (1, self.patch_size, self.patch_size))
    if self.concatenate_frames:
      features = einops.rearrange(features, 'b t h w c -> b h w (t c)')
    linear = Linear(output_channels=self.num_channels, name='patches')
    return grid_byte_array(linear(features), self.positions)


@dataclasses.dataclass(kw_only=True)
class FrameConvStem(hk.Module):
  """Two frames through a `ConvStem`, as one image of 2 C channels or apart.

  Attributes:
    num_channels: Cf.
    concatenate_frames: see `FramePatches`.
    positions: encoding of the grid that is left.
    use_batch_norm: after the convolution.
    name: Haiku name.
  """

  num_channels: int
  concatenate_frames: bool
  positions: PositionEncoding | None
  use_batch_norm: bool = True
  name: str | None = None

  def __call__(self, frames: jax.Array, *, is_training: bool) -> ByteArray:
    """Maps `[B, 2, H, W, C]`."""
    if self.concatenate_frames:
      frames = einops.rearrange(frames, 'b t h w c -> b h w (t c)')
    stem = ConvStem(
      num_channels=self.num_channels,
      positions=self.positions,
      use_batch_norm=self.use_batch_norm,
      name='stem',
    )
    return stem(frames, is_training=is_training)
