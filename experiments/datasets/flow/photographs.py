"""Six photographs, embedded here: pairs of frames with known motion.

Each pair is two looks at one photograph; see `warping` for why its flow is
exact. The right-hand part of each photograph is held out, so evaluation is on
scenes and motion that training never saw. Sources and licences: NOTICE.
"""

import functools
from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np
import tensorflow_datasets as tfds

from experiments.data.dataset import (
  Dataset,
  DataSpec,
  Example,
  Source,
  array_spec,
  check_limits,
)
from experiments.datasets.embedded_builder import (
  FILES,
  EmbeddedBuilder,
  load_in_memory,
)
from experiments.datasets.flow.frame_pairs import flow_example
from experiments.datasets.flow.motorcycle import motorcycle_of
from experiments.files.features import array_feature
from experiments.modalities.frames.augmentation import FramePair, jitter_colours
from experiments.modalities.frames.frames import two_images, view_frames
from experiments.modalities.frames.warping import (
  random_flow,
  random_placement,
  warped_pair,
)
from experiments.modalities.images.augmentation import decode

_NAMES = ('astronaut', 'chelsea', 'china', 'coffee', 'flower', 'rocket')
# Pixels of the photograph for one of a scene; averaged, so nothing aliases.
_REDUCTIONS = (1, 2, 3)
_TRAIN_SHARE = 0.7
# Columns between the two parts that neither has.
_GAP = 16
# Another seed is another test set: results would not compare.
_HELD_OUT_SEED = 0
_MAX_ZOOM = 1.3


class Photographs(EmbeddedBuilder):
  """Six photographs in three sizes: left parts to train, right ones to test."""

  VERSION = tfds.core.Version('1.0.0')

  def features(self) -> dict[str, Any]:
    """See `EmbeddedBuilder`."""
    return {
      'image': array_feature(shape=(None, None, 3), dtype=np.uint8),
      'name': tfds.features.Text(),
    }

  def examples(self, split: str) -> Iterator[Example]:
    """See `EmbeddedBuilder`."""
    for name in _NAMES:
      path = FILES / f'{name}.jpg'
      image = decode(path.read_bytes(), path.name)
      cut = round(_TRAIN_SHARE * image.shape[1])
      train, test = image[:, : cut - _GAP // 2], image[:, cut + _GAP // 2 :]
      part = train if split == 'train' else test
      for reduction in _REDUCTIONS:
        yield {'image': _reduce(part, reduction), 'name': f'{name}/{reduction}'}


class HeldOutPairs:
  """The same pairs each time: each example is a scene and a number.

  Args:
    scenes: examples with `image`.
    count: of pairs.
  """

  def __init__(self, scenes: Source, count: int):
    self._scenes, self._count = scenes, count

  def __len__(self) -> int:
    return self._count

  def __getitem__(self, index: int) -> Example:
    return {**self._scenes[index % len(self._scenes)], 'index': index}


def photographs(
  data_dir: str | None,
  *,
  height: int,
  width: int,
  max_shift: float,
  max_linear: float,
  max_bend: float,
  held_out_pairs: int,
) -> DataSpec:
  """Pairs of frames made from photographs; prepared on first use.

  Args:
    data_dir: where TFDS keeps prepared data; None for its own default.
    height: of a frame, in pixels.
    width: of a frame.
    max_shift: see `random_flow`, in training and in evaluation.
    max_linear: see `random_flow`.
    max_bend: see `random_flow`.
    held_out_pairs: to evaluate with; the same ones each time.

  Returns:
    Examples with `frames` float32 `[2, H, W, 3]` from -1 to 1, `flow` float32
    `[H, W, 2]` in pixels, `valid` float32 `[H, W]`, all 1.
  """
  check_limits(
    {'max_shift': max_shift, 'max_linear': max_linear, 'max_bend': max_bend}
  )
  if held_out_pairs < 1:
    raise ValueError(
      f'data.held_out_pairs must be at least 1, got {held_out_pairs}.'
    )
  look_twice = functools.partial(
    make_pair,
    shape=(height, width),
    max_shift=max_shift,
    max_linear=max_linear,
    max_bend=max_bend,
  )

  def train_example(example: Example, rng: np.random.Generator) -> Example:
    pair = look_twice(example['image'], rng, max_rotation=180.0)
    frames = jitter_colours(pair.frames, rng)
    return flow_example(pair._replace(frames=frames))

  def evaluation_example(example: Example) -> Example:
    rng = np.random.default_rng((_HELD_OUT_SEED, example['index']))
    return flow_example(look_twice(example['image'], rng, max_rotation=0.0))

  def load() -> Dataset:
    train, test = load_in_memory(Photographs, data_dir)
    return Dataset(
      train=train,
      augment=train_example,
      evaluation=HeldOutPairs(test, held_out_pairs),
      prepare=evaluation_example,
    )

  example = {
    'frames': array_spec(2, height, width, 3),
    'flow': array_spec(height, width, 2),
    'valid': array_spec(height, width),
  }
  return DataSpec(
    example=example,
    num_classes=None,
    load=load,
    files=two_images((height, width)),
    view=view_frames,
    besides=functools.partial(_motorcycle, (height, width)),
  )


def _motorcycle(shape: tuple[int, int]) -> dict[str, Example]:
  pair = motorcycle_of(shape)
  return {} if pair is None else {'motorcycle': flow_example(pair)}


def make_pair(
  image: np.ndarray,
  rng: np.random.Generator,
  *,
  shape: tuple[int, int],
  max_rotation: float,
  max_shift: float,
  max_linear: float,
  max_bend: float,
) -> FramePair:
  """Looks twice at a photograph, from places apart by a random flow.

  Args:
    image: uint8 `[h, w, 3]`.
    rng: of all choices.
    shape: `(height, width)` of the frames.
    max_rotation: of both frames in the photograph, see `random_placement`.
    max_shift: see `random_flow`.
    max_linear: see `random_flow`.
    max_bend: see `random_flow`.
  """
  flow = random_flow(
    shape, rng, max_shift=max_shift, max_linear=max_linear, max_bend=max_bend
  )
  place = random_placement(
    shape,
    image.shape[:2],
    rng,
    max_zoom=_MAX_ZOOM,
    max_rotation=max_rotation,
  )
  frames = warped_pair(image, flow, place).round().astype(np.uint8)
  return FramePair(frames, flow, np.ones(shape, np.bool_))


def _reduce(image: np.ndarray, reduction: int) -> np.ndarray:
  height, width = (side // reduction for side in image.shape[:2])
  return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
