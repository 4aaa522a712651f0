"""Watch: shoulder exercises seen by a smart watch on the wrist, embedded here.

140 recordings at 50 Hz: 10 subjects, 7 exercises, both arms. Windows of the
recordings are classified; subjects 1 to 5 train and 6 to 10 are held out, so
the numbers are those of people never seen. Source and licence: NOTICE.
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
  Windows,
  array_spec,
)
from experiments.data.modality import View
from experiments.datasets.embedded_builder import (
  FILES,
  EmbeddedBuilder,
  load_in_memory,
)
from experiments.files.features import array_feature
from experiments.files.windows import window_starts
from experiments.modalities.series.files import EXTENSIONS, read_series
from experiments.modalities.series.motion import augment_motion
from experiments.modalities.series.view import Series

CLASSES = ('PEN', 'ABD', 'FEL', 'IR', 'ER', 'TRAP', 'ROW')
_CLASS_NAMES = (
  'pendulum',
  'abduction',
  'forward elevation',
  'internal rotation',
  'external rotation',
  'trapezius extension',
  'upright row',
)
_RATE = 50.0
_COLUMNS = (
  'acceleration x, y, z in g, then rate of rotation about x, y, z in rad/s'
)
_TRAIN_SUBJECTS = range(1, 6)
# Of the training subjects: acceleration in g, rate of rotation in rad/s. The
# mean of x is zero once the arms are exchanged.
_MEAN = np.array([0.0, 0.4, -0.19, 0.0, 0.0, 0.0], np.float32)
_STDDEV = np.array([0.94, 0.52, 0.6, 1.1, 2.65, 1.16], np.float32)


class Watch(EmbeddedBuilder):
  """Motion of a watch on the wrist during 7 shoulder exercises."""

  VERSION = tfds.core.Version('1.1.0')

  def features(self) -> dict[str, Any]:
    """See `EmbeddedBuilder`."""
    return {
      'motion': array_feature(shape=(None, 6), dtype=np.float32),
      'label': tfds.features.ClassLabel(names=CLASSES),
      'subject': tfds.features.Scalar(dtype=np.int32),
    }

  def examples(self, split: str) -> Iterator[Example]:
    """See `EmbeddedBuilder`; an example is a whole recording."""
    with np.load(FILES / 'watch.npz', allow_pickle=False) as arrays:
      motion = (arrays['x'] * arrays['scale']).astype(np.float32)
      ends = np.cumsum(arrays['length'])
      labels, subjects = arrays['y'], arrays['subject']
    recordings = np.split(motion, ends[:-1])
    for recording, label, subject in zip(
      recordings, labels, subjects, strict=True
    ):
      if (subject in _TRAIN_SUBJECTS) == (split == 'train'):
        yield {
          'motion': recording,
          'label': int(label),
          'subject': int(subject),
        }


def watch(
  data_dir: str | None,
  *,
  num_steps: int,
  hop: int,
  max_shift: int,
  max_speed: float,
  max_rotation: float,
  max_scale: float,
  noise: float,
  mirror_probability: float,
) -> DataSpec:
  """Watch; prepared on first use and read into memory.

  Args:
    data_dir: where TFDS keeps prepared data; None for its own default.
    num_steps: of a window; 50 are a second.
    hop: steps from one window of a recording to the next, in training and in
      evaluation.
    max_shift: see `augment_motion`, like those that follow.
    max_speed: of training windows.
    max_rotation: of training windows.
    max_scale: of training windows.
    noise: of training windows.
    mirror_probability: of training windows.

  Returns:
    Examples with `motion` float32 `[num_steps, 6]` of about zero mean and unit
    variance, and `label` int32.
  """
  if num_steps < 1 or hop < 1:
    raise ValueError(
      'data.num_steps and data.hop must be positive numbers of steps, got '
      f'{num_steps} and {hop}.'
    )
  augment = functools.partial(
    augment_motion,
    num_steps=num_steps,
    max_shift=max_shift,
    max_speed=max_speed,
    max_rotation=max_rotation,
    max_scale=max_scale,
    noise=noise,
    mirror_probability=mirror_probability,
  )

  def train_example(example: Example, rng: np.random.Generator) -> Example:
    motion = augment(example['motion'], rng, start=example['start'])
    return {**_normalize(motion), 'label': np.int32(example['label'])}

  def evaluation_example(example: Example) -> Example:
    start = example['start']
    motion = example['motion'][start : start + num_steps]
    return {**_normalize(motion), 'label': np.int32(example['label'])}

  def read(path: pathlib.Path) -> list[Example]:
    motion = read_motion(path, num_steps)
    return [
      _normalize(motion[start : start + num_steps])
      for start in window_starts(len(motion), num_steps, hop)
    ]

  def load() -> Dataset:
    train, test = (
      Windows(recordings, 'motion', length=num_steps, hop=hop)
      for recordings in load_in_memory(Watch, data_dir)
    )
    return Dataset(
      train=train,
      augment=train_example,
      evaluation=test,
      prepare=evaluation_example,
    )

  example = {
    'motion': array_spec(num_steps, 6),
    'label': array_spec(dtype=np.int32),
  }
  return DataSpec(
    example=example,
    num_classes=len(CLASSES),
    load=load,
    class_names=_CLASS_NAMES,
    files=Files(EXTENSIONS, read),
    view=_view,
  )


def read_motion(path: pathlib.Path, num_steps: int) -> np.ndarray:
  """Reads a recording of a watch on the left or right wrist, 50 lines a second.

  Args:
    path: of measurements, see `files.series`: acceleration x, y, z in g, rate
      of rotation about x, y, z in rad/s.
    num_steps: that it has at least.

  Returns:
    float32 `[T, 6]`.

  Raises:
    ValueError: it cannot be read, is too short or has other columns; the
      message names the file.
  """
  motion = read_series(path).astype(np.float32)
  if motion.shape[1] != len(_MEAN):
    raise ValueError(
      f'{path} has {motion.shape[1]} columns; expected are {len(_MEAN)}: '
      f"{_COLUMNS}. A column named 'time' does not count."
    )
  if len(motion) < num_steps:
    raise ValueError(
      f'{path} has {len(motion)} steps, and the model looks at {num_steps} at '
      f'a time, {num_steps / _RATE:g} s at {_RATE:g} a second.'
    )
  return motion


def _view(example: Example) -> dict[str, View]:
  return {'motion': Series(example['motion'] * _STDDEV + _MEAN, _RATE)}


def _normalize(motion: np.ndarray) -> Example:
  return {'motion': (motion - _MEAN) / _STDDEV}
