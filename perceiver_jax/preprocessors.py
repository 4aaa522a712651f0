"""Raw arrays in, byte arrays out: what happens on the device before attention.

Shapes: B batch, M inputs, C channels of the raw input.
"""

import dataclasses

import einops
import haiku as hk
import jax
import numpy as np

from perceiver_jax.byte_array import ByteArray, permute
from perceiver_jax.position_encoding import PositionEncoding


@dataclasses.dataclass(kw_only=True)
class Pixels(hk.Module):
  """Every pixel of an image (or voxel, or sample) is an input of its own.

  Attributes:
    positions: encoding of the grid, or None for features without positions.
    name: Haiku name.
  """

  positions: PositionEncoding | None
  name: str | None = None

  def __call__(self, images: jax.Array) -> ByteArray:
    """Flattens the grid.

    Args:
      images: `[B, *grid_shape, C]`, any number of grid axes.

    Returns:
      M = product of grid_shape inputs in row-major order.
    """
    features = einops.rearrange(images, 'b ... c -> b (...) c')
    if self.positions is None:
      return ByteArray(features)
    return ByteArray(features, self.positions(images.shape[1:-1]))


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

  def __call__(self, images: jax.Array) -> ByteArray:
    """Flattens and permutes `[B, *grid_shape, C]`."""
    pixels = Pixels(positions=self.positions, name='pixels')(images)
    order = np.random.default_rng(self.seed).permutation(
      pixels.features.shape[1]
    )
    return permute(pixels, order)
