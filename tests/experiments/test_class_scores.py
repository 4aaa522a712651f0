"""What a report counts by classes, against scikit-learn."""

import csv
import re

import numpy as np
import pytest
import sklearn.metrics
from sklearn.calibration import calibration_curve

from experiments.answers.classes.calibration import (
  BINS,
  reliability,
  reliability_diagram,
  statements,
)
from experiments.answers.classes.held_out import (
  columns,
  held_out_classes,
  sections,
)
from experiments.answers.classes.record import CLASSES
from experiments.answers.classes.scores import (
  class_scores,
  confusion_matrix,
  mean_scores,
)
from experiments.answers.flow.record import FLOW
from experiments.evaluate import table_of
from experiments.runs.evaluation import EachExample
from experiments.tasks.task import Task
from tests.pages import Page

NAMES = ('a', 'b', 'c', 'd', 'e')


def rng(seed=0):
  return np.random.default_rng(seed)


def one_class(seed=0, n=200):
  """Scores that are about right, of labels that are never 'e'."""
  labels = rng(seed).integers(0, 4, n)
  logits = rng(seed + 1).normal(size=(n, 5)) + 1.2 * np.eye(5)[labels]
  logits[:, 3] -= 9.0  # Never found.
  odds = np.exp(logits)
  scores = (odds / odds.sum(axis=1, keepdims=True)).astype(np.float32)
  return {'scores': scores, 'labels': labels.astype(np.int32)}


def several_classes(seed=0, n=200):
  labels = rng(seed).random((n, 5)) < [0.5, 0.3, 0.1, 0.2, 0.0]
  scores = 1 / (1 + np.exp(-rng(seed + 1).normal(3 * labels - 1.5)))
  return {'scores': scores.astype(np.float32), 'labels': labels}


@pytest.mark.parametrize('kept', [one_class(), several_classes()])
def test_scores_of_classes(kept):
  scores, labels = kept['scores'], kept['labels']
  if labels.ndim == 1:
    has = np.eye(5, dtype=bool)[labels]
    says = np.eye(5, dtype=bool)[scores.argmax(axis=1)]
  else:
    has, says = labels, scores > 0.5
  precision, recall, f1, support = (
    sklearn.metrics.precision_recall_fscore_support(has, says, zero_division=0)
  )
  found = class_scores(scores, labels, NAMES)
  assert [each.name for each in found] == list(NAMES)
  assert [each.positives for each in found] == support.tolist()
  assert support[4] == 0
  for i, each in enumerate(found[:4]):
    assert each.precision == pytest.approx(precision[i])
    assert each.recall == pytest.approx(recall[i])
    assert each.f1 == pytest.approx(f1[i])
    assert each.average_precision == pytest.approx(
      sklearn.metrics.average_precision_score(has[:, i], scores[:, i])
    )
  assert np.isnan(found[4][1:5]).all()
  mean = mean_scores(found)
  expected = sklearn.metrics.precision_recall_fscore_support(
    has, says, average='macro', labels=range(4), zero_division=0
  )
  assert mean[1:4] == pytest.approx(expected[:3])
  assert mean.average_precision == pytest.approx(
    sklearn.metrics.average_precision_score(has[:, :4], scores[:, :4])
  )


def test_the_confusion_matrix():
  kept = one_class()
  np.testing.assert_array_equal(
    confusion_matrix(kept['scores'], kept['labels']),
    sklearn.metrics.confusion_matrix(
      kept['labels'], kept['scores'].argmax(axis=1), labels=range(5)
    ),
  )


@pytest.mark.parametrize('kept', [one_class(), several_classes()])
def test_calibration(kept):
  said, came_true = statements(kept['scores'], kept['labels'])
  if kept['labels'].ndim == 1:
    right = kept['scores'].argmax(axis=1) == kept['labels']
    np.testing.assert_array_equal(came_true, right)
    np.testing.assert_array_equal(said, kept['scores'].max(axis=1))
  else:
    assert said.shape == came_true.shape == (200 * 5,)
  bins = reliability(said, came_true)
  true, mean = calibration_curve(came_true, said, n_bins=BINS)
  there = bins.counts > 0
  np.testing.assert_allclose(bins.true[there], true)
  np.testing.assert_allclose(bins.said[there], mean, rtol=1e-6)
  counts, _ = np.histogram(said, np.linspace(0, 1, BINS + 1))
  np.testing.assert_array_equal(bins.counts, counts)
  expected = (np.abs(true - mean) * counts[there]).sum() / counts.sum()
  assert bins.error() == pytest.approx(expected)


def test_a_model_that_is_as_sure_as_it_should_be_has_no_error():
  said = np.repeat([0.5, 0.75, 1.0], [4, 8, 2])
  came_true = np.array([1, 1, 0, 0] + [1, 1, 1, 0] * 2 + [1, 1])
  assert reliability(said, came_true > 0).error() == pytest.approx(0.0)
  # Sure, and wrong every second time.
  assert reliability(np.ones(8), np.arange(8) % 2 > 0).error() == 0.5


def test_bars_end_where_the_share_is():
  bins = reliability(np.array([0.1, 0.1, 0.9, 0.9]), np.array([0, 1, 1, 1]) > 0)
  drawn = reliability_diagram(bins)
  heights = re.findall(r'<rect [^>]*height="([\d.]+)"', drawn)
  assert [float(x) for x in heights] == [120.5, 240.5]  # Of 240.
  titles = re.findall('<title>([^<]*)', drawn)
  assert titles[0] == '2 said with 7% to 13%, 10.0% on average: 50.0% are true'


def test_clips_of_a_recording_are_averaged():
  kept = {
    'scores': np.array([[0.6, 0.4], [0.8, 0.2], [0.1, 0.9]]),
    'labels': np.array([1, 0, 1]),
    'recording': np.array([7, 3, 7]),
  }
  found = columns(('x', 'y'), np.arange(3), kept)
  assert {k: list(v) for k, v in found.items()} == {
    'recording': [3, 7],
    'true': ['x', 'y'],
    'predicted': ['x', 'y'],
    'p(x)': pytest.approx([0.8, 0.35]),
    'p(y)': pytest.approx([0.2, 0.65]),
  }
  confusions, *_ = sections(('x', 'y'), kept, 'Of all')
  assert confusions.note == 'Of all, in 2 recordings; 2 of 2 are right.'


def test_sections_say_what_was_found():
  kept = one_class()
  confusions, scores, calibration = sections(NAMES, kept, 'Of all 200')
  right = (kept['scores'].argmax(axis=1) == kept['labels']).sum()
  assert confusions.note == f'Of all 200; {right} of 200 are right.'
  (table,) = Page(scores.body).tables
  assert table[0][0] == 'class' and table[1][0] == 'mean'
  assert table[2][0] == 'd' and table[2][1].strip() == '0'  # The worst.
  last = [cell.strip() for cell in table[-1]]
  assert last == ['e', 'n/a', 'n/a', 'n/a', 'n/a', '0']
  error = reliability(*statements(kept['scores'], kept['labels'])).error()
  assert f'error is {error:.1%}' in calibration.note
  # Of any number of classes nothing is taken for anything else.
  titles = [x.title for x in sections(NAMES, several_classes(), '')]
  assert titles == ['Scores of each class', 'Calibration']
  # Nor is anything divided by no examples.
  kept = several_classes()
  kept['labels'] = np.zeros_like(kept['labels'])
  assert 'n/a' in sections(NAMES, kept, '')[0].body


def test_many_classes_are_told_by_the_pairs_that_are_confused():
  names = tuple(f'class {i}' for i in range(60))
  pairs = [(5, 9)] * 3 + [(7, 2)] * 2 + [(i, i) for i in range(60)]
  labels, guesses = np.array(pairs).T
  kept = {'scores': np.eye(60)[guesses] * 0.9, 'labels': labels}
  first, *_ = sections(names, kept, '')
  assert Page(first.body).tables[0][1:] == [
    ['class 5', 'class 9', '3', '75%'],
    ['class 7', 'class 2', '2', '67%'],
  ]


def test_a_table_of_predictions_is_read_back():
  kept = several_classes(n=3)
  names = ('a,b', '"c"', 'd', 'e', 'f')
  answer = CLASSES._replace(held_out=held_out_classes(names, None))
  task = Task(None, None, None, answer, None)
  each = EachExample(np.int32([0, 2, 5]), {'loss': np.ones(3)}, kept)
  rows = list(csv.DictReader(table_of(task, each).splitlines()))
  assert [row['example'] for row in rows] == ['0', '2', '5']
  for row, scores, has in zip(
    rows, kept['scores'], kept['labels'], strict=True
  ):
    chances = [float(row[f'p({name})']) for name in names]
    np.testing.assert_allclose(chances, scores, rtol=1e-6)
    assert row['true'] == '|'.join(np.array(names)[has])
    assert row['predicted'] == '|'.join(np.array(names)[scores > 0.5])


def test_without_classes_the_table_has_the_metrics():
  metrics = {'end_point_error': np.float32([0.5, 0.25]), 'loss': np.ones(2)}
  each = EachExample(np.arange(2), metrics, {})
  table = table_of(Task(None, None, None, FLOW, None), each)
  assert table == 'example,end_point_error,loss\n0,0.5,1\n1,0.25,1\n'
