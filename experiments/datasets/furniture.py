"""Furniture: 554 models of things in a house as points, embedded here.

1,024 points of the surface of each model, y upwards; 15 classes. A fifth of
each class, 111 models in all, is held out. Libraries, creators and licences:
NOTICE. Models of one creator can look alike and fall on both sides of the
split. The nearest neighbour by the shares of points in the cells of a 6 x 6 x 6
grid: 55.9 %.
"""

import functools
import pathlib
from collections.abc import Iterator
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
from experiments.data.modality import View
from experiments.datasets.embedded_builder import (
  FILES,
  EmbeddedBuilder,
  load_in_memory,
)
from experiments.files.features import array_feature
from experiments.modalities.points.augmentation import (
  augment_points,
  first_points,
  mix_points,
)
from experiments.modalities.points.files import EXTENSIONS, read_shape
from experiments.modalities.points.view import Points

CLASSES = (
  'appliance',
  'bathroom',
  'bed',
  'cabinet',
  'chair',
  'door_window',
  'electric',
  'electronics',
  'lamp',
  'person',
  'plant',
  'sofa',
  'table',
  'tableware',
  'vehicle',
)
_POINTS_OF_A_MODEL = 1024
_HELD_OUT = 0.2  # of each class
_SPLIT_SEED = 0


class Furniture(EmbeddedBuilder):
  """554 models of furniture and other things in a house, as points."""

  VERSION = tfds.core.Version('1.1.0')

  def features(self) -> dict[str, Any]:
    """See `EmbeddedBuilder`."""
    return {
      'points': array_feature(shape=(_POINTS_OF_A_MODEL, 3), dtype=np.int8),
      'label': tfds.features.ClassLabel(names=CLASSES),
    }

  def examples(self, split: str) -> Iterator[Example]:
    """See `EmbeddedBuilder`."""
    with np.load(FILES / 'furniture.npz', allow_pickle=False) as arrays:
      points, labels = arrays['points'], arrays['label']
    part = held_out(labels)
    if split == 'train':
      part = ~part
    for cloud, label in zip(points[part], labels[part], strict=True):
      yield {'points': cloud, 'label': str(label)}


def held_out(labels: np.ndarray) -> np.ndarray:
  """Returns which examples are held out: a fifth of each class, always those.

  Args:
    labels: `[N]` str or int.

  Returns:
    `[N]` bool; of each class the nearest whole number to a fifth is True.
  """
  rng = np.random.default_rng(_SPLIT_SEED)
  mask = np.zeros(len(labels), np.bool_)
  for label in np.unique(labels):
    members = rng.permutation(np.flatnonzero(labels == label))
    mask[members[: round(_HELD_OUT * len(members))]] = True
  return mask


def furniture(
  data_dir: str | None,
  *,
  num_points: int,
  max_point_scale: float,
  max_rotation: float,
  max_stretch: float,
  max_jitter: float,
  mirror_probability: float,
  mix_probability: float,
) -> DataSpec:
  """Furniture; prepared on first use and read into memory.

  Args:
    data_dir: where TFDS keeps prepared data; None for its own default.
    num_points: of each model, at most 1,024: in training another random subset
      each time, in evaluation the same.
    max_point_scale: see `augment_points`, like those that follow.
    max_rotation: of training models.
    max_stretch: of training models.
    max_jitter: of training models, whose radius is 1.
    mirror_probability: of training models.
    mix_probability: see `mix_points`; above 0 each training example is made of
      two models.

  Returns:
    Examples with `points` float32 `[num_points, 3]`, centred, in the unit cube,
    and `label` int32.
  """
  if not 1 <= num_points <= _POINTS_OF_A_MODEL:
    raise ValueError(
      f'data.num_points must be from 1 to {_POINTS_OF_A_MODEL}, the points of '
      f'each model, got {num_points}.'
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
    points = augment(_coordinates(example), rng)
    return {'points': points, 'label': np.int32(example['label'])}

  def evaluation_example(example: Example) -> Example:
    # The points of a model are stored in random order.
    points = first_points(_coordinates(example), num_points)
    return {'points': points, 'label': np.int32(example['label'])}

  def read(path: pathlib.Path) -> list[Example]:
    points = read_shape(path, _POINTS_OF_A_MODEL)
    return [{'points': first_points(points, num_points)}]

  def load() -> Dataset:
    train, test = load_in_memory(Furniture, data_dir)
    return Dataset(
      train=train,
      augment=train_example,
      evaluation=test,
      prepare=evaluation_example,
      mix=mix,
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
    view=_view,
  )


def _view(example: Example) -> dict[str, View]:
  return {'points': Points(example['points'])}


def _coordinates(example: Example) -> np.ndarray:
  """Returns the points `[1024, 3]` float32; the farthest is 1 away."""
  return example['points'].astype(np.float32) / 127.0
