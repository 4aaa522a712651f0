"""Decoder outputs in, predictions out.

Shapes: B batch, O outputs, F channels of the decoder's outputs, V vocabulary.
"""

import dataclasses
import math
from collections.abc import Sequence

import haiku as hk
import jax
import jax.numpy as jnp

from perceiver_jax.convolutions import ConvUpsample
from perceiver_jax.layers import Linear
from perceiver_jax.numerics import affine


@dataclasses.dataclass(kw_only=True)
class ClassLogits(hk.Module):
  """Logits of a single output, the class (Perceiver IO, section 4.3).

  Attributes:
    num_classes: number of classes.
    name: Haiku name.
  """

  num_classes: int
  name: str | None = None

  def __call__(self, outputs: jax.Array) -> jax.Array:
    """Maps `[B, 1, F]` to `[B, num_classes]`."""
    return Linear(output_channels=self.num_classes, name='logits')(
      outputs[:, 0]
    )


@dataclasses.dataclass(kw_only=True)
class MLPLogits(hk.Module):
  """A hidden layer with tanh, then logits (Perceiver IO, appendix F.4).

  Attributes:
    num_classes: number of classes, or of values to regress.
    name: Haiku name.
  """

  num_classes: int
  name: str | None = None

  def __call__(self, outputs: jax.Array) -> jax.Array:
    """Maps `[..., F]` to `[..., num_classes]`."""
    hidden = Linear(output_channels=outputs.shape[-1], name='hidden')(outputs)
    return Linear(output_channels=self.num_classes, name='logits')(
      jnp.tanh(hidden)
    )


@dataclasses.dataclass(kw_only=True)
class TiedTokenLogits(hk.Module):
  """Logits as products with embeddings of tokens (Perceiver IO, section 4.1).

  Attributes:
    name: Haiku name.
  """

  name: str | None = None

  def __call__(self, outputs: jax.Array, embeddings: jax.Array) -> jax.Array:
    """Maps outputs `[B, O, F]` and embeddings `[V, F]` to `[B, O, V]`."""
    bias = hk.get_parameter('b', embeddings.shape[:1], init=jnp.zeros)
    return affine(outputs, embeddings.T, bias)


@dataclasses.dataclass(kw_only=True)
class AudioSamples(hk.Module):
  """Samples of patches of sound (Perceiver IO, section 4.3).

  Attributes:
    samples_per_patch: as in `preprocessors.AudioPatches`.
    name: Haiku name.
  """

  samples_per_patch: int
  name: str | None = None

  def __call__(self, outputs: jax.Array) -> jax.Array:
    """Maps `[B, O, F]` to `[B, O samples_per_patch]`."""
    samples = Linear(output_channels=self.samples_per_patch, name='samples')
    return samples(outputs).reshape(outputs.shape[0], -1)


@dataclasses.dataclass(kw_only=True)
class PixelValues(hk.Module):
  """Channels of each pixel on its own (Perceiver IO, section 4.3).

  Attributes:
    num_channels: 3 for RGB.
    name: Haiku name.
  """

  num_channels: int
  name: str | None = None

  def __call__(self, outputs: jax.Array) -> jax.Array:
    """Maps `[B, O, F]` to `[B, O, num_channels]`."""
    return Linear(output_channels=self.num_channels, name='pixels')(outputs)


@dataclasses.dataclass(kw_only=True)
class PixelPatches(hk.Module):
  """Channels of all pixels of a patch, one patch an output.

  Fewer outputs than with `PixelValues` (Perceiver IO, section 4.3), for images
  of which all are wanted.

  Attributes:
    patch_shape: one size for each axis of the grid, as in
      `preprocessors.Patches`.
    num_channels: 3 for RGB.
    name: Haiku name.
  """

  patch_shape: Sequence[int]
  num_channels: int
  name: str | None = None

  def __call__(self, outputs: jax.Array) -> jax.Array:
    """Maps `[B, O, F]` to `[B, O, prod(patch_shape) num_channels]`.

    `patches.depth_to_space` makes images of them.
    """
    return Linear(
      output_channels=math.prod(self.patch_shape) * self.num_channels,
      name='pixels',
    )(outputs)


@dataclasses.dataclass(kw_only=True)
class ConvValues(hk.Module):
  """Outputs of a coarse grid, made finer by transposed convolutions.

  The mirror image of the convolutions before the encoder (Perceiver IO,
  appendix A).

  Attributes:
    grid_shape: `(H, W)`, made 4 times larger, or `(T, H, W)`.
    num_channels: width of the result.
    num_time_doublings: how often T doubles.
    num_space_doublings: how often H and W double; 2 for images.
    name: Haiku name.

  Raises:
    ValueError: nothing doubles, or an image something else than twice.
  """

  grid_shape: Sequence[int]
  num_channels: int
  num_time_doublings: int = 0
  num_space_doublings: int = 2
  name: str | None = None

  def __post_init__(self):
    super().__post_init__()
    doublings = (self.num_time_doublings, self.num_space_doublings)
    if min(doublings) < 0 or max(doublings) < 1:
      raise ValueError(f'At least one axis must double, got {doublings}.')
    if len(self.grid_shape) not in (2, 3) or (
      len(self.grid_shape) == 2 and doublings != (0, 2)
    ):
      raise ValueError(
        'grid_shape must be (H, W) with 0 time and 2 space doublings, or (T, '
        f'H, W); got {tuple(self.grid_shape)} with {doublings}.'
      )

  def __call__(self, outputs: jax.Array) -> jax.Array:
    """Maps `[B, O, F]` to `[B, *finer grid, num_channels]`."""
    outputs = outputs.reshape(
      outputs.shape[0], *self.grid_shape, outputs.shape[-1]
    )
    time = (self.num_time_doublings,) * (len(self.grid_shape) - 2)
    upsample = ConvUpsample(
      num_channels=self.num_channels,
      doublings=(*time, *(self.num_space_doublings,) * 2),
      name='upsample',
    )
    return upsample(outputs)
