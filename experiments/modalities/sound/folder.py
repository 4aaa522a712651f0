"""Your own sounds: how they are kept, and become examples."""

import math
import pathlib
import statistics
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from experiments.data.dataset import Example, array_spec
from experiments.data.modality import View
from experiments.files.features import array_feature
from experiments.files.kind import FileKind, Survey
from experiments.files.listing import check_patches, quantile, whole_patches
from experiments.files.media import decode_audio, read_header
from experiments.files.windows import window_starts
from experiments.modalities.sound.augmentation import (
  add_noise,
  centred,
  decode_int16,
  encode_int16,
  random_filter,
  random_gain,
  random_warp,
)
from experiments.modalities.sound.view import Sound, to_samples
from perceiver_jax.spectrogram import mel_filters

_MOST_PATCHES = 192
_LEAST_PATCH = 16
# Bands of the positions are 1 apart, and this many.
_MOST_RESOLUTION = 64
# The longest twentieth of the files is cut.
_WHOLE_SHARE = 0.95
# Silence has no deviation to divide by.
_LEAST_STDDEV = 1e-4


class _Sound(NamedTuple):
  rate: int
  samples: np.ndarray  # At that rate, of the beginning.


# Of a frame of a spectrogram, at most; a window is twice as long.
_HOP_SECONDS = 0.016
_LEAST_WINDOW = 64
_MOST_MELS = 64
# What SpecAugment masks in a run, at most.
_MASKED_SHARE = 0.125


class Frames(NamedTuple):
  """Frames of a spectrogram; see `MelFrames`."""

  window_size: int
  hop_size: int
  num_mels: int


def frames_of(sample_rate: int, patch: int) -> Frames:
  """Returns frames of which whole ones fill a patch.

  Args:
    sample_rate: in Hz.
    patch: samples, a power of two.
  """
  hop = 2 ** int(math.log2(max(1.0, _HOP_SECONDS * sample_rate)))
  window = max(_LEAST_WINDOW, 2 * hop)
  for num_mels in range(_MOST_MELS, 1, -1):
    try:
      mel_filters(sample_rate, window, num_mels)
    except ValueError:  # A band falls between two frequencies.
      continue
    return Frames(window, min(hop, patch), num_mels)
  return Frames(window, min(hop, patch), 1)


def patch_samples(num_samples: int) -> int:
  """Returns the samples of a patch: a power of two, 192 patches at most."""
  patch = _LEAST_PATCH
  while num_samples > patch * _MOST_PATCHES:
    patch *= 2
  return patch


def sound_files(
  survey: Survey,
  *,
  sample_rate: int | None,
  max_sample_rate: int,
  num_samples: int | None,
  max_seconds: float,
  stddev: float | None,
  max_shift: float,
  max_speed_change: float,
  filter_decibels: float,
  rotate_phase: bool,
  max_gain_decibels: float,
  max_noise: float,
) -> FileKind:
  """Sounds, kept at their final rate.

  Args:
    survey: of the training files, for what is None.
    sample_rate: in Hz; None for that of most training files.
    max_sample_rate: that is chosen at most.
    num_samples: of an example: of a longer file any part in training, the
      middle in evaluation; a shorter one has silence about it. None for what 95
      of 100 files fit into, in whole patches.
    max_seconds: that are chosen at most.
    stddev: of the samples in [-1, 1]; None for that of the training files.
    max_shift: of training sounds to either side, as a share of their length.
    max_speed_change: see `random_warp`.
    filter_decibels: see `random_filter`.
    rotate_phase: see `random_filter`.
    max_gain_decibels: by which training sounds are louder or softer.
    max_noise: largest standard deviation of the noise in training sounds, in
      standard deviations of all sounds.

  Returns:
    Examples with `audio` float32 `[num_samples]` of about unit variance.
  """
  if None in (sample_rate, num_samples, stddev):
    suited = _suited(survey, max_seconds)
    sample_rate = sample_rate or min(suited.rate, max_sample_rate)
    num_samples = num_samples or whole_patches(
      round(suited.seconds * sample_rate), patch_samples
    )
    stddev = stddev or suited.stddev
  kept = _Format(sample_rate, num_samples, stddev)

  def train_example(example: Example, rng: np.random.Generator) -> Example:
    audio = example['audio']
    if len(audio) > num_samples:
      start = rng.integers(len(audio) - num_samples + 1)
      audio = audio[start : start + num_samples]
    audio = random_warp(
      decode_int16(centred(audio, num_samples)),
      rng,
      max_shift=max_shift * num_samples,
      max_speed_change=max_speed_change,
    )
    audio = random_filter(
      audio, rng, decibels=filter_decibels, rotate_phase=rotate_phase
    )
    audio = random_gain(audio, rng, max_decibels=max_gain_decibels)
    audio = add_noise(audio, rng, max_stddev=stddev * max_noise)
    return kept.normalise(audio)

  return FileKind(
    read=kept.read,
    features={'audio': array_feature((None,), np.int16)},
    options={'kind': 'sounds', 'sample_rate': sample_rate},
    example={'audio': array_spec(num_samples)},
    augment=train_example,
    prepare=lambda example: kept.part(example['audio']),
    view=kept.view,
    parts=kept.parts,
    chosen=kept.chosen(),
    note=_note(sample_rate, num_samples),
  )


class _Format(NamedTuple):
  """What sounds are kept as, and what becomes of them without any chance."""

  sample_rate: int
  num_samples: int
  stddev: float

  def read(self, path: pathlib.Path) -> Example:
    return {'audio': encode_int16(decode_audio(path, self.sample_rate))}

  def normalise(self, samples: np.ndarray) -> Example:
    audio = samples / np.float32(self.stddev)
    return {'audio': audio.astype(np.float32)}

  def part(self, codes: np.ndarray) -> Example:
    return self.normalise(decode_int16(centred(codes, self.num_samples)))

  def parts(self, example: Example) -> list[Example]:
    codes, size = example['audio'], self.num_samples
    starts = window_starts(len(codes), size, size)
    return [self.part(codes[start : start + size]) for start in starts]

  def view(self, example: Example) -> dict[str, View]:
    samples = to_samples(example['audio'] * np.float32(self.stddev))
    return {'audio': Sound(samples, self.sample_rate)}

  def chosen(self) -> dict[str, Any]:
    patch = patch_samples(self.num_samples)
    check_patches('num_samples', self.num_samples, patch)
    resolution = min(self.num_samples // patch, _MOST_RESOLUTION)
    frames = frames_of(self.sample_rate, patch)
    masked = int(_MASKED_SHARE * (self.num_samples // frames.hop_size))
    return {
      'data.sample_rate': self.sample_rate,
      'data.num_samples': self.num_samples,
      'data.stddev': self.stddev,
      'inputs.audio.samples_per_patch': patch,
      'inputs.audio.sample_rate': self.sample_rate,
      'inputs.audio.window_size': frames.window_size,
      'inputs.audio.hop_size': frames.hop_size,
      'inputs.audio.num_mels': frames.num_mels,
      'inputs.audio.frames_per_input': patch // frames.hop_size,
      'inputs.audio.max_masked_frames': masked,
      'inputs.audio.max_masked_bands': int(_MASKED_SHARE * frames.num_mels),
      'inputs.audio.positions.max_resolution': (max(2, resolution),),
    }


class _Suited(NamedTuple):
  rate: int
  seconds: float
  stddev: float


def _suited(survey: Survey, max_seconds: float) -> _Suited:
  """What suits the training sounds."""
  sounds = survey(lambda path: _measure(path, max_seconds))
  return _Suited(
    statistics.mode(sound.rate for sound in sounds),
    quantile([each.samples.size / each.rate for each in sounds], _WHOLE_SHARE),
    _stddev([sound.samples for sound in sounds]),
  )


def _measure(path: pathlib.Path, max_seconds: float) -> _Sound:
  rate = read_header(path).sample_rate
  if rate is None:
    raise ValueError(f'{path} has no sound.')
  return _Sound(rate, decode_audio(path, rate, end=max_seconds))


def _stddev(sounds: Sequence[np.ndarray]) -> float:
  """Of all samples about zero, to 4 digits."""
  squares = [np.square(each, dtype=np.float64).sum() for each in sounds]
  total = float(sum(squares))
  stddev = (total / sum(map(len, sounds))) ** 0.5
  return max(float(f'{stddev:.4g}'), _LEAST_STDDEV)


def _note(sample_rate: int, num_samples: int) -> str:
  patch = patch_samples(num_samples)
  return (
    f'audio: {sample_rate:,} Hz, {num_samples / sample_rate:.2f} s = '
    f'{num_samples:,} samples, {num_samples // patch} patches of {patch}, '
  )
