"""The rate of a pipeline is that of the batches that were timed."""

import pytest

from experiments.configs import digits
from experiments.measuring import input_rate


class Stream:
  """Batches that take a second each; counts how many were asked for."""

  def __init__(self, clock):
    self.clock = clock
    self.made = 0
    self.closed = False

  def __next__(self):
    self.made += 1
    self.clock.seconds += 1.0

  def close(self):
    self.closed = True


class Clock:
  seconds = 0.0

  def __call__(self):
    return self.seconds


def test_batches_made_ahead_are_not_timed(monkeypatch, tmp_path):
  clock, streams = Clock(), {}

  def train_batches(dataset, batch_size, *, seed, position, workers):
    assert len(dataset.train) == 4000
    assert (batch_size, seed, position) == (16, 0, 0)
    streams[workers] = Stream(clock)
    return streams[workers]

  monkeypatch.setattr(input_rate, 'train_batches', train_batches)
  monkeypatch.setattr(input_rate.time, 'perf_counter', clock)
  monkeypatch.setattr(input_rate.os, 'cpu_count', lambda: 5)
  result = input_rate.measure(
    digits.get_config(), str(tmp_path), batch_size=16, batches=10
  )
  assert [row['workers'] for row in result['rows']] == [0, 1, 2, 4]
  for row in result['rows']:
    assert row['examples_per_second'] == pytest.approx(16.0)
  # Ahead: 8 by threads, 3 more for each worker.
  assert {w: s.made for w, s in streams.items()} == {0: 18, 1: 21, 2: 24, 4: 30}
  assert all(stream.closed for stream in streams.values())
  text = input_rate.render(result)
  assert 'threads alone' in text and '4 worker processes' in text
