"""Cheap classical models of rows, on data that they must, or cannot, tell."""

import numpy as np
import pytest
import scipy.sparse
import sklearn.metrics

from experiments.answers.classes.column import CLASS
from experiments.answers.classes.labels import LABELS
from experiments.answers.head import Column
from experiments.answers.numbers.column import NUMBER
from experiments.answers.rivals import best_rival
from experiments.data.classical_features import (
  column_features,
  fit_for_lines,
  fit_for_trees,
)
from experiments.data.classical_rows import (
  Candidate,
  Rows,
  choose,
  of_classes,
  of_labels,
  of_numbers,
  one_thread,
)
from experiments.data.dataset import Dataset, array_spec
from experiments.files.kind import FileKind
from experiments.measuring.classical_rows import rivals_of_rows
from experiments.modalities.cells.categories import category_cells
from experiments.modalities.cells.dates import date_cells
from experiments.modalities.cells.lists import list_cells
from experiments.modalities.cells.numbers import number_cells
from experiments.modalities.cells.view import Cell
from experiments.modalities.text.view import Text


@pytest.fixture(autouse=True)
def _one_thread():
  with one_thread():
    yield


def rng(seed=0):
  return np.random.default_rng(seed)


def accuracy(scores, labels):
  return float((scores.argmax(axis=1) == labels).mean())


def r2(outputs, numbers):
  return sklearn.metrics.r2_score(numbers, outputs[..., 0])


# Features.


def test_what_a_column_has():
  np.testing.assert_array_equal(
    column_features([np.array([1, 2]), None, np.array([np.inf, 4])]),
    [[1, 2], [np.nan, np.nan], [np.nan, 4]],
  )
  np.testing.assert_array_equal(column_features([1.5, None]), [[1.5], [np.nan]])
  np.testing.assert_array_equal(column_features([None]), [[np.nan]])
  assert column_features(['a', None]) == ['a', None]


def test_columns_are_joined_for_linear_models():
  wide = np.array([[0.0, 10.0], [2.0, 10.0], [np.nan, np.nan], [10.0, 10.0]])
  narrow = np.array([[1.0], [3.0], [1.0], [3.0]])
  joined = fit_for_lines([wide, narrow])([wide, narrow])
  first = np.array([0.0, 2.0, 2.0, 10.0])  # With the median.
  expected = [
    (first - first.mean()) / first.std() / np.sqrt(2),
    np.zeros(4),
    [-1, 1, -1, 1],
    [0, 0, 1, 0],
    np.zeros(4),
  ]
  np.testing.assert_allclose(joined, np.transpose(expected), atol=1e-12)


def test_texts_are_joined_with_numbers():
  texts, numbers = ['abc', None, 'abc'], np.array([[1.0], [2.0], [3.0]])
  joined = fit_for_lines([texts, numbers])([texts, numbers])
  assert scipy.sparse.issparse(joined)
  dense = joined.toarray()
  np.testing.assert_array_equal(dense[0, :-3], dense[2, :-3])
  assert np.linalg.norm(dense[0, :-3]) == pytest.approx(1.0)
  assert not dense[1, :-3].any()
  np.testing.assert_array_equal(dense[:, -2], [0, 1, 0])


def test_columns_are_joined_for_trees():
  narrow, wide = np.array([[1.0], [np.nan]]), rng().normal(size=(50, 100))
  assert np.isnan(fit_for_trees([narrow])([narrow])[1, 0])
  wide[3] = np.nan
  joined = fit_for_trees([wide])([wide])
  assert joined.shape == (50, 32)
  np.testing.assert_array_equal(
    np.isnan(joined).all(axis=1), np.arange(50) == 3
  )
  texts = ['some text', 'another', None]
  assert np.isnan(fit_for_trees([texts])([texts])[2]).all()


# Choosing.


def as_it_is(columns):
  return lambda columns: columns[0]


def constant(name, value):
  return Candidate(
    name, as_it_is, lambda known, targets: lambda asked: value + 0 * asked
  )


def fitted(candidate, columns, targets, asked):
  join = candidate.fit_join(columns)
  return candidate.fit(join(columns), targets)(join(asked))


def test_the_best_on_validation_is_chosen_and_trained_on_all():
  seen = []

  def fit(known, targets):
    seen.append(len(targets))
    return lambda asked: 0 * asked

  rows = Rows([np.zeros((10, 1))], np.zeros((10, 1)))
  validation = np.arange(10) < 3
  candidates = [
    constant('far', 2.0),
    constant('lost', np.nan),
    Candidate('right', as_it_is, fit),
    constant('as right', 0.0),
  ]

  def score(predictions, targets):
    assert len(targets) == 3
    return -float(np.abs(predictions - targets).mean())

  assert choose(candidates, rows, validation, score).name == 'right'
  assert seen == [7, 10]


@pytest.mark.parametrize('validation', [np.zeros(10, bool), np.ones(10, bool)])
def test_without_a_validation_split_some_rows_are_set_aside(validation):
  rows = Rows([np.arange(10.0)[:, None]], np.arange(10))
  seen = []

  def fit(known, targets):
    seen.append(set(targets.tolist()))
    return lambda asked: asked

  def score(predictions, targets):
    seen.append(set(targets.tolist()))
    return 0.0

  choose([Candidate('', as_it_is, fit)], rows, validation, score)
  train, aside, whole = seen
  assert len(aside) == 2 and train | aside == whole and not train & aside


# Models.


def test_what_only_trees_tell():
  numbers = rng().uniform(-1, 1, size=(400, 2))
  labels = (numbers.prod(axis=1) > 0).astype(int)
  columns = [numbers[:, :1], numbers[:, 1:]]
  best = choose(
    of_classes(2), Rows(columns, labels), np.arange(400) < 100, accuracy
  )
  assert best.name == 'gradient-boosted trees'
  assert accuracy(best.predict(columns), labels) > 0.95


def test_what_lines_tell_of_texts_where_numbers_are_missing():
  labels = np.arange(120) % 3
  words = np.array(['red green', 'rot blau', 'vert bleu'])[labels]
  texts = [f'{word} {i}' for i, word in enumerate(words)]
  texts[::10] = [None] * 12
  numbers = labels[:, None] + 0.0
  numbers[1::2] = np.nan
  columns = [texts, numbers]
  (first, *_) = of_classes(3)
  scores = fitted(first, columns, labels, columns)
  np.testing.assert_allclose(scores.sum(axis=1), 1.0)
  # Without a text every second row has its number.
  assert accuracy(scores, labels) == 1.0


def test_classes_that_training_lacks():
  columns = [rng().normal(size=(40, 1))]
  for candidate in of_classes(4):
    scores = fitted(candidate, columns, np.full(40, 2), columns)
    np.testing.assert_array_equal(scores, np.eye(4)[np.full(40, 2)])
    scores = fitted(
      candidate, columns, np.where(columns[0][:, 0] > 0, 1, 3), columns
    )
    assert not scores[:, [0, 2]].any()
  # Trees of many classes would take long.
  assert len(of_classes(17)) == len(of_classes(16)) - 1


def test_labels_are_told_one_by_one():
  numbers = rng().normal(size=(300, 3))
  labels = np.concatenate([numbers > 0.3, np.ones((300, 1))], axis=1)
  for candidate in of_labels(4):
    scores = fitted(candidate, [numbers], labels, [numbers])
    assert scores.shape == (300, 4)
    assert ((scores > 0.5) == labels).mean() > 0.95
    assert (scores[:, 3] == 1.0).all()


def test_numbers_on_a_line():
  columns = [rng().normal(size=(200, 3)), rng(1).normal(size=(200, 1))]
  targets = columns[0] @ [[1.0, 0.0], [0.0, 2.0], [1.0, 1.0]] + columns[1]
  best = choose(of_numbers(2), Rows(columns, targets), np.arange(200) < 50, r2)
  assert best.name == 'ridge regression'
  outputs = best.predict(columns)
  assert outputs.shape == (200, 2, 1)
  assert r2(outputs, targets) > 0.999


def test_numbers_of_which_nothing_is_known():
  columns = [rng().normal(size=(400, 100))]
  targets = rng(1).normal(size=(400, 1))
  best = choose(of_numbers(1), Rows(columns, targets), np.arange(400) < 99, r2)
  assert best.name == 'the same for all'
  np.testing.assert_allclose(best.predict(columns)[..., 0], targets.mean())


def test_quantiles():
  numbers = rng().uniform(-1, 1, size=(2000, 1))
  targets = numbers + rng(1).normal(scale=0.3, size=(2000, 1))
  train, asked = (
    ([numbers[:1000]], targets[:1000]),
    ([numbers[1000:]], targets[1000:]),
  )
  levels = (0.1, 0.5, 0.9)
  # Ridge regression, trees, and the same for all.
  for candidate in (of_numbers(1, levels)[i] for i in (1, -2, -1)):
    quantiles = fitted(candidate, *train, asked[0])
    assert quantiles.shape == (1000, 1, 3)
    assert (np.diff(quantiles, axis=-1) >= 0).all()
    below = (asked[1][..., None] <= quantiles).mean(axis=(0, 1))
    np.testing.assert_allclose(below, levels, atol=0.1)


# With heads.


@pytest.mark.parametrize(
  'kind, arguments, cell_of, score',
  [
    (CLASS, {}, lambda x: 'high' if x > 0 else 'low', 0.95),
    (LABELS, {}, lambda x: ['high'] * (x > 0) + ['wild'] * (abs(x) > 1), 0.95),
    (NUMBER, {'': 'log'}, lambda x: float(np.exp(x)), 0.95),
    (NUMBER, {'': 'quantiles'}, lambda x: [x, -x], 0.95),
  ],
)
def test_metrics_are_those_of_the_head(kind, arguments, cell_of, score):
  x = rng().normal(size=300)
  cells = [cell_of(each) for each in x.tolist()]
  head = kind.make(kind.suited(Column('y', cells, {}), arguments), {})
  targets = np.stack([head.read(cell)[head.rivals.target] for cell in cells])
  rows = Rows([x[:, None]], targets)
  chosen = np.arange(300)
  found = best_rival(
    head,
    rows.some(chosen[:200]),
    np.arange(200) < 50,
    rows.some(chosen[200:]),
  )
  assert found.name and found.metrics[head.score] > score
  outputs = np.zeros((5, head.num_queries, head.channels), np.float32)
  kept = head.collect(outputs, {head.rivals.target: targets[:5]})
  assert set(found.metrics) == set(
    head.metrics({name: np.asarray(x) for name, x in kept.items()})
  )


def reads(values):
  """A survey of the cells of training rows."""
  return lambda read: [read(value) for value in values]


@pytest.mark.parametrize(
  'kind, cells, features',
  [
    (number_cells, [1.0, 2.0, 3.0], [[-0.95], [0.0], [0.95]]),
    (
      number_cells,
      ['1|NA', '3|4', '5|4'],
      [[-0.95, np.nan], [0, 0], [0.95, 0]],
    ),
    (category_cells, ['a', 'b', 'a', 'b'], np.eye(3)[[0, 1, 0, 1]]),
    (list_cells, ['a|b', 'b', 'a'], [[0.5, 0.5, 0], [0, 1, 0], [1, 0, 0]]),
  ],
)
def test_features_of_cells(kind, cells, features):
  files = kind(reads(cells))
  found = [files.classical(files.prepare(files.read(cell))) for cell in cells]
  np.testing.assert_allclose(found, features, atol=0.01)


def test_features_of_dates_tell_the_season():
  days = [f'2024-{month:02}-15' for month in range(1, 13)]
  files = date_cells(reads(days))
  found = np.stack([files.classical(files.read(day)) for day in days])
  seasons = -np.cos((np.arange(12) + 0.5) * np.pi / 6)
  best = max(
    abs(np.corrcoef(column, seasons)[0, 1]) for column in found[:, -4:].T
  )
  assert best > 0.99


# Of a run.


def head_of(kind, cells):
  return kind.make(kind.suited(Column('y', cells, {}), {}), {})


def text_files():
  """Texts as a sense has them, kept as they are."""
  example = {'data': array_spec()}
  return FileKind(
    read=lambda cell: {'data': np.array(len(cell))},
    features={},
    options={},
    example=example,
    augment=lambda kept, rng: kept,
    prepare=lambda kept: kept,
    view=lambda kept: {'text': Text(b'long ' * int(kept['data']))},
  )


def example_of(files, heads, cells, answers):
  """A row; None is an empty cell."""
  return {
    'inputs': {
      key: {**kind.read(cells[key]), 'there': True}
      if cells[key] is not None
      else {'there': False}
      for key, kind in files.items()
    },
    'answers': {
      key: {**head.read(answers[key]), 'there': True}
      if answers[key] is not None
      else {**head.read(some_answer(key)), 'there': False}
      for key, head in heads.items()
    },
  }


def some_answer(key):
  return 'yes' if key == 'big' else 0.0


def dataset_of(files, heads, rows):
  """Two of three train, every third is asked about; some choose."""

  def examples(numbers):
    return [example_of(files, heads, *rows[i]) for i in numbers]

  numbers = range(len(rows))
  return Dataset(
    train=examples(i for i in numbers if i % 6 not in (0, 3, 4)),
    augment=None,
    evaluation=examples(i for i in numbers if i % 3 == 0),
    prepare=lambda example: example,
    validation=examples(i for i in numbers if i % 6 == 4),
  )


def test_answers_of_rows():
  sizes, kinds = rng().normal(size=240), rng(1).choice(['a', 'b', 'c'], 240)
  files = {
    'size': number_cells(reads(sizes.tolist())),
    'kind': category_cells(reads(kinds.tolist())),
    'note': text_files(),
  }
  total = 3 * sizes + np.char.equal(kinds, 'b')
  heads = {
    'big': head_of(CLASS, ['yes', 'no']),
    'total': head_of(NUMBER, total.tolist()),
    'rare': head_of(NUMBER, [0.0, 1.0]),
    'mask': head_of(CLASS, ['yes', 'no'])._replace(rivals=None),
  }
  rows = [
    (
      {
        'size': float(sizes[i]),
        'kind': str(kinds[i]) if i % 7 else None,
        # It says whether a row is big where it is there.
        'note': ['x', 'xx'][int(sizes[i] > 0)] if i % 5 else None,
      },
      {
        'big': ['no', 'yes'][int(sizes[i] > 0)] if i % 2 else None,
        'total': float(total[i]),
        'rare': 1.0 if i < 3 else None,
        'mask': 'yes',
      },
    )
    for i in range(240)
  ]
  # Hidden answers are wrong: `example_of` has one for all.
  found = rivals_of_rows(dataset_of(files, heads, rows), files, heads)
  assert list(found) == ['big', 'total']
  assert found['big'].metrics['accuracy'] > 0.9
  assert found['total'].metrics['r2'] > 0.95


def test_nothing_is_known_of_a_sense():
  files = {'note': text_files()._replace(view=lambda _: {'a': Cell('', '')})}
  heads = {'big': head_of(CLASS, ['yes', 'no'])}
  rows = [({'note': 'x'}, {'big': 'yes'})] * 12
  with pytest.raises(ValueError, match='known of cell'):
    rivals_of_rows(dataset_of(files, heads, rows), files, heads)
