"""Rows that train, validate and are held out."""

import collections
import pathlib

import numpy as np
import pytest
from sklearn.model_selection import StratifiedGroupKFold

from experiments.table.rows import Rows
from experiments.table.splits import split_rows


def table(n=None, **columns):
  n = n or len(next(iter(columns.values())))
  path = pathlib.Path('people.csv')
  return Rows(tuple(columns), columns, path, range(2, n + 2))


def split(rows, **options):
  defaults = {
    'split': '',
    'group': '',
    'stratify': None,
    'test_share': 0.2,
    'validation_share': 0.0,
    'seed': 0,
  }
  splits = split_rows(rows, **{**defaults, **options})
  # Each row is in one of them.
  every = np.concatenate(splits)
  np.testing.assert_array_equal(np.sort(every), np.arange(rows.num_rows))
  for numbers in splits:
    assert (np.diff(numbers) > 0).all()
  return splits


def test_shares_of_the_rows():
  splits = split(table(101), test_share=0.2, validation_share=0.1)
  # 10 % of the 81 that are not test.
  assert [len(numbers) for numbers in splits] == [73, 8, 20]


def test_the_seed_decides():
  rows = table(100)
  first, again, other = (split(rows, seed=seed).test for seed in (3, 3, 4))
  np.testing.assert_array_equal(first, again)
  assert not np.array_equal(first, other)


def test_each_class_has_its_share_within_a_row():
  rng = np.random.default_rng(0)
  for seed in range(20):
    labels = rng.choice(
      list('abcdefg'), 203, p=np.array([40, 25, 20, 9, 3, 2, 1]) / 100
    )
    splits = split(
      table(203),
      stratify=list(labels),
      test_share=0.15,
      validation_share=0.15,
      seed=seed,
    )
    assert len(splits.test) == round(0.15 * 203)
    for label, count in collections.Counter(labels).items():
      held_out = (labels[splits.test] == label).sum()
      left = count - held_out
      assert abs(held_out - 0.15 * count) < 1
      assert abs((labels[splits.validation] == label).sum() - 0.15 * left) < 1
      assert (labels[splits.train] == label).sum() >= 1


def test_a_class_keeps_a_training_row():
  labels = ['a'] * 8 + ['b'] + ['c'] * 2
  for seed in range(20):
    splits = split(
      table(11),
      stratify=labels,
      test_share=0.45,
      validation_share=0.45,
      seed=seed,
    )
    assert {labels[i] for i in splits.train} == set('abc')


def test_numbers_have_their_share_in_each_tenth():
  values = np.random.default_rng(1).lognormal(size=500)
  test = split(table(500), stratify=[f'{x:.6f}' for x in values]).test
  # Every tenth has 50 rows.
  ranks = np.argsort(np.argsort(values))
  assert (np.bincount(ranks[test] // 50) == 10).all()


def test_rows_without_an_answer_are_spread_too():
  cells = ['a', 'NA', 'b', None] * 25
  test = split(table(100), stratify=cells).test
  assert sum(cells[i] in ('NA', None) for i in test) == 10


def test_texts_that_hardly_repeat_are_no_classes():
  texts = [f'a text, number {i}' for i in range(100)]
  assert len(split(table(100), stratify=texts).test) == 20


def people(seed, n=400, num_groups=60):
  rng = np.random.default_rng(seed)
  sizes = rng.pareto(1.5, num_groups) + 0.2
  groups = rng.choice(num_groups, n, p=sizes / sizes.sum())
  # A patient is mostly of one class.
  usual = rng.choice(3, num_groups, p=[0.6, 0.3, 0.1])[groups]
  labels = np.where(rng.random(n) < 0.8, usual, rng.integers(0, 3, n))
  return groups, labels


@pytest.mark.parametrize('seed', range(8))
def test_groups_stay_together(seed):
  groups, labels = people(seed)
  rows = table(patient=[f'p{group}' for group in groups])
  splits = split(
    rows,
    group='patient',
    stratify=labels.tolist(),
    validation_share=0.2,
    seed=seed,
  )
  for one, other in ((0, 1), (0, 2), (1, 2)):
    assert not set(groups[splits[one]]) & set(groups[splits[other]])
  largest = np.bincount(groups).max()
  assert abs(len(splits.test) - 80) <= largest


def test_groups_are_stratified_as_well_as_scikit_learn_does():
  def away(labels, rows):
    return np.abs(
      np.bincount(labels[rows], minlength=3) - np.bincount(labels) / 5
    )

  ours, theirs = [], []
  for seed in range(20):
    groups, labels = people(seed)
    rows = table(patient=groups.tolist())
    test = split(
      rows, group='patient', stratify=labels.tolist(), seed=seed
    ).test
    ours.append(away(labels, test))
    folds = StratifiedGroupKFold(5, shuffle=True, random_state=seed)
    _, fold = next(folds.split(labels, labels, groups))
    theirs.append(away(labels, fold))
  assert (np.mean(ours, axis=0) <= np.mean(theirs, axis=0)).all()


def test_small_groups_are_stratified_within_a_group():
  labels = np.repeat([0, 1, 1, 2], 3 * 25)
  rows = table(patient=np.repeat(np.arange(100), 3).tolist())
  splits = split(rows, group='patient', stratify=labels.tolist())
  assert (np.abs(np.bincount(labels[splits.test]) - [15, 30, 15]) <= 3).all()


def test_rows_without_a_group_are_alone():
  rows = table(patient=['a'] * 50 + [None, 'NA'] * 25)
  splits = split(rows, group='patient', test_share=0.3)
  assert len(splits.test) == 30
  assert splits.test.min() >= 50


def test_a_column_says_the_splits():
  cells = ['Train', 'VALID', 'test', 'training ', 'dev', 'val', 'Testing']
  splits = split(table(part=cells), split='part', validation_share=0.5)
  assert [numbers.tolist() for numbers in splits] == [[0, 3], [1, 4, 5], [2, 6]]


def test_what_a_column_has_none_of_is_drawn_from_training():
  cells = ['train'] * 80 + ['test'] * 20
  splits = split(table(part=cells), split='part', validation_share=0.25)
  assert splits.test.tolist() == list(range(80, 100))
  assert len(splits.validation) == 20
  splits = split(table(part=['train'] * 80 + ['val'] * 20), split='part')
  assert splits.validation.tolist() == list(range(80, 100))
  assert len(splits.test) == 16


@pytest.mark.parametrize(
  ('columns', 'options', 'what'),
  [
    (
      {'part': ['train', 'fold1']},
      {'split': 'part'},
      "people.csv, line 3: the split 'part' is 'fold1'",
    ),
    ({'part': ['train', None]}, {'split': 'part'}, 'line 3: .* is None'),
    ({'part': ['test', 'test']}, {'split': 'part'}, 'has no row of train'),
    (
      {'part': ['train', 'train', 'test'], 'who': ['a', 'b', 'a']},
      {'split': 'part', 'group': 'who'},
      "line 4: 'who' 'a' is in train and in test",
    ),
    ({'who': ['a', 'a', 'a']}, {'group': 'who'}, "too few groups of 'who'"),
    ({'who': ['a']}, {}, 'no rows are left for test, of 1 rows'),
    ({'who': ['a']}, {'group': 'whom'}, "no column 'whom'; did you mean 'who'"),
    ({'who': ['a']}, {'test_share': 1.0}, 'data.test_share must be in'),
    ({'who': ['a']}, {'validation_share': -0.1}, 'data.validation_share must'),
  ],
)
def test_what_cannot_be_split(columns, options, what):
  with pytest.raises(ValueError, match=what):
    split(table(**columns), **options)
