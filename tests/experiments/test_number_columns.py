"""Numbers in a column of a table, against numpy, scipy and scikit-learn."""

import json

import jax
import numpy as np
import pytest
import scipy.stats
import sklearn.metrics

from experiments.answers.head import Column
from experiments.answers.numbers.column import NUMBER
from experiments.answers.numbers.losses import KNEE, in_order, robust_squares
from experiments.answers.numbers.value import shortened, told
from experiments.pages.scatter import MOST_POINTS, same_scale_scatter
from tests.pages import Page

CELLS = [1.0, 2, '3', ' 4e0', '10.0']


def rng(seed=0):
  return np.random.default_rng(seed)


def options_of(cells, *flags, **arguments):
  arguments = {'': ', '.join(flags), **arguments}
  return NUMBER.suited(Column('risk', cells, {}), arguments)


def head_of(cells, *flags, **arguments):
  # What stands in a config has been JSON.
  options = json.loads(json.dumps(options_of(cells, *flags, **arguments)))
  return NUMBER.make(options, {})


def targets_of(head, cells):
  return {'numbers': np.stack([head.read(cell)['numbers'] for cell in cells])}


def kept_of(head, outputs, cells):
  kept = head.collect(np.float32(outputs), targets_of(head, cells))
  return {name: np.asarray(x) for name, x in kept.items()}


def outputs_of(quantiles):
  """Channels that give quantiles `[..., 3]`."""
  low, middle, high = np.moveaxis(np.asarray(quantiles, np.float64), -1, 0)
  below, above = (np.log(np.expm1(x)) for x in (middle - low, high - middle))
  return np.stack([below, middle, above], axis=-1)


# Options.


def test_options():
  options = options_of(CELLS)
  assert options['centre'] == options['means'] == [4.0]
  assert options['spread'] == [
    pytest.approx(np.std([1, 2, 3, 4, 10]), rel=1e-4)
  ]
  assert options['medians'] == [3.0]
  assert options['quantiles'] == options['constants'] == []
  assert options['log'] is False


def test_options_of_quantiles():
  assert options_of(CELLS, 'quantiles')['quantiles'] == [0.1, 0.5, 0.9]
  options = options_of(CELLS, quantiles='0.95|0.05')
  assert options['quantiles'] == [0.05, 0.5, 0.95]
  np.testing.assert_allclose(
    options['constants'],
    np.quantile([[1], [2], [3], [4], [10]], [0.05, 0.5, 0.95], axis=0),
    rtol=1e-3,
  )


def test_options_of_logarithms():
  options = options_of(CELLS, 'log', 'quantiles')
  logs = np.log([1, 2, 3, 4, 10])
  assert options['centre'] == [pytest.approx(logs.mean(), abs=1e-4)]
  assert options['spread'] == [pytest.approx(logs.std(), rel=1e-4)]
  assert options['means'] == [4.0]  # In its own units.


def test_small_differences_of_large_numbers():
  cells = [1e9 + x for x in (0.0, 0.001, 0.002, 0.003)]
  head = head_of(cells)
  spread = np.std([0, 1, 2, 3])
  np.testing.assert_allclose(
    targets_of(head, cells)['numbers'][:, 0],
    (np.arange(4) - 1.5) / spread,
    atol=2e-4,
  )
  kept = kept_of(head, targets_of(head, cells)['numbers'][..., None], cells)
  np.testing.assert_allclose(
    np.array(head.columns(kept)['true']) - 1e9, np.arange(4) / 1e3, atol=1e-6
  )
  assert head.metrics(kept)['r2'] == pytest.approx(1.0)


@pytest.mark.parametrize(
  'cells, arguments, said',
  [
    ([1, 'x'], {}, "'x' is no number"),
    ([1, float('inf')], {}, 'inf is no number'),
    ([2, 2.0], {}, 'same in all training rows'),
    ([1e200, -1e200], {}, 'in another unit'),
    ([[1, 2], [3]], {}, 'lists of 1 to 2 numbers'),
    ([[], []], {}, 'lists of 0 to 0'),
    ([1, 0], {'': 'log'}, 'has 0 in its training rows'),
    ([1, 2], {'log': '10'}, 'write log alone'),
    ([1, 2], {'': 'quantile'}, "did you mean 'quantiles'"),
    ([1, 2], {'quantiles': '0.1|1'}, 'from 0 to below 1'),
    ([1, 2], {'quantiles': '0|0.9'}, 'no number lies below'),
    ([1, 2], {'quantiles': 'all'}, "got 'all'"),
  ],
)
def test_what_cannot_be_predicted(cells, arguments, said):
  with pytest.raises(ValueError, match=said):
    NUMBER.suited(Column('risk', cells, {}), arguments)


@pytest.mark.parametrize(
  'cell, said',
  [
    ('low', 'is no number'),
    ([1, 2], 'has 2 numbers, those of training have 1'),
    (-1, 'not positive'),
    ('[1', 'is no list'),
    ('1|NA', 'lacks some of its numbers'),
  ],
)
def test_what_is_no_such_number(cell, said):
  with pytest.raises(ValueError, match=said):
    head_of(CELLS, 'log').read(cell)
  with pytest.raises(ValueError, match='too far'):
    head_of(CELLS).read(1e100)


def test_one_of_several_numbers_may_never_change():
  cells = ['[0.1, 1]', '0.1|2', [0.1, 3]]
  head = head_of(cells)
  np.testing.assert_allclose(
    targets_of(head, cells)['numbers'],
    np.array([[0, -1.5], [0, 0], [0, 1.5]]) * np.sqrt(2 / 3),
    rtol=1e-4,
  )
  assert (head.num_queries, head.channels) == (2, 1)


# Losses.


def test_the_loss_is_of_squares_up_to_the_knee():
  head = head_of(CELLS)
  numbers = np.float32([[0.0], [0.0], [0.0]])
  outputs = np.float32([[[0.5]], [[-2.0]], [[9.0]]])
  np.testing.assert_allclose(
    head.loss(outputs, {'numbers': numbers}),
    [0.125, 2.0, KNEE * (9.0 - KNEE / 2)],
  )


def test_the_loss_predicts_means_nearly():
  # Of the exponential distribution, whose mean and deviation are 1; by hand,
  # 1 - exp(-(m + KNEE)) = m.
  numbers = -np.log1p(-(np.arange(20_000) + 0.5) / 20_000)
  guesses = np.arange(0.9, 1.02, 0.001)
  losses = [
    np.mean(robust_squares(np.full((20_000, 1, 1), m), numbers[:, None]))
    for m in guesses
  ]
  best = guesses[np.argmin(losses)]
  assert best == pytest.approx(0.9809, abs=0.002)
  assert 1 - np.exp(-(best + KNEE)) == pytest.approx(best, abs=0.002)


def test_quantiles_are_in_order():
  levels = (0.05, 0.25, 0.5, 0.9, 0.95)
  outputs = 10 * rng().normal(size=(50, 2, 5)).astype(np.float32)
  quantiles = np.asarray(in_order(outputs, levels))
  assert (np.diff(quantiles, axis=-1) >= 0.0).all()
  np.testing.assert_array_equal(quantiles[..., 2], outputs[..., 2])
  steps = np.log1p(np.exp(outputs.astype(np.float64)))
  np.testing.assert_allclose(
    quantiles[..., 0],
    outputs[..., 2] - steps[..., 1] - steps[..., 0],
    rtol=1e-4,
    atol=1e-4,
  )
  np.testing.assert_allclose(
    quantiles[..., 4],
    outputs[..., 2] + steps[..., 3] + steps[..., 4],
    rtol=1e-4,
    atol=1e-4,
  )


def test_the_loss_of_quantiles_is_that_of_scikit_learn():
  head = head_of(rng().normal(size=(30, 2)).tolist(), 'quantiles')
  numbers = rng(1).normal(size=(30, 2)).astype(np.float32)
  outputs = rng(2).normal(size=(30, 2, 3)).astype(np.float32)
  quantiles = np.asarray(in_order(outputs, (0.1, 0.5, 0.9)))
  expected = np.mean(
    [
      sklearn.metrics.mean_pinball_loss(numbers, quantiles[..., i], alpha=alpha)
      for i, alpha in enumerate((0.1, 0.5, 0.9))
    ]
  )
  losses = jax.jit(head.loss)(outputs, {'numbers': numbers})
  assert losses.shape == (30,)
  np.testing.assert_allclose(np.mean(losses), expected, rtol=1e-5)


def test_learned_constants_are_quantiles():
  numbers = rng().exponential(size=(1000, 1)).astype(np.float32)
  head = head_of(numbers[:, 0].tolist(), 'quantiles')
  target = targets_of(head, numbers[:, 0].tolist())

  @jax.jit
  def step(outputs):
    def mean_loss(x):
      return head.loss(jax.numpy.broadcast_to(x, (1000, 1, 3)), target).mean()

    return outputs - jax.grad(mean_loss)(outputs)

  outputs = np.zeros((1, 3), np.float32)
  for _ in range(300):
    outputs = step(outputs)
  value = head.tell(np.asarray(outputs), {})
  found = [value.quantiles[0.1][0], value.values[0], value.quantiles[0.9][0]]
  expected = np.quantile(numbers, [0.1, 0.5, 0.9])
  np.testing.assert_allclose(found, expected, atol=0.03)


# Metrics.


@pytest.mark.parametrize('flags', [(), ('log',)])
def test_metrics(flags):
  cells = np.round(rng().lognormal(size=200), 1) + 0.1
  head = head_of(cells.tolist(), *flags)
  z = targets_of(head, cells)['numbers']
  outputs = (z + rng(1).normal(scale=0.5, size=z.shape))[..., None]
  kept = kept_of(head, outputs, cells)
  said = [head.tell(each, {}).values[0] for each in kept['outputs']]
  metrics = head.metrics(kept)
  assert metrics == {
    'mae': pytest.approx(
      sklearn.metrics.mean_absolute_error(cells, said), rel=1e-5
    ),
    'rmse': pytest.approx(
      sklearn.metrics.root_mean_squared_error(cells, said), rel=1e-5
    ),
    'r2': pytest.approx(sklearn.metrics.r2_score(cells, said), abs=1e-5),
    'spearman': pytest.approx(
      scipy.stats.spearmanr(cells, said).statistic, abs=1e-9
    ),
  }
  assert len(set(cells)) < 150  # There are ties.
  assert head.score in metrics
  lower = [head.answer.is_lower_better(name) for name in metrics]
  assert lower == [True, True, False, False]


def test_metrics_of_several_numbers_are_means():
  cells = rng().normal(size=(50, 3)) * [1, 10, 100]
  head = head_of(cells.tolist())
  z = targets_of(head, cells.tolist())['numbers']
  kept = kept_of(head, 0.5 * z[..., None], cells.tolist())
  said = np.stack([head.tell(each, {}).values for each in kept['outputs']])
  metrics = head.metrics(kept)
  assert metrics['mae'] == pytest.approx(
    sklearn.metrics.mean_absolute_error(cells, said), rel=1e-5
  )
  assert metrics['r2'] == pytest.approx(
    sklearn.metrics.r2_score(cells, said), abs=1e-5
  )
  # One that is the same in all held-out rows has no variance to explain.
  cells[:, 0] = 1.0
  kept = kept_of(head, 0.5 * z[..., None], cells.tolist())
  expected = sklearn.metrics.r2_score(cells[:, 1:], said[:, 1:])
  assert head.metrics(kept)['r2'] == pytest.approx(expected, abs=1e-5)


def test_metrics_of_quantiles():
  cells = rng().normal(50, 10, size=500)
  head = head_of(cells.tolist(), 'quantiles')
  options = options_of(cells.tolist(), 'quantiles')
  middle = 0.3 * rng(1).normal(size=(500, 1))
  quantiles = np.stack([middle - 1.3, middle, middle + 1.3], axis=-1)
  kept = kept_of(head, outputs_of(quantiles), cells.tolist())
  said = quantiles[:, 0] * options['spread'] + options['centre']
  metrics = head.metrics(kept)
  inside = (said[:, 0] <= cells) & (cells <= said[:, 2])
  assert metrics['coverage'] == pytest.approx(inside.mean(), abs=0.003)
  assert metrics['mean_pinball_loss'] == pytest.approx(
    np.mean(
      [
        sklearn.metrics.mean_pinball_loss(cells, said[:, i], alpha=alpha)
        for i, alpha in enumerate((0.1, 0.5, 0.9))
      ]
    ),
    rel=1e-4,
  )
  assert head.answer.is_lower_better('mean_pinball_loss') is True
  assert head.answer.is_lower_better('coverage') is None
  # The median alone has nothing to cover.
  head = head_of(cells.tolist(), quantiles='0.5')
  kept = kept_of(head, middle[..., None], cells.tolist())
  assert 'coverage' not in head.metrics(kept)


def test_baselines_are_those_of_training():
  head = head_of([1.0, 2.0, 6.0], 'quantiles')
  kept = kept_of(head, np.zeros((2, 1, 3)), [4.0, 6.0])
  found = {(name, metric): x for name, metric, x in head.baselines(kept)}
  assert found['training mean', 'mae'] == pytest.approx(2.0)
  assert found['training mean', 'rmse'] == pytest.approx(np.sqrt(5))
  assert found['training mean', 'r2'] == pytest.approx(-4.0)
  assert found['training median', 'mae'] == pytest.approx(3.0)
  # Quantiles 1.2, 2 and 5.2 of 4 and 6.
  assert found['training quantiles', 'mean_pinball_loss'] == pytest.approx(
    np.mean([0.28, 0.48, 1.0, 2.0, 0.12, 0.72]), rel=1e-4
  )
  assert len(found) == 7
  assert len(head_of([1.0, 2.0]).baselines(kept)) == 6


# What is told.


@pytest.mark.parametrize(
  'number, spread, shown',
  [
    (3.14159, 1.0, '3.14'),
    (3.2001, 5.0, '3.2'),
    (1234567.8, 2e5, '1,235,000'),
    (0.000123456, 1e-5, '0.0001235'),
    (1e9 + 0.0012, 0.01, '1,000,000,000.0012'),
    (-0.001, 1.0, '0'),
    (0.0, 1e-30, '0'),
    (3e30, 1.0, '3e+30'),
    (float('nan'), 1.0, 'n/a'),
  ],
)
def test_numbers_are_told_by_their_spread(number, spread, shown):
  assert told(number, spread) == shown


def test_numbers_are_shortened_by_their_spread():
  assert shortened(3.123456789, 1.0) == 3.12346
  assert shortened(1e9 + 0.00123456789, 1e-3) == pytest.approx(
    1e9 + 0.00123457, abs=1e-7
  )
  assert shortened(123456789.0, 1e9) == 123460000.0
  assert shortened(float('inf'), 1.0) == float('inf')


def test_what_is_told_of_a_number():
  head = head_of([0.0, 2.0])  # Mean and spread 1.
  value = head.tell(np.float32([[2.2]]), {})
  assert head.answer.lines(value, 5) == ['3.2']
  assert head.answer.json(value, 5) == {'number': 3.2}
  assert head.cells(value) == {'': 3.2}
  assert head.answer.note(value) == 'The model says: 3.2.'
  assert Page(head.answer.said(value, 5)).words == '3.2'


def test_what_is_told_of_quantiles():
  head = head_of([0.0, 2.0], 'quantiles')
  outputs = np.float32(outputs_of([[1.1, 2.2, 3.6]]))
  value = head.tell(outputs, {})
  assert head.answer.lines(value, 5) == ['3.2 (2.1 to 4.6)']
  assert head.answer.json(value, 5) == {
    'number': 3.2,
    'quantiles': {'10%': 2.1, '90%': 4.6},
  }
  assert head.cells(value) == {'': 3.2, ' 10%': 2.1, ' 90%': 4.6}
  assert Page(head.answer.said(value, 5)).words == '3.22.1 to 4.6'
  kept = kept_of(head, np.stack([outputs] * 2), [2.0, 3.0])
  assert head.columns(kept) == {
    'true': [2.0, 3.0],
    'predicted': [3.2, 3.2],
    'predicted 10%': [2.1, 2.1],
    'predicted 90%': [4.6, 4.6],
  }
  outside, inside = (
    head.caption({name: x[i] for name, x in kept.items()}) for i in (0, 1)
  )
  assert outside == '<b class="wrong">3.2 (2.1 to 4.6)</b>, is 2'
  assert inside == '<b>3.2 (2.1 to 4.6)</b>, is 3'


def test_what_is_told_of_logarithms():
  head = head_of([1.0, np.e**2], 'log')
  value = head.tell(np.float32([[0.0]]), {})
  assert head.answer.lines(value, 5) == ['2.72']
  assert 'logarithms' in head.answer.outputs


def test_what_is_told_of_several_numbers():
  head = head_of([[0.0, 0.0], [2.0, 200.0]])
  value = head.tell(np.float32([[0.5], [-0.25]]), {})
  assert head.answer.lines(value, 5) == ['1: 1.5', '2: 75']
  assert head.answer.json(value, 5) == {'numbers': [1.5, 75.0]}
  assert head.cells(value) == {'': '1.5|75.0'}
  assert Page(head.answer.panels(value)[0].body).tables[0][1:] == [
    ['1', '1.5'],
    ['2', '75'],
  ]
  # What is written can be read.
  np.testing.assert_allclose(
    head.read(head.cells(value)[''])['numbers'], [0.5, -0.25]
  )


# The report.


def test_sections():
  head = head_of([0.0, 2.0], 'quantiles')
  quantiles = np.tile([[[-1.0, 0.0, 1.0]]], (4, 1, 1))
  kept = kept_of(head, outputs_of(quantiles), [0.0, 1.0, 2.0, 5.0])
  scatter, errors, fits = head.sections(kept, 'Of all 4')
  assert scatter.body.count('<circle') == 4
  ((_, row),) = Page(errors.body).tables
  assert row[:2] == ['number', '1.5'] and row[5] == '-1'  # Mean error.
  (rows,) = Page(fits.body).tables
  assert [row[:2] for row in rows[1:]] == [
    ['10%', '25.0%'],
    ['50%', '50.0%'],
    ['90%', '75.0%'],
  ]
  assert 'where 80% should be, are 75.0%' in fits.note


def test_sections_of_several_numbers():
  cells = rng().normal(size=(30, 8))
  head = head_of(cells.tolist())
  kept = kept_of(head, np.zeros((30, 8, 1)), cells.tolist())
  scatter, errors = head.sections(kept, '')
  assert scatter.body.count('<svg') == 6
  (rows,) = Page(errors.body).tables
  assert [row[0] for row in rows[1:]] == ['mean', *map(str, range(1, 9))]
  each = [float(row[1]) for row in rows[2:]]
  assert float(rows[1][1]) == pytest.approx(np.mean(each), rel=1e-3)


def test_points_are_where_they_are():
  values = np.array([0.0, 5.0, 10.0, np.nan])
  drawn = same_scale_scatter('a<b', values, values[::-1], names=('x', 'y'))
  # One has no place, nor has its partner.
  tags = [
    attributes for name, attributes in Page(drawn).tags if name == 'circle'
  ]
  assert len(tags) == 2
  first, second = (
    np.array([float(tag['cx']), float(tag['cy'])]) for tag in tags
  )
  # From (5, 10) to (10, 5), to the right and downwards.
  across, down = second - first
  assert across == pytest.approx(down, abs=0.2) and across > 100
  assert 'a&lt;b' in drawn


def test_of_many_points_some_are_drawn():
  values = rng().lognormal(size=3 * MOST_POINTS)
  values[:5] = -1.0
  drawn = same_scale_scatter('', values, values, names=('x', 'y'), is_log=True)
  assert drawn.count('<circle') == MOST_POINTS
  assert (
    same_scale_scatter('', -values[5:], values[5:], names=('', ''), is_log=True)
    == ''
  )
