"""Tones: 1,147 Mandarin syllables in four tones, embedded in this package.

One speaker, 8 kHz, 4,096 samples (0.51 s) each. The task is the tone, 1 to 4,
of syllables that were never heard in training, in any tone: 77 of the 386
syllables are held out. Source and licence: NOTICE. On a log-mel spectrogram of
32 x 32, kernel ridge regression reaches 99.1 %; on 32 loudnesses about 70 %.
"""

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
  check_limits,
)
from experiments.data.modality import View
from experiments.datasets.embedded_builder import (
  FILES,
  EmbeddedBuilder,
  load_in_memory,
)
from experiments.files.features import array_feature
from experiments.files.media import (
  SOUND_EXTENSIONS,
  VIDEO_EXTENSIONS,
  decode_audio,
  read_header,
)
from experiments.modalities.sound.augmentation import (
  add_noise,
  decode_mu_law,
  random_filter,
  random_gain,
  random_warp,
)
from experiments.modalities.sound.view import Sound, to_samples

CLASSES = (
  'tone 1, high',
  'tone 2, rising',
  'tone 3, dipping',
  'tone 4, falling',
)
_SAMPLE_RATE = 8000
_NUM_SAMPLES = 4096
# Of a recording in which a syllable is looked for.
_MOST_SECONDS = 60.0
_TEST_SHARE = 0.2
# Another seed is another test set: results would not compare.
_SPLIT_SEED = 0
# Of the samples of the training syllables, which are 1 at their loudest.
_STDDEV = 0.17
# Where the centre of the energy is in half of the training syllables.
_USUAL_CENTRE = 1785


class Tones(EmbeddedBuilder):
  """1,147 spoken Mandarin syllables in four tones."""

  VERSION = tfds.core.Version('1.1.0')

  def features(self) -> dict[str, Any]:
    """See `EmbeddedBuilder`."""
    return {
      'audio': array_feature(shape=(_NUM_SAMPLES,), dtype=np.float32),
      'label': tfds.features.ClassLabel(num_classes=len(CLASSES)),
      'syllable': tfds.features.Text(),
    }

  def examples(self, split: str) -> Iterator[Example]:
    """See `EmbeddedBuilder`."""
    with np.load(FILES / 'tones.npz', allow_pickle=False) as arrays:
      codes, tones = arrays['audio_mulaw'], arrays['tone']
      syllables = arrays['syllable']
    part = held_out(syllables) == (split == 'test')
    for code, tone, syllable in zip(
      codes[part], tones[part], syllables[part], strict=True
    ):
      yield {
        'audio': decode_mu_law(code),
        'label': int(tone),
        'syllable': str(syllable),
      }


def held_out(syllables: np.ndarray) -> np.ndarray:
  """Returns `[n]` bool: whether each recording is one to test with.

  Args:
    syllables: `[n]` str, what is said; a syllable is held out in all tones.
  """
  names = np.unique(syllables)
  order = np.random.default_rng(_SPLIT_SEED).permutation(names)
  return np.isin(syllables, order[: round(_TEST_SHARE * names.size)])


def tones(
  data_dir: str | None,
  *,
  max_shift: float,
  max_speed_change: float,
  filter_decibels: float,
  rotate_phase: bool,
  max_gain_decibels: float,
  max_noise: float,
) -> DataSpec:
  """Tones; prepared on first use and read into memory.

  Args:
    data_dir: where TFDS keeps prepared data; None for its own default.
    max_shift: of training sounds, in samples of 1/8000 s to either side.
    max_speed_change: of training sounds; 0.1 is from 0.9 to 1.1 times.
    filter_decibels: standard deviation by which frequencies of training sounds
      get louder or softer.
    rotate_phase: whether all frequencies of a training sound are moved by one
      random phase; see `sound.random_filter`.
    max_gain_decibels: by which training sounds are louder or softer.
    max_noise: largest standard deviation of the noise in training sounds, in
      standard deviations of all sounds.

  Returns:
    Examples with `audio` float32 `[4096]` of about zero mean and unit
    variance, and `label` int32, the tone less one.
  """
  _check_options(
    max_shift=max_shift,
    max_speed_change=max_speed_change,
    filter_decibels=filter_decibels,
    max_gain_decibels=max_gain_decibels,
    max_noise=max_noise,
  )

  def train_example(example: Example, rng: np.random.Generator) -> Example:
    audio = random_warp(
      example['audio'],
      rng,
      max_shift=max_shift,
      max_speed_change=max_speed_change,
    )
    audio = random_filter(
      audio, rng, decibels=filter_decibels, rotate_phase=rotate_phase
    )
    audio = random_gain(audio, rng, max_decibels=max_gain_decibels)
    audio = add_noise(audio, rng, max_stddev=_STDDEV * max_noise)
    return {**_normalize(audio), 'label': np.int32(example['label'])}

  def load() -> Dataset:
    train, test = load_in_memory(Tones, data_dir)
    return Dataset(
      train=train,
      augment=train_example,
      evaluation=test,
      prepare=lambda example: {
        **_normalize(example['audio']),
        'label': np.int32(example['label']),
      },
    )

  example = {
    'audio': array_spec(_NUM_SAMPLES),
    'label': array_spec(dtype=np.int32),
  }
  return DataSpec(
    example=example,
    num_classes=len(CLASSES),
    load=load,
    class_names=CLASSES,
    files=Files(
      (*SOUND_EXTENSIONS, *VIDEO_EXTENSIONS),
      lambda path: [_normalize(read_syllable(path))],
    ),
    view=_view,
  )


def read_syllable(path: pathlib.Path) -> np.ndarray:
  """Reads the loudest syllable of a recording as the data set has them.

  A recording of at most 0.512 s is taken as it is, with silence after it. Of a
  longer one it is the 0.512 s with the most energy, moved so that its centre is
  where the training syllables' is. After a minute nothing is read.

  Returns:
    float32 `[4096]` at 8 kHz; the loudest sample is 1 or -1.

  Raises:
    ValueError: it has no sound, or is silent; the message names the file.
  """
  seconds = read_header(path).seconds
  is_short = seconds is not None and seconds <= _MOST_SECONDS
  samples = decode_audio(
    path, _SAMPLE_RATE, end=None if is_short else _MOST_SECONDS
  )
  peak = np.abs(samples).max()
  if not peak > 0.0:
    raise ValueError(f'{path} is silent from start to end.')
  if len(samples) > _NUM_SAMPLES:
    samples = _loudest_syllable(samples)
  else:
    samples = np.pad(samples, (0, _NUM_SAMPLES - len(samples)))
  return samples / np.abs(samples).max()


def _loudest_syllable(samples: np.ndarray) -> np.ndarray:
  """Cuts `[4096]` out of more, see `read_syllable`."""
  energy = np.square(samples, dtype=np.float64)
  sums = np.cumsum(np.concatenate([[0.0], energy]))
  first = int(np.argmax(sums[_NUM_SAMPLES:] - sums[:-_NUM_SAMPLES]))
  part = energy[first : first + _NUM_SAMPLES]
  centre = first + float(np.arange(len(part)) @ part / part.sum())
  # Silence stands where the recording begins or ends too near.
  start = round(centre) - _USUAL_CENTRE + _NUM_SAMPLES
  return np.pad(samples, _NUM_SAMPLES)[start : start + _NUM_SAMPLES]


def _view(example: Example) -> dict[str, View]:
  samples = to_samples(example['audio'] * np.float32(_STDDEV))
  return {'audio': Sound(samples, _SAMPLE_RATE)}


def _check_options(*, max_speed_change: float, **limits: float) -> None:
  if not 0.0 <= max_speed_change < 1.0:
    raise ValueError(
      f'data.max_speed_change must be in [0, 1), got {max_speed_change}.'
    )
  check_limits(limits)


def _normalize(audio: np.ndarray) -> Example:
  return {'audio': audio / np.float32(_STDDEV)}
