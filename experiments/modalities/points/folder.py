"""Your own shapes, meshes or points: how they are kept, become examples."""

import functools
import math
import pathlib
from collections.abc import Sequence

import numpy as np

from experiments.data.dataset import Example, array_spec
from experiments.data.modality import View
from experiments.files.features import array_feature
from experiments.files.kind import FileKind, Survey
from experiments.files.listing import rounded
from experiments.modalities.points.augmentation import (
  at_least,
  augment_points,
  first_points,
  mix_points,
)
from experiments.modalities.points.files import read_sized_shape
from experiments.modalities.points.view import Points

# Kept of each shape: training takes another subset of them each time.
_POINTS_OF_A_SHAPE = 1024
_read = functools.partial(read_sized_shape, num_points=_POINTS_OF_A_SHAPE)
# Of the logarithm of sizes: what is all of one size is left at zero.
_LEAST_SPREAD = 0.01


def point_files(
  survey: Survey,
  *,
  num_points: int | None,
  max_num_points: int,
  max_point_scale: float,
  max_rotation: float,
  max_stretch: float,
  max_jitter: float,
  mirror_probability: float,
  mix_probability: float = 0.0,
  sizes: Sequence[float] | None = (),
  max_size_change: float = 0.0,
) -> FileKind:
  """Shapes, kept as points.

  Args:
    survey: of the training files, for what is None.
    num_points: of each shape; one that has fewer shows some again. None for the
      median of the files.
    max_num_points: that is chosen at most.
    max_point_scale: see `augment_points`, like those that follow; y is upwards.
    max_rotation: of training shapes.
    max_stretch: of training shapes.
    max_jitter: of training shapes, whose radius is 1.
    mirror_probability: of training shapes.
    mix_probability: see `mix_points`; above 0 each training example is made of
      two shapes.
    sizes: mean and standard deviation of the logarithm of how far the farthest
      point of a file is, in its own unit; None for those of the training files.
      () leaves out how large a shape is.
    max_size_change: of training shapes; 0.1 is from 1 / 1.1 to 1.1 times.

  Returns:
    Examples with `points` float32 `[num_points, 3]`, centred, in the unit cube,
    or `[num_points, 4]`, the size standardised in the fourth channel.
  """
  if None in (num_points, sizes):
    shapes = survey(_read)
    num_points = num_points or min(
      int(np.median([len(shape) for shape, _ in shapes])), max_num_points
    )
    if sizes is None:
      logarithms = np.log([size for _, size in shapes])
      spread = max(float(logarithms.std()), _LEAST_SPREAD)
      sizes = rounded((float(logarithms.mean()), spread))
  if not 1 <= num_points <= _POINTS_OF_A_SHAPE:
    raise ValueError(
      f'data.num_points must be from 1 to {_POINTS_OF_A_SHAPE}, got '
      f'{num_points}.'
    )
  augment = functools.partial(
    augment_points,
    num_points=num_points,
    max_point_scale=max_point_scale,
    max_rotation=max_rotation,
    max_stretch=max_stretch,
    max_jitter=max_jitter,
    mirror_probability=mirror_probability,
  )
  mix = None
  if mix_probability:
    mix = functools.partial(mix_points, probability=mix_probability)

  def with_size(
    points: np.ndarray, example: Example, change: float = 0.0
  ) -> np.ndarray:
    if not sizes:
      return points
    mean, spread = sizes
    size = (example['size'] + change - mean) / spread
    column = np.full((len(points), 1), size, np.float32)
    return np.concatenate([points, column], axis=1)

  def read(path: pathlib.Path) -> Example:
    points, size = _read(path)
    if not sizes:
      return {'points': points}
    return {'points': points, 'size': np.float32(math.log(size))}

  def view(example: Example) -> dict[str, View]:
    coordinates = example['points'][:, :3]
    if not sizes:
      return {'points': Points(coordinates)}
    mean, spread = sizes
    scale = math.exp(mean + spread * float(example['points'][0, 3]))
    return {'points': Points(coordinates, scale)}

  def train_example(example: Example, rng: np.random.Generator) -> Example:
    points = augment(at_least(example['points'], num_points), rng)
    change = rng.uniform(-1.0, 1.0) * math.log1p(max_size_change)
    return {'points': with_size(points.astype(np.float32), example, change)}

  def evaluation_example(example: Example) -> Example:
    points = first_points(example['points'], num_points)
    return {'points': with_size(points, example)}

  return FileKind(
    read=read,
    features={
      'points': array_feature((None, 3), np.float32),
      **({'size': array_feature((), np.float32)} if sizes else {}),
    },
    options={'kind': 'points', **({'sized': True} if sizes else {})},
    example={'points': array_spec(num_points, 4 if sizes else 3)},
    augment=train_example,
    prepare=evaluation_example,
    view=view,
    mix=mix,
    chosen={'data.num_points': num_points, 'data.sizes': sizes},
    note=f'points: {num_points:,} of each shape, ',
  )
