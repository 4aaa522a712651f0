"""Lines, TensorBoard events, by one process only, and on a full disk."""

import contextlib
import json
import resource
import shutil
import struct

import pytest
from tensorboardX.proto import event_pb2

from experiments.watching.writers import MetricsWriter


def write(workdir, step, rows):
  """Writes rows (step -> metrics) as a run that goes on after `step`."""
  with contextlib.closing(MetricsWriter(workdir, step, active=True)) as writer:
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
  with contextlib.closing(MetricsWriter(tmp_path, 0, active=True)) as writer:
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


def scalars(workdir):
  return [
    (event.step, value.tag, value.simple_value)
    for event in events(workdir)
    for value in event.summary.value
  ]


def test_tensorboard_events_hold_the_same_numbers(tmp_path):
  write(
    tmp_path,
    0,
    {1: {'train/loss': 2.5}, 7: {'train/loss': 0.25, 'eval/accuracy': 0.5}},
  )
  assert scalars(tmp_path) == [
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


# Sinks


class Copy:
  """A sink that keeps what it gets."""

  def __init__(self):
    self.rows, self.closed = [], 0

  def write(self, step, metrics):
    self.rows.append((step, dict(metrics)))

  def close(self):
    self.closed += 1


def test_the_same_goes_elsewhere_too(tmp_path):
  copy = Copy()
  writer = MetricsWriter(tmp_path, 0, active=True, also=[copy])
  writer.write(1, {'train/loss': 2.5})
  writer.write(2, {'train/loss': 0.5, 'eval/accuracy': 1.0})
  writer.close()
  assert [{'step': step, **row} for step, row in copy.rows] == lines(tmp_path)
  assert copy.closed == 1


def test_only_the_first_process_writes(tmp_path):
  write(tmp_path, 0, {1: {'train/loss': 1.0}, 2: {'train/loss': 2.0}})
  before = sorted(tmp_path.rglob('*'))
  copy = Copy()
  with contextlib.closing(
    MetricsWriter(tmp_path, 1, active=False, also=[copy])
  ) as writer:
    writer.write(2, {'train/loss': 5.0})
  assert sorted(tmp_path.rglob('*')) == before
  assert [row['train/loss'] for row in lines(tmp_path)] == [1.0, 2.0]
  assert copy.rows == []


# A full disk: here, no file may be longer than a limit.


@contextlib.contextmanager
def limit(size):
  """Of the bytes of any file that this process writes."""
  soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
  resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
  try:
    yield
  finally:
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_what_a_full_disk_does_not_take_is_written_later(tmp_path, capsys):
  copy = Copy()
  writer = MetricsWriter(tmp_path, 0, active=True, also=[copy])

  def write_rows(*steps):
    for step in steps:
      writer.write(step, {'train/loss': step / 8.0})

  def assert_written(numbers_in_lines, numbers_in_events):
    rows = [(row['step'], row['train/loss']) for row in lines(tmp_path)]
    assert rows == [(step, step / 8.0) for step in numbers_in_lines]
    rows = [(step, value) for step, _, value in scalars(tmp_path)]
    assert rows == [(step, step / 8.0) for step in numbers_in_events]

  write_rows(1, 2)
  (event_file,) = (tmp_path / 'tensorboard').iterdir()
  # Half a line would fit, and no event.
  with limit((tmp_path / 'metrics.jsonl').stat().st_size + 15):
    write_rows(3, 4)
    assert_written([1, 2], [1, 2])
  # Half an event would fit, and all lines.
  with limit(event_file.stat().st_size + 15):
    write_rows(5)
    assert_written([1, 2, 3, 4, 5], [1, 2])
  write_rows(6)
  assert_written([1, 2, 3, 4, 5, 6], [1, 2, 3, 4, 5, 6])
  write_rows(7)
  writer.close()
  assert [step for step, _ in copy.rows] == [1, 2, 3, 4, 5, 6, 7]
  assert copy.closed == 1
  assert capsys.readouterr().out == (
    f'Metrics wait, and training goes on: {event_file} cannot be written: File '
    'too large. Make room on its disk, or make it writable.\n'
    'Metrics are written again, with those that waited: step 6.\n'
  )


def test_what_is_gone_and_back_is_written(tmp_path):
  folder = tmp_path / 'run'
  folder.mkdir()
  with contextlib.closing(MetricsWriter(folder, 0, active=True)) as writer:
    away = folder.rename(tmp_path / 'away')
    writer.write(1, {'train/loss': 1.0})
    away.rename(folder)
  assert [row['step'] for row in lines(folder)] == [1]
  assert scalars(folder) == [(1, 'train/loss', 1.0)]


def test_metrics_that_cannot_be_written_at_the_end(tmp_path, capsys):
  writer = MetricsWriter(tmp_path, 0, active=True)
  (event_file,) = (tmp_path / 'tensorboard').iterdir()
  writer.write(1, {'train/loss': 1.0})
  with limit(30):
    writer.write(2, {'train/loss': 2.0})
    writer.close()
  assert capsys.readouterr().out.splitlines()[1:] == [
    f'The last metrics are lost: {event_file} cannot be written: File '
    'too large. Make room on its disk, or make it writable.'
  ]
  assert [row['step'] for row in lines(tmp_path)] == [1]


def test_going_on_needs_no_room_for_lines_that_are_there(tmp_path):
  rows = {step: {'train/loss': 1.0} for step in range(100)}
  write(tmp_path, 0, rows)
  shutil.rmtree(tmp_path / 'tensorboard')
  with limit((tmp_path / 'metrics.jsonl').stat().st_size - 100):
    write(tmp_path, 100, {})
    with pytest.raises(OSError, match='File too large'):
      write(tmp_path, 98, {})
  assert [row['step'] for row in lines(tmp_path)] == [*range(100)]
