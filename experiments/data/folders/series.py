"""Your own measurements over time: ROOT/{train,test}/CLASS/FILE.

A .csv has a line for each step and a column for each channel; its first line
may name them, and a column named 'time' or 'timestamp' is not read. An .npz or
.npy has one array `[steps, channels]` or `[steps]`.
"""

import functools
import pathlib
import zipfile
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from experiments.data.augmentation.series import augment_series, window
from experiments.data.dataset import Dataset, DataSpec, Example, array_spec
from experiments.data.features import array_feature
from experiments.data.folders.builder import open_folder
from experiments.data.folders.listing import (
  Folder,
  check_patches,
  files_note,
  list_folder,
  quantile,
  rounded,
  survey,
  whole_patches,
)

EXTENSIONS = ('.csv', '.tsv', '.npz', '.npy')
_NOT_CHANNELS = ('time', 'timestamp')
_MOST_PATCHES = 256
# Bands of the positions are 1 apart, and this many.
_MOST_RESOLUTION = 32
# The longest twentieth of the files is cut.
_WHOLE_SHARE = 0.95


def read_series(path: pathlib.Path) -> np.ndarray:
  """Reads a file of measurements.

  Returns:
    float32 `[steps, channels]`.

  Raises:
    ValueError: it is damaged or has something that is no finite number; the
      message names the file.
  """
  try:
    if path.suffix.lower() in ('.csv', '.tsv'):
      series = _read_table(path)
    else:
      series = _read_array(path)
    if series.ndim == 1:
      series = series[:, None]
    if series.ndim != 2 or not series.size:
      raise ValueError(f'an array {series.shape}, not [steps, channels]')
    series = series.astype(np.float32)
    if not np.isfinite(series).all():
      raise ValueError('a value that is not finite')
  except (
    ValueError,
    OSError,
    EOFError,
    TypeError,
    zipfile.BadZipFile,
  ) as error:
    raise ValueError(
      f'{path} cannot be read as measurements ({error}). Get it again, or take '
      'it out.'
    ) from error
  return series


def _read_table(path: pathlib.Path) -> np.ndarray:
  lines = [line for line in path.read_text('utf-8-sig').splitlines() if line]
  if not lines:
    raise ValueError('it is empty')
  delimiter = next((mark for mark in '\t;,' if mark in lines[0]), None)
  cells = [cell.strip(' "\'') for cell in lines[0].split(delimiter)]
  columns = range(len(cells))
  if not all(map(_is_number, cells)):
    columns = [i for i in columns if cells[i].lower() not in _NOT_CHANNELS]
    lines = lines[1:]
  if not lines:
    raise ValueError('it has no steps')
  return np.loadtxt(lines, delimiter=delimiter, usecols=columns, ndmin=2)


def _is_number(cell: str) -> bool:
  try:
    float(cell)
  except ValueError:
    return False
  return True


def _read_array(path: pathlib.Path) -> np.ndarray:
  loaded = np.load(path, allow_pickle=False)
  if isinstance(loaded, np.ndarray):
    return loaded
  with loaded:
    if len(loaded.files) != 1:
      raise ValueError(f'arrays {sorted(loaded.files)}, not one')
    return loaded[loaded.files[0]]


def series_folder(
  data_dir: str | None,
  *,
  root: str,
  classes: Sequence[str] | None,
  num_steps: int | None,
  max_steps: int,
  num_channels: int | None,
  mean: Sequence[float] | None,
  stddev: Sequence[float] | None,
  max_speed_change: float,
  max_scale: float,
  noise: float,
  skip_unreadable: bool,
) -> DataSpec:
  """Measurements of folders; prepared on first use.

  Args:
    data_dir: where TFDS keeps prepared data; None for its own default.
    root: has train/CLASS/FILE and test/CLASS/FILE.
    classes: names; None for the folders in train/.
    num_steps: of an example: of a longer file any window in training, the
      middle in evaluation. None for what 95 of 100 files fit into, in whole
      patches.
    max_steps: that is chosen at most.
    num_channels: of all files; None for that of the training files.
    mean: of each channel; None for that of the training files.
    stddev: of each channel; None for that of the training files.
    max_speed_change: see `augment_series`, like those that follow.
    max_scale: of training examples.
    noise: of training examples, in standard deviations.
    skip_unreadable: whether damaged files are left out.

  Returns:
    Examples with `series` float32 `[num_steps, num_channels]` of about zero
    mean and unit variance, `input_mask` bool, False for patches past the end of
    the file, and `label` int32.
  """
  if not 0.0 <= max_speed_change < 1.0:
    raise ValueError(
      f'data.max_speed_change must be in [0, 1), got {max_speed_change}.'
    )
  note = ''
  if None in (classes, num_steps, num_channels, mean, stddev):
    folder = list_folder(root, EXTENSIONS, classes)
    suited = _suited(folder, max_steps, skip_unreadable)
    classes = folder.classes
    num_steps = num_steps or suited.num_steps
    num_channels = num_channels or suited.num_channels
    mean, stddev = mean or suited.mean, stddev or suited.stddev
    note = _note(num_steps, num_channels, suited.lengths) + files_note(folder)
  patch = patch_steps(num_steps)
  check_patches('num_steps', num_steps, patch)
  offset, scale = (np.array(x, np.float32) for x in (mean, stddev))
  augment = functools.partial(
    augment_series,
    num_steps=num_steps,
    max_speed_change=max_speed_change,
    max_scale=max_scale,
    noise=noise,
  )

  def read(path: pathlib.Path) -> Example:
    series = read_series(path)
    if series.shape[1] != num_channels:
      raise ValueError(
        f'{path} has {series.shape[1]} channels; the others have '
        f'{num_channels}.'
      )
    return {'series': series}

  def finish(
    values: np.ndarray, inside: np.ndarray, example: Example
  ) -> Example:
    return {
      'series': values,
      'input_mask': inside.reshape(-1, patch).any(axis=1),
      'label': np.int32(example['label']),
    }

  def train_example(example: Example, rng: np.random.Generator) -> Example:
    series = (example['series'] - offset) / scale
    return finish(*augment(series, rng), example)

  def evaluation_example(example: Example) -> Example:
    series = (example['series'] - offset) / scale
    start = max(0, (len(series) - num_steps) // 2)
    cut = window(series, start=start, speed=1.0, num_steps=num_steps)
    return finish(*cut, example)

  def load() -> Dataset:
    shape = (None, num_channels)
    train, test = open_folder(
      list_folder(root, EXTENSIONS, classes),
      read,
      {'series': array_feature(shape, np.float32)},
      options={'kind': 'series', 'num_channels': num_channels},
      skip_unreadable=skip_unreadable,
      data_dir=data_dir,
    )
    return Dataset(
      train=train,
      augment=train_example,
      evaluation=test,
      prepare=evaluation_example,
    )

  return DataSpec(
    example={
      'series': array_spec(num_steps, num_channels),
      'input_mask': array_spec(num_steps // patch, dtype=np.bool_),
      'label': array_spec(dtype=np.int32),
    },
    num_classes=len(classes),
    load=load,
    chosen={
      'data.classes': tuple(classes),
      'data.num_steps': num_steps,
      'data.num_channels': num_channels,
      'data.mean': mean,
      'data.stddev': stddev,
      'inputs.series.patch_shape': (patch,),
      'inputs.series.positions.max_resolution': (
        max(2, min(num_steps // patch, _MOST_RESOLUTION)),
      ),
    },
    note=note,
  )


def patch_steps(num_steps: int) -> int:
  """Returns the steps of a patch, of which there are at most 256."""
  return -(-num_steps // _MOST_PATCHES)


class _Suited(NamedTuple):
  num_steps: int
  num_channels: int
  mean: tuple[float, ...]
  stddev: tuple[float, ...]
  lengths: list[int]


def _suited(folder: Folder, max_steps: int, skip_unreadable: bool) -> _Suited:
  """What suits the training files, and their lengths."""
  files = survey(
    folder.files['train'],
    lambda path: (path, read_series(path)),
    skip_unreadable=skip_unreadable,
  )
  num_channels = _common_channels(files)
  steps = np.concatenate([series for _, series in files], dtype=np.float64)
  spread = steps.std(axis=0)
  lengths = [len(series) for _, series in files]
  whole = min(int(quantile(lengths, _WHOLE_SHARE)), max_steps)
  return _Suited(
    whole_patches(whole, patch_steps),
    num_channels,
    rounded(steps.mean(axis=0)),
    # A channel that never changes is left at zero.
    rounded(np.where(spread, spread, 1.0)),
    lengths,
  )


def _common_channels(files: Sequence[tuple[pathlib.Path, np.ndarray]]) -> int:
  first, num_channels = files[0][0], files[0][1].shape[1]
  for path, series in files:
    if series.shape[1] != num_channels:
      raise ValueError(
        f'{first} has {num_channels} channels and {path} has '
        f'{series.shape[1]}: all files need the same.'
      )
  return num_channels


def _note(num_steps: int, num_channels: int, lengths: Sequence[int]) -> str:
  patch = patch_steps(num_steps)
  return (
    f'series: {num_channels} channels, {num_steps:,} steps (files have '
    f'{min(lengths):,} to {max(lengths):,}), {num_steps // patch} patches of '
    f'{patch}, '
  )
