"""Any number of labels a row, in a column of a table, against scikit-learn."""

import json

import jax
import numpy as np
import pytest
import sklearn.metrics

from experiments.answers.classes.labels import LABELS
from experiments.answers.head import Column
from tests.pages import Page

CELLS = ['a|b', ['c', 'a'], '[]', '["b"]', 'c;a', ' a ']


def options_of(cells, **arguments):
  return LABELS.suited(Column('findings', cells, {}), arguments)


def head_of(cells):
  # What stands in a config has been JSON.
  return LABELS.make(json.loads(json.dumps(options_of(cells))), {})


def kept_of(head, outputs, labels):
  kept = head.collect(np.float32(outputs), {'labels': np.float32(labels)})
  return {name: np.asarray(x) for name, x in kept.items()}


def some(n=150):
  """Outputs that are about right; the last label is never there."""
  rng = np.random.default_rng(0)
  labels = rng.random((n, 4)) < [0.6, 0.3, 0.1, 0.0]
  outputs = rng.normal(2 * labels - 1.0)
  return head_of([['a', 'b', 'c', 'd']]), outputs[..., None], labels


def test_labels_of_lists():
  head = head_of(CELLS)
  assert options_of(CELLS) == {'labels': ['a', 'b', 'c']}
  np.testing.assert_array_equal(
    [head.read(cell)['labels'] for cell in CELLS],
    [[1, 1, 0], [1, 0, 1], [0, 0, 0], [0, 1, 0], [1, 0, 1], [1, 0, 0]],
  )
  assert options_of(['10|9', 10]) == {'labels': ['9', '10']}
  assert (head.num_queries, head.channels) == (3, 1)
  assert head.target['labels'].shape == (3,)


@pytest.mark.parametrize(
  'cells, arguments, said',
  [
    (['[]', []], {}, 'have 0 names, nothing'),
    ([[f'label {i}' for i in range(1001)]], {}, '1,001 names'),
    ([[0.5]], {}, '0.5 is no class'),
    (['[a'], {}, 'begins with'),
    (CELLS, {'smoothing': '0'}, 'knows no arguments'),
  ],
)
def test_what_are_no_labels(cells, arguments, said):
  with pytest.raises(ValueError, match=said):
    options_of(cells, **arguments)


def test_a_label_that_training_lacks():
  with pytest.raises(ValueError, match="'d' is not in the training rows"):
    head_of(CELLS).read('a|d')


def test_the_loss_is_log_loss():
  head, outputs, labels = some()
  losses = jax.jit(head.loss)(
    np.float32(outputs), {'labels': np.float32(labels)}
  )
  chances = 1 / (1 + np.exp(-outputs[..., 0]))
  expected = [
    sklearn.metrics.log_loss(has, p, labels=[0, 1])
    for has, p in zip(labels, chances, strict=True)
  ]
  np.testing.assert_allclose(losses, expected, rtol=1e-5)


def test_metrics():
  head, outputs, labels = some()
  chances = 1 / (1 + np.exp(-outputs[..., 0]))
  metrics = head.metrics(kept_of(head, outputs, labels))
  there = labels[:, :3]
  assert metrics == {
    'mean_average_precision': pytest.approx(
      sklearn.metrics.average_precision_score(there, chances[:, :3])
    ),
    'f1_micro': pytest.approx(
      sklearn.metrics.f1_score(labels, chances > 0.5, average='micro')
    ),
    'f1_macro': pytest.approx(
      sklearn.metrics.f1_score(there, chances[:, :3] > 0.5, average='macro')
    ),
  }
  assert metrics['f1_micro'] != pytest.approx(metrics['f1_macro'], abs=0.01)
  assert head.score in metrics
  for name in metrics:
    assert head.answer.is_lower_better(name) is False


def test_metrics_where_no_example_has_any():
  head, outputs, labels = some()
  kept = kept_of(head, -9.0 + 0 * outputs, labels & False)
  metrics = head.metrics(kept)
  assert metrics['f1_micro'] == 0.0
  assert np.isnan(metrics['f1_macro'])
  assert head.baselines(kept) == []


def test_the_baseline_is_the_precision_of_equal_scores():
  head, outputs, labels = some()
  kept = kept_of(head, 0 * outputs, labels)
  ((name, metric, value),) = head.baselines(kept)
  assert (name, metric) == ('chance', 'mean_average_precision')
  expected = sklearn.metrics.average_precision_score(
    labels[:, :3], np.zeros((len(labels), 3))
  )
  assert value == pytest.approx(expected)
  assert value == pytest.approx(head.metrics(kept)[metric])


def test_what_is_told():
  head = head_of(CELLS)
  odds = np.array([[3.0], [0.25], [1.5]])
  value = head.tell(np.log(odds), {})
  cells = head.cells(value)
  assert cells[''] == 'a|c'
  assert list(cells)[1:] == [' p(a)', ' p(b)', ' p(c)']
  assert cells[' p(b)'] == pytest.approx(0.2)
  # What is written can be read.
  np.testing.assert_array_equal(head.read(cells[''])['labels'], [1, 0, 1])
  assert head.answer.lines(value, 1)[0].startswith(' 75.0%  a')
  kept = kept_of(head, np.log([odds, odds]), [[1, 1, 0], [0, 0, 0]])
  assert head.columns(kept)['true'] == ['a|b', '']
  assert head.columns(kept)['predicted'] == ['a|c', 'a|c']
  captions = [
    Page(head.caption({name: x[i] for name, x in kept.items()})).words
    for i in (0, 1)
  ]
  assert captions == ['a, ba 75%, c 60%, b 20%', 'nonea 75%, c 60%, b 20%']
  scores, calibration = head.sections(kept, 'Of all')
  assert 'over 50%' in scores.note and calibration.title == 'Calibration'
