"""Classes in a column of a table, one a row, against scikit-learn."""

import json

import jax
import numpy as np
import pytest
import sklearn.metrics

from experiments.answers.classes.column import CLASS
from experiments.answers.classes.names import class_name, in_order
from experiments.answers.classes.scores import area_under_roc
from experiments.answers.head import Column

CELLS = ['b', 'a', 'b', 'c']


def options_of(cells, **arguments):
  column = Column('diagnosis', cells, {})
  return CLASS.suited(column, arguments)


def head_of(cells, **arguments):
  # What stands in a config has been JSON.
  return CLASS.make(json.loads(json.dumps(options_of(cells, **arguments))), {})


def targets_of(head, cells):
  rows = [head.read(cell) for cell in cells]
  return {name: np.stack([row[name] for row in rows]) for name in rows[0]}


def kept_of(head, outputs, cells):
  kept = head.collect(outputs, targets_of(head, cells))
  return {name: np.asarray(x) for name, x in kept.items()}


def test_options():
  assert options_of(CELLS) == {
    'classes': ['a', 'b', 'c'],
    'most_frequent': 'b',
    'smoothing': 0.1,
  }
  assert options_of(CELLS, smoothing='0')['smoothing'] == 0.0


@pytest.mark.parametrize(
  'cells, names',
  [
    ([10, 9, -1, np.int64(9)], ['-1', '9', '10']),
    (['10', '9', 9.0], ['9', '10']),
    ([True, 'False', np.bool_(True), 'TRUE'], ['false', 'true']),
    (['10', '9', 'x'], ['10', '9', 'x']),
    (['e\u0301', '\xe9 ', 'e'], ['e', '\xe9']),
  ],
)
def test_names(cells, names):
  assert in_order(map(class_name, cells)) == names


@pytest.mark.parametrize('cell', [0.5, '', ' ', float('nan'), ['a'], None])
def test_what_is_no_class(cell):
  with pytest.raises(ValueError, match='is no class'):
    head_of(CELLS).read(cell)


def test_too_few_or_too_many_classes():
  with pytest.raises(ValueError, match="diagnosis:class have 1 names, 'a'"):
    options_of(['a', 'a'])
  with pytest.raises(ValueError, match='1,001 names'):
    options_of(range(1001))
  assert len(options_of(range(1000))['classes']) == 1000


@pytest.mark.parametrize(
  'arguments, said',
  [
    ({'smoothing': '1'}, 'from 0 to below 1'),
    ({'smoothing': 'much'}, "got 'much'"),
    ({'smoothing': ''}, 'smoothing=VALUE'),
    ({'': 'smoothing'}, 'smoothing=VALUE'),
    ({'smooth': '0'}, "did you mean 'smoothing'"),
    ({'': '3'}, "no '3'"),
  ],
)
def test_wrong_arguments(arguments, said):
  with pytest.raises(ValueError, match=said):
    CLASS.suited(Column('diagnosis', CELLS, {}), arguments)


def test_a_class_that_training_lacks():
  head = head_of(CELLS)
  assert head.read('c')['label'] == 2
  with pytest.raises(ValueError, match="'d' is not in the training rows"):
    head.read('d')


@pytest.mark.parametrize('smoothing', ['0', '0.3'])
def test_the_loss_is_cross_entropy(smoothing):
  head = head_of(CELLS, smoothing=smoothing)
  outputs = np.random.default_rng(0).normal(size=(4, 1, 3)).astype(np.float32)
  shares = np.eye(3)[[1, 0, 1, 2]]
  shares = (1 - float(smoothing)) * shares + float(smoothing) / 3
  logits = outputs[:, 0].astype(np.float64)
  chances = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
  np.testing.assert_allclose(
    jax.jit(head.loss)(outputs, targets_of(head, CELLS)),
    -(shares * np.log(chances)).sum(axis=1),
    rtol=1e-5,
  )
  assert outputs.shape[1:] == (head.num_queries, head.channels)


def test_metrics_of_several_classes():
  head = head_of(['a', 'b', 'c', 'd'])
  rng = np.random.default_rng(0)
  labels = rng.choice(3, 200, p=[0.6, 0.3, 0.1])  # Never 'd'.
  outputs = 2 * np.eye(4)[labels] + rng.normal(size=(200, 4)) + [1, 0, 0, 0]
  kept = kept_of(head, outputs[:, None], np.array(list('abc'))[labels])
  says = outputs.argmax(axis=1)
  # It warns of the class that nothing has.
  recalls = sklearn.metrics.recall_score(
    labels, says, labels=range(3), average='macro'
  )
  metrics = head.metrics(kept)
  assert metrics == {
    'accuracy': pytest.approx(sklearn.metrics.accuracy_score(labels, says)),
    'balanced_accuracy': pytest.approx(recalls),
  }
  assert metrics['accuracy'] > metrics['balanced_accuracy'] + 0.01
  assert head.score in metrics
  for name in metrics:
    assert head.answer.is_lower_better(name) is False


def test_metrics_of_two_classes():
  head = head_of([False, True])
  rng = np.random.default_rng(0)
  labels = rng.random(300) < 0.3
  # Of whole numbers, most of them are ties.
  outputs = np.zeros((300, 1, 2))
  outputs[:, 0, 1] = np.round(rng.normal(size=300) + labels)
  kept = kept_of(head, outputs, labels)
  metrics = head.metrics(kept)
  expected = sklearn.metrics.roc_auc_score(labels, outputs[:, 0, 1])
  assert metrics['auc'] == pytest.approx(expected, abs=1e-12)
  assert metrics['balanced_accuracy'] == pytest.approx(
    sklearn.metrics.balanced_accuracy_score(labels, outputs[:, 0, 1] > 0)
  )
  assert head.answer.is_lower_better('auc') is False


def test_no_area_without_a_positive_and_a_negative():
  assert np.isnan(area_under_roc(np.arange(3.0), np.ones(3, bool)))
  assert np.isnan(area_under_roc(np.arange(3.0), np.zeros(3, bool)))


def test_the_baseline_is_the_most_frequent_class_of_training():
  head = head_of(['a', 'a', 'b'])
  kept = kept_of(head, np.zeros((4, 1, 2)), ['a', 'b', 'b', 'b'])
  assert head.baselines(kept) == [('most frequent class', 'accuracy', 0.25)]


def test_what_is_told():
  head = head_of(CELLS)
  outputs = np.log(np.float32([[0.2, 0.7, 0.1]]))
  value = head.tell(outputs, {})
  assert head.answer.lines(value, 1)[0].startswith(' 70.0%  b')
  cells = head.cells(value)
  assert cells[''] == 'b' and len(cells) == 4
  assert cells[' p(a)'] == pytest.approx(0.2)
  json.dumps(cells)
  kept = kept_of(head, np.stack([outputs] * 2), ['b', 'c'])
  assert head.columns(kept)['true'] == ['b', 'c']
  assert head.columns(kept)['predicted'] == ['b', 'b']
  assert head.columns(kept)['p(c)'] == pytest.approx([0.1, 0.1])
  one = {name: x[1] for name, x in kept.items()}
  assert head.caption(one) == '<b class="wrong">b</b> 70%<br>is c, given 10.0%'
  confusions, *rest = head.sections(kept, 'Of all')
  assert confusions.note == 'Of all; 1 of 2 are right.'
  assert [x.title for x in rest] == ['Scores of each class', 'Calibration']
