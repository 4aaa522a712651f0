"""Images as overlapping windows: colours and oriented gradients as features.

Shapes: B batch, H x W pixels, h x w cells, c colours, o orientations, s cells
along a side of a window.
"""

import dataclasses
import functools
import itertools
import math

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np

from perceiver_jax.byte_array import ByteArray, encoded, permute
from perceiver_jax.layers import Linear
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


# Along a side: cells, each of 8 x 8 pixels.
_CELLS, _CELL, _ORIENTATIONS = 8, 8, 9
# Of each colour, in standard deviations: four ranges.
_EDGES = np.array([-1.0, 0.0, 1.0], np.float32)


def overview_features(images: jax.Array) -> jax.Array:
  """Describes images as a whole, each feature of about unit size or less.

  Of the image in 64 x 64 pixels they are: histograms of oriented gradients in
  8 x 8 cells, each four neighbours of which are scaled to unit length together
  (Dalal and Triggs, 2005); the mean colours of the cells; and the share of
  pixels in each of 4^c ranges of colours, compared with equal shares.

  Args:
    images: `[B, H, W, c]`, of about zero mean and unit variance.

  Returns:
    `[B, 49 * 36 + 64 c + 4^c]`.
  """
  batch, _, _, colours = images.shape
  side = _CELLS * _CELL
  images = jax.image.resize(images, (batch, side, side, colours), 'linear')
  cells = oriented_gradients(images, cell=_CELL, orientations=_ORIENTATIONS)
  blocks = jnp.concatenate(
    [
      cells[:, down : down + _CELLS - 1, right : right + _CELLS - 1]
      for down, right in itertools.product(range(2), range(2))
    ],
    axis=-1,
  )  # [B, 7, 7, 36]
  lengths = jnp.linalg.norm(blocks, axis=-1, keepdims=True)
  blocks = blocks / (lengths + _FAINT) * math.sqrt(blocks.shape[-1])
  means = images.reshape(batch, _CELLS, _CELL, _CELLS, _CELL, colours)
  means = means.mean(axis=(2, 4))
  ranges = (images[..., None] > _EDGES[None, None, None, None]).sum(axis=-1)
  codes = (ranges * 4 ** np.arange(colours)[None, None, None]).sum(axis=-1)
  kinds = 4**colours
  counts = jax.vmap(functools.partial(jnp.bincount, length=kinds))(
    codes.reshape(batch, -1)
  )
  shares = (counts / side**2).astype(images.dtype)
  # The root, since most are small: equal shares become 1.
  shares = jnp.sqrt(kinds * shares)
  return jnp.concatenate(
    [x.reshape(batch, -1) for x in (blocks, means, shares)], axis=-1
  )


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
    drop_rate: share of the windows that training leaves out, others at each
      step and the same of a whole batch: it then costs as much less.
    overviews: inputs that are no windows: each is a linear layer of all
      `overview_features`, of which training leaves out half, then a GELU. Where
      there are any, an input tells by one more channel whether it is one; it
      has no position.
    name: Haiku name.

  Raises:
    ValueError: `drop_rate` or `overviews` is out of its range.
  """

  cell: int
  positions: PositionEncoding | None
  reach: int = 1
  orientations: int = 9
  drop_rate: float = 0.0
  overviews: int = 0
  name: str | None = None

  def __post_init__(self):
    super().__post_init__()
    if self.overviews < 0:
      raise ValueError(f'overviews must not be negative, got {self.overviews}.')
    if not 0.0 <= self.drop_rate < 1.0:
      raise ValueError(f'drop_rate must be in [0, 1), got {self.drop_rate}.')

  def __call__(
    self, images: jax.Array, *, is_training: bool = False
  ) -> ByteArray:
    """Cuts images.

    Args:
      images: `[B, H, W, c]`, `cell` divides H and W.
      is_training: whether windows and features of overviews are left out.

    Returns:
      The overviews, then H / cell x W / cell windows of cell^2 c + (2 reach +
      1)^2 (c + o) channels.
    """
    windows = grid_byte_array(self._windows(images), self.positions)
    if is_training and self.drop_rate:
      order = jax.random.permutation(
        hk.next_rng_key(), windows.features.shape[1]
      )
      kept = max(1, round((1.0 - self.drop_rate) * len(order)))
      windows = permute(windows, order[:kept])
    if not self.overviews:
      return windows
    return self._with_overviews(windows, images, is_training)

  @hk.transparent  # Keeps the method out of the parameters' names.
  def _with_overviews(
    self, windows: ByteArray, images: jax.Array, is_training: bool
  ) -> ByteArray:
    """Puts the overviews first."""
    seen = overview_features(images)
    if is_training:
      seen = hk.dropout(hk.next_rng_key(), 0.5, seen)
    batch, _, channels = windows.features.shape
    linear = Linear(output_channels=self.overviews * channels, name='overview')
    overviews = jax.nn.gelu(linear(seen))
    overviews = overviews.reshape(batch, self.overviews, channels)
    features = jnp.concatenate(
      [
        jnp.pad(overviews, ((0, 0), (0, 0), (0, 1)), constant_values=1.0),
        jnp.pad(windows.features, ((0, 0), (0, 0), (0, 1))),
      ],
      axis=1,
    )
    positions = windows.positions
    if positions is not None:
      positions = jnp.pad(encoded(positions), ((self.overviews, 0), (0, 0)))
    return ByteArray(features, positions)

  def _windows(self, images: jax.Array) -> jax.Array:
    """Returns the features of windows, `[B, h, w, channels]`."""
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
    return jnp.concatenate(features, axis=-1)


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
