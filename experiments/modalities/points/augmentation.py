"""Point clouds on the host: subsets, small changes of a shape, normalisation.

Points are float32 `[N, 3]`: x, y, z, with y upwards. Every random choice comes
from the `np.random.Generator` that the caller hands in, so an example depends
on its seed alone.

The published recipe (Perceiver, section 4.3) is random scaling of each point
between 0.99 and 1.01, then zero-centring and normalisation to the unit cube:
`augment_points` with `max_point_scale=0.01` and all else 0. The rest is for
small data sets.
"""

import math

import numpy as np

from experiments.data.dataset import Example

_VERTICAL = 1
_HORIZONTAL = (0, 2)


def to_unit_cube(points: np.ndarray) -> np.ndarray:
  """Centres points at their mean and scales them to the cube [-1, 1]^3.

  Args:
    points: float32 `[N, 3]`, in any unit.

  Returns:
    Of the same shape: mean zero, and the largest coordinate is 1 or -1.
  """
  centred = points - points.mean(axis=0)
  # All points may be one and the same.
  size = max(np.abs(centred).max(), np.finfo(np.float32).tiny)
  return (centred / size).astype(np.float32)


def at_least(points: np.ndarray, num_points: int) -> np.ndarray:
  """Repeats points from the first on, until there are `num_points`."""
  return points[np.arange(max(num_points, len(points))) % len(points)]


def first_points(points: np.ndarray, num_points: int) -> np.ndarray:
  """Returns the points that are evaluated: the first, see `to_unit_cube`.

  Args:
    points: float32 `[N, 3]` in random order; of fewer, some show again.
    num_points: of the result.
  """
  return to_unit_cube(at_least(points, num_points)[:num_points])


def augment_points(
  points: np.ndarray,
  rng: np.random.Generator,
  *,
  num_points: int,
  max_point_scale: float,
  max_rotation: float,
  max_stretch: float,
  max_jitter: float,
  mirror_probability: float,
) -> np.ndarray:
  """Returns some of the points, changed at random, in the unit cube.

  Args:
    points: float32 `[N, 3]`, at most 1 from the origin.
    rng: source of randomness.
    num_points: size of the random subset, at most N.
    max_point_scale: of each point; 0.01 is from 0.99 to 1.01.
    max_rotation: about the vertical axis, in degrees; 180 is any rotation.
    max_stretch: of each axis; 0.25 is from 1 / 1.25 to 1.25.
    max_jitter: of each coordinate, uniform in +- this, in units of `points`.
    mirror_probability: of exchanging left and right.

  Returns:
    float32 `[num_points, 3]`, see `to_unit_cube`.
  """
  points = random_subset(points, num_points, rng)
  points = mirror(points, mirror_probability, rng)
  # Before the rotation: an axis of the cloud is then one of the shape.
  points = stretch(points, max_stretch, rng)
  points = rotate(points, rng.uniform(-max_rotation, max_rotation))
  points = scale_each_point(points, max_point_scale, rng)
  points = points + rng.uniform(-max_jitter, max_jitter, size=points.shape)
  return to_unit_cube(points)


def mix_points(
  number: int,
  pair: Example,
  rng: np.random.Generator,
  *,
  probability: float,
) -> Example:
  """Gives a cloud a part of another (PointCutMix, arXiv 2101.01461).

  The points nearest to a random one of the first cloud make room for those of
  the second cloud that are nearest to the same place. Their number is uniform.

  Args:
    number: not read.
    pair: `points` float32 `[2, N, 3 or more]`, coordinates first, and `label`
      int32 `[2]`.
    rng: source of randomness.
    probability: with which there is a part of the second cloud at all.

  Returns:
    `points` `[N, ...]`, `label` and `mix_label` int32 scalars, and `mix_share`
    float32, the share of the points that is not `label`'s.
  """
  del number
  first, second = pair['points']
  num_points = len(first)
  taken = 0
  if rng.random() < probability:
    taken = int(rng.integers(num_points))
  place = first[rng.integers(num_points)]
  near_first, near_second = (
    np.square((points - place)[:, :3]).sum(axis=-1).argsort()
    for points in (first, second)
  )
  return {
    'points': np.concatenate(
      [first[near_first[taken:]], second[near_second[:taken]]]
    ),
    'label': pair['label'][0],
    'mix_label': pair['label'][1],
    'mix_share': np.float32(taken / num_points),
  }


def random_subset(
  points: np.ndarray, num_points: int, rng: np.random.Generator
) -> np.ndarray:
  """Returns `num_points` different points in random order."""
  if num_points > len(points):
    raise ValueError(
      f'{num_points} points are wanted of a shape that has {len(points)}: '
      f'set num_points to at most {len(points)}.'
    )
  return points[rng.permutation(len(points))[:num_points]]


def mirror(
  points: np.ndarray, probability: float, rng: np.random.Generator
) -> np.ndarray:
  """Exchanges left and right, x and -x, with this probability."""
  if rng.random() >= probability:
    return points
  return points * np.array([-1, 1, 1], points.dtype)


def stretch(
  points: np.ndarray, max_stretch: float, rng: np.random.Generator
) -> np.ndarray:
  """Scales each axis by its own factor in [1 / (1 + max), 1 + max].

  Logarithms are uniform, so that a factor is as likely as its inverse.

  Args:
    points: `[N, 3]`.
    max_stretch: 0.25 is from 0.8 to 1.25.
    rng: source of randomness.
  """
  most = math.log1p(max_stretch)
  return points * np.exp(rng.uniform(-most, most, size=3))


def rotate(points: np.ndarray, degrees: float) -> np.ndarray:
  """Turns points about the vertical axis through the origin.

  Args:
    points: `[N, 3]`.
    degrees: from z towards x, anticlockwise as seen from above.
  """
  angle = math.radians(degrees)
  cos, sin = math.cos(angle), math.sin(angle)
  x, z = (points[:, axis] for axis in _HORIZONTAL)
  return np.stack(
    [cos * x + sin * z, points[:, _VERTICAL], cos * z - sin * x], axis=-1
  )


def scale_each_point(
  points: np.ndarray, max_scale: float, rng: np.random.Generator
) -> np.ndarray:
  """Scales each point by its own factor, uniform in 1 +- max_scale."""
  factors = rng.uniform(1 - max_scale, 1 + max_scale, size=(len(points), 1))
  return points * factors
