"""Raw arrays in, byte arrays out: what happens on the device before attention.

Shapes: B batch, M inputs, C channels of the raw input, Cf of the features.

Every preprocessor is called as `preprocessor(raw, is_training=...)`; only those
with batch norm or random masking read the latter.
"""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any, Protocol

import einops
import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np

from perceiver_jax.byte_array import ByteArray, as_byte_array, permute
from perceiver_jax.convolutions import ConvDownsample
from perceiver_jax.layers import Linear
from perceiver_jax.patches import space_to_depth
from perceiver_jax.position_encoding import (
  FourierPositions,
  GridPositions,
  PositionEncoding,
  fourier_features,
)
from perceiver_jax.spectrogram import (
  log_mel_spectrogram,
  spec_augment,
)


class Preprocessor(Protocol):
  """Turns the raw input of a model, or of one modality, into a byte array."""

  def __call__(self, raw: Any, *, is_training: bool) -> ByteArray: ...


@dataclasses.dataclass(kw_only=True)
class Pixels(hk.Module):
  """Every pixel of an image (or voxel, or sample) is an input of its own.

  On ImageNet 224 x 224 = 50,176 inputs (Perceiver, section 4.1).

  Attributes:
    positions: encoding of the grid, or None for features without positions.
    strides: one for each axis of the grid, to keep every n-th pixel only;
      None keeps all.
    name: Haiku name.
  """

  positions: PositionEncoding | None
  strides: Sequence[int] | None = None
  name: str | None = None

  def __call__(
    self, images: jax.Array, *, is_training: bool = False
  ) -> ByteArray:
    """Flattens the grid.

    Args:
      images: `[B, *grid_shape, C]`, any number of grid axes.
      is_training: not read.

    Returns:
      M = product of grid_shape inputs in row-major order.

    Raises:
      ValueError: `strides` has another number of axes than the grid.
    """
    del is_training
    if self.strides is not None:
      _check_strides(self.strides, images)
      images = images[:, *(slice(None, None, n) for n in self.strides)]
    return grid_byte_array(images, self.positions)


@dataclasses.dataclass(kw_only=True)
class PermutedPixels(hk.Module):
  """Pixels in one fixed random order (Permuted ImageNet, section 4.1).

  The order is drawn once and is the same for all images; positions are
  attached before, so they move together with their pixels.

  Attributes:
    positions: encoding of the grid, or None for features without positions.
    seed: of the permutation.
    name: Haiku name.
  """

  positions: PositionEncoding | None
  seed: int = 0
  name: str | None = None

  def __call__(
    self, images: jax.Array, *, is_training: bool = False
  ) -> ByteArray:
    """Flattens and permutes `[B, *grid_shape, C]`."""
    del is_training
    pixels = grid_byte_array(images, self.positions)
    return permute(pixels, self.order(pixels.features.shape[1]))

  def order(self, num_pixels: int) -> np.ndarray:
    """Returns which pixel comes at each place, `[num_pixels]` int."""
    return np.random.default_rng(self.seed).permutation(num_pixels)


@dataclasses.dataclass(kw_only=True)
class Conv1x1(hk.Module):
  """Every pixel through the same linear layer (Perceiver IO, appendix A).

  Attributes:
    num_channels: Cf.
    positions: encoding of the grid, or None for features without positions.
    name: Haiku name.
  """

  num_channels: int
  positions: PositionEncoding | None
  name: str | None = None

  def __call__(
    self, images: jax.Array, *, is_training: bool = False
  ) -> ByteArray:
    """Maps and flattens `[B, *grid_shape, C]`."""
    del is_training
    features = Linear(output_channels=self.num_channels, name='conv')(images)
    return grid_byte_array(features, self.positions)


@dataclasses.dataclass(kw_only=True)
class ConvStem(hk.Module):
  """Convolutions and max-pooling first (Perceiver IO, appendix A.3).

  Attributes:
    num_channels: Cf.
    positions: encoding of the grid that is left, or None.
    num_layers: each makes the grid 4 times smaller on both axes.
    use_batch_norm: after each convolution.
    name: Haiku name.
  """

  num_channels: int
  positions: PositionEncoding | None
  num_layers: int = 1
  use_batch_norm: bool = True
  name: str | None = None

  def __call__(self, images: jax.Array, *, is_training: bool) -> ByteArray:
    """Maps and flattens.

    Args:
      images: `[B, H, W, C]`, or frames `[B, T, H, W, C]` that go through the
        convolutions one by one.
      is_training: whether batch norm uses, and learns, the batch's statistics;
        Haiku makes its state only when it is True at `init`.

    Returns:
      M = (T) x H/4 x W/4 inputs, sizes rounded up at each halving.
    """
    lead = images.shape[:-3]
    features = ConvDownsample(
      num_channels=self.num_channels,
      num_layers=self.num_layers,
      use_batch_norm=self.use_batch_norm,
      name='convolutions',
    )(images.reshape(-1, *images.shape[-3:]), is_training=is_training)
    features = features.reshape(*lead, *features.shape[1:])
    return grid_byte_array(features, self.positions)


@dataclasses.dataclass(kw_only=True)
class Patches(hk.Module):
  """Patches that do not overlap: 2-D of images, 3-D of video.

  Attributes:
    patch_shape: one size for each axis of the grid, (2, 8, 8) for the video of
      the first paper (section 4.2).
    positions: encoding of the grid of patches, or None.
    num_channels: Cf of a linear layer after cutting; None without.
    name: Haiku name.
  """

  patch_shape: Sequence[int]
  positions: PositionEncoding | None
  num_channels: int | None = None
  name: str | None = None

  def __call__(self, raw: jax.Array, *, is_training: bool = False) -> ByteArray:
    """Cuts `[B, *grid_shape, C]`."""
    del is_training
    features = space_to_depth(raw, self.patch_shape)
    if self.num_channels is not None:
      linear = Linear(output_channels=self.num_channels, name='patches')
      features = linear(features)
    return grid_byte_array(features, self.positions)


@dataclasses.dataclass(kw_only=True)
class AudioPatches(hk.Module):
  """Raw sound, several samples an input (Perceiver, section 4.2).

  Attributes:
    samples_per_patch: 128 for AudioSet, 16 for Kinetics.
    positions: encoding of the patches on one axis, or None.
    name: Haiku name.
  """

  samples_per_patch: int
  positions: PositionEncoding | None
  name: str | None = None

  def __call__(
    self, samples: jax.Array, *, is_training: bool = False
  ) -> ByteArray:
    """Cuts samples `[B, T]`, or of several channels `[B, T, C]`."""
    del is_training
    if samples.ndim == 2:
      samples = samples[..., None]
    patches = space_to_depth(samples, (self.samples_per_patch,))
    return grid_byte_array(patches, self.positions)


@dataclasses.dataclass(kw_only=True)
class MelSpectrogram(hk.Module):
  """Every bin of a log-mel spectrogram is an input (Perceiver, section 4.2).

  The masks of training are SpecAugment's, see `spectrogram.mask_spectrogram`.

  Attributes:
    positions: encoding of the grid (frames, bands), or None.
    sample_rate: of the sound, in Hz.
    window_size: samples of a frame.
    hop_size: samples from frame to frame.
    num_mels: bands.
    min_frequency: of the lowest band, in Hz.
    max_frequency: of the highest band, in Hz; default half the rate.
    scale: the logarithm is multiplied by it, to be of about unit size.
    time_masks: runs of frames that are masked in training.
    max_masked_frames: in such a run.
    frequency_masks: runs of bands that are masked in training.
    max_masked_bands: in such a run.
    name: Haiku name.
  """

  positions: PositionEncoding | None
  sample_rate: float
  window_size: int
  hop_size: int
  num_mels: int
  min_frequency: float = 0.0
  max_frequency: float | None = None
  scale: float = 0.1
  time_masks: int = 0
  max_masked_frames: int = 0
  frequency_masks: int = 0
  max_masked_bands: int = 0
  name: str | None = None

  def __call__(
    self, samples: jax.Array, *, is_training: bool = False
  ) -> ByteArray:
    """Maps samples `[B, T]` to T // hop_size x num_mels inputs."""
    spectrogram = log_mel_spectrogram(
      samples,
      sample_rate=self.sample_rate,
      window_size=self.window_size,
      hop_size=self.hop_size,
      num_mels=self.num_mels,
      min_frequency=self.min_frequency,
      max_frequency=self.max_frequency,
    )
    if is_training:
      spectrogram = spec_augment(self, spectrogram)
    return grid_byte_array(self.scale * spectrogram[..., None], self.positions)


@dataclasses.dataclass(kw_only=True)
class OneHot(hk.Module):
  """A class label as a single input (Perceiver IO, section 4.3).

  Attributes:
    num_classes: Cf.
    name: Haiku name.
  """

  num_classes: int
  name: str | None = None

  def __call__(
    self, labels: jax.Array, *, is_training: bool = False
  ) -> ByteArray:
    """Maps `[B]` int to one input; a negative label becomes zeros."""
    del is_training
    return ByteArray(jax.nn.one_hot(labels, self.num_classes)[:, None])


@dataclasses.dataclass(kw_only=True)
class Points(hk.Module):
  """Points in space; their coordinates are positions (Perceiver, section 4.3).

  Attributes:
    num_bands: K of the Fourier features, see `fourier_features`.
    max_resolution: one number for each coordinate.
    spacing: of the bands.
    name: Haiku name.
  """

  num_bands: int
  max_resolution: Sequence[float]
  spacing: str = 'linear'
  name: str | None = None

  def __call__(
    self, points: jax.Array, *, is_training: bool = False
  ) -> ByteArray:
    """Encodes points.

    Args:
      points: `[B, M, d + C]`: d coordinates, in about [-1, 1], then what was
        measured there (colours, normals), if anything.
      is_training: not read.

    Returns:
      M inputs. Without further channels the coordinates are the features, so
      that an input is [coordinates, sines, cosines] either way.

    Raises:
      ValueError: points have fewer than d channels.
    """
    del is_training
    dimensions = len(self.max_resolution)
    if points.ndim != 3 or points.shape[-1] < dimensions:
      raise ValueError(
        f'Points must be [B, M, {dimensions} or more], got {points.shape}.'
      )
    coordinates, features = jnp.split(points, [dimensions], axis=-1)
    positions = fourier_features(
      coordinates,
      num_bands=self.num_bands,
      max_resolution=self.max_resolution,
      spacing=self.spacing,
    )
    if not features.shape[-1]:
      features, positions = coordinates, positions[..., dimensions:]
    return ByteArray(features, positions)


def preprocess(
  preprocessor: Preprocessor | None, inputs: Any, *, is_training: bool
) -> ByteArray:
  """Applies the preprocessor of a model; None takes inputs as they are."""
  if preprocessor is None:
    return as_byte_array(inputs)
  return preprocessor(inputs, is_training=is_training)


def grid_byte_array(
  features: jax.Array, positions: PositionEncoding | None
) -> ByteArray:
  """Flattens `[B, *grid_shape, Cf]` and encodes the positions of the grid."""
  flat = einops.rearrange(features, 'b ... c -> b (...) c')
  if positions is None:
    return ByteArray(flat)
  grid_shape = features.shape[1:-1]
  if isinstance(positions, FourierPositions):
    on_demand = GridPositions(encoding=positions, grid_shape=grid_shape)
    if math.prod(on_demand.shape) > _MOST_POSITIONS:
      return ByteArray(flat, on_demand)
  return ByteArray(flat, positions(grid_shape))


# Numbers in the encoded positions of a grid, 16 MiB: more are encoded when they
# are needed, fewer once.
_MOST_POSITIONS = 2**22


def _check_strides(strides: Sequence[int], images: jax.Array) -> None:
  if len(strides) != images.ndim - 2 or min(strides) < 1:
    raise ValueError(
      f'strides = {tuple(strides)} must have one positive number for each of '
      f'the {images.ndim - 2} axes of the grid of an array {images.shape}.'
    )
