"""Streams that depend on seed and position alone; digits without TensorFlow."""

import collections
import itertools
import os
import pathlib
import subprocess
import sys

import jax
import numpy as np
import pytest
from absl import flags

from experiments.data.dataset import (
  Dataset,
  InMemory,
  array_spec,
  blank_batch,
  check_not_empty,
)
from experiments.data.pipeline import evaluation_batches, train_batches
from experiments.datasets import digits as digits_module
from experiments.datasets.digits import digits

ROOT = pathlib.Path(__file__).parents[2]


class Numbers:
  """A source whose examples know their number."""

  def __init__(self, size):
    self.size = size
    self.reads = []

  def __len__(self):
    return self.size

  def __getitem__(self, index):
    self.reads.append(int(index))
    return {'number': np.int64(index)}


def dataset(num_train=10, num_evaluation=7):
  return Dataset(
    train=Numbers(num_train),
    augment=lambda example, rng: {**example, 'noise': rng.random()},
    evaluation=Numbers(num_evaluation),
    prepare=lambda example: {'number': 10 * example['number']},
  )


def stream(num_examples, *, seed=0, position=0, batch_size=5, workers=0):
  """The first examples of the stream, all batches joined."""
  batches = train_batches(
    dataset(), batch_size, seed=seed, position=position, workers=workers
  )
  batches = itertools.islice(batches, -(-num_examples // batch_size))
  return {
    key: np.concatenate(values)[:num_examples]
    for key, values in joined(batches).items()
  }


def joined(batches):
  columns = collections.defaultdict(list)
  for batch in batches:
    for key, value in batch.items():
      columns[key].append(value)
  return columns


def assert_same(actual, expected):
  assert actual.keys() == expected.keys()
  for key in expected:
    np.testing.assert_array_equal(actual[key], expected[key])


def pretend(monkeypatch, *, processes, process):
  monkeypatch.setattr(jax, 'process_count', lambda: processes)
  monkeypatch.setattr(jax, 'process_index', lambda: process)


# Training.


def test_batches_have_the_batch_size_and_weight_one():
  batch = next(train_batches(dataset(), 4, seed=0, position=0))
  assert {key: value.shape for key, value in batch.items()} == {
    'number': (4,),
    'noise': (4,),
    'weight': (4,),
  }
  assert batch['weight'].dtype == np.float32
  assert batch['weight'].tolist() == [1.0] * 4


def test_same_seed_same_stream():
  assert_same(stream(30, seed=3), stream(30, seed=3))


def test_another_seed_another_order_and_another_augmentation():
  one, two = stream(30, seed=3), stream(30, seed=4)
  assert one['number'].tolist() != two['number'].tolist()
  assert not set(one['noise']) & set(two['noise'])


def test_the_stream_does_not_depend_on_the_batch_size():
  assert_same(stream(30, batch_size=3), stream(30, batch_size=10))


@pytest.mark.parametrize('position', [0, 5, 7, 10, 13, 24])
def test_resuming_at_a_position_goes_on_with_the_stream(position):
  # Epochs are 10 examples, batches 5: this begins in the middle of both.
  whole = stream(40)
  rest = {key: value[position:] for key, value in whole.items()}
  assert_same(stream(40 - position, position=position), rest)


def test_each_epoch_has_every_example_once_in_another_order():
  epochs = stream(50)['number'].reshape(5, 10)
  for epoch in epochs:
    assert sorted(epoch) == list(range(10))
  orders = {tuple(epoch) for epoch in epochs} | {tuple(range(10))}
  assert len(orders) == 6  # and none is that of the source


def test_batches_across_the_end_of_an_epoch_lose_nothing():
  numbers = stream(20, batch_size=4)['number']
  assert sorted(numbers[:10]) == sorted(numbers[10:]) == list(range(10))


def test_augmentation_differs_between_epochs_but_not_between_runs():
  def noises():
    """For each example, its noise in each of three epochs."""
    by_number = collections.defaultdict(list)
    examples = stream(30)
    for number, noise in zip(
      examples['number'], examples['noise'], strict=True
    ):
      by_number[int(number)].append(float(noise))
    return dict(by_number)

  first = noises()
  assert sorted(first) == list(range(10))
  assert len({noise for each in first.values() for noise in each}) == 30
  assert noises() == first


@pytest.mark.parametrize('workers', [1, 2])
def test_the_stream_is_the_same_from_worker_processes(workers):
  flags.FLAGS.mark_as_parsed()  # Grain asks; commands have parsed theirs.
  expected = stream(30, position=5)
  assert_same(stream(30, position=5, workers=workers), expected)


@pytest.mark.parametrize('position', [0, 12])
@pytest.mark.parametrize('processes', [2, 3])
def test_processes_together_have_the_batches_of_one(
  monkeypatch, processes, position
):
  def batches():
    stream = train_batches(dataset(), 6, seed=0, position=position)
    return list(itertools.islice(stream, 4))

  whole = batches()
  shares = []
  for process in range(processes):
    pretend(monkeypatch, processes=processes, process=process)
    shares.append(batches())
  for global_batch, *local_batches in zip(whole, *shares, strict=True):
    for batch in local_batches:
      assert batch['number'].shape == (6 // processes,)
    for key, values in joined(local_batches).items():
      together = np.concatenate(values)
      assert sorted(together) == sorted(global_batch[key])


# Evaluation.


def evaluate(monkeypatch, size, batch_size, processes):
  """Batches of each process."""
  batches = []
  for process in range(processes):
    pretend(monkeypatch, processes=processes, process=process)
    data = dataset(num_evaluation=size)
    batches.append(list(evaluation_batches(data, batch_size)))
  return batches


@pytest.mark.parametrize(
  ('processes', 'batch_size'), [(1, 4), (2, 4), (4, 4), (3, 6), (3, 3)]
)
@pytest.mark.parametrize('size', [1, 7, 8, 9])
def test_every_held_out_example_counts_once(
  monkeypatch, size, batch_size, processes
):
  by_process = evaluate(monkeypatch, size, batch_size, processes)
  num_batches = -(-size // batch_size)
  weights = collections.defaultdict(list)
  for batches in by_process:
    assert len(batches) == num_batches
    for batch in batches:
      assert batch['number'].shape == (batch_size // processes,)
      assert batch['weight'].shape == (batch_size // processes,)
      assert batch['weight'].dtype == np.float32
      for number, weight in zip(batch['number'], batch['weight'], strict=True):
        weights[int(number)].append(float(weight))
  # `prepare` multiplied the numbers by ten; copies have weight zero.
  assert sorted(weights) == [10 * i for i in range(size)]
  for each in weights.values():
    assert sorted(each, reverse=True) == [1.0] + [0.0] * (len(each) - 1)


def test_evaluation_in_numbers():
  batches = list(evaluation_batches(dataset(num_evaluation=5), 4))
  assert [batch['number'].tolist() for batch in batches] == [
    [0, 10, 20, 30],
    [40, 40, 40, 40],
  ]
  assert [batch['weight'].tolist() for batch in batches] == [
    [1.0, 1.0, 1.0, 1.0],
    [1.0, 0.0, 0.0, 0.0],
  ]


def test_blank_batch_is_like_a_batch():
  points = {'audio': array_spec(5, dtype=np.int32)}
  batch = blank_batch({'number': array_spec(2, 3), 'output_points': points})
  assert batch['number'].shape == (1, 2, 3)
  assert batch['output_points']['audio'].dtype == np.int32
  assert batch['weight'].shape == (1,)
  assert not batch['number'].any()


# Sources.


def test_check_not_empty():
  check_not_empty(dataset(1, 1))
  with pytest.raises(ValueError, match='training split'):
    check_not_empty(dataset(0, 1))
  with pytest.raises(ValueError, match='evaluation split'):
    check_not_empty(dataset(1, 0))


def test_in_memory_reads_each_example_once():
  source = Numbers(3)
  kept = InMemory(source)
  for _ in range(2):
    assert [kept[i]['number'] for i in range(len(kept))] == [0, 1, 2]
  assert source.reads == [0, 1, 2]


# Digits.

STILL = dict(max_rotation=0.0, max_shear=0.0, max_scale=0.0, max_shift=0.0)
MOVING = dict(max_rotation=10.0, max_shear=0.15, max_scale=0.1, max_shift=2.0)

# As on a machine without TensorFlow: Python does not find it.
PREPARE = """
import sys
from importlib.machinery import PathFinder


class WithoutTensorFlow:
  @staticmethod
  def find_spec(name, path=None, target=None):
    if name != 'tensorflow':
      return PathFinder.find_spec(name, path, target)


sys.meta_path[sys.meta_path.index(PathFinder)] = WithoutTensorFlow
import experiments.train
from experiments.datasets.digits import digits

spec = digits(sys.argv[1], **{still})
data = spec.load()
print(len(data.train), len(data.evaluation), spec.num_classes)
"""


@pytest.fixture(scope='module')
def data_dir(tmp_path_factory):
  """Digits prepared by a process that cannot import TensorFlow."""
  path = tmp_path_factory.mktemp('data')
  code = PREPARE.format(still=STILL)
  result = subprocess.run(
    [sys.executable, '-c', code, str(path)],
    cwd=ROOT,
    env=os.environ | {'JAX_PLATFORMS': 'cpu'},
    capture_output=True,
    text=True,
    timeout=120,
    check=False,
  )
  assert result.returncode == 0, result.stderr
  assert result.stdout.split()[-3:] == ['4000', '1000', '10']
  return path


@pytest.fixture(scope='module')
def still(data_dir):
  """Digits that training does not move."""
  return digits(str(data_dir), **STILL).load()


@pytest.fixture(scope='module')
def embedded():
  folder = pathlib.Path(digits_module.__file__).parent / 'embedded'
  with np.load(folder / 'digits.npz', allow_pickle=False) as arrays:
    return arrays['image'], arrays['label']


def test_digits_are_prepared_under_the_data_dir(data_dir):
  names = {path.suffix for path in data_dir.rglob('*') if path.is_file()}
  assert any('array_record' in name for name in names)


def test_digits_have_4000_and_1000_examples_of_10_balanced_classes(
  still, embedded
):
  _, labels = embedded
  assert np.bincount(labels).tolist() == [500] * 10
  for source, part in [
    (still.train, labels[:4000]),
    (still.evaluation, labels[4000:]),
  ]:
    counts = np.bincount([source[i]['label'] for i in range(len(source))])
    assert counts.tolist() == np.bincount(part).tolist()
  assert (len(still.train), len(still.evaluation)) == (4000, 1000)


@pytest.mark.parametrize(
  ('split', 'part'),
  [('train', slice(None, 4000)), ('evaluation', slice(4000, None))],
)
def test_digits_are_those_of_the_embedded_file(still, embedded, split, part):
  images, labels = embedded
  source = getattr(still, split)
  examples = [source[i] for i in range(len(source))]
  actual = collections.Counter(
    (int(example['label']), example['image'].tobytes()) for example in examples
  )
  expected = collections.Counter(
    (int(label), image.tobytes())
    for image, label in zip(images[part], labels[part], strict=True)
  )
  assert actual == expected


def test_digits_have_about_zero_mean_and_unit_variance(still):
  images = np.stack(
    [still.prepare(still.train[i])['image'] for i in range(len(still.train))]
  )
  assert images.shape == (4000, 28, 28, 1)
  assert images.dtype == np.float32
  assert abs(images.mean()) < 0.02
  assert abs(images.std() - 1.0) < 0.02


def test_a_digit_in_numbers(still):
  # Black, white and the middle: (v / 255 - 0.13) / 0.31.
  image = np.zeros((28, 28), np.uint8)
  image[0, 1], image[27, 0] = 255, 51
  example = still.prepare({'image': image, 'label': 7})
  np.testing.assert_allclose(
    [example['image'][i] for i in [(0, 0, 0), (0, 1, 0), (27, 0, 0)]],
    [-0.4193548, 2.8064516, 0.2258065],
    rtol=1e-6,
  )
  assert example['label'] == 7
  assert example['label'].dtype == np.int32


def test_training_digits_that_do_not_move_are_evaluation_digits(still):
  for i in range(20):
    example = still.train[i]
    trained = still.augment(example, np.random.default_rng(i))
    assert_same(trained, still.prepare(example))


def test_training_digits_move(data_dir, still):
  moving = digits(str(data_dir), **MOVING).load()
  example = moving.train[0]
  one, two, again = (
    moving.augment(example, np.random.default_rng(seed)) for seed in (1, 2, 1)
  )
  assert_same(one, again)
  assert abs(one['image'] - two['image']).max() > 1.0
  assert abs(one['image'] - still.prepare(example)['image']).max() > 1.0
  assert one['label'] == example['label']


def test_shrunk_digits_are_means_of_pixels(data_dir, still):
  small = digits(str(data_dir), **STILL, image_size=14).load()
  image = still.prepare(still.evaluation[3])['image']
  four = [image[i::2, j::2] for i in (0, 1) for j in (0, 1)]
  shrunk = small.prepare(small.evaluation[3])['image']
  assert shrunk.shape == (14, 14, 1)
  np.testing.assert_allclose(shrunk, sum(four) / 4, rtol=1e-5, atol=1e-6)
  trained = small.augment(small.evaluation[3], np.random.default_rng(0))
  np.testing.assert_array_equal(trained['image'], shrunk)
  with pytest.raises(ValueError, match='divisor of 28, got 16'):
    digits(str(data_dir), **STILL, image_size=16)


def test_digits_train_in_batches(still):
  batch = next(train_batches(still, 8, seed=0, position=0))
  assert {key: value.shape for key, value in batch.items()} == {
    'image': (8, 28, 28, 1),
    'label': (8,),
    'weight': (8,),
  }
  assert batch['label'].dtype == np.int32
