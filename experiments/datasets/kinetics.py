"""Kinetics-700-2020: videos of 10 s of 700 human actions, with their sound.

The videos are not distributed: their lists are at
https://github.com/cvdfoundation/kinetics-dataset, which also has archives.
Unpacked into folders of classes they are read once, when the data set is
prepared: frames of 256 pixels on the short side at 25 a second, sound of one
channel at 48 kHz. About 6 MB a video, 3 TB in all; a core takes about a
second for each, and all cores are used. Videos that cannot be decoded, have no
sound or are shorter than 32 frames are left out, counted and named.
"""

import pathlib
import typing
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from experiments.data.dataset import (
  Dataset,
  DataSpec,
  Example,
  Files,
  Source,
  array_spec,
)
from experiments.data.modality import View
from experiments.datasets.manual_downloads import manual_dir
from experiments.datasets.output_points import check_points, random_points
from experiments.datasets.sharded_builder import SPLIT, ShardedBuilder, prepare
from experiments.files.media import VIDEO_EXTENSIONS
from experiments.modalities.images.view import to_pixels
from experiments.modalities.sound.view import Sound
from experiments.modalities.video.augmentation import (
  augment_frames,
  centre_frames,
  middle_start,
  random_start,
)
from experiments.modalities.video.files import (
  MOST_SECONDS,
  clip_starts,
  read_film,
)
from experiments.modalities.video.stored import (
  read_video,
  stored_frames,
  stored_sound,
  video_features,
)
from experiments.modalities.video.view import Video

_ROOT = 'kinetics700_2020'
_URL = 'https://github.com/cvdfoundation/kinetics-dataset'
# Folders of each split, under any of these names.
_SPLITS = {'train': ('train',), 'validation': ('val', 'validate', 'validation')}
_NUM_CLASSES = 700
_FRAME_RATE = 25
_SAMPLE_RATE = 48_000
_SAMPLES_PER_FRAME = _SAMPLE_RATE // _FRAME_RATE
_SHORT_SIDE = 256
_MOST_FRAMES = 32

_File = tuple[pathlib.Path, int]


class Kinetics700(ShardedBuilder):
  """Videos of 10 s of 700 human actions, with their sound."""

  VERSION = tfds.core.Version('1.0.0')
  BUILDER_CONFIGS: typing.ClassVar = [
    tfds.core.BuilderConfig(name=split, description=f'{split} videos')
    for split in _SPLITS
  ]
  MANUAL_DOWNLOAD_INSTRUCTIONS = (
    f'Put the videos of {_URL} into {_ROOT}/train/CLASS/NAME.mp4 and '
    f'{_ROOT}/val/CLASS/NAME.mp4 there.'
  )

  def _info(self) -> tfds.core.DatasetInfo:
    return self.dataset_info_from_configs(
      features=tfds.features.FeaturesDict(
        {
          **video_features(),
          'label': tfds.features.ClassLabel(num_classes=_NUM_CLASSES),
          'name': tfds.features.Text(),
        }
      ),
      description=self.__doc__,
      homepage=_URL,
      disable_shuffling=True,
    )

  def items(self, manual_dir: pathlib.Path) -> Sequence[_File]:
    """See `ShardedBuilder`."""
    return list_videos(manual_dir / _ROOT)[self.builder_config.name]

  @staticmethod
  def read(item: _File) -> tuple[str, dict[str, Any] | str]:
    """See `ShardedBuilder`."""
    path, label = item
    name = f'{path.parent.name}/{path.stem}'
    try:
      example = read_video(
        path,
        frame_rate=_FRAME_RATE,
        sample_rate=_SAMPLE_RATE,
        short_side=_SHORT_SIDE,
      )
    except ValueError as error:
      return name, str(error)
    num_frames = len(example['frames'])
    if num_frames < _MOST_FRAMES:
      return name, f'{path} has {num_frames} frames, fewer than {_MOST_FRAMES}.'
    return name, {**example, 'label': label, 'name': name}


def list_videos(root: pathlib.Path) -> dict[str, list[_File]]:
  """Lists the videos of each split with their class.

  Classes are numbered in the order of their names; '_' is taken for the blank
  that the official names have.

  Args:
    root: with a folder for each split, these with a folder for each class.

  Raises:
    FileNotFoundError: a split is not there.
    ValueError: training has not 700 classes, a split has no videos, or
      validation has a class of its own.
  """
  folders = {split: _folder(root, split) for split in _SPLITS}
  names = sorted(
    path.name.replace('_', ' ')
    for path in folders['train'].iterdir()
    if path.is_dir()
  )
  if len(names) != _NUM_CLASSES:
    raise ValueError(
      f'{folders["train"]} has the folders of {len(names)} classes; '
      f'Kinetics-700-2020 has {_NUM_CLASSES}. Without all of them the classes '
      'would be numbered otherwise.'
    )
  labels = {name: i for i, name in enumerate(names)}
  return {
    split: _list_split(folder, labels) for split, folder in folders.items()
  }


def kinetics(
  data_dir: str | None,
  *,
  num_frames: int,
  image_size: int,
  num_samples: int,
  samples_per_patch: int,
  audio_points: int,
  image_points: int,
  max_brightness: float,
  max_contrast: float,
  max_saturation: float,
  max_hue: float,
) -> DataSpec:
  """Kinetics-700-2020 (Perceiver IO, section 4.3, appendix I).

  Training clips are random in time, space and colours; the clip in the middle
  of each validation video, the centre of its frames, is held out.

  Args:
    data_dir: where TFDS keeps prepared data; None for its own default. The
      videos are looked for in its `downloads/manual`.
    num_frames: of a clip, at most 32, at 25 a second.
    image_size: side of a frame, in pixels.
    num_samples: of the clip's sound, 1,920 a frame at 48 kHz.
    samples_per_patch: of sound, a patch being one output.
    audio_points: patches of sound to reconstruct in training.
    image_points: pixels to reconstruct in training.
    max_brightness: see `video_augmentation.colour_matrix`, as those that
      follow.
    max_contrast: of training clips.
    max_saturation: of training clips.
    max_hue: of training clips.

  Returns:
    Examples with `image` float32 `[num_frames, image_size, image_size, 3]` in
    [0, 1], `audio` float32 `[num_samples]` in [-1, 1] and `label` int32.
  """
  _check_clip(num_frames, num_samples, samples_per_patch)
  grid_sizes = {
    'audio': num_samples // samples_per_patch,
    'image': num_frames * image_size**2,
  }
  counts = {'audio': audio_points, 'image': image_points}
  check_points(grid_sizes, counts)

  def clip(example: Example, start: int) -> tuple[list[np.ndarray], Example]:
    return stored_frames(example, start, num_frames, example['name']), {
      'audio': stored_sound(example, start * _SAMPLES_PER_FRAME, num_samples),
      'label': np.int32(example['label']),
    }

  def train_example(example: Example, rng: np.random.Generator) -> Example:
    start = random_start(len(example['frames']), num_frames, rng)
    frames, rest = clip(example, start)
    image = augment_frames(
      frames,
      rng,
      image_size=image_size,
      max_brightness=max_brightness,
      max_contrast=max_contrast,
      max_saturation=max_saturation,
      max_hue=max_hue,
    )
    points = random_points(grid_sizes, counts, rng)
    return {'image': image, 'output_points': points, **rest}

  def evaluation_example(example: Example) -> Example:
    start = middle_start(len(example['frames']), num_frames)
    frames, rest = clip(example, start)
    return {'image': centre_frames(frames, image_size), **rest}

  def load() -> Dataset:
    return Dataset(
      train=_open('train', data_dir),
      augment=train_example,
      evaluation=_open('validation', data_dir),
      prepare=evaluation_example,
    )

  example = {
    'audio': array_spec(num_samples),
    'image': array_spec(num_frames, image_size, image_size, 3),
    'label': array_spec(dtype=np.int32),
    'output_points': {
      name: array_spec(count, dtype=np.int32) for name, count in counts.items()
    },
  }
  return DataSpec(
    example=example,
    num_classes=_NUM_CLASSES,
    load=load,
    files=Files(
      VIDEO_EXTENSIONS, lambda path: read_clips(path, num_frames, image_size)
    ),
    view=view_clip,
  )


def read_clips(
  path: pathlib.Path, num_frames: int, image_size: int
) -> Sequence[Example]:
  """Reads a video as clips that follow each other, as held-out ones are.

  They have the label 0, for one is needed: it is masked where none is given.
  Without sound a video is silent.

  Args:
    path: of the video; its first 20 seconds are read.
    num_frames: of a clip.
    image_size: side of a frame, in pixels.

  Raises:
    ValueError: it cannot be decoded, or is shorter than a clip.
  """
  film = read_film(
    path,
    frame_rate=_FRAME_RATE,
    sample_rate=_SAMPLE_RATE,
    short_side=_SHORT_SIDE,
    end=MOST_SECONDS,
    silent=True,
  )
  return [
    {
      'audio': film.samples[_SAMPLES_PER_FRAME * start :][
        : _SAMPLES_PER_FRAME * num_frames
      ],
      'image': centre_frames(
        film.frames[start : start + num_frames], image_size
      ),
      'label': np.int32(0),
    }
    for start in clip_starts(film, num_frames, path)
  ]


def view_clip(example: Example) -> dict[str, View]:
  """Returns what is seen and heard of a clip."""
  samples = np.clip(np.reshape(example['audio'], -1), -1, 1)
  return {
    'audio': Sound(samples, _SAMPLE_RATE),
    'image': Video(to_pixels(example['image']), _FRAME_RATE),
  }


def _open(split: str, data_dir: str | None) -> Source:
  """Opens the videos of a split; prepares them on first use."""
  builder = Kinetics700(
    config=split, data_dir=data_dir, file_format='array_record'
  )
  manual = manual_dir(
    builder,
    'Kinetics-700-2020',
    _ROOT,
    lambda path: (
      f'Get its videos ({_URL}), put them into {path}/train/CLASS/NAME.mp4 and '
      '.../val/CLASS/NAME.mp4, and run this again. '
      'experiments/configs/bunny.py trains on video without a download.'
    ),
  )
  if manual is not None:
    prepare(builder, manual, workers=None)
  return builder.as_data_source(SPLIT)


def _folder(root: pathlib.Path, split: str) -> pathlib.Path:
  for name in _SPLITS[split]:
    if (root / name).is_dir():
      return root / name
  raise FileNotFoundError(
    f'{root} has no folder of {split} videos, {" or ".join(_SPLITS[split])}. '
    f'Get them from {_URL}.'
  )


def _list_split(folder: pathlib.Path, labels: Mapping[str, int]) -> list[_File]:
  videos = []
  for path in sorted(folder.glob('*/*.mp4')):
    name = path.parent.name.replace('_', ' ')
    if name not in labels:
      raise ValueError(
        f'{path.parent} is a class that the training videos do not have.'
      )
    videos.append((path, labels[name]))
  if not videos:
    raise ValueError(f'{folder} has no videos CLASS/NAME.mp4.')
  return videos


def _check_clip(
  num_frames: int, num_samples: int, samples_per_patch: int
) -> None:
  if not 1 <= num_frames <= _MOST_FRAMES:
    raise ValueError(
      f'data.num_frames must be from 1 to {_MOST_FRAMES}, got {num_frames}.'
    )
  if num_samples != num_frames * _SAMPLES_PER_FRAME:
    raise ValueError(
      f'data.num_samples must be {_SAMPLES_PER_FRAME} for each of '
      f'{num_frames} frames, {num_frames * _SAMPLES_PER_FRAME}, got '
      f'{num_samples}.'
    )
  if samples_per_patch < 1 or num_samples % samples_per_patch:
    raise ValueError(
      f'data.samples_per_patch = {samples_per_patch} does not divide '
      f'data.num_samples = {num_samples}.'
    )
