"""Images as overlapping windows: colours and oriented gradients as features.

Shapes: B batch, H x W pixels, h x w cells, c colours, o orientations, s cells
along a side of a window.
"""

import dataclasses

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np

from perceiver_jax.byte_array import ByteArray
from perceiver_jax.patches import space_to_depth
from perceiver_jax.position_encoding import PositionEncoding
from perceiver_jax.preprocessors import grid_byte_array


def oriented_gradients(
  images: jax.Array, *, cell: int, orientations: int
) -> jax.Array:
  """Histograms of gradients by their direction, in cells of pixels.

  The gradient of a pixel is the half difference of its neighbours, in the
  colour where it is the longest. Its length goes to the two nearest of
  `orientations` directions in [0, pi): light on dark counts as dark on light.

  Args:
    images: `[B, H, W, c]`.
    cell: its side in pixels; it divides H and W.
    orientations: o.

  Returns:
    `[B, H / cell, W / cell, o]`, means over the pixels of a cell.
  """
  padded = jnp.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)), mode='edge')
  down = (padded[:, 2:, 1:-1] - padded[:, :-2, 1:-1]) / 2
  right = (padded[:, 1:-1, 2:] - padded[:, 1:-1, :-2]) / 2
  squares = jnp.square(down) + jnp.square(right)
  longest = squares.argmax(axis=-1)[..., None]
  down, right, squares = (
    jnp.take_along_axis(x, longest, axis=-1) for x in (down, right, squares)
  )
  turns = jnp.arctan2(down, right) / np.pi % 1.0 * orientations
  apart = jnp.abs(turns - np.arange(orientations)[None, None, None])
  apart = jnp.minimum(apart, orientations - apart)
  length = jnp.sqrt(squares + 1e-12)
  votes = length * jnp.maximum(0.0, 1.0 - apart)
  batch, height, width, _ = votes.shape
  cells = votes.reshape(
    batch, height // cell, cell, width // cell, cell, orientations
  )
  return cells.mean(axis=(2, 4))


@dataclasses.dataclass(kw_only=True)
class ImageWindows(hk.Module):
  """Overlapping windows of an image, by their colours and gradients.

  A window is centred on each cell of a grid and reaches over its neighbours.
  Its features are the pixels of the cell itself, and of each cell in the window
  the mean colours and the histogram of oriented gradients, that of the whole
  window scaled to unit length so that contrast does not matter (as in Dalal and
  Triggs, Histograms of Oriented Gradients for Human Detection, 2005).

  Attributes:
    cell: side of a cell in pixels.
    positions: encoding of the grid of cells, or None.
    reach: cells that a window takes in on each side of its own.
    orientations: of the histograms.
    name: Haiku name.
  """

  cell: int
  positions: PositionEncoding | None
  reach: int = 1
  orientations: int = 9
  name: str | None = None

  def __call__(
    self, images: jax.Array, *, is_training: bool = False
  ) -> ByteArray:
    """Cuts images.

    Args:
      images: `[B, H, W, c]`, `cell` divides H and W.
      is_training: not read.

    Returns:
      H / cell x W / cell inputs of cell^2 c + (2 reach + 1)^2 (c + o) channels.
    """
    del is_training
    pixels = space_to_depth(images, (self.cell, self.cell))  # [B, h, w, ...]
    colours = pixels.reshape(*pixels.shape[:3], self.cell**2, -1).mean(axis=3)
    gradients = _around(
      oriented_gradients(
        images, cell=self.cell, orientations=self.orientations
      ),
      self.reach,
    )
    lengths = jnp.linalg.norm(gradients, axis=-1, keepdims=True)
    features = [
      pixels,
      _around(colours, self.reach),
      gradients / (lengths + _FAINT) * np.sqrt(gradients.shape[-1]),
    ]
    return grid_byte_array(jnp.concatenate(features, axis=-1), self.positions)


# Added to the length of a window's gradients, which are of images of about unit
# variance: noise of even areas is not made large.
_FAINT = 0.1


def _around(cells: jax.Array, reach: int) -> jax.Array:
  """Returns each cell with its neighbours, `[B, h, w, s^2 channels]`."""
  _, height, width, _ = cells.shape
  ends = ((0, 0), (reach, reach), (reach, reach), (0, 0))
  padded = jnp.pad(cells, ends, mode='edge')
  offsets = range(2 * reach + 1)
  return jnp.concatenate(
    [
      padded[:, down : down + height, right : right + width]
      for down in offsets
      for right in offsets
    ],
    axis=-1,
  )
