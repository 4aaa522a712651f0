"""Furniture: the split, the examples, the config."""

import importlib

import jax
import numpy as np
import pytest

from experiments.data.dataset import batch_spec
from experiments.data.pipeline import evaluation_batches, train_batches
from experiments.datasets.embedded_builder import FILES
from experiments.datasets.furniture import CLASSES, furniture, held_out
from experiments.tasks import classification

OPTIONS = dict(
  num_points=256,
  max_point_scale=0.01,
  max_rotation=15.0,
  max_stretch=0.25,
  max_jitter=0.01,
  mirror_probability=0.5,
  mix_probability=0.0,
)
# A fifth of 44, 26, 20, 37, 73, 36, 33, 31, 31, 29, 44, 23, 52, 47, 28.
HELD_OUT = [9, 5, 4, 7, 15, 7, 7, 6, 6, 6, 9, 5, 10, 9, 6]


@pytest.fixture(scope='module')
def data(tmp_path_factory):
  return furniture(str(tmp_path_factory.mktemp('data')), **OPTIONS).load()


@pytest.fixture(scope='module')
def embedded():
  """Points `[554, 1024, 3]` and numbers of classes `[554]`."""
  with np.load(FILES / 'furniture.npz', allow_pickle=False) as arrays:
    labels = [CLASSES.index(label) for label in arrays['label']]
    return arrays['points'], np.array(labels)


def examples(source):
  return [source[i] for i in range(len(source))]


def identities(points, labels):
  """A model as what a set can hold."""
  return {
    (cloud.tobytes(), int(label))
    for cloud, label in zip(points, labels, strict=True)
  }


def test_a_fifth_of_each_class_is_held_out(data):
  held = [example['label'] for example in examples(data.evaluation)]
  assert np.bincount(held).tolist() == HELD_OUT
  assert (len(data.train), len(data.evaluation)) == (443, 111)


def test_every_model_is_in_one_split_only(data, embedded):
  points, labels = embedded
  mask = held_out(labels)
  for source, part in [(data.train, ~mask), (data.evaluation, mask)]:
    found = examples(source)
    actual = identities(
      [example['points'] for example in found],
      [example['label'] for example in found],
    )
    assert len(actual) == len(found)
    assert actual == identities(points[part], labels[part])


def test_the_split_is_always_the_same(embedded):
  _, labels = embedded
  mask = held_out(labels)
  np.testing.assert_array_equal(mask, held_out(labels))
  # Of names and of numbers, which sort alike.
  names = np.array(CLASSES)[labels]
  np.testing.assert_array_equal(mask, held_out(names))
  assert np.flatnonzero(mask)[:5].tolist() == [0, 2, 13, 14, 15]


def test_evaluation_takes_the_first_points_unchanged(data):
  for i in range(20):
    raw = data.evaluation[i]
    example = data.prepare(raw)
    points = raw['points'][:256].astype(np.float64) / 127
    points -= points.mean(axis=0)
    points /= abs(points).max()
    np.testing.assert_allclose(example['points'], points, atol=1e-6)
    assert example['points'].dtype == np.float32
    assert example['label'] == raw['label']
    assert example['label'].dtype == np.int32


def test_training_moves_points_and_keeps_labels(data):
  raw = data.train[0]
  one, two, again = (
    data.augment(raw, np.random.default_rng(seed)) for seed in (1, 2, 1)
  )
  np.testing.assert_array_equal(one['points'], again['points'])
  assert abs(one['points'] - two['points']).max() > 0.1
  for example in (one, two):
    np.testing.assert_allclose(example['points'].mean(axis=0), 0, atol=1e-6)
    assert abs(example['points']).max() == 1.0
    assert example['label'] == raw['label']


def test_training_without_options_is_the_published_normalisation(tmp_path):
  options = dict.fromkeys(OPTIONS, 0.0) | {'num_points': 1024}
  data = furniture(str(tmp_path), **options).load()
  raw = data.train[3]
  trained = data.augment(raw, np.random.default_rng(0))['points']
  expected = data.prepare(raw)['points']
  order, expected_order = (
    np.lexsort(each.round(4).T) for each in (trained, expected)
  )
  np.testing.assert_allclose(
    trained[order], expected[expected_order], atol=1e-5
  )


def test_batches(data):
  batch = next(train_batches(data, 8, seed=0, position=0))
  assert batch['points'].shape == (8, 256, 3)
  assert batch['weight'].tolist() == [1.0] * 8
  batches = list(evaluation_batches(data, 64))
  assert [batch['weight'].sum() for batch in batches] == [64, 47]


def test_mixed_batches_have_two_labels(tmp_path):
  data = furniture(str(tmp_path), **OPTIONS | {'mix_probability': 1.0}).load()
  batch = next(train_batches(data, 64, seed=0, position=0))
  assert batch['points'].shape == (64, 256, 3)
  for key in ('label', 'mix_label'):
    assert set(batch[key]) <= set(range(15))
  assert (batch['label'] != batch['mix_label']).sum() > 32
  assert batch['mix_share'].std() > 0.2
  assert 'mix_label' not in next(evaluation_batches(data, 4))


@pytest.mark.parametrize('num_points', [0, 1025])
def test_a_number_of_points_that_no_model_has_is_an_error(num_points):
  with pytest.raises(ValueError, match=r'from 1 to 1024.* got'):
    furniture(None, **OPTIONS | {'num_points': num_points})


def test_the_config_makes_a_model_of_15_classes():
  config = importlib.import_module('experiments.configs.furniture').get_config()
  task = classification.make_task(config, None)
  assert task.data.num_classes == len(CLASSES) == 15
  batch = batch_spec(task.data.example, 2)
  assert batch['points'].shape == (2, config.data.num_points, 3)
  key = jax.ShapeDtypeStruct((2,), np.uint32)
  params, state = jax.eval_shape(
    lambda key, batch: task.model.init(key, batch, True), key, batch
  )
  logits, _ = jax.eval_shape(
    lambda *args: task.model.apply(*args, False), params, state, key, batch
  )
  assert logits.shape == (2, 15)
