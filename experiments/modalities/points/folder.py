"""Your own shapes, meshes or points: ROOT/{train,test}/CLASS/FILE."""

import functools
import math
import pathlib
from collections.abc import Sequence

import numpy as np

from experiments.data.dataset import DataSpec, Example, array_spec
from experiments.data.modality import View
from experiments.files.features import array_feature
from experiments.files.folder_builder import FileKind, folder_data
from experiments.files.listing import (
  files_note,
  list_folder,
  rounded,
  survey,
)
from experiments.modalities.points.augmentation import (
  at_least,
  augment_points,
  first_points,
  mix_points,
)
from experiments.modalities.points.files import EXTENSIONS, read_sized_shape
from experiments.modalities.points.view import Points

# Kept of each shape: training takes another subset of them each time.
_POINTS_OF_A_SHAPE = 1024
_read = functools.partial(read_sized_shape, num_points=_POINTS_OF_A_SHAPE)
# Of the logarithm of sizes: what is all of one size is left at zero.
_LEAST_SPREAD = 0.01


def point_folder(
  data_dir: str | None,
  *,
  root: str,
  classes: Sequence[str] | None,
  num_points: int | None,
  max_num_points: int,
  max_point_scale: float,
  max_rotation: float,
  max_stretch: float,
  max_jitter: float,
  mirror_probability: float,
  mix_probability: float,
  skip_unreadable: bool,
  sizes: Sequence[float] | None = (),
  max_size_change: float = 0.0,
  validation_share: float = 0.0,
  validation_seed: int = 0,
) -> DataSpec:
  """Shapes of folders; prepared on first use, as points.

  Args:
    data_dir: where TFDS keeps prepared data; None for its own default.
    root: has train/CLASS/FILE and test/CLASS/FILE.
    classes: names; None for the folders in train/.
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
    skip_unreadable: whether damaged files are left out.
    sizes: mean and standard deviation of the logarithm of how far the farthest
      point of a file is, in its own unit; None for those of the training files.
      () leaves out how large a shape is.
    max_size_change: of training shapes; 0.1 is from 1 / 1.1 to 1.1 times.
    validation_share: see `with_validation`.
    validation_seed: see `with_validation`.

  Returns:
    Examples with `points` float32 `[num_points, 3]`, centred, in the unit cube,
    or `[num_points, 4]`, the size standardised in the fourth channel; and
    `label` int32.
  """
  note, num_train = '', None
  if None in (classes, num_points, sizes):
    folder = list_folder(root, EXTENSIONS, classes)
    shapes = survey(
      folder.files['train'], _read, skip_unreadable=skip_unreadable
    )
    classes, num_train = folder.classes, len(folder.files['train'])
    num_points = num_points or min(
      int(np.median([len(shape) for shape, _ in shapes])), max_num_points
    )
    if sizes is None:
      logarithms = np.log([size for _, size in shapes])
      spread = max(float(logarithms.std()), _LEAST_SPREAD)
      sizes = rounded((float(logarithms.mean()), spread))
    note = f'points: {num_points:,} of each shape, {files_note(folder)}'
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

  return folder_data(
    FileKind(
      EXTENSIONS,
      read=read,
      features={
        'points': array_feature((None, 3), np.float32),
        **({'size': array_feature((), np.float32)} if sizes else {}),
      },
      options={'kind': 'points', **({'sized': True} if sizes else {})},
      augment=train_example,
      prepare=evaluation_example,
      view=view,
      mix=mix,
    ),
    example={'points': array_spec(num_points, 4 if sizes else 3)},
    root=root,
    classes=classes,
    skip_unreadable=skip_unreadable,
    validation_share=validation_share,
    validation_seed=validation_seed,
    data_dir=data_dir,
    chosen={'data.num_points': num_points, 'data.sizes': sizes},
    note=note,
    num_train=num_train,
  )
