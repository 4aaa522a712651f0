"""Forecasts in a column: cuts, periods, metrics, words; one is learned."""

import csv
import json

import numpy as np
import pytest

from experiments.answers.forecasts.column import FORECAST
from experiments.answers.forecasts.cutting import cut, newest, projected
from experiments.answers.forecasts.period import autocorrelation, find_period
from experiments.answers.forecasts.record import FORECASTS
from experiments.answers.head import Column
from experiments.modalities.series.folder import series_files
from experiments.table.cells import to_list
from perceiver_jax.position_encoding import FourierPositions
from perceiver_jax.series_windows import RelativeWindows
from tests.learned_heads import learned
from tests.pages import Page

STEPS, NUM_STEPS = 6, 32
ASKS = {
  'kind': 'series',
  'num_steps': NUM_STEPS,
  'num_channels': 2,
  'channels': ('load', 'heat'),
  'mean': (10.0, -3.0),
  'stddev': (2.0, 0.5),
}
ONE = {
  **ASKS,
  'num_channels': 1,
  'channels': ('load',),
  'mean': (10,),
  'stddev': (2,),
}
OPTIONS = {'steps': STEPS, 'levels': [0.5], 'period': 4}
QUANTILES = {**OPTIONS, 'levels': [0.1, 0.5, 0.9]}


def rng(seed=0):
  return np.random.default_rng(seed)


def walks(n=5, steps=50, channels=2, seed=0):
  """Standardised series."""
  changes = rng(seed).normal(size=(n, steps, channels))
  return (0.3 * changes.cumsum(axis=1)).astype(np.float32)


def files(folder, series):
  paths = []
  for i, each in enumerate(series):
    paths.append(folder / f'{i}.npy')
    np.save(paths[-1], each)
  return Column('load', paths, {**ONE}, paths)


# Cuts.


def test_the_end_is_the_target_of_evaluation():
  (series,) = walks(1)
  found = cut(series, STEPS, NUM_STEPS, 4, None)
  np.testing.assert_array_equal(found.shown, series[50 - 6 - 32 : 50 - 6])
  np.testing.assert_array_equal(found.last, series[-7])
  spread = np.maximum(found.shown.std(axis=0), 0.01)
  np.testing.assert_allclose(found.spread, spread, rtol=1e-6)
  np.testing.assert_allclose(
    found.base + found.spread * found.future, series[-6:], atol=1e-5
  )
  # A period of four: its steps once, and again the first two of them.
  before = series[-10:-6]
  np.testing.assert_array_equal(found.seasonal, [*before, *before[:2]])
  history = series[:-6].astype(np.float64)
  errors = [abs(history[t] - history[t - 4]) for t in range(4, 44)]
  np.testing.assert_allclose(
    found.naive_error, np.mean(errors, axis=0), rtol=1e-5
  )


def test_the_base_is_the_mean_period_at_the_last_level():
  (series,) = walks(1)
  found = projected(series, STEPS, 4)
  for step in range(STEPS):
    own = [series[50 - 4 * (i + 1) + step % 4] for i in range(4)]
    levels = [series[50 - 4 * (i + 1) :][:4].mean(axis=0) for i in range(4)]
    expected = levels[0] + np.mean(own, axis=0) - np.mean(levels, axis=0)
    np.testing.assert_allclose(found[step], expected, atol=1e-5)
  np.testing.assert_array_equal(projected(series, 3, 1), [series[-1]] * 3)


def test_what_is_repeated_to_fill_up_is_no_period():
  short = np.array([5.0, 1.0, 9.0, 1.0, 3.0, 1.0, 3.0])[:, None]
  for steps, expected in (
    # About their levels three periods are -4, 4; -1, 1; -1, 1.
    (7, [0, 4, 0, 4]),
    (4, [1, 3, 1, 3]),  # Two periods.
    (3, [1, 3, 1, 3]),  # One, and a step that is left over.
    (1, [3, 3, 3, 3]),
  ):
    shown = newest(short[-steps:], 20)
    found = projected(shown, 4, 2)[:, 0]
    np.testing.assert_allclose(found, expected)


@pytest.mark.parametrize('seed', [None, 0, 1, 2])
def test_the_future_is_never_shown(seed):
  (series,) = walks(1)
  draw = (lambda: None) if seed is None else (lambda: rng(seed))
  head = FORECAST.make(OPTIONS, ASKS)
  kept, target = head.split({'series': series}, draw())
  future = target['base'] + target['spread'] * target['future']
  (start,) = [
    t for t in range(45) if np.allclose(series[t : t + 6], future, atol=1e-4)
  ]
  np.testing.assert_array_equal(kept['series'][-1], series[start - 1])
  changed = series.copy()
  changed[start:] += rng(5).normal(size=changed[start:].shape)
  again, other = head.split({'series': changed}, draw())
  np.testing.assert_array_equal(again['series'], kept['series'])
  for name in ('base', 'spread', 'last', 'seasonal', 'naive_error'):
    np.testing.assert_array_equal(other[name], target[name])
  assert np.abs(other['future'] - target['future']).min(axis=1).all()


def test_training_cuts_anywhere_with_enough_before():
  series = np.arange(50.0, dtype=np.float32)[:, None]
  generator = rng()
  starts = {
    int(cut(series, 6, 32, 1, generator).last[0]) + 1 for _ in range(600)
  }
  assert starts == set(range(16, 45))  # Half of 32, to six before the end.
  starts = {
    int(cut(series, 30, 32, 1, generator).last[0]) + 1 for _ in range(300)
  }
  assert starts == set(range(10, 21))  # Half of what evaluation has.


def test_a_short_series_repeats_its_first_step():
  series = np.array([[3.0], [4.0], [6.0]])
  np.testing.assert_array_equal(newest(series, 5)[:, 0], [3, 3, 3, 4, 6])
  np.testing.assert_array_equal(newest(series, 2)[:, 0], [4, 6])
  with pytest.raises(ValueError, match='7 steps is too short to predict 6'):
    cut(np.zeros((7, 1)), 6, 5, 1, None)


def test_what_is_shown_passes_through_its_sense_as_it_is():
  sense = series_files(
    None,
    max_steps=99,
    max_speed_change=0.1,
    max_scale=0.1,
    noise=0.1,
    **{name: ASKS[name] for name in ASKS if name != 'kind'},
  )
  head = FORECAST.make(OPTIONS, ASKS)
  for steps in (20, 50):
    (series,) = walks(1, steps)
    for kept in (
      head.split({'series': series}, None)[0],
      head.split({'series': series}, rng())[0],
      head.whole({'series': series}),
    ):
      example = sense.prepare(kept)
      np.testing.assert_array_equal(example['series'], kept['series'])
      assert example['input_mask'].all()
    np.testing.assert_array_equal(kept['series'][-1], series[-1])


def test_a_history_shorter_than_the_period_is_compared_by_its_last_step():
  series = np.array([1.0, 3.0, 2.0, 5.0, 9.0])[:, None]
  found = cut(series, 2, 8, 24, None)
  np.testing.assert_array_equal(found.seasonal, [[2.0], [2.0]])
  np.testing.assert_array_equal(found.base, [[2.0], [2.0]])
  assert found.naive_error[0] == (2 + 1) / 2


# Periods.


def test_autocorrelation_is_a_mean_of_products():
  values = rng().normal(size=40).cumsum()
  steps = np.arange(40)
  slope, offset = np.polyfit(steps, values, 1)
  rest = values - offset - slope * steps
  expected = [
    np.mean(rest[: 40 - lag] * rest[lag:]) / np.mean(rest**2)
    for lag in range(20)
  ]
  np.testing.assert_allclose(autocorrelation(values, 20), expected, atol=1e-10)
  assert autocorrelation(3.0 * steps + 1e6, 20) is None


@pytest.mark.parametrize('period', [3, 7, 24, 60])
@pytest.mark.parametrize('noise', [0.0, 0.5])
def test_the_period_of_noisy_waves_is_found(period, noise):
  steps = np.arange(240)
  series = [
    (
      np.sin(2 * np.pi * (steps + shift) / period)
      + 0.02 * shift * steps
      + rng(shift).normal(0, noise, 240)
    )[:, None]
    for shift in range(4)
  ]
  found = find_period(series)
  assert abs(found - period) <= 0.03 * period


def test_a_longer_period_counts_where_it_says_more():
  steps = np.arange(24 * 7 * 6)
  day = np.sin(2 * np.pi * steps / 24)
  weekend = steps // 24 % 7 >= 5
  assert find_period([(day * np.where(weekend, 0.1, 1))[:, None]]) == 168
  assert find_period([day[:, None]]) == 24


def test_noise_and_lines_and_short_series_have_no_period():
  noise = rng().normal(size=(5, 200, 2))
  assert find_period(noise) == 1
  assert find_period([np.arange(100.0)[:, None]]) == 1
  assert find_period([np.zeros((4, 1))]) == 1


# What suits a column.


def test_options_are_plain(tmp_path):
  steps = np.arange(60)
  column = files(tmp_path, [np.sin(2 * np.pi * steps / 12)])
  options = FORECAST.suited(column, {'': '24'})
  assert options == {'steps': 24, 'levels': [0.5], 'period': 12}
  arguments = {'': '5, quantiles', 'period': '1'}
  options = FORECAST.suited(column, arguments)
  assert options == {'steps': 5, 'levels': [0.1, 0.5, 0.9], 'period': 1}
  options = FORECAST.suited(column, {'': '5', 'quantiles': '0.2|0.8'})
  assert json.loads(json.dumps(options))['levels'] == [0.2, 0.5, 0.8]


@pytest.mark.parametrize(
  'arguments, said',
  [
    ({}, r'forecast needs the number of steps.*load:forecast\(24\)'),
    ({'': '0'}, r"1 to 1,000.*'0'"),
    ({'': '3, 4'}, "got '3, 4'"),
    ({'': '59'}, r'forecast\(59\) has a series of 60 steps.*at least 61'),
    ({'': '5', 'period': 'x'}, "period must be .*'x'"),
    ({'': '5, quantile'}, "knows no 'quantile'"),
  ],
)
def test_wrong_arguments_are_refused(tmp_path, arguments, said):
  column = files(tmp_path, [np.zeros(60), np.arange(70)])
  with pytest.raises(ValueError, match=said):
    FORECAST.suited(column, arguments)


# Metrics.


def collected(options, asks, series, outputs_of):
  head = FORECAST.make(options, asks)
  targets = [head.split({'series': each}, None)[1] for each in series]
  target = {name: np.stack([x[name] for x in targets]) for name in targets[0]}
  for name, spec in head.target.items():
    assert target[name].shape == (len(series), *spec.shape)
    assert target[name].dtype == spec.dtype
  outputs = outputs_of(target)
  assert outputs.shape[1:] == (head.num_queries, head.channels)
  kept = head.collect(outputs, target)
  return (
    head,
    target,
    outputs,
    {name: np.asarray(x) for name, x in kept.items()},
  )


def test_metrics_are_those_of_loops():
  series = walks()
  noise = rng(3).normal(0, 0.3, (5, STEPS, 2)).astype(np.float32)
  head, target, outputs, kept = collected(
    OPTIONS, ASKS, series, lambda target: target['future'] + noise
  )
  naive = ('last value', 'seasonal naive', 'mean period')
  mase = {name: [] for name in ('model', *naive)}
  errors = {name: [] for name in mase}
  for each, spread, base, own in zip(
    series, target['spread'], target['base'], noise, strict=True
  ):
    each = each.astype(np.float64)
    history, future = each[:-STEPS], each[-STEPS:]
    predicted = {
      'model': future + spread * own,
      'last value': np.tile(history[-1], (STEPS, 1)),
      'seasonal naive': np.tile(history[-4:], (2, 1))[:STEPS],
      'mean period': base,
    }
    scale = np.abs(history[4:] - history[:-4]).mean(axis=0)
    for name, said in predicted.items():
      mase[name].append(np.abs(said - future).mean(axis=0) / scale)
      errors[name].append(said - future)
  found = head.metrics(kept)
  means = {name: np.mean(x) for name, x in mase.items()}
  expected = {
    'mae': np.abs(errors['model']).mean(),
    'rmse': np.sqrt(np.square(errors['model']).mean()),
    'mase': means['model'],
    'skill': 1 - means['model'] / min(means[name] for name in naive),
  }
  assert found == pytest.approx(expected, rel=1e-4)
  said = {(name, metric): x for name, metric, x in head.baselines(kept)}
  for name in naive:
    assert said[name, 'mase'] == pytest.approx(means[name], rel=1e-4)
    error = np.abs(errors[name]).mean()
    assert said[name, 'mae'] == pytest.approx(error, rel=1e-4)
  loss = head.loss(outputs, target)
  np.testing.assert_allclose(loss, np.abs(noise).mean(axis=(1, 2)), rtol=1e-4)
  np.testing.assert_allclose(
    head.columns(kept)['mase'], np.mean(mase['model'], axis=1), rtol=1e-3
  )
  assert not head.answer.is_lower_better(head.score)
  assert head.answer.is_lower_better('mase')


def test_errors_of_one_channel_are_in_its_units():
  series = walks(channels=1)
  head, target, _, kept = collected(
    {**OPTIONS, 'period': 1}, ONE, series, lambda target: target['future'] + 1
  )
  expected = 2.0 * target['spread'].mean()
  assert head.metrics(kept)['mae'] == pytest.approx(expected, rel=1e-4)
  # Without a period there is one naive way.
  assert {name for name, _, _ in head.baselines(kept)} == {'last value'}
  columns = head.columns(kept)
  true = np.array([to_list(cell) for cell in columns['true']], np.float64)
  np.testing.assert_allclose(true, series[:, -6:, 0] * 2 + 10, atol=1e-3)


def test_a_history_that_never_changes_has_no_scale():
  series = walks(channels=1)
  series[0, :-STEPS] = 1.0
  head, _, _, kept = collected(
    OPTIONS, ONE, series, lambda target: target['future'] + 1
  )
  each = head.columns(kept)['mase']
  assert np.isnan(each[0])
  assert head.metrics(kept)['mase'] == pytest.approx(np.mean(each[1:]))


def test_quantiles_are_learned_and_covered():
  series = walks(n=40, channels=1)

  def outputs_of(target):
    # Softplus of these is 1: the interval reaches one spread to each side.
    step = np.full_like(target['future'], np.log(np.e - 1))
    return np.concatenate([step, target['future'] + 0.5, step], axis=-1)

  head, target, outputs, kept = collected(QUANTILES, ONE, series, outputs_of)
  assert head.metrics(kept)['coverage'] == 1.0
  # Off by -0.5, 0.5 and 1.5 spreads.
  pinball = np.mean([0.1 * 0.5, 0.5 * 0.5, 0.1 * 1.5])
  np.testing.assert_allclose(head.loss(outputs, target), 2 * pinball, rtol=1e-4)
  shifted = outputs + np.float32([0, 2, 0])
  kept = {
    name: np.asarray(x) for name, x in head.collect(shifted, target).items()
  }
  assert head.metrics(kept)['coverage'] == 0.0
  titles = [each.title for each in head.sections(kept, 'Of 40')]
  assert titles == [
    'Forecasts',
    'Forecasts by how far ahead',
    'Quantiles of forecasts',
  ]


def test_the_report_compares_with_the_naive_ways():
  head, _, _, kept = collected(
    OPTIONS, ASKS, walks(), lambda target: target['future']
  )
  first, ahead = head.sections(kept, 'Of 5 series')
  table = Page(first.body).table_with('MASE')
  assert [row[0] for row in table[1:]] == [
    'model',
    'last value',
    'seasonal naive',
    'mean period',
  ]
  assert float(table[1][1]) < 1e-4
  assert 'The period is 4 steps' in first.note
  assert ahead.body.count('<path') == 4
  one = {name: x[0] for name, x in kept.items()}
  caption = Page(head.caption(one))
  assert caption.words.startswith('MASE: model ')
  assert [x['title'] for name, x in caption.tags if 'title' in x] == [
    'load',
    'heat',
  ]


# What is told.


def told(options, asks, series):
  """Values where the outputs are what comes."""
  head, _, outputs, _ = collected(
    options,
    asks,
    series[None],
    lambda target: np.concatenate(
      [target['future']] * len(options['levels']), axis=-1
    ),
  )
  kept, _ = head.split({'series': series}, None)
  return head, head.tell(outputs[0], kept)


def test_a_forecast_is_in_the_units_of_the_file():
  (series,) = walks(1)
  for moved in (series, 50 + 8 * series):  # Levels that training never had.
    _, value = told(OPTIONS, ASKS, moved)
    units = moved * np.array(ASKS['stddev']) + np.array(ASKS['mean'])
    np.testing.assert_allclose(value.values, units[-STEPS:], rtol=1e-5)
    np.testing.assert_allclose(
      value.history, units[-STEPS - NUM_STEPS : -STEPS], rtol=1e-5
    )


def test_lines_json_and_cells():
  series = np.arange(50, dtype=np.float32)[:, None]
  head, value = told({**OPTIONS, 'steps': 10}, ONE, series)
  (line,) = FORECASTS.lines(value, 5)
  assert line == '10 steps: 90, 92, 94, 96, ..., 108'
  said = FORECASTS.json(value, 5)
  np.testing.assert_allclose(said['forecast'], np.arange(90, 110, 2), atol=1e-3)
  assert json.loads(json.dumps(said)) == said
  cells = head.cells(value)
  assert list(cells) == ['']
  np.testing.assert_allclose(
    np.array(to_list(cells['']), float), np.arange(90, 110, 2), atol=1e-3
  )


def test_channels_and_quantiles_are_told_apart(tmp_path):
  (series,) = walks(1)
  head, value = told(QUANTILES, ASKS, series)
  assert list(head.cells(value)) == [
    ' load',
    ' heat',
    ' load 10%',
    ' heat 10%',
    ' load 90%',
    ' heat 90%',
  ]
  assert [line.split(',')[0] for line in FORECASTS.lines(value, 5)] == [
    'load',
    'heat',
  ]
  said = FORECASTS.json(value, 5)
  assert said['channels'] == ['load', 'heat']
  assert np.shape(said['quantiles']['90%']) == (STEPS, 2)
  (path,) = FORECASTS.write(value, tmp_path / 'new', 'a')
  with path.open(newline='') as file:
    rows = list(csv.DictReader(file))
  assert [int(row['step']) for row in rows] == list(range(1, STEPS + 1))
  np.testing.assert_allclose(
    [float(row['heat']) for row in rows], value.values[:, 1], atol=1e-4
  )
  np.testing.assert_allclose(
    [float(row['load 90%']) for row in rows],
    value.quantiles[0.9][:, 0],
    atol=1e-4,
  )
  panels = FORECASTS.panels(value)
  assert [panel.name for panel in panels] == [
    'Forecast, load',
    'Forecast, heat',
  ]
  page = Page(panels[0].body)
  assert page.words.endswith('beforemodel')
  assert [name for name, _ in page.tags].count('polygon') == 1


# A model.


@pytest.mark.slow
def test_a_model_forecasts_noisy_waves_better_than_the_naive_ways():
  head = FORECAST.make({**OPTIONS, 'period': 8}, ONE)
  steps = np.arange(60)

  def series_of(rng, n, level=0.0):
    phase = rng.uniform(0, 8, (n, 1))
    trend = rng.normal(0, 0.02, (n, 1)) * steps
    waves = np.sin(2 * np.pi * (steps + phase) / 8) + trend + level
    return (waves + rng.normal(0, 0.3, (n, 60))).astype(np.float32)[..., None]

  def cut_all(series, rng=None):
    found = [head.split({'series': each}, rng) for each in series]
    shown = np.stack([kept['series'] for kept, _ in found])
    target = {
      name: np.stack([x[name] for _, x in found]) for name in found[0][1]
    }
    return shown, np.ones(len(series), bool), target

  model = learned(
    head,
    lambda: RelativeWindows(
      patch=1,
      window=16,
      positions=FourierPositions(num_bands=8, max_resolution=(32,)),
    ),
    lambda rng: cut_all(series_of(rng, 16), rng),
    steps=200,
    learning_rate=1e-3,
  )
  for level in (0.0, 30.0):  # The second is nowhere in training.
    shown, there, target = cut_all(series_of(rng(9), 64, level))
    kept = head.collect(model(shown, there), target)
    found = head.metrics({name: np.asarray(x) for name, x in kept.items()})
    assert found['skill'] > 0.01
    mase = {
      name: x for name, metric, x in head.baselines(kept) if metric == 'mase'
    }
    assert found['mase'] < 0.85 * mase['seasonal naive']
