"""Where the inputs are: positions of a grid or of free coordinates, encoded.

Shapes: M positions, d dimensions, K frequency bands, Cp channels of the
encoding. Positions are float32 whatever the dtype of the features: in bfloat16
a Fourier feature of the highest bands is off by more than one.
"""

import dataclasses
import functools
import itertools
import math
from collections.abc import Sequence
from typing import Protocol

import einops
import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np

from perceiver_jax.layers import Linear

_SPACINGS = {'linear': np.linspace, 'log': np.geomspace}


class PositionEncoding(Protocol):
  """Encodes the positions of a grid, all or some of them."""

  def __call__(
    self, grid_shape: Sequence[int], indices: jax.Array | None = None
  ) -> jax.Array:
    """Encodes.

    Args:
      grid_shape: of M points, numbered in row-major order.
      indices: `[...]` int, the numbers of the points to encode; None for all.

    Returns:
      `[M, Cp]` or `[..., Cp]` float32; some of the points get the same rows
      as among all.
    """
    ...


def axis_coordinates(size: int, include_end: bool = True) -> np.ndarray:
  """Coordinates of an axis of the grid, `[size]` float64 from -1 to 1.

  They are relative to the crop that the model sees (Perceiver, section 4.1). A
  single point lies at -1.

  Args:
    size: number of points.
    include_end: whether the last point lies at 1, or as far before it as the
      points are apart.
  """
  return np.linspace(-1.0, 1.0, size, endpoint=include_end)


def frequency_bands(
  num_bands: int, max_resolution: float, spacing: str = 'linear'
) -> np.ndarray:
  """Frequencies from 1 to the Nyquist frequency `max_resolution / 2`.

  Args:
    num_bands: K.
    max_resolution: samples along the axis at the highest resolution to tell
      apart, at least 2.
    spacing: 'linear' as in both papers' final text and the released code, or
      'log' as in the first version of the first paper.

  Returns:
    `[K]` float64, in half cycles per unit, that is cycles over [-1, 1].

  Raises:
    ValueError: an argument is out of its range.
  """
  if spacing not in _SPACINGS:
    raise ValueError(
      f'spacing must be one of {sorted(_SPACINGS)}, got {spacing!r}.'
    )
  if num_bands < 1:
    raise ValueError(f'num_bands must be at least 1, got {num_bands}.')
  if max_resolution < 2:
    raise ValueError(
      f'max_resolution must be at least 2 on every axis (the Nyquist '
      f'frequency is half of it, the lowest band is 1), got {max_resolution}.'
    )
  return _SPACINGS[spacing](1.0, max_resolution / 2, num_bands)


def fourier_features(
  coordinates: jax.Array,
  *,
  num_bands: int,
  max_resolution: Sequence[float],
  spacing: str = 'linear',
) -> jax.Array:
  """Fourier features of free coordinates (Perceiver, section 3.2).

  Args:
    coordinates: `[..., d]`, in [-1, 1] where the grid of a crop would be.
    num_bands: K for each dimension.
    max_resolution: d numbers, see `frequency_bands`.
    spacing: of the bands, 'linear' or 'log'.

  Returns:
    `[..., d (2 K + 1)]` float32: the coordinates, then sin(pi f x) of all
    bands of the first dimension, of the second, ..., then all cosines.

  Raises:
    ValueError: `max_resolution` does not have d numbers.
  """
  dimensions = coordinates.shape[-1]
  if len(max_resolution) != dimensions:
    raise ValueError(
      f'max_resolution needs one number for each of the {dimensions} '
      f'dimensions of coordinates {coordinates.shape}, got '
      f'{tuple(max_resolution)}.'
    )
  coordinates = jnp.asarray(coordinates, jnp.float32)
  bands = np.stack(
    [frequency_bands(num_bands, r, spacing) for r in max_resolution]
  )  # [d, K]
  angles = jnp.einsum(
    '...d,dk->...dk',
    coordinates,
    jnp.asarray(math.pi * bands, jnp.float32),
    precision='highest',
  )
  angles = einops.rearrange(angles, '... d k -> ... (d k)')
  return jnp.concatenate(
    [coordinates, jnp.sin(angles), jnp.cos(angles)], axis=-1
  )


@dataclasses.dataclass(frozen=True, kw_only=True)
class FourierPositions:
  """Fourier features of a grid (Perceiver, section 3.2). No parameters.

  Attributes:
    num_bands: K for each dimension.
    max_resolution: for each dimension, see `frequency_bands`; ImageNet: the
      crop size, (224, 224).
    spacing: of the bands, 'linear' or 'log'.
    include_end: see `axis_coordinates`. False for the output queries of the
      released video autoencoder, whose points are at -1 + 2 i / n.

  Raises:
    ValueError: an attribute is out of its range, see `frequency_bands`.
  """

  num_bands: int
  max_resolution: Sequence[int]
  spacing: str = 'linear'
  include_end: bool = True

  def __post_init__(self):
    # Equal encodings must have equal hashes, and a list has none.
    object.__setattr__(self, 'max_resolution', tuple(self.max_resolution))
    for resolution in self.max_resolution:
      frequency_bands(self.num_bands, resolution, self.spacing)

  @property
  def num_channels(self) -> int:
    """Cp = d (2 K + 1)."""
    return len(self.max_resolution) * (2 * self.num_bands + 1)

  def __call__(
    self, grid_shape: Sequence[int], indices: jax.Array | None = None
  ) -> jax.Array:
    """Returns `[M or ..., d (2 K + 1)]`, ordered as in `fourier_features`."""
    self._check_grid(grid_shape)
    if indices is None:
      places = np.ix_(*map(np.arange, grid_shape))
      shape = tuple(grid_shape)
    else:
      check_indices(indices, grid_shape)
      places = jnp.unravel_index(jnp.asarray(indices), grid_shape)
      shape = indices.shape
    # A grid is separable: sines are taken of each axis alone.
    tables = [self._axis_tables(i, size) for i, size in enumerate(grid_shape)]
    parts = [
      jnp.broadcast_to(
        (table if indices is None else jnp.asarray(table))[place],
        (*shape, table.shape[-1]),
      )
      for kind in zip(*tables, strict=True)  # Raw of all axes, then sines, ...
      for table, place in zip(kind, places, strict=True)
    ]
    encoded = jnp.concatenate(parts, axis=-1)
    if indices is None:
      return encoded.reshape(-1, encoded.shape[-1])
    return encoded

  def moments(self, grid_shape: Sequence[int]) -> tuple[jax.Array, jax.Array]:
    """Mean and variance over the channels of each point, `[M]` float32.

    Sums over channels are sums over axes, so no point is encoded for them.
    """
    self._check_grid(grid_shape)

    def mean_over_channels(power: int) -> jax.Array:
      sums = [
        sum((table.astype(np.float64) ** power).sum(axis=1) for table in tables)
        for tables in map(self._axis_tables, itertools.count(), grid_shape)
      ]
      grid = functools.reduce(
        jnp.add, np.ix_(*(x.astype(np.float32) for x in sums))
      )
      return grid.reshape(-1) / self.num_channels

    mean = mean_over_channels(1)
    return mean, mean_over_channels(2) - jnp.square(mean)

  def _check_grid(self, grid_shape: Sequence[int]) -> None:
    if len(grid_shape) != len(self.max_resolution):
      raise ValueError(
        f'max_resolution = {self.max_resolution} needs one number for each of '
        f'the {len(grid_shape)} axes of the grid {tuple(grid_shape)}.'
      )

  def _axis_tables(self, axis: int, size: int) -> tuple[np.ndarray, ...]:
    """Returns raw `[size, 1]`, sines and cosines `[size, K]` of an axis."""
    coordinates = axis_coordinates(size, self.include_end)
    bands = frequency_bands(
      self.num_bands, self.max_resolution[axis], self.spacing
    )
    angles = np.outer(coordinates, math.pi * bands)
    tables = (coordinates[:, None], np.sin(angles), np.cos(angles))
    return tuple(table.astype(np.float32) for table in tables)


@jax.tree_util.register_static
@dataclasses.dataclass(frozen=True, kw_only=True)
class GridPositions:
  """Fourier features of a whole grid, encoded when they are needed.

  A million points of 258 channels are a gigabyte; whoever takes them chunk by
  chunk need not hold it.

  Attributes:
    encoding: of the points.
    grid_shape: of the M points, numbered in row-major order.
  """

  encoding: FourierPositions
  grid_shape: tuple[int, ...]

  @property
  def shape(self) -> tuple[int, int]:
    """`(M, Cp)`, of all positions."""
    return math.prod(self.grid_shape), self.encoding.num_channels

  @property
  def ndim(self) -> int:
    """2: the batch shares them."""
    return 2

  def moments(self) -> tuple[jax.Array, jax.Array]:
    """See `FourierPositions.moments`."""
    return self.encoding.moments(self.grid_shape)

  def take(self, start: jax.Array | int, size: int) -> jax.Array:
    """Returns `[size, Cp]`, the positions from `start` on."""
    return self.encoding(self.grid_shape, start + jnp.arange(size))

  def encode(self) -> jax.Array:
    """Returns `[M, Cp]`, all positions."""
    return self.encoding(self.grid_shape)


@dataclasses.dataclass(kw_only=True)
class LearnedPositions(hk.Module):
  """A learned vector for each position of a grid (Perceiver, section 4.1).

  Attributes:
    num_channels: Cp.
    init_stddev: of the truncated normal; 1.0 worked best on ImageNet
      (Perceiver, appendix B), Perceiver IO uses 0.02.
    name: Haiku name.
  """

  num_channels: int
  init_stddev: float = 0.02
  name: str | None = None

  def __call__(
    self, grid_shape: Sequence[int], indices: jax.Array | None = None
  ) -> jax.Array:
    """Returns `[M or ..., num_channels]` float32."""
    table = hk.get_parameter(
      'positions',
      (math.prod(grid_shape), self.num_channels),
      init=hk.initializers.TruncatedNormal(self.init_stddev),
    )
    if indices is None:
      return table
    check_indices(indices, grid_shape)
    return table[indices]


@dataclasses.dataclass(kw_only=True)
class ProjectedPositions(hk.Module):
  """Another encoding through a linear layer, as in released models.

  Learned positions of images (Perceiver IO, appendix A).

  Attributes:
    positions: the encoding.
    num_channels: Cp, after the layer.
    name: Haiku name.
  """

  positions: PositionEncoding
  num_channels: int
  name: str | None = None

  def __call__(
    self, grid_shape: Sequence[int], indices: jax.Array | None = None
  ) -> jax.Array:
    """Returns `[M or ..., num_channels]` float32."""
    return Linear(output_channels=self.num_channels, name='projection')(
      self.positions(grid_shape, indices)
    )


def check_indices(indices: jax.Array, grid_shape: Sequence[int]) -> None:
  """Raises a ValueError unless indices, where known, are points of the grid.

  Args:
    indices: `[...]` int; not known while it is traced, and then not checked.
    grid_shape: of the points they number.
  """
  if not jnp.issubdtype(indices.dtype, jnp.integer):
    raise ValueError(f'indices must be integers, got {indices.dtype}.')
  if isinstance(indices, jax.core.Tracer) or not indices.size:
    return
  lowest, highest = np.min(indices), np.max(indices)
  if lowest < 0 or highest >= math.prod(grid_shape):
    raise ValueError(
      f'indices must number points of the grid {tuple(grid_shape)}, from 0 to '
      f'{math.prod(grid_shape) - 1}; got {lowest} to {highest}.'
    )
