"""The watch data thinned at random: what is left, and what is made of it."""

import csv

import numpy as np
import pytest

from experiments.datasets.examples import watch_events
from experiments.modalities.events.files import read_events
from experiments.modalities.series.files import read_series


@pytest.fixture(scope='module')
def found():
  return watch_events.windows()


def test_windows_are_means_of_three_steps(found):
  assert len(found) > 800
  with np.load(watch_events.FILES / 'watch.npz') as arrays:
    first = arrays['x'][: 83 * 3] * arrays['scale']
  motion, *_ = found[0]
  np.testing.assert_allclose(motion[1], first[3:6].mean(axis=0))
  assert motion.shape == (83, 6)
  assert {subject for *_, subject in found} == set(range(1, 11))


@pytest.mark.parametrize(('share', 'steps'), [(50, 42), (25, 21), (10, 8)])
def test_files_have_what_is_left(found, monkeypatch, tmp_path, share, steps):
  monkeypatch.setattr(watch_events, 'windows', lambda: found[:1] + found[-1:])
  watch_events.write_watch(tmp_path, [share])
  tmp_path = tmp_path / 'watch'
  with (tmp_path / str(share) / 'rows.csv').open() as file:
    rows = list(csv.DictReader(file))
  assert [row['use'] for row in rows] == [
    'train' if found[i][2] <= 5 else 'test' for i in (0, -1)
  ]
  for row, (motion, _, _) in zip(rows, (found[0], found[-1]), strict=True):
    events = read_events(tmp_path / str(share) / row['events'])
    grid = read_series(tmp_path / str(share) / row['grid'])
    assert grid.shape == (83, 6)
    assert len(events.time) == 6 * steps
    at = np.arange(83) * 0.06
    for number, name in enumerate(events.names):
      chosen = events.channel == number
      time, value = events.time[chosen], events.value[chosen]
      column = ('ax', 'ay', 'az', 'gx', 'gy', 'gz').index(name)
      seen = np.interp(time, at, motion[:, column])
      np.testing.assert_allclose(value, seen, atol=2e-3)
      np.testing.assert_allclose(
        grid[:, column], np.interp(at, time, value), atol=5e-3
      )
    distinct = len(np.unique(events.time))
    assert distinct == steps if share != 25 else distinct > 4 * steps
