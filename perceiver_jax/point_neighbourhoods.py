"""Points that know their neighbourhood: local shape as features of elements.

Shapes: B batch, M points, C further channels, S scales.
"""

import dataclasses
from collections.abc import Sequence

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np

from perceiver_jax.byte_array import ByteArray
from perceiver_jax.position_encoding import fourier_features

_DIMENSIONS = 3
# Of a symmetric 3 x 3 matrix.
_UPPER = np.triu_indices(_DIMENSIONS)
_LEAST = 1e-6


def neighbourhoods(
  coordinates: jax.Array, *, radius: float, num_scales: int
) -> jax.Array:
  """Moments of the points around each point, at several scales.

  All points count, with Gaussian weights of their distance: the standard
  deviation is `radius`, then half of it, and so on.

  Args:
    coordinates: `[B, M, 3]`.
    radius: of the widest scale.
    num_scales: S.

  Returns:
    `[B, M, 10 S]`, of each scale: the logarithm of the share of all points that
    is near; how far their mean is from the point, in radii; and their
    covariance, of trace 1, as its upper triangle. On a plane the covariance is
    half of what the normal n leaves, (1 - n n^T) / 2, whichever way n points;
    on a line it is that of its direction.
  """
  squares = jnp.square(coordinates).sum(axis=-1)
  products = jnp.einsum(
    'bic,bjc->bij', coordinates, coordinates, precision='highest'
  )
  distances = squares[:, :, None] + squares[:, None] - 2 * products
  weights = jnp.exp(jnp.maximum(distances, 0.0) / (-2 * radius**2))
  outer = coordinates[..., _UPPER[0]] * coordinates[..., _UPPER[1]]
  moments = jnp.concatenate(
    [jnp.ones_like(coordinates[..., :1]), coordinates, outer], axis=-1
  )
  features = []
  for scale in range(num_scales):
    sums = jnp.einsum('bij,bjk->bik', weights, moments, precision='highest')
    total = sums[..., :1]
    mean = sums[..., 1 : 1 + _DIMENSIONS] / total
    covariance = sums[..., 1 + _DIMENSIONS :] / total
    covariance -= mean[..., _UPPER[0]] * mean[..., _UPPER[1]]
    trace = covariance[..., _UPPER[0] == _UPPER[1]].sum(-1, keepdims=True)
    features += [
      jnp.log(total / coordinates.shape[1]),
      (mean - coordinates) * 2**scale / radius,
      covariance / jnp.maximum(trace, _LEAST),
    ]
    # Half the radius: the fourth power.
    weights = jnp.square(jnp.square(weights))
  return jnp.concatenate(features, axis=-1)


@dataclasses.dataclass(kw_only=True)
class PointNeighbourhoods(hk.Module):
  """Points in space with what is around them, and how large the whole is.

  `Points` have coordinates alone: whether they lie on a plane, on an edge or on
  a rod has to be found by attention among all of them, which takes large data.

  Attributes:
    num_bands: K of the Fourier features, see `fourier_features`.
    max_resolution: one number for each coordinate.
    radius: see `neighbourhoods`, for coordinates in [-1, 1].
    num_scales: S.
    name: Haiku name.
  """

  num_bands: int
  max_resolution: Sequence[float]
  radius: float = 0.4
  num_scales: int = 3
  name: str | None = None

  def __call__(
    self, points: jax.Array, *, is_training: bool = False
  ) -> ByteArray:
    """Encodes points.

    Args:
      points: `[B, M, 3 + C]`: coordinates, in about [-1, 1], then what else is
        known there, if anything.
      is_training: not read.

    Returns:
      M inputs. Their features are coordinates, what else is known, extents of
      all points along the axes, and the neighbourhood.

    Raises:
      ValueError: points have fewer than 3 channels.
    """
    del is_training
    if points.ndim != 3 or points.shape[-1] < _DIMENSIONS:
      raise ValueError(f'Points must be [B, M, 3 or more], got {points.shape}.')
    coordinates, others = jnp.split(points, [_DIMENSIONS], axis=-1)
    extents = coordinates.max(1, keepdims=True) - coordinates.min(
      1, keepdims=True
    )
    features = [
      coordinates,
      others,
      jnp.broadcast_to(extents, coordinates.shape),
      neighbourhoods(
        coordinates, radius=self.radius, num_scales=self.num_scales
      ),
    ]
    positions = fourier_features(
      coordinates,
      num_bands=self.num_bands,
      max_resolution=self.max_resolution,
      spacing='linear',
    )
    return ByteArray(
      jnp.concatenate(features, axis=-1), positions[..., _DIMENSIONS:]
    )
