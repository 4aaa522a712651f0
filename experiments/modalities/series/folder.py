"""Your own measurements over time: how they are kept, and become examples.

See `files.series` for what is read.
"""

import functools
import pathlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from experiments.data.dataset import Example, array_spec
from experiments.data.modality import View
from experiments.files.features import array_feature
from experiments.files.kind import FileKind, Survey
from experiments.files.listing import (
  check_patches,
  quantile,
  rounded,
  rounded_by,
  whole_patches,
)
from experiments.files.windows import window_starts
from experiments.modalities.series.augmentation import augment_series, window
from experiments.modalities.series.files import (
  Measurements,
  arranged,
  read_measurements,
  read_series,
)
from experiments.modalities.series.mixing import mix_series
from experiments.modalities.series.view import Series

# Whose spectrum is taken; or four patches.
_LEAST_WINDOW = 32
# Bands of the positions are 1 apart, and this many.
_MOST_RESOLUTION = 32
# Of the values: what rounding makes of a channel that never changes.
_LEAST_SPREAD = 1e-12
# The longest twentieth of the files is cut.
_WHOLE_SHARE = 0.95


def series_files(
  survey: Survey,
  *,
  num_steps: int | None,
  max_steps: int,
  num_channels: int | None,
  channels: Sequence[str] | None,
  mean: Sequence[float] | None,
  stddev: Sequence[float] | None,
  max_speed_change: float,
  max_scale: float,
  noise: float,
  mix_probability: float = 0.0,
  max_patches: int = 256,
) -> FileKind:
  """Measurements, kept in standard deviations.

  Args:
    survey: of the training files, for what is None.
    num_steps: of an example: of a longer file any window in training, the
      middle in evaluation. None for what 95 of 100 files fit into, in whole
      patches.
    max_steps: that is chosen at most.
    num_channels: of all files; None for that of the training files.
    channels: their names in order, where files name them: a file that has them
      in another order is read in this one. None for those of the training
      files, () where they name none.
    mean: of each channel; None for that of the training files.
    stddev: of each channel; None for that of the training files.
    max_speed_change: see `augment_series`, like those that follow.
    max_scale: of training examples.
    noise: of training examples, in standard deviations.
    mix_probability: see `mix_series`; above 0 each training example is made of
      two series.
    max_patches: that a series is cut into at most.

  Returns:
    Examples with `series` float32 `[num_steps, num_channels]` of about zero
    mean and unit variance, and `input_mask` bool, False for patches past the
    end of the file.
  """
  if not 0.0 <= max_speed_change < 1.0:
    raise ValueError(
      f'data.max_speed_change must be in [0, 1), got {max_speed_change}.'
    )
  lengths: Sequence[int] = ()
  if None in (num_steps, num_channels, channels, mean, stddev):
    suited = _suited(survey, max_steps, max_patches)
    lengths = suited.lengths
    num_steps = num_steps or suited.num_steps
    num_channels = num_channels or suited.num_channels
    channels = suited.channels if channels is None else channels
    mean, stddev = mean or suited.mean, stddev or suited.stddev
  kept = _Format(
    num_steps,
    num_channels,
    tuple(channels),
    mean,
    stddev,
    patch_steps(num_steps, max_patches),
  )
  augment = functools.partial(
    augment_series,
    num_steps=num_steps,
    max_speed_change=max_speed_change,
    max_scale=max_scale,
    noise=noise,
  )

  mix = None
  if mix_probability:
    mix = functools.partial(mix_series, probability=mix_probability)

  def train_example(example: Example, rng: np.random.Generator) -> Example:
    return kept.masked(*augment(example['series'], rng))

  return FileKind(
    read=kept.read,
    features={'series': array_feature((None, num_channels), np.float32)},
    options={
      'kind': 'series',
      'num_channels': num_channels,
      'channels': list(kept.channels),
      'mean': [float(value) for value in mean],
      'stddev': [float(value) for value in stddev],
    },
    example={
      'series': array_spec(num_steps, num_channels),
      'input_mask': array_spec(num_steps // kept.patch, dtype=np.bool_),
    },
    augment=train_example,
    prepare=kept.prepare,
    view=kept.view,
    parts=kept.parts,
    mix=mix,
    chosen=kept.chosen(),
    note=_note(kept, lengths),
  )


class _Format(NamedTuple):
  """What series are kept as, and what becomes of them without any chance."""

  num_steps: int
  num_channels: int
  channels: tuple[str, ...]
  mean: Sequence[float]
  stddev: Sequence[float]
  patch: int

  def read(self, path: pathlib.Path) -> Example:
    series = read_series(path, self.channels)
    if series.shape[1] != self.num_channels:
      raise ValueError(
        f'{path} has {series.shape[1]} channels; the training files have '
        f'{self.num_channels}.'
      )
    # In double precision: what changes may be small beside what is there.
    values = (series - np.array(self.mean)) / np.array(self.stddev)
    return {'series': values.astype(np.float32)}

  def masked(self, values: np.ndarray, inside: np.ndarray) -> Example:
    mask = inside.reshape(-1, self.patch).any(axis=1)
    return {'series': values, 'input_mask': mask}

  def part(self, series: np.ndarray, start: int) -> Example:
    size = self.num_steps
    return self.masked(*window(series, start=start, speed=1.0, num_steps=size))

  def prepare(self, example: Example) -> Example:
    series = example['series']
    return self.part(series, max(0, (len(series) - self.num_steps) // 2))

  def parts(self, example: Example) -> list[Example]:
    series = example['series']
    starts = window_starts(len(series), self.num_steps, self.num_steps)
    return [self.part(series, start) for start in starts]

  def view(self, example: Example) -> dict[str, View]:
    offset, scale = np.array([self.mean, self.stddev], np.float64)
    values = example['series'][: example['input_mask'].sum() * self.patch]
    return {'series': Series(values * scale + offset, None)}

  def chosen(self) -> dict[str, Any]:
    check_patches('num_steps', self.num_steps, self.patch)
    resolution = min(self.num_steps // self.patch, _MOST_RESOLUTION)
    return {
      'data.num_steps': self.num_steps,
      'data.num_channels': self.num_channels,
      'data.channels': self.channels,
      'data.mean': self.mean,
      'data.stddev': self.stddev,
      'inputs.series.patch_shape': (self.patch,),
      'inputs.series.patch': self.patch,
      'inputs.series.window': max(_LEAST_WINDOW, 4 * self.patch),
      'inputs.series.positions.max_resolution': (max(2, resolution),),
    }


def patch_steps(num_steps: int, max_patches: int) -> int:
  """Returns the steps of a patch, of which there are at most so many."""
  return -(-num_steps // max_patches)


class _Suited(NamedTuple):
  num_steps: int
  num_channels: int
  channels: tuple[str, ...]
  mean: tuple[float, ...]
  stddev: tuple[float, ...]
  lengths: list[int]


def _suited(survey: Survey, max_steps: int, max_patches: int) -> _Suited:
  """What suits the training files, and their lengths."""
  files = survey(lambda path: (path, read_measurements(path)))
  num_channels, channels = _common_channels(files)
  series = [arranged(path, found, channels) for path, found in files]
  steps = np.concatenate(series)
  spread = steps.std(axis=0)
  # A channel that never changes is left at zero.
  constant = spread <= _LEAST_SPREAD * np.abs(steps).max(axis=0)
  spread = np.where(constant, 1.0, spread)
  lengths = [len(each) for each in series]
  whole = min(int(quantile(lengths, _WHOLE_SHARE)), max_steps)
  return _Suited(
    whole_patches(
      whole, functools.partial(patch_steps, max_patches=max_patches)
    ),
    num_channels,
    channels,
    rounded_by(steps.mean(axis=0), spread),
    rounded(spread),
    lengths,
  )


def _common_channels(
  files: Sequence[tuple[pathlib.Path, Measurements]],
) -> tuple[int, tuple[str, ...]]:
  """Returns how many channels all files have, and their names if any."""
  first, (values, _) = files[0]
  num_channels = values.shape[1]
  for path, (values, _) in files:
    if values.shape[1] != num_channels:
      raise ValueError(
        f'{first} has {num_channels} channels and {path} has '
        f'{values.shape[1]}: all files need the same.'
      )
  named = (names for _, (_, names) in files if names)
  return num_channels, next(named, ())


def _note(kept: _Format, lengths: Sequence[int]) -> str:
  found = ''
  if lengths:
    found = f' (files have {min(lengths):,} to {max(lengths):,})'
  return (
    f'series: {kept.num_channels} channels, {kept.num_steps:,} steps{found}, '
    f'{kept.num_steps // kept.patch} patches of {kept.patch}, '
  )
