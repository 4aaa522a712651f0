"""Bunny: 5.3 seconds of an animated film with its sound, embedded here.

132 frames of 64 x 64 at 25 a second and sound at 16 kHz, 640 samples a frame;
the film's last 496 samples lie behind its last frame and are left out. Clips
of a few frames are reconstructed from themselves. Held out are 4 stretches of 8
frames (0.32 s each), the middle of every quarter of the film: frames 12 to 19,
45 to 52, 78 to 85 and 111 to 118. It is one scene, so the held-out frames look
much like those around them. Source and licence: NOTICE.
"""

import pathlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from experiments.data.dataset import (
  Dataset,
  DataSpec,
  Example,
  Files,
  Source,
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
from experiments.files.media import VIDEO_EXTENSIONS
from experiments.modalities.images.view import to_pixels
from experiments.modalities.sound.augmentation import random_gain
from experiments.modalities.sound.view import Sound
from experiments.modalities.video.augmentation import blend_frames
from experiments.modalities.video.files import (
  MOST_SECONDS,
  clip_starts,
  read_film,
)
from experiments.modalities.video.view import Video

NUM_FRAMES = 132
SIDE = 64
SAMPLES_PER_FRAME = 640
FRAME_RATE = 25
SAMPLE_RATE = FRAME_RATE * SAMPLES_PER_FRAME
# Of the samples of the training stretches, where the loudest of the film is 1.
STDDEV = 0.07
_TEST_STRETCHES = ((12, 20), (45, 53), (78, 86), (111, 119))


class Bunny(EmbeddedBuilder):
  """Stretches of an animated film with its sound."""

  VERSION = tfds.core.Version('1.1.0')

  def features(self) -> dict[str, Any]:
    """See `EmbeddedBuilder`; the loudest sample of the film is 1."""
    return {
      'frames': array_feature(shape=(None, SIDE, SIDE, 3), dtype=np.uint8),
      'audio': array_feature(shape=(None,), dtype=np.float32),
      'first_frame': tfds.features.Scalar(dtype=np.int32),
    }

  def examples(self, split: str) -> Iterator[Example]:
    """See `EmbeddedBuilder`; an example is a whole stretch."""
    with np.load(FILES / 'bunny.npz', allow_pickle=False) as arrays:
      frames = arrays['frames']
      audio = arrays['audio'].astype(np.float32)
    audio /= np.abs(audio).max()
    for start, end in stretches(split):
      yield {
        'frames': frames[start:end],
        'audio': audio[start * SAMPLES_PER_FRAME : end * SAMPLES_PER_FRAME],
        'first_frame': start,
      }


def stretches(split: str) -> tuple[tuple[int, int], ...]:
  """Returns first frames and ends of the stretches of 'train' or 'test'."""
  if split == 'test':
    return _TEST_STRETCHES
  edges = [0, *(edge for pair in _TEST_STRETCHES for edge in pair), NUM_FRAMES]
  return tuple(zip(edges[::2], edges[1::2], strict=True))


def bunny(
  data_dir: str | None,
  *,
  num_frames: int,
  max_sound_shift: int,
  max_gain_decibels: float,
  random_polarity: bool,
  extrapolation: float,
  blend_nodes: int,
) -> DataSpec:
  """Bunny; prepared on first use and read into memory.

  Args:
    data_dir: where TFDS keeps prepared data; None for its own default.
    num_frames: of a clip, 1 to 8. Training clips start at every frame,
      held-out clips follow each other.
    max_sound_shift: samples of 1/16000 s by which the sound of a training clip
      is early or late, within its stretch.
    max_gain_decibels: by which training sounds are louder or softer.
    random_polarity: whether the sound of every other training clip is negated.
    extrapolation: see `blend_frames`: a training clip has the frames of two and
      the sound of one.
    blend_nodes: see `blend_frames`.

  Returns:
    Examples with `image` float32 `[num_frames, 64, 64, 3]` in [0, 1], `audio`
    float32 `[640 num_frames]` of about unit variance, and `mean_error`: the
    mean squared error of each that the mean of the training stretches makes (a
    mean for each pixel, one for all samples).
  """
  shortest = min(end - start for start, end in _TEST_STRETCHES)
  if not 1 <= num_frames <= shortest:
    raise ValueError(
      f'data.num_frames must be from 1 to {shortest}, the frames of a held-out '
      f'stretch, got {num_frames}.'
    )
  if not 1 <= blend_nodes <= SIDE:
    raise ValueError(
      f'data.blend_nodes must be from 1 to {SIDE}, got {blend_nodes}.'
    )

  def train_example(example: Example, rng: np.random.Generator) -> Example:
    shift = int(rng.integers(-max_sound_shift, max_sound_shift + 1))
    clip = cut_clip(example, num_frames, shift)
    audio = random_gain(clip['audio'], rng, max_decibels=max_gain_decibels)
    if random_polarity and rng.random() < 0.5:
      audio = -audio
    return {**clip, 'audio': audio}

  def load() -> Dataset:
    train, test = load_in_memory(Bunny, data_dir)
    means = means_of(train)

    def with_error(clip: Example) -> Example:
      return {**clip, 'mean_error': squared_errors(clip, means)}

    def mix(number: int, pair: Example, rng: np.random.Generator) -> Example:
      del number
      image = blend_frames(
        *pair['image'], rng, extrapolation=extrapolation, nodes=blend_nodes
      )
      return with_error({'image': image, 'audio': pair['audio'][0]})

    return Dataset(
      train=Windows(train, 'frames', length=num_frames, hop=1),
      augment=train_example,
      evaluation=Windows(test, 'frames', length=num_frames, hop=num_frames),
      prepare=lambda example: with_error(cut_clip(example, num_frames)),
      mix=mix,
    )

  example = {
    'audio': array_spec(num_frames * SAMPLES_PER_FRAME),
    'image': array_spec(num_frames, SIDE, SIDE, 3),
    'mean_error': {'audio': array_spec(), 'image': array_spec()},
  }
  return DataSpec(
    example=example,
    num_classes=None,
    load=load,
    files=Files(VIDEO_EXTENSIONS, lambda path: read_clips(path, num_frames)),
    view=view_clip,
  )


def cut_clip(example: Example, num_frames: int, shift: int = 0) -> Example:
  """Cuts a clip out of its stretch.

  Args:
    example: a stretch with the `start` of a clip.
    num_frames: of the clip.
    shift: samples that its sound starts late, as far as the stretch reaches.

  Returns:
    `image` float32 in [0, 1] and `audio` float32, its loudest 1 / STDDEV.
  """
  start, num_samples = example['start'], num_frames * SAMPLES_PER_FRAME
  first = start * SAMPLES_PER_FRAME + shift
  first = int(np.clip(first, 0, len(example['audio']) - num_samples))
  frames = example['frames'][start : start + num_frames]
  return {
    'image': frames.astype(np.float32) / 255,
    'audio': example['audio'][first : first + num_samples] / STDDEV,
  }


def read_clips(path: pathlib.Path, num_frames: int) -> Sequence[Example]:
  """Reads a film as clips that follow each other, as held-out ones are.

  Frames are made as small and cut square; the loudest sample of the film is
  taken for that of Bunny's. Without sound it is silent.

  Args:
    path: of the film; its first 20 seconds are read.
    num_frames: of a clip.

  Raises:
    ValueError: it cannot be decoded, or is shorter than a clip.
  """
  film = read_film(
    path,
    frame_rate=FRAME_RATE,
    sample_rate=SAMPLE_RATE,
    short_side=SIDE,
    end=MOST_SECONDS,
    silent=True,
  )
  top, left = ((side - SIDE) // 2 for side in film.frames.shape[1:3])
  loudest = float(np.abs(film.samples).max())
  whole = {
    'frames': film.frames[:, top : top + SIDE, left : left + SIDE],
    'audio': film.samples / np.float32(loudest or 1.0),
  }
  return [
    cut_clip({**whole, 'start': start}, num_frames)
    for start in clip_starts(film, num_frames, path)
  ]


def view_clip(example: Example) -> dict[str, View]:
  """Returns what is seen and heard of a clip."""
  samples = np.clip(np.reshape(example['audio'], -1) * STDDEV, -1, 1)
  return {
    'audio': Sound(samples, SAMPLE_RATE),
    'image': Video(to_pixels(example['image']), FRAME_RATE),
  }


def means_of(source: Source) -> dict[str, np.ndarray]:
  """Returns mean frame `[64, 64, 3]` and mean sample, as of clips."""
  stretches = [source[i] for i in range(len(source))]
  frames = np.concatenate([stretch['frames'] for stretch in stretches])
  audio = np.concatenate([stretch['audio'] for stretch in stretches])
  return {'image': frames.mean(axis=0) / 255, 'audio': audio.mean() / STDDEV}


def squared_errors(
  clip: Example, means: dict[str, np.ndarray]
) -> dict[str, np.float32]:
  """Returns the mean squared error of each modality's mean."""
  return {
    name: np.float32(np.square(clip[name] - mean).mean())
    for name, mean in means.items()
  }
