"""Lines, TensorBoard events, throughput and what is printed."""

import contextlib
import io
import json
import struct
import sys
import time

import jax.numpy as jnp
import numpy as np
import pytest
from tensorboardX.proto import event_pb2

from experiments.writers import Meter, MetricsWriter, Progress
from perceiver_jax.metrics import Mean


def write(workdir, step, rows):
  """Writes rows (step -> metrics) as a run that goes on after `step`."""
  with contextlib.closing(MetricsWriter(workdir, step)) as writer:
    for row_step, row in rows.items():
      writer.write(row_step, row)


def lines(workdir):
  text = (workdir / 'metrics.jsonl').read_text()
  return [json.loads(line) for line in text.splitlines()]


# metrics.jsonl


def test_lines_are_json_with_the_step(tmp_path):
  write(
    tmp_path,
    0,
    {1: {'train/loss': 2.5}, 2: {'train/loss': 0.1, 'eval/accuracy': 0.5}},
  )
  assert lines(tmp_path) == [
    {'step': 1, 'train/loss': 2.5},
    {'step': 2, 'train/loss': 0.1, 'eval/accuracy': 0.5},
  ]


def test_lines_can_be_read_while_the_run_goes_on(tmp_path):
  with contextlib.closing(MetricsWriter(tmp_path, 0)) as writer:
    writer.write(1, {'train/loss': 2.5})
    assert lines(tmp_path) == [{'step': 1, 'train/loss': 2.5}]


def test_going_on_keeps_earlier_lines_and_drops_later_ones(tmp_path):
  write(tmp_path, 0, {i: {'train/loss': float(i)} for i in (1, 2, 3, 4)})
  write(tmp_path, 2, {3: {'train/loss': 30.0}})
  assert lines(tmp_path) == [
    {'step': 1, 'train/loss': 1.0},
    {'step': 2, 'train/loss': 2.0},
    {'step': 3, 'train/loss': 30.0},
  ]


def test_starting_anew_drops_everything(tmp_path):
  write(tmp_path, 0, {1: {'train/loss': 1.0}})
  write(tmp_path, 0, {})
  assert lines(tmp_path) == []


@pytest.mark.parametrize('half', ['{"step": 2, "train/l', '{"step": 2}', '{'])
def test_a_half_written_last_line_is_dropped(tmp_path, half):
  write(tmp_path, 0, {1: {'train/loss': 1.0}})
  with (tmp_path / 'metrics.jsonl').open('a') as file:
    file.write(half)  # the process was killed here
  write(tmp_path, 5, {6: {'train/loss': 6.0}})
  assert lines(tmp_path) == [
    {'step': 1, 'train/loss': 1.0},
    {'step': 6, 'train/loss': 6.0},
  ]


def test_no_temporary_file_is_left(tmp_path):
  write(tmp_path, 0, {1: {'train/loss': 1.0}})
  assert {path.name for path in tmp_path.iterdir()} == {
    'metrics.jsonl',
    'tensorboard',
  }


def refuse_constant(text):
  raise ValueError(f'{text} is not JSON')


@pytest.mark.parametrize('value', [float('nan'), float('inf')])
def test_a_diverged_loss_is_still_json(tmp_path, value):
  # Python's json writes a bare NaN, at which jq and JavaScript stop.
  write(tmp_path, 0, {1: {'train/loss': value, 'train/accuracy': 0.5}})
  text = (tmp_path / 'metrics.jsonl').read_text()
  row = json.loads(text, parse_constant=refuse_constant)
  assert (row['step'], row['train/accuracy']) == (1, 0.5)


# TensorBoard


def events(workdir):
  """All events: tfrecord frames of length, its crc, data, its crc."""
  result = []
  for path in sorted((workdir / 'tensorboard').iterdir()):
    data = path.read_bytes()
    while data:
      (length,) = struct.unpack('<Q', data[:8])
      assert len(data) >= 16 + length
      result.append(event_pb2.Event.FromString(data[12 : 12 + length]))
      data = data[16 + length :]
  return result


def test_tensorboard_events_hold_the_same_numbers(tmp_path):
  write(
    tmp_path,
    0,
    {1: {'train/loss': 2.5}, 7: {'train/loss': 0.25, 'eval/accuracy': 0.5}},
  )
  scalars = [
    (event.step, value.tag, value.simple_value)
    for event in events(tmp_path)
    for value in event.summary.value
  ]
  assert scalars == [
    (1, 'train/loss', 2.5),
    (7, 'train/loss', 0.25),
    (7, 'eval/accuracy', 0.5),
  ]


def test_going_on_tells_tensorboard_to_forget_later_steps(tmp_path):
  write(tmp_path, 4, {5: {'train/loss': 1.0}})
  started = [
    event.step
    for event in events(tmp_path)
    if event.session_log.status == event_pb2.SessionLog.START
  ]
  assert started == [5]


# Meter


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


def test_meter_weights_batches_by_their_weight(clock):
  meter = Meter(batch_size=4)
  meter.add({'loss': mean(8.0, 4.0), 'accuracy': mean(1.0, 4.0)})
  meter.add({'loss': mean(6.0, 1.0), 'accuracy': mean(1.0, 1.0)})
  clock.seconds += 2.0
  # (8 + 6) / (4 + 1), not the mean of 2 and 6; (1 + 1) / 5.
  assert meter.read() == {
    'train/loss': pytest.approx(2.8),
    'train/accuracy': pytest.approx(0.4),
    'train/examples_per_second': 4.0,
    'train/seconds_per_step': 1.0,
    'train/data_wait': 0.0,
  }


def test_meter_tells_the_share_of_waiting_for_data(clock):
  meter = Meter(batch_size=4)
  for seconds_computing in (1.0, 0.5):
    with meter.waiting_for_data():
      clock.seconds += 0.25
    clock.seconds += seconds_computing
    meter.add({'loss': mean(1.0, 1.0)})
  assert meter.read()['train/data_wait'] == 0.25  # 0.5 s of 2.
  meter.add({'loss': mean(1.0, 1.0)})
  clock.seconds += 1.0
  assert meter.read()['train/data_wait'] == 0.0


def test_meter_starts_anew_after_a_reading(clock):
  meter = Meter(batch_size=4)
  meter.add({'loss': mean(8.0, 4.0)})
  clock.seconds += 1.0
  with meter.paused():
    clock.seconds += 5.0
  assert meter.read()['train/examples_per_second'] == 4.0
  meter.add({'loss': mean(4.0, 4.0)})
  clock.seconds += 0.5
  row = meter.read()
  assert row['train/loss'] == 1.0
  assert row['train/examples_per_second'] == 8.0
  assert row['train/seconds_per_step'] == 0.5


def test_meter_does_not_count_pauses(clock):
  meter = Meter(batch_size=10)
  for _ in range(4):
    meter.add({'loss': mean(1.0, 10.0)})
    clock.seconds += 0.5
    with meter.paused():
      clock.seconds += 100.0
  row = meter.read()
  assert row['train/seconds_per_step'] == 0.5
  assert row['train/examples_per_second'] == 20.0


def test_meter_counts_a_pause_after_a_reading_to_nobody(clock):
  # The loop reads before it evaluates: the pause falls into the next reading.
  meter = Meter(batch_size=10)
  meter.add({'loss': mean(1.0, 10.0)})
  clock.seconds += 1.0
  meter.read()
  with meter.paused():
    clock.seconds += 100.0
  meter.add({'loss': mean(1.0, 10.0)})
  clock.seconds += 2.0
  assert meter.read()['train/seconds_per_step'] == 2.0


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


def test_steps_still_running_when_a_pause_begins_are_counted(clock):
  # Steps are only queued; whoever needs their result first waits for them.
  running = Running(clock)
  meter = Meter(batch_size=4)
  meter.add({'loss': Mean(running, np.array(1.0))})
  clock.seconds += 0.25
  with meter.paused():
    running.block_until_ready()  # the evaluation, a second; not its own
    clock.seconds += 5.0
  row = meter.read()
  assert row['train/loss'] == 2.0
  assert row['train/seconds_per_step'] == 1.25


# Progress

ROW = {
  'train/loss': 0.51234,
  'train/examples_per_second': 123.6,
  'train/seconds_per_step': 0.5,
}


def test_progress_prints_plain_lines_where_there_is_no_terminal(capsys):
  with contextlib.closing(Progress(100, 300)) as progress:
    progress.say('Compiling.')
    progress.advance()
    progress.report(101, ROW)
    progress.advance()
    progress.say('step 102: eval/accuracy 0.5')
  out, err = capsys.readouterr()
  # 199 steps of half a second are left: 99 seconds.
  assert out.splitlines() == [
    'Compiling.',
    'step 101/300: loss 0.5123, 124 examples/s, 01:39 left',
    'step 102: eval/accuracy 0.5',
  ]
  assert err == ''


class Terminal(io.StringIO):
  """Standard output that says it is a terminal."""

  def isatty(self):
    return True


def test_progress_is_a_bar_on_a_terminal(monkeypatch):
  terminal = Terminal()
  monkeypatch.setattr(sys, 'stdout', terminal)
  with contextlib.closing(Progress(100, 300)) as progress:
    progress.advance()
    progress.report(101, ROW)
    progress.say('step 101: eval/accuracy 0.5')
  shown = terminal.getvalue()
  assert '\r' in shown
  assert '101/300' in shown
  assert 'loss 0.5123, 124 examples/s' in shown
  assert 'step 101: eval/accuracy 0.5\n' in shown
  assert 'left' not in shown  # the bar says so itself
