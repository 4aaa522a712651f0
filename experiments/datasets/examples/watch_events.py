"""The watch data as tables of files, thinned at random.

watch/{100,50,25,10}/rows.csv have a row for each 5 s of a recording: `events`
names a file of the events that are left, and `grid` one of the same, linearly
interpolated to all steps; `exercise` is the answer, and `use` says which rows
are of the people who train, and who test. Of 50 and 10 % whole steps are left,
at their own times; of 25 % each channel has other steps, and its own clock,
which is up to a step behind.
"""

import csv
import pathlib
from collections.abc import Sequence

import numpy as np

from experiments.datasets.embedded_builder import FILES
from experiments.datasets.watch import CLASSES

SHARES = (100, 50, 25, 10)
_CHANNELS = ('ax', 'ay', 'az', 'gx', 'gy', 'gz')
_STEPS, _JOINED = 83, 3  # Of 50 a second three are one.
_SECONDS = _JOINED / 50.0
_TRAIN_SUBJECTS = range(1, 6)


def windows() -> list[tuple[np.ndarray, int, int]]:
  """Returns motion float64 `[83, 6]`, number of the exercise, and subject."""
  with np.load(FILES / 'watch.npz', allow_pickle=False) as arrays:
    motion = arrays['x'] * arrays['scale']
    ends = np.cumsum(arrays['length'])
    labels, subjects = arrays['y'], arrays['subject']
  found = []
  size = _STEPS * _JOINED
  for recording, label, subject in zip(
    np.split(motion, ends[:-1]), labels, subjects, strict=True
  ):
    for start in range(0, len(recording) - size + 1, size):
      part = recording[start : start + size].reshape(_STEPS, _JOINED, -1)
      found.append((part.mean(axis=1), int(label), int(subject)))
  return found


def thinned(
  share: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
  """Returns which steps are left of each channel, and how late its clock is.

  Args:
    share: per cent that are left.
    rng: source of randomness.

  Returns:
    bool `[83, 6]`, at least two of each channel; and seconds `[6]`.
  """
  own = share == 25
  count = max(2, round(_STEPS * share / 100))
  kept = np.zeros((_STEPS, len(_CHANNELS)), bool)
  for channel in range(len(_CHANNELS)) if own else [slice(None)]:
    kept[rng.permutation(_STEPS)[:count], channel] = True
  late = rng.uniform(0.0, _SECONDS, len(_CHANNELS)) * own
  return kept, late


def sampled(motion: np.ndarray, late: np.ndarray) -> np.ndarray:
  """Returns what clocks that are late would have seen of motion `[83, 6]`."""
  steps = np.arange(_STEPS)
  return np.stack(
    [
      np.interp(steps + late[i] / _SECONDS, steps, column)
      for i, column in enumerate(motion.T)
    ],
    axis=1,
  )


def _lines(
  values: np.ndarray, kept: np.ndarray, late: np.ndarray
) -> Sequence[Sequence[object]]:
  """A table in the wide form; in the long one where clocks differ."""
  times = np.arange(_STEPS) * _SECONDS
  if not late.any():
    rows = [
      [f'{times[i]:.3f}', *(f'{x:.5g}' for x in values[i])]
      for i in np.flatnonzero(kept.any(axis=1))
    ]
    return [('time', *_CHANNELS), *rows]
  events = [
    (f'{times[i] + late[j]:.4f}', _CHANNELS[j], f'{values[i, j]:.5g}')
    for i, j in zip(*np.nonzero(kept), strict=True)
  ]
  return [('time', 'channel', 'value'), *events]


def _interpolated(
  values: np.ndarray, kept: np.ndarray, late: np.ndarray
) -> Sequence[Sequence[object]]:
  times = np.arange(_STEPS) * _SECONDS
  grid = np.stack(
    [
      np.interp(times, times[left] + late[i], values[left, i])
      for i, left in enumerate(kept.T)
    ],
    axis=1,
  )
  return [_CHANNELS, *([f'{x:.5g}' for x in row] for row in grid)]


def _write(path: pathlib.Path, rows: Sequence[Sequence[object]]) -> None:
  with path.open('w', encoding='utf-8', newline='') as file:
    csv.writer(file).writerows(rows)


def write_watch(
  folder: pathlib.Path, shares: Sequence[int] = SHARES
) -> list[pathlib.Path]:
  """Writes a table for each share; see the head of this file.

  Args:
    folder: that gets `watch/`.
    shares: per cent of the steps that are left.

  Returns:
    The tables.
  """
  tables = []
  for share in shares:
    place = folder / 'watch' / str(share)
    place.mkdir(parents=True, exist_ok=True)
    rows = [('events', 'grid', 'exercise', 'subject', 'use')]
    rng = np.random.default_rng(share)
    for number, (motion, label, subject) in enumerate(windows()):
      kept, late = thinned(share, rng)
      values = sampled(motion, late)
      names = f'{number}.csv', f'{number}_grid.csv'
      _write(place / names[0], _lines(values, kept, late))
      _write(place / names[1], _interpolated(values, kept, late))
      use = 'train' if subject in _TRAIN_SUBJECTS else 'test'
      rows.append((*names, CLASSES[label], subject, use))
    _write(place / 'rows.csv', rows)
    tables.append(place / 'rows.csv')
  return tables
