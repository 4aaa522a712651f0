"""Means of steps, and the time between readings by what it was spent on."""

import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.watching.meter import Meter
from experiments.watching.speed import Speed
from perceiver_jax.metrics import Mean

UNKNOWN = Speed(operations=None, kind='cpu', peak=None)


class Clock:
  """Time that passes only when told."""

  def __init__(self):
    self.seconds = 100.0

  def __call__(self):
    return self.seconds


@pytest.fixture
def clock(monkeypatch):
  clock = Clock()
  monkeypatch.setattr(time, 'perf_counter', clock)
  return clock


def mean(total, weight):
  return Mean(jnp.float32(total), jnp.float32(weight))


def step(meter, clock, seconds):
  """A step of so many seconds."""
  meter.add({'loss': mean(1.0, 1.0)})
  clock.seconds += seconds


def test_batches_count_by_their_weight(clock):
  meter = Meter(batch_size=4, speed=UNKNOWN)
  meter.add({'loss': mean(8.0, 4.0), 'accuracy': mean(1.0, 4.0)})
  meter.add({'loss': mean(6.0, 1.0), 'accuracy': mean(1.0, 1.0)})
  clock.seconds += 2.0
  row = meter.read(position=108)
  # What is in use is the machine's to say; see test_memory.py.
  memory = {name: row.pop(name) for name in list(row) if 'memory' in name}
  assert memory['train/host_memory'] > 1e7
  # (8 + 6) / (4 + 1), not the mean of 2 and 6; (1 + 1) / 5.
  assert row == {
    'train/loss': pytest.approx(2.8),
    'train/accuracy': pytest.approx(0.4),
    'train/examples_per_second': 4.0,
    'train/examples_seen': 108.0,
    'train/seconds_per_step': 1.0,
    'train/seconds_per_step_data_wait': 0.0,
    'train/seconds_per_step_device': 1.0,
    'train/seconds_per_step_checkpoint': 0.0,
    'train/seconds_evaluating': 0.0,
  }


def test_the_parts_are_the_whole_time_between_readings(clock):
  meter = Meter(batch_size=16, speed=UNKNOWN)
  for _ in range(4):
    with meter.waiting_for_data():
      clock.seconds += 0.25
    step(meter, clock, 0.5)
  with meter.evaluating():
    clock.seconds += 40.0
  with meter.saving():
    clock.seconds += 2.0
  with meter.evaluating():
    clock.seconds += 2.0
  row = meter.read(position=64)
  # 4 steps in 4 x 0.75 + 2 seconds; evaluations are apart.
  assert row['train/seconds_per_step_data_wait'] == 0.25
  assert row['train/seconds_per_step_device'] == 0.5
  assert row['train/seconds_per_step_checkpoint'] == 0.5
  assert row['train/seconds_per_step'] == 1.25
  assert row['train/seconds_evaluating'] == 42.0
  assert row['train/examples_per_second'] == 16 / 1.25
  assert 4 * row['train/seconds_per_step'] + 42.0 == clock.seconds - 100.0


def test_a_reading_starts_anew(clock):
  meter = Meter(batch_size=4, speed=UNKNOWN)
  with meter.waiting_for_data():
    clock.seconds += 3.0
  with meter.saving():
    clock.seconds += 5.0
  step(meter, clock, 1.0)
  assert meter.read(4)['train/seconds_per_step'] == 9.0
  meter.add({'loss': mean(4.0, 4.0)})
  clock.seconds += 0.5
  row = meter.read(8)
  assert row['train/loss'] == 1.0
  assert row['train/examples_per_second'] == 8.0
  assert row['train/examples_seen'] == 8.0
  assert row['train/seconds_per_step_device'] == 0.5
  assert row['train/seconds_per_step_data_wait'] == 0.0
  assert row['train/seconds_per_step_checkpoint'] == 0.0


def test_what_follows_a_reading_is_in_the_next(clock):
  # The loop reads before it evaluates and saves.
  meter = Meter(batch_size=10, speed=UNKNOWN)
  step(meter, clock, 1.0)
  assert meter.read(10)['train/seconds_evaluating'] == 0.0
  with meter.evaluating():
    clock.seconds += 100.0
  with meter.saving():
    clock.seconds += 3.0
  step(meter, clock, 2.0)
  row = meter.read(20)
  assert row['train/seconds_evaluating'] == 100.0
  assert row['train/seconds_per_step'] == 5.0
  assert row['train/seconds_per_step_checkpoint'] == 3.0


def test_a_block_that_fails_is_counted(clock):
  meter = Meter(batch_size=10, speed=UNKNOWN)
  with pytest.raises(KeyError), meter.evaluating():
    clock.seconds += 7.0
    raise KeyError
  step(meter, clock, 1.0)
  assert meter.read(10)['train/seconds_evaluating'] == 7.0


class Running:
  """A number that the device takes one more second to compute."""

  def __init__(self, clock):
    self.clock, self.done = clock, False

  def block_until_ready(self):
    if not self.done:
      self.clock.seconds += 1.0
      self.done = True
    return self

  def __array__(self, *_, **__):
    self.block_until_ready()
    return np.array(2.0)


@pytest.fixture
def accelerator(monkeypatch):
  monkeypatch.setattr(jax, 'default_backend', lambda: 'gpu')


@pytest.mark.parametrize('block', ['evaluating', 'saving'])
def test_steps_still_running_when_a_block_begins_are_steps(
  clock, accelerator, block
):
  # Steps are only queued; whoever needs their result first waits for them.
  running = Running(clock)
  meter = Meter(batch_size=4, speed=UNKNOWN)
  meter.add({'loss': Mean(running, np.array(1.0))})
  assert not running.done
  clock.seconds += 0.25
  with getattr(meter, block)():
    running.block_until_ready()  # the block's, a second; not its own
    clock.seconds += 5.0
  row = meter.read(4)
  assert row['train/loss'] == 2.0
  assert row['train/seconds_per_step_device'] == 1.25


def test_a_reading_waits_for_the_steps(clock, accelerator):
  running = Running(clock)
  meter = Meter(batch_size=4, speed=UNKNOWN)
  with meter.waiting_for_data():
    clock.seconds += 0.5
  meter.add({'loss': Mean(running, np.array(1.0))})
  row = meter.read(4)
  assert row['train/seconds_per_step_device'] == 1.0
  assert row['train/seconds_per_step'] == 1.5


@pytest.mark.parametrize('peak', [None, 50e12])
def test_operations_a_second_and_their_share_of_the_peak(clock, peak):
  meter = Meter(batch_size=4, speed=Speed(6e12, 'kind', peak))
  step(meter, clock, 0.25)
  with meter.waiting_for_data():
    clock.seconds += 0.25
  with meter.evaluating():
    clock.seconds += 10.0
  row = meter.read(position=4)
  # 6 trillion in half a second.
  assert row['train/teraflops_per_device'] == 12.0
  assert row.get('train/share_of_peak') == (peak and 0.24)
