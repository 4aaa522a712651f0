"""AudioSet: 10 s of 2.1 million YouTube videos, and which of 527 sounds occur.

Only lists are distributed (https://research.google.com/audioset, CC BY 4.0);
the videos are got from YouTube by whoever may, and many are gone. What is there
is read once, list by list: frames of 256 pixels on the short side at 25 a
second, sound of one channel at 48 kHz (Perceiver, section 4.2). About 6 MB and
a second of a core a clip. Clips without a file are counted, and those that
cannot be used are named.
"""

import pathlib
import typing
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from experiments.data.dataset import (
  Dataset,
  DataSpec,
  Example,
  Joined,
  Source,
  array_spec,
)
from experiments.datasets.audioset_files import (
  FRAME_RATE,
  SAMPLE_RATE,
  SAMPLES_PER_FRAME,
  SHORT_SIDE,
  recording_files,
  view_clip,
)
from experiments.datasets.audioset_lists import (
  NUM_CLASSES,
  Segment,
  class_names_below,
  find_segments,
)
from experiments.datasets.manual_downloads import manual_dir
from experiments.datasets.sharded_builder import SPLIT, ShardedBuilder, prepare
from experiments.files.media import decode_audio, has_video
from experiments.modalities.sound.augmentation import encode_int16
from experiments.modalities.video.augmentation import (
  augment_frames,
  centre_frames,
  even_starts,
  random_start,
)
from experiments.modalities.video.stored import (
  read_video,
  stored_frames,
  stored_sound,
  video_features,
)

_ROOT = 'audioset'
_URL = 'https://research.google.com/audioset/download.html'
_LISTS = ('balanced_train', 'unbalanced_train', 'eval')
_MODALITIES = ('audio', 'video')
_FEWEST_FRAMES = 32


class Audioset(ShardedBuilder):
  """10 s of YouTube videos, labelled with the sounds that occur."""

  VERSION = tfds.core.Version('1.0.0')
  BUILDER_CONFIGS: typing.ClassVar = [
    tfds.core.BuilderConfig(name=name, description=f'{name}_segments.csv')
    for name in _LISTS
  ]
  MANUAL_DOWNLOAD_INSTRUCTIONS = (
    f'Put the csv files of {_URL} into {_ROOT}/, media files into '
    f'{_ROOT}/media/.'
  )

  def _info(self) -> tfds.core.DatasetInfo:
    label = tfds.features.ClassLabel(num_classes=NUM_CLASSES)
    return self.dataset_info_from_configs(
      features=tfds.features.FeaturesDict(
        {
          **video_features(),
          'labels': tfds.features.Sequence(label),
          'name': tfds.features.Text(),
        }
      ),
      description=self.__doc__,
      homepage=_URL,
      disable_shuffling=True,
    )

  def items(self, manual_dir: pathlib.Path) -> Sequence[Segment]:
    """See `ShardedBuilder`; those segments that have a file."""
    return find_segments(manual_dir / _ROOT, self.builder_config.name)

  @staticmethod
  def read(item: Segment) -> tuple[str, dict[str, Any] | str]:
    """See `ShardedBuilder`; a file without video has no frames."""
    part = {'start': item.start, 'end': item.end}
    try:
      if has_video(item.path):
        example = read_video(
          item.path,
          frame_rate=FRAME_RATE,
          sample_rate=SAMPLE_RATE,
          short_side=SHORT_SIDE,
          **part,
        )
      else:
        samples = decode_audio(item.path, SAMPLE_RATE, **part)
        example = {'frames': [], 'audio': encode_int16(samples)}
    except ValueError as error:
      return item.name, f'{item.name}: {error}'
    num_frames = example['audio'].size // SAMPLES_PER_FRAME
    if num_frames < _FEWEST_FRAMES:
      return item.name, (
        f'{item.name}: {item.path} has {num_frames / FRAME_RATE} s, fewer '
        f'than {_FEWEST_FRAMES / FRAME_RATE}.'
      )
    return item.name, {**example, 'labels': item.labels, 'name': item.name}


class Clips:
  """Clips of recordings: each example is a recording and one of its clips.

  Args:
    recordings: examples.
    num_clips: of each.
  """

  def __init__(self, recordings: Source, num_clips: int):
    self._recordings = recordings
    self._num_clips = num_clips

  def __len__(self) -> int:
    return len(self._recordings) * self._num_clips

  def __getitem__(self, index: int) -> Example:
    recording, clip = divmod(index, self._num_clips)
    return {**self._recordings[recording], 'recording': recording, 'clip': clip}


def audioset(
  data_dir: str | None,
  *,
  train_lists: Sequence[str],
  modalities: Sequence[str],
  num_frames: int,
  image_size: int,
  evaluation_clips: int,
  max_brightness: float,
  max_contrast: float,
  max_saturation: float,
  max_hue: float,
) -> DataSpec:
  """AudioSet (Perceiver, section 4.2): 1.28 s of sound and video.

  Training clips are random in time, their frames also in space and colours.
  Held out are the clips of the evaluation list: equally spaced in their 10 s,
  the centre of their frames.

  Args:
    data_dir: where TFDS keeps prepared data; None for its own default. Lists
      and media are looked for in its `downloads/manual/audioset`.
    train_lists: 'balanced_train' (22,160 clips), 'unbalanced_train'
      (2,041,789) or both.
    modalities: 'audio', 'video' or both; files without video have the first.
    num_frames: of a clip, at most 32, at 25 a second; 1,920 samples of sound
      each.
    image_size: side of a frame, in pixels.
    evaluation_clips: of each held-out recording.
    max_brightness: see `video_augmentation.colour_matrix`, as those that
      follow.
    max_contrast: of training clips.
    max_saturation: of training clips.
    max_hue: of training clips.

  Returns:
    Examples with `audio` float32 `[1920 num_frames]` in [-1, 1], `video`
    float32 `[num_frames, image_size, image_size, 3]` in [0, 1] and `label`
    float32 `[527]`, 1 for each sound that occurs; held-out ones have
    `recording` int32.
  """
  _check_choice('train_lists', train_lists, _LISTS[:2])
  _check_choice('modalities', modalities, _MODALITIES)
  if not 1 <= num_frames <= _FEWEST_FRAMES or evaluation_clips < 1:
    raise ValueError(
      f'data.num_frames must be from 1 to {_FEWEST_FRAMES} and '
      'data.evaluation_clips at least 1, got '
      f'{num_frames} and {evaluation_clips}.'
    )

  def train_example(example: Example, rng: np.random.Generator) -> Example:
    start = random_start(_length(example, modalities), num_frames, rng)
    frames, rest = _clip(example, start, num_frames, modalities)
    if frames:
      rest['video'] = augment_frames(
        frames,
        rng,
        image_size=image_size,
        max_brightness=max_brightness,
        max_contrast=max_contrast,
        max_saturation=max_saturation,
        max_hue=max_hue,
      )
    return rest

  def evaluation_example(example: Example) -> Example:
    length = _length(example, modalities)
    starts = even_starts(length, num_frames, evaluation_clips)
    start = int(starts[example['clip']])
    frames, rest = _clip(example, start, num_frames, modalities)
    if frames:
      rest['video'] = centre_frames(frames, image_size)
    return {**rest, 'recording': np.int32(example['recording'])}

  def load() -> Dataset:
    held_out = _open('eval', data_dir)
    return Dataset(
      train=Joined([_open(name, data_dir) for name in train_lists]),
      augment=train_example,
      evaluation=Clips(held_out, evaluation_clips),
      prepare=evaluation_example,
    )

  arrays = {
    'audio': array_spec(num_frames * SAMPLES_PER_FRAME),
    'video': array_spec(num_frames, image_size, image_size, 3),
  }
  example = {name: arrays[name] for name in modalities}
  return DataSpec(
    example={**example, 'label': array_spec(NUM_CLASSES)},
    num_classes=NUM_CLASSES,
    load=load,
    class_names=_class_names(data_dir),
    files=recording_files(
      modalities=modalities,
      num_frames=num_frames,
      image_size=image_size,
      evaluation_clips=evaluation_clips,
    ),
    view=view_clip,
    has_recordings=True,
  )


def _class_names(data_dir: str | None) -> tuple[str, ...]:
  """What the classes are called; () where the lists are not there."""
  root = pathlib.Path(data_dir or tfds.core.constants.DATA_DIR).expanduser()
  return class_names_below(root / 'downloads' / 'manual' / _ROOT)


def _length(example: Example, modalities: Sequence[str]) -> int:
  """Returns how many frames a stored recording is long."""
  if 'video' in modalities:
    return len(example['frames'])
  return len(example['audio']) // SAMPLES_PER_FRAME


def _clip(
  example: Example, start: int, num_frames: int, modalities: Sequence[str]
) -> tuple[list[np.ndarray], dict[str, Any]]:
  """Returns the decoded frames of a clip, if wanted, and its other arrays."""
  label = np.zeros(NUM_CLASSES, np.float32)
  label[example['labels']] = 1.0
  rest: dict[str, Any] = {'label': label}
  if 'audio' in modalities:
    first, size = (n * SAMPLES_PER_FRAME for n in (start, num_frames))
    rest['audio'] = stored_sound(example, first, size)
  if 'video' not in modalities:
    return [], rest
  return stored_frames(example, start, num_frames, example['name']), rest


def _open(name: str, data_dir: str | None) -> Source:
  """Opens the clips of a list; prepares them on first use."""
  builder = Audioset(config=name, data_dir=data_dir, file_format='array_record')
  manual = manual_dir(
    builder,
    'AudioSet',
    _ROOT,
    lambda path: (
      f'Put the lists of {_URL} (three *_segments.csv and '
      f'class_labels_indices.csv) into {path}, and the media files into '
      f'{path}/media/: YTID_START.mp4 for the 10 s that begin at START '
      'seconds, or YTID.mp4 for a whole video. Then run this again. '
      'experiments/configs/tones.py trains on sound without a download.'
    ),
  )
  if manual is not None:
    prepare(builder, manual, workers=None)
  return builder.as_data_source(SPLIT)


def _check_choice(key: str, given: Sequence[str], known: Sequence[str]) -> None:
  if not given or len(set(given)) < len(given) or set(given) - set(known):
    raise ValueError(
      f'data.{key} must be one or more of {tuple(known)}, each once, got '
      f'{tuple(given)}.'
    )
