"""Examples that cannot be read, and data that does not come."""

import functools
import io
import itertools
import os
import time

import jax
import numpy as np
import pytest
from absl import flags
from PIL import Image

from experiments.data.dataset import Dataset, InMemory, Joined, Windows
from experiments.data.faults import HELD_OUT, TRAINING, DataFaults
from experiments.data.pipeline import (
  count_unreadable,
  evaluation_batches,
  train_batches,
)
from experiments.data.stalls import StallWatch
from experiments.host.configuration import construct
from experiments.modalities.images import augmentation

SIZE = 10
# Cut off in the middle, and bytes that are nothing: neighbours, and the last.
TRUNCATED, GARBAGE, LAST = 3, 4, 9
BAD = (TRUNCATED, GARBAGE, LAST)
REPLACED = {3: 5, 4: 5, 9: 0}


@functools.cache
def jpeg(number):
  """A noisy image of 16 x 16 pixels, encoded."""
  pixels = np.random.default_rng(number).integers(0, 256, (16, 16, 3))
  file = io.BytesIO()
  Image.fromarray(pixels.astype(np.uint8)).save(file, 'JPEG')
  return file.getvalue()


class Images:
  """Encoded images, some damaged; `number` tells which one was read."""

  def __init__(self, bad=BAD, size=SIZE):
    self.bad, self.size, self.reads = bad, size, 0

  def __len__(self):
    return self.size

  def __getitem__(self, index):
    self.reads += 1
    encoded = jpeg(int(index))
    if index in self.bad:
      half = encoded[: len(encoded) // 2]
      encoded = b'no image' if index == GARBAGE else half
    return {'encoded': encoded, 'number': np.int64(index)}


def decode(example, name='an image'):
  image = augmentation.decode(example['encoded'], name)
  return {'image': image, 'number': example['number']}


def augment(example, rng):
  return {**decode(example), 'noise': rng.random()}


def stacked(number, pair, rng):
  del number, rng
  assert sorted(pair) == ['image', 'noise', 'number']
  return {'numbers': pair['number'], 'image': pair['image'].mean(axis=0)}


def dataset(bad=BAD, mix=None, **changes):
  return Dataset(Images(bad), augment, Images(bad), decode, mix)._replace(
    **changes
  )


def taken(batches, count):
  """The first batches; ends their threads and processes."""
  try:
    return list(itertools.islice(batches, count))
  finally:
    batches.close()


@pytest.fixture
def lines():
  return []


@pytest.fixture
def make_faults(lines):
  """Makes faults that say lines, and ends them."""
  made = []

  def make(bad_examples=0, stall_seconds=60.0):
    faults = DataFaults(
      lines.append, bad_examples=bad_examples, stall_seconds=stall_seconds
    )
    made.append(faults)
    return faults

  yield make
  for faults in made:
    faults.close()


def assert_same(actual, expected):
  for one, two in zip(actual, expected, strict=True):
    assert one.keys() == two.keys()
    for key in two:
      np.testing.assert_array_equal(one[key], two[key])


def pretend(monkeypatch, *, processes, process):
  monkeypatch.setattr(jax, 'process_count', lambda: processes)
  monkeypatch.setattr(jax, 'process_index', lambda: process)


@pytest.fixture(scope='module')
def whole():
  """Six batches of the stream, three examples left out."""
  faults = DataFaults(lambda line: None, bad_examples=3)
  batches = train_batches(dataset(), 5, seed=0, position=0, faults=faults)
  try:
    return taken(batches, 6)
  finally:
    faults.close()


# Training.


def test_the_next_readable_example_takes_the_place_of_a_bad_one(whole):
  clean = taken(train_batches(dataset(()), 5, seed=0, position=0), 6)
  for batch, expected in zip(whole, clean, strict=True):
    numbers = [REPLACED.get(n, n) for n in expected['number'].tolist()]
    assert batch['number'].tolist() == numbers
    decoded = [augmentation.decode(jpeg(n), '') for n in numbers]
    np.testing.assert_array_equal(batch['image'], decoded)
    # The random numbers belong to the position, not to the example.
    np.testing.assert_array_equal(batch['noise'], expected['noise'])
    assert batch['weight'].tolist() == [1.0] * 5


def test_bad_examples_are_said_once_and_counted(whole, make_faults, lines):
  faults = make_faults(3)
  batches = train_batches(dataset(), 5, seed=0, position=0, faults=faults)
  assert_same(taken(batches, 6), whole)  # Three epochs.
  assert faults.skipped(TRAINING) == 3
  assert faults.skipped(HELD_OUT) == 0
  numbers = [int(line.split()[4]) for line in lines]
  assert sorted(numbers) == sorted(BAD)
  (line,) = [line for line in lines if ' 4 (' in line]
  place = numbers.index(4) + 1
  assert line == (
    f'Left out training example 4 (bad example {place} of at most 3): an image:'
    " 8 bytes beginning b'no image' are not a whole JPEG or PNG image. Prepare "
    'the data set again, or leave this record out. The next one takes its '
    'place.'
  )


@pytest.mark.parametrize('position', [5, 7])
def test_resuming_goes_on_with_the_stream(whole, make_faults, position):
  rest = train_batches(
    dataset(), 5, seed=0, position=position, faults=make_faults(3)
  )
  rest = taken(rest, 4)
  for key in ('number', 'image', 'noise'):
    expected = np.concatenate([batch[key] for batch in whole])
    actual = np.concatenate([batch[key] for batch in rest])
    np.testing.assert_array_equal(actual, expected[position : position + 20])


def test_processes_together_have_the_stream(
  whole, monkeypatch, make_faults, lines
):
  shares, skipped = [], []
  for process in range(5):
    pretend(monkeypatch, processes=5, process=process)
    faults = make_faults(3)
    batches = train_batches(dataset(), 5, seed=0, position=0, faults=faults)
    shares.append(taken(batches, 6))
    skipped.append(faults.skipped(TRAINING))
  for step, batch in enumerate(whole):
    for key in ('number', 'image', 'noise'):
      together = np.concatenate([share[step][key] for share in shares])
      np.testing.assert_array_equal(together, batch[key])
  # Each counts what it met, and says who it is.
  assert max(skipped) <= 3 <= sum(skipped) == len(lines)
  assert {line[: len('Process 0: Left')] for line in lines} == {
    f'Process {i}: Left' for i in range(5) if skipped[i]
  }


def test_worker_processes_leave_out_the_same(whole, make_faults, lines):
  flags.FLAGS.mark_as_parsed()  # Grain asks; commands have parsed theirs.
  faults = make_faults(3)
  batches = train_batches(
    dataset(), 5, seed=0, position=0, workers=2, faults=faults
  )
  assert_same(taken(batches, 6), whole)
  assert faults.skipped(TRAINING) == len(lines) == 3


@pytest.mark.parametrize('workers', [0, 1])
def test_the_first_bad_example_stops_and_is_named(workers):
  flags.FLAGS.mark_as_parsed()
  clean = taken(train_batches(dataset(()), 5, seed=0, position=0), 6)
  good = [TRUNCATED in batch['number'] for batch in clean].index(True)
  batches = train_batches(
    dataset((TRUNCATED,)), 5, seed=0, position=0, workers=workers
  )
  came = []
  with pytest.raises(ValueError, match='example') as raised:
    for batch in batches:
      came.append(batch)
  batches.close()
  assert_same(came, clean[:good])  # All before it can be used.
  assert str(raised.value).startswith(
    'Training example 3 cannot be read: an image: '
  )
  assert '--config.data_faults.bad_examples=N' in str(raised.value)
  assert 'Traceback' not in str(raised.value)
  # For --debug: where it came from, in the worker too.
  assert 'in decode' in raised.value.__notes__[0]


def test_a_worker_that_dies_is_an_error_with_a_remedy():
  flags.FLAGS.mark_as_parsed()
  batches = train_batches(
    dataset(augment=lambda example, rng: os._exit(9)),
    5,
    seed=0,
    position=0,
    workers=1,
  )
  with pytest.raises(OSError, match=r'exit code 9.*data_workers'):
    next(batches)
  batches.close()


def test_past_the_limit_the_run_stops(make_faults, lines):
  faults = make_faults(2)
  batches = train_batches(dataset(), 5, seed=0, position=0, faults=faults)
  with pytest.raises(ValueError, match='No more than 2') as raised:
    taken(batches, 3)
  assert len(lines) == faults.skipped(TRAINING) == 2
  first, second = (int(line.split()[4]) for line in lines)
  (third,) = set(BAD) - {first, second}
  assert str(raised.value).startswith(f'Training example {third} cannot be ')
  assert f'before: training {first}, training {second}.' in str(raised.value)


def test_an_error_of_every_example_is_not_left_out(make_faults):
  def wrong(example, rng):
    return example['label']

  source = Images(())
  batches = train_batches(
    dataset(augment=wrong, train=source),
    1,
    seed=0,
    position=0,
    faults=make_faults(2),
  )
  with pytest.raises(
    ValueError, match=r"and the 2 after it, cannot be read: KeyError: 'label'"
  ):
    next(batches)
  batches.close()


def test_more_may_be_bad_than_there_are(make_faults):
  everything = dataset(range(SIZE))
  batches = train_batches(
    everything, 1, seed=0, position=0, faults=make_faults(1000)
  )
  with pytest.raises(ValueError, match='and the 9 after it, cannot be read'):
    next(batches)
  batches.close()


@pytest.mark.parametrize('error', [MemoryError, KeyboardInterrupt])
def test_what_is_not_the_examples_fault_is_not_left_out(make_faults, error):
  def fail(example, rng):
    raise error

  batches = train_batches(
    dataset(augment=fail), 5, seed=0, position=0, faults=make_faults(100)
  )
  with pytest.raises(error):
    next(batches)
  batches.close()


def test_pairs_are_mixed_of_what_can_be_read(make_faults, lines):
  faults = make_faults(3)
  clean, mixed = (
    taken(train_batches(data, 5, seed=0, position=0, faults=faults), 4)
    for data in (dataset((), stacked), dataset(BAD, stacked))
  )
  for batch, expected in zip(mixed, clean, strict=True):
    numbers = [REPLACED.get(n, n) for n in expected['numbers'].flat]
    assert batch['numbers'].flatten().tolist() == numbers
    assert batch['weight'].tolist() == [1.0] * 5
  assert faults.skipped(TRAINING) == len(lines) == 3


def test_placed_batches_are_counted_when_they_are_used(make_faults, lines):
  faults = make_faults(3)
  placed = []

  def place(batch):
    assert sorted(batch) == ['image', 'noise', 'number', 'weight']
    placed.append(batch)
    return batch

  batches = train_batches(
    dataset(), SIZE, seed=0, position=0, place=place, faults=faults
  )
  time.sleep(0.1)
  assert not lines
  taken(batches, 1)  # An epoch.
  assert faults.skipped(TRAINING) == len(lines) == 3
  assert placed


# Evaluation.


def test_bad_held_out_examples_have_no_weight(make_faults, lines):
  faults = make_faults(3)
  for _ in range(2):
    batches = taken(evaluation_batches(dataset(), 4, faults=faults), 9)
    numbers = np.concatenate([batch['number'] for batch in batches])
    weights = np.concatenate([batch['weight'] for batch in batches])
    assert numbers.tolist() == [0, 1, 2, 5, 5, 5, 6, 7, 8, 0, 0, 0]
    assert weights.tolist() == [1, 1, 1, 0, 0, 1, 1, 1, 1, 0, 0, 0]
    assert weights.dtype == np.float32
  assert faults.skipped(HELD_OUT) == len(lines) == 3
  assert lines[0].startswith('Left out held-out example 3 (bad example 1 of ')
  assert lines[0].endswith('It has no weight in any evaluation.')


def test_processes_have_as_many_held_out_batches(monkeypatch, make_faults):
  weights = {}
  for process in range(2):
    pretend(monkeypatch, processes=2, process=process)
    batches = evaluation_batches(dataset(), 4, faults=make_faults(3))
    batches = taken(batches, 9)
    assert len(batches) == 3
    for batch in batches:
      for number, weight in zip(batch['number'], batch['weight'], strict=True):
        weights[int(number)] = weights.get(int(number), 0.0) + weight
  assert weights == dict.fromkeys([0, 1, 2, 5, 6, 7, 8], 1.0)


def test_the_first_bad_held_out_example_stops():
  batches = evaluation_batches(dataset(), 4)
  with pytest.raises(ValueError, match=r'^Held-out example 3 cannot be read'):
    taken(batches, 9)


# Sources.


class Decoded(Images):
  def __getitem__(self, index):
    return decode(super().__getitem__(index))


def test_sources_in_memory_keep_their_errors(make_faults, lines):
  source = Decoded()
  kept = InMemory(source)
  assert sorted(kept.unreadable) == list(BAD)
  assert kept[2]['number'] == 2
  for index in (TRUNCATED, TRUNCATED - SIZE):
    with pytest.raises(ValueError, match='are not a whole JPEG'):
      kept[index]
  assert source.reads == SIZE
  data = Dataset(kept, lambda example, rng: example, kept, lambda e: e)
  with pytest.raises(ValueError, match=r'^Training example 3 cannot be read'):
    count_unreadable(data, make_faults())
  faults = make_faults(6)
  count_unreadable(data, faults)
  assert (faults.skipped(TRAINING), faults.skipped(HELD_OUT)) == (3, 3)
  batches = train_batches(data, 10, seed=0, position=0, faults=faults)
  (batch,) = taken(batches, 1)
  expected = [REPLACED.get(n, n) for n in range(SIZE)]
  assert sorted(batch['number']) == sorted(expected)
  assert len(lines) == 6  # Not again.


def test_joined_sources_and_windows(make_faults, lines):
  joined = Joined([Decoded(), Decoded(())])
  data = Dataset(joined, lambda example, rng: example, joined, lambda e: e)
  batches = evaluation_batches(data, 20, faults=make_faults(3))
  (batch,) = taken(batches, 1)
  numbers = [*(REPLACED.get(n, n) for n in range(9)), 0, *range(10)]
  assert batch['number'].tolist() == numbers
  assert np.flatnonzero(batch['weight'] == 0.0).tolist() == list(BAD)

  windows = Windows(InMemory(Decoded(())), 'image', length=8, hop=8)
  data = Dataset(windows, cut_second, windows, lambda e: e)
  batches = train_batches(data, 20, seed=0, position=0, faults=make_faults(1))
  (batch,) = taken(batches, 1)
  assert (batch['start'] == 8).sum() == 10 - 1  # That of image 5 is bad.
  assert 'Left out training example 11 ' in lines[-1]


def cut_second(example, rng):
  if (example['number'], example['start']) == (5, 8):
    raise OSError('[Errno 5] Input/output error: b.mp4')
  return {'start': np.int64(example['start'])}


# Waiting.


def wait_for(count, lines):
  """Until so many lines were said; what was not, the test sees."""
  end = time.monotonic() + 60
  while len(lines) < count and time.monotonic() < end:
    time.sleep(0.01)


def test_a_stall_is_reported_while_it_lasts(make_faults, lines):
  said = []

  def slow(example, rng):
    if example['number'] == TRUNCATED and not said:
      wait_for(4, lines)
      said[:] = lines  # What was said before the example came.
    return augment(example, rng)

  batches = train_batches(
    dataset((), augment=slow),
    SIZE,
    seed=0,
    position=0,
    faults=make_faults(stall_seconds=0.1),
  )
  taken(batches, 1)
  seconds = [float(line.split()[1]) for line in said]
  assert len(said) == 4
  assert all(np.greater_equal(seconds, [0.1, 0.2, 0.4, 0.8]))
  assert seconds[0] < 0.8
  for one, two in itertools.pairwise(seconds):
    assert one < two
  assert said[0] == (
    f'Waited {seconds[0]:.1f} s for training data, and still do: reading or '
    'augmenting hangs, or is too slow.'
  )
  assert lines[-1].startswith('Training data came after ')
  assert float(lines[-1].split()[4]) >= max(0.7, seconds[-1])


def test_short_waits_and_failed_ones_end_in_silence(lines):
  watch = StallWatch(lines.append, 0.6)
  for _ in range(7):
    with watch.waiting('data'):
      time.sleep(0.1)  # Together more than what is reported.
  assert not lines
  with pytest.raises(KeyError), watch.waiting('data'):
    time.sleep(0.8)
    raise KeyError
  assert len(lines) == 1
  with pytest.raises(StopIteration), watch.waiting('data'):
    next(iter(()))
  time.sleep(0.8)  # Nobody waits.
  watch.close()
  assert len(lines) == 1


def test_evaluation_is_watched_too(make_faults, lines):
  def slow(example):
    wait_for(1, lines)
    return decode(example)

  faults = make_faults(stall_seconds=0.05)
  taken(evaluation_batches(dataset((), prepare=slow), 4, faults=faults), 1)
  assert lines[0].startswith('Waited ')
  assert 's for held-out data, and still do' in lines[0]


# The section of a config.


def test_the_section_is_checked():
  faults = construct('data_faults', DataFaults, {'bad_examples': 5})
  assert faults.limit == 5
  for key, value in (('bad_examples', -1), ('stall_seconds', 0.0)):
    with pytest.raises(ValueError, match=f'config.data_faults.{key}'):
      construct('data_faults', DataFaults, {key: value})
