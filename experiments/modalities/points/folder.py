"""Your own shapes, meshes or points: ROOT/{train,test}/CLASS/FILE."""

import functools
from collections.abc import Sequence

import numpy as np

from experiments.data.dataset import DataSpec, Example, array_spec
from experiments.files.features import array_feature
from experiments.files.folder_builder import FileKind, folder_data
from experiments.files.listing import (
  files_note,
  list_folder,
  survey,
)
from experiments.modalities.points.augmentation import (
  at_least,
  augment_points,
  first_points,
  mix_points,
)
from experiments.modalities.points.files import EXTENSIONS, read_shape
from experiments.modalities.points.view import Points

# Kept of each shape: training takes another subset of them each time.
_POINTS_OF_A_SHAPE = 1024
_read = functools.partial(read_shape, num_points=_POINTS_OF_A_SHAPE)


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

  Returns:
    Examples with `points` float32 `[num_points, 3]`, centred, in the unit cube,
    and `label` int32.
  """
  note = ''
  if None in (classes, num_points):
    folder = list_folder(root, EXTENSIONS, classes)
    shapes = survey(
      folder.files['train'], _read, skip_unreadable=skip_unreadable
    )
    classes = folder.classes
    num_points = num_points or min(
      int(np.median([len(shape) for shape in shapes])), max_num_points
    )
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

  def train_example(example: Example, rng: np.random.Generator) -> Example:
    points = augment(at_least(example['points'], num_points), rng)
    return {'points': points.astype(np.float32)}

  def evaluation_example(example: Example) -> Example:
    return {'points': first_points(example['points'], num_points)}

  return folder_data(
    FileKind(
      EXTENSIONS,
      read=lambda path: {'points': _read(path)},
      features={'points': array_feature((None, 3), np.float32)},
      options={'kind': 'points'},
      augment=train_example,
      prepare=evaluation_example,
      view=lambda example: {'points': Points(example['points'])},
      mix=mix,
    ),
    example={'points': array_spec(num_points, 3)},
    root=root,
    classes=classes,
    skip_unreadable=skip_unreadable,
    data_dir=data_dir,
    chosen={'data.num_points': num_points},
    note=note,
  )
