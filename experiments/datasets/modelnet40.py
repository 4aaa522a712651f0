"""ModelNet40: 12,311 CAD models of 40 classes, as points of their surface.

TFDS does not have it. The archive is downloaded by hand (its terms allow
academic use): https://modelnet.cs.princeton.edu, ModelNet40.zip, 2 GB. Points
are sampled uniformly over the surface once, when the data set is prepared, and
stored (Perceiver, section 4.3: about 2,000 points of each model).
"""

import pathlib
import zipfile
import zlib
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from experiments.data.dataset import (
  Dataset,
  DataSpec,
  Example,
  Files,
  array_spec,
)
from experiments.datasets.manual_downloads import manual_dir
from experiments.files.features import array_feature
from experiments.modalities.points.augmentation import (
  first_points,
  random_subset,
  scale_each_point,
  to_unit_cube,
)
from experiments.modalities.points.files import EXTENSIONS, read_shape
from experiments.modalities.points.meshes import parse_off, sample_surface
from experiments.modalities.points.view import Points

_URL = 'https://modelnet.cs.princeton.edu/ModelNet40.zip'
_ARCHIVE = 'ModelNet40.zip'
_POINTS_OF_A_MODEL = 2048
CLASSES = (
  'airplane',
  'bathtub',
  'bed',
  'bench',
  'bookshelf',
  'bottle',
  'bowl',
  'car',
  'chair',
  'cone',
  'cup',
  'curtain',
  'desk',
  'door',
  'dresser',
  'flower_pot',
  'glass_box',
  'guitar',
  'keyboard',
  'lamp',
  'laptop',
  'mantel',
  'monitor',
  'night_stand',
  'person',
  'piano',
  'plant',
  'radio',
  'range_hood',
  'sink',
  'sofa',
  'stairs',
  'stool',
  'table',
  'tent',
  'toilet',
  'tv_stand',
  'vase',
  'wardrobe',
  'xbox',
)
_MODELS = {'train': 9843, 'test': 2468}


class Modelnet40(tfds.core.GeneratorBasedBuilder):
  """12,311 CAD models of 40 classes, 2,048 points of each surface."""

  VERSION = tfds.core.Version('1.1.0')
  MANUAL_DOWNLOAD_INSTRUCTIONS = f'Put {_ARCHIVE} of {_URL} there.'

  def _info(self) -> tfds.core.DatasetInfo:
    return self.dataset_info_from_configs(
      features=tfds.features.FeaturesDict(
        {
          'points': array_feature(
            shape=(_POINTS_OF_A_MODEL, 3), dtype=np.float32
          ),
          'label': tfds.features.ClassLabel(names=CLASSES),
          'name': tfds.features.Text(),
        }
      ),
      description=self.__doc__,
      homepage='https://modelnet.cs.princeton.edu',
    )

  def _split_generators(self, dl_manager):
    archive = dl_manager.manual_dir / _ARCHIVE
    models = models_of(archive)
    return {
      split: self._generate_examples(archive, names)
      for split, names in models.items()
    }

  def _generate_examples(self, archive: pathlib.Path, names: list[str]):
    with zipfile.ZipFile(archive) as opened:
      for name in names:
        yield pathlib.PurePath(name).stem, make_example(opened.read(name), name)


def models_of(archive: pathlib.Path) -> dict[str, list[str]]:
  """Returns the names `ModelNet40/CLASS/SPLIT/NAME.off` of each split.

  Raises:
    ValueError: the archive is broken, or not all 12,311 models are there.
  """
  try:
    with zipfile.ZipFile(archive) as opened:
      names = [pathlib.PurePath(name) for name in opened.namelist()]
  except zipfile.BadZipFile as error:
    raise ValueError(
      f'{archive} is broken ({error}). Download it again from {_URL}.'
    ) from error
  models = {
    split: sorted(
      str(name)
      for name in names
      if name.match(f'ModelNet40/*/{split}/*.off')
      and name.parts[0] == 'ModelNet40'
    )
    for split in _MODELS
  }
  counts = {split: len(names) for split, names in models.items()}
  if counts != _MODELS:
    raise ValueError(
      f'{archive} should have {_MODELS} models, and has {counts}. Download it '
      f'again from {_URL}.'
    )
  return models


def make_example(text: bytes, name: str) -> Example:
  """Samples the points of a model; the same each time, by its content.

  Args:
    text: of the OFF file.
    name: `.../CLASS/SPLIT/NAME.off`.
  """
  path = pathlib.PurePath(name)
  rng = np.random.default_rng(zlib.crc32(text))
  try:
    points = sample_surface(parse_off(text, name), _POINTS_OF_A_MODEL, rng)
  except ValueError as error:
    raise ValueError(f'{_ARCHIVE}, {name}: {error}') from error
  return {'points': points, 'label': path.parts[-3], 'name': path.stem}


def modelnet40(
  data_dir: str | None, *, num_points: int, max_point_scale: float
) -> DataSpec:
  """ModelNet40 (Perceiver, section 4.3); prepared on first use.

  Args:
    data_dir: where TFDS keeps prepared data; None for its own default. The
      archive is looked for in its `downloads/manual`.
    num_points: of each model, at most 2,048: in training another random subset
      each time.
    max_point_scale: of each training point; 0.01 is from 0.99 to 1.01.

  Returns:
    Examples with `points` float32 `[num_points, 3]`, centred, in the unit cube,
    and `label` int32.
  """
  if not 1 <= num_points <= _POINTS_OF_A_MODEL:
    raise ValueError(
      f'data.num_points must be from 1 to {_POINTS_OF_A_MODEL}, the points of '
      f'each model, got {num_points}.'
    )

  def train_example(example: Example, rng: np.random.Generator) -> Example:
    points = random_subset(example['points'], num_points, rng)
    points = scale_each_point(points, max_point_scale, rng)
    return _example(points, example['label'])

  def read(path: pathlib.Path) -> list[Example]:
    # Axes as in the files of ModelNet40, where z is upwards.
    points = read_shape(path, _POINTS_OF_A_MODEL)
    return [{'points': first_points(points, num_points)}]

  def load() -> Dataset:
    builder = Modelnet40(data_dir=data_dir, file_format='array_record')
    prepare(builder)
    return Dataset(
      train=builder.as_data_source('train'),
      augment=train_example,
      evaluation=builder.as_data_source('test'),
      prepare=lambda example: _example(
        example['points'][:num_points], example['label']
      ),
    )

  example = {
    'points': array_spec(num_points, 3),
    'label': array_spec(dtype=np.int32),
  }
  return DataSpec(
    example=example,
    num_classes=len(CLASSES),
    load=load,
    class_names=CLASSES,
    files=Files(EXTENSIONS, read),
    view=lambda example: {'points': Points(example['points'])},
  )


def prepare(builder: tfds.core.DatasetBuilder) -> None:
  """Prepares a data set from its archive, unless it is prepared already.

  Raises:
    FileNotFoundError: the archive is not there; says where to get it and where
      to put it.
  """
  manual = manual_dir(
    builder,
    'ModelNet40',
    _ARCHIVE,
    lambda path: (
      f'Download {_URL} (2 GB, for academic use) to {path} and run this again. '
      'experiments/configs/furniture.py trains on points without a download.'
    ),
    is_there=pathlib.Path.is_file,
  )
  if manual is not None:
    builder.download_and_prepare(
      download_config=tfds.download.DownloadConfig(manual_dir=manual)
    )


def _example(points: np.ndarray, label: Any) -> Example:
  return {'points': to_unit_cube(points), 'label': np.int32(label)}
