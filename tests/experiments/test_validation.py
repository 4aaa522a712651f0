"""Shares of the training examples that choose the best checkpoint."""

import numpy as np
import pytest

from experiments.data.dataset import Dataset
from experiments.data.validation import hold_out
from experiments.files.folder_builder import with_validation

LABELS = np.array([0] * 50 + [1] * 20 + [2] * 3 + [3])


def test_each_class_gives_its_share():
  kept, held_out = hold_out(LABELS, 0.1, seed=0)
  np.testing.assert_array_equal(np.bincount(LABELS[held_out]), [5, 2])
  assert sorted([*kept, *held_out]) == list(range(len(LABELS)))


def test_a_class_keeps_its_last_example():
  kept, _ = hold_out(LABELS, 0.99, seed=0)
  np.testing.assert_array_equal(np.bincount(LABELS[kept]), [1, 1, 1, 1])


def test_the_seed_decides():
  first, again, other = (hold_out(LABELS, 0.1, seed)[1] for seed in (0, 0, 1))
  np.testing.assert_array_equal(first, again)
  assert set(first) != set(other)


def test_a_wrong_share():
  with pytest.raises(ValueError, match=r'validation_share must be in \[0, 1\)'):
    hold_out(LABELS, 1.0, seed=0)


def dataset_of(labels, validation=None):
  return Dataset(
    train=[{'label': label, 'number': i} for i, label in enumerate(labels)],
    augment=lambda example, rng: example,
    evaluation=[{'label': 0, 'number': -1}],
    prepare=lambda example: example,
    validation=validation,
  )


def test_the_splits_share_no_example():
  dataset = with_validation(dataset_of(LABELS), 0.1, 0)
  train, validation = (
    {source[i]['number'] for i in range(len(source))}
    for source in (dataset.train, dataset.validation)
  )
  assert len(train) == 67 and len(validation) == 7
  assert not train & validation


@pytest.mark.parametrize(
  ('dataset', 'share'),
  [
    (dataset_of(LABELS, validation=[{'label': 1}]), 0.1),  # There is one.
    (dataset_of([0, 0, 1, 1]), 0.1),  # A tenth of two is none.
    (dataset_of(LABELS), 0.0),
  ],
)
def test_nothing_is_drawn(dataset, share):
  assert with_validation(dataset, share, 0) is dataset
