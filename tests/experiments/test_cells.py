"""Cells of a table as inputs: numbers, categories, dates, lists."""

import datetime
import math

import numpy as np
import pytest
from scipy import stats

from experiments.attention.figure import attention_figure
from experiments.attention.maps import AttentionMaps
from experiments.data.modality import Attended
from experiments.modalities import senses
from experiments.modalities.cells.categories import category_cells
from experiments.modalities.cells.dates import date_cells
from experiments.modalities.cells.lists import list_cells
from experiments.modalities.cells.numbers import (
  fit_scale,
  number_cells,
  piecewise_linear,
)
from experiments.modalities.cells.view import Cell


def survey(*cells):
  return lambda read: [read(cell) for cell in cells]


def closed(read):
  raise AssertionError('all is settled')


def settled(make, *cells, **options):
  """A kind, and the same of nothing but what was chosen for it."""
  kind = make(survey(*cells), **options)
  chosen = {
    path.removeprefix('data.'): value
    for path, value in kind.chosen.items()
    if path.startswith('data.')
  }
  again = make(closed, **{**options, **chosen})
  for cell in cells:
    for name, array in example(kind, cell).items():
      np.testing.assert_array_equal(array, example(again, cell)[name])
  return again


def example(kind, cell):
  """The example of a cell, of the shapes that were announced."""
  kept = kind.read(cell)
  for name, feature in kind.features.items():
    assert np.asarray(kept[name]).dtype == feature.np_dtype
  made = kind.prepare(kept)
  trained = kind.augment(kept, np.random.default_rng(0))
  for name, spec in kind.example.items():
    for arrays in (made, trained):
      assert np.shape(arrays[name]) == spec.shape
      assert arrays[name].dtype == spec.dtype
  assert made.keys() == trained.keys() == kind.example.keys()
  return made


def text(kind, cell):
  (view,) = kind.view(example(kind, cell)).values()
  return view.text


# Numbers.


def direct_piecewise_linear(x, edges):
  """Equation 1 of the paper, bin by bin."""
  bins = len(edges) - 1
  result = []
  for t in range(1, bins + 1):
    if x < edges[t - 1] and t > 1:
      result.append(0.0)
    elif x >= edges[t] and t < bins:
      result.append(1.0)
    else:
      result.append((x - edges[t - 1]) / (edges[t] - edges[t - 1]))
  return result


def test_the_piecewise_linear_encoding_is_that_of_the_paper():
  edges = [-2.0, -0.5, 0.0, 3.0, 3.5]
  # Not farther outside than a bin is long.
  values = np.linspace(-3.4, 4.0, 75)
  expected = [direct_piecewise_linear(x, edges) for x in values]
  np.testing.assert_allclose(piecewise_linear(values, edges), expected)


def test_outliers_do_not_leave_the_encoding():
  encoded = piecewise_linear(np.array([-1e30, 1e30]), [0.0, 1.0, 3.0])
  np.testing.assert_array_equal(encoded, [[-1, 0], [1, 2]])


def test_edges_are_quantiles_of_the_training_rows():
  values = np.random.default_rng(0).lognormal(size=1000)
  scale = fit_scale(values, bins=8)
  assert len(scale.edges) == 9
  np.testing.assert_allclose(
    np.histogram(values, scale.edges)[0], 125, atol=1.01
  )
  assert scale.center == pytest.approx(np.median(values), abs=1e-3)
  assert scale.spread == pytest.approx(stats.iqr(values), rel=1e-4)


def test_edges_are_there_once():
  scale = fit_scale(np.array([0.0] * 90 + [1.0] * 5 + [2.0] * 5), bins=16)
  assert scale.edges == (0.0, 1.0, 2.0)
  # The quartiles are the same.
  assert scale.spread == 1.0
  assert fit_scale(np.array([7.0, 7.0]), bins=16) == (7.0, 1.0, ())
  assert fit_scale(np.array([math.nan]), bins=16) == (0.0, 1.0, ())


def test_edges_of_times_in_seconds_stay_apart():
  values = 1.7e9 + np.arange(100) / 1000
  scale = fit_scale(values, bins=16)
  assert len(scale.edges) == 17
  np.testing.assert_allclose(
    piecewise_linear(values, scale.edges).sum(axis=-1),
    16 * np.arange(100) / 99,
    atol=16 / 99,  # A row: edges are rows.
  )


def test_a_number_is_standardised():
  kind = settled(number_cells, *range(101))
  # The median is 50, the quartiles are 25 and 75.
  for cell, z in ((50, 0.0), ('75', 0.5), (0, -1.0), (1050, 20.0)):
    found = example(kind, cell)['cell']
    assert found.shape == (17,)
    assert found[0] == pytest.approx(z / math.sqrt(1 + (z / 3) ** 2), abs=1e-6)
  assert abs(example(kind, 1e300)['cell'][0]) == pytest.approx(3.0)
  assert np.isfinite(example(kind, -1e300)['value']).all()


def test_one_outlier_does_not_hide_the_others():
  kind = settled(number_cells, *range(100), 1e12)
  low, high = (example(kind, cell)['cell'] for cell in (25, 75))
  assert high[0] - low[0] > 0.5
  np.testing.assert_array_less(low[5:11], high[5:11] + 1e-9)
  assert high.sum() - low.sum() > 7


def test_several_numbers_in_a_cell():
  kind = settled(number_cells, '1;10', '2;20', '[3, 30]', [4, 40], bins=2)
  found = example(kind, '2.5|NA')
  # The median, and a quarter of the second bin; of nothing there are zeros.
  np.testing.assert_allclose(found['cell'], [0, 1, 0.25, 0, 0, 0])
  assert text(kind, '2.5|NA') == '2.5, ?'
  assert kind.chosen['data.edges'] == ((1.0, 2.0, 4.0), (10.0, 20.0, 40.0))
  with pytest.raises(
    ValueError, match='has 3 numbers; those of training have 2'
  ):
    kind.read('1;2;3')


def test_without_bins_a_number_is_one_feature():
  kind = settled(number_cells, 1, 2, 3, bins=0)
  np.testing.assert_allclose(example(kind, 2)['cell'], [0.0])


def test_noise_is_in_spreads_and_of_training_alone():
  kind = number_cells(
    closed, center=(0.0,), spread=(4.0,), edges=((),), noise=0.1
  )
  kept = kind.read('2')
  rng = np.random.default_rng(0)
  drawn = np.array([kind.augment(kept, rng)['cell'][0] for _ in range(4000)])
  # Before outliers were pulled in.
  drawn = drawn / np.sqrt(1 - (drawn / 3) ** 2)
  assert drawn.mean() == pytest.approx(0.5, abs=0.01)
  assert drawn.std() == pytest.approx(0.1, rel=0.05)
  expected = 0.5 / math.sqrt(1 + (0.5 / 3) ** 2)
  assert kind.prepare(kept)['cell'][0] == pytest.approx(expected)


@pytest.mark.parametrize(
  ('options', 'cells', 'what'),
  [
    ({'bins': -1}, [1], 'bins must not be negative'),
    ({'noise': -1.0}, [1], 'noise must not be negative'),
    ({}, ['a'], "'a' is no number"),
    ({}, [[]], 'has no numbers'),
    ({}, ['1;2', '1'], 'cells have 1 to 2 numbers'),
    ({'center': (1.0, 2.0)}, [1], 'one entry for each number'),
    ({'spread': (0.0,)}, [1], 'spread must be above 0'),
    ({'edges': ((1.0, 1.0),)}, [1], 'edges must rise'),
  ],
)
def test_what_cannot_be_numbers(options, cells, what):
  with pytest.raises(ValueError, match=what):
    number_cells(survey(*cells), **options)


# Categories.


def test_categories_are_names_of_training_rows():
  kind = settled(category_cells, 'm', 'f', ' f ', 'm', 'm', 'once')
  assert kind.chosen == {'data.names': ('m', 'f'), 'inputs.cell.num_rows': 3}
  numbers = {
    cell: int(example(kind, cell)['cell'])
    for cell in ('m', 'f', 'once', 'unseen', 'NA', None)
  }
  assert numbers == {
    'm': 0,
    'f': 1,
    **dict.fromkeys(['once', 'unseen', 'NA', None], 2),
  }
  assert [text(kind, cell) for cell in ('m', 'unseen')] == ['m', 'other']


def test_the_most_frequent_names_are_kept():
  cells = [name for i, name in enumerate('abcde') for _ in range(i + 2)]
  kind = settled(category_cells, *cells, max_names=2)
  assert kind.chosen['data.names'] == ('e', 'd')
  assert int(example(kind, 'c')['cell']) == 2


def test_names_that_are_all_there_once_are_kept():
  kind = settled(category_cells, 'b', 'a')
  assert kind.chosen['data.names'] == ('a', 'b')


def test_names_are_the_same_however_they_are_written():
  kind = settled(category_cells, 1, '1', 1.0, True, 'TRUE', 'e\u0301', '\u00e9')
  assert kind.chosen['data.names'] == ('1', 'true', '\u00e9')


def test_training_learns_of_others():
  kind = category_cells(closed, names=('a',), other_rate=0.25)
  kept = kind.read('a')
  rng = np.random.default_rng(0)
  drawn = [int(kind.augment(kept, rng)['cell']) for _ in range(2000)]
  assert np.mean(drawn) == pytest.approx(0.25, abs=0.03)
  assert int(kind.prepare(kept)['cell']) == 0


@pytest.mark.parametrize(
  ('options', 'what'),
  [
    ({'other_rate': 1.0}, 'other_rate must be'),
    ({'max_names': 0}, 'max_names must be'),
    ({'names': ('a', 'a')}, 'the same name twice'),
  ],
)
def test_what_cannot_be_categories(options, what):
  with pytest.raises(ValueError, match=what):
    category_cells(survey('a'), **options)


def test_a_list_is_no_category():
  with pytest.raises(ValueError, match='is a list'):
    category_cells(survey(['a']))


# Dates.

MOMENTS = [
  datetime.datetime(2024, 2, 29, 6),
  datetime.datetime(2023, 12, 31, 18, 30),
  datetime.datetime(2000, 1, 1),
  datetime.datetime(1969, 12, 28, 23, 59, 59),
]


@pytest.mark.parametrize('moment', MOMENTS)
def test_dates_lie_on_circles(moment):
  kind = settled(date_cells, *map(str, MOMENTS), bins=0)
  found = example(kind, str(moment))['cell']
  days, week, year, day = np.split(found, [1, 3, 5])
  hours = moment.hour / 24 + moment.minute / 1440 + moment.second / 86400
  begin = datetime.datetime(moment.year, 1, 1)
  length = (datetime.datetime(moment.year + 1, 1, 1) - begin).days
  for circle, place in (
    (week, (moment.weekday() + hours) / 7),
    (year, (moment - begin) / datetime.timedelta(days=length)),
    (day, hours),
  ):
    turn = 2 * math.pi * place
    np.testing.assert_allclose(
      circle, [math.cos(turn), math.sin(turn)], atol=1e-6
    )
  since = (moment - datetime.datetime(1970, 1, 1)) / datetime.timedelta(days=1)
  z = (since - kind.chosen['data.center']) / kind.chosen['data.spread']
  assert days[0] == pytest.approx(z / math.sqrt(1 + (z / 3) ** 2), abs=1e-5)
  assert text(kind, str(moment)) == (
    str(moment) if hours else str(moment.date())
  )


def test_one_time_of_day_is_no_feature():
  dates = [f'2024-0{month}-01' for month in range(1, 10)]
  plain = settled(date_cells, *dates)
  at_noon = settled(date_cells, *(f'{date} 12:00' for date in dates))
  times = settled(date_cells, *dates, '2024-01-01 12:00')
  shapes = [x.example['cell'].shape[0] for x in (plain, at_noon, times)]
  # Days in nine places or, of the last, ten, and two circles or three.
  assert shapes == [1 + 8 + 4, 1 + 8 + 4, 1 + 9 + 6]


def test_the_order_of_a_column_is_kept():
  kind = settled(date_cells, '13/4/2024', '5/4/2024')
  assert kind.chosen['data.day_first']
  assert text(kind, '3/4/2024') == '2024-04-03'
  kind = date_cells(survey('3/4/2024', '5/6/2024'))
  assert text(kind, '3/4/2024') == '2024-03-04'
  assert 'read with the month first' in kind.note


def test_what_is_no_date():
  with pytest.raises(ValueError, match="'soon' is no date"):
    date_cells(survey('soon'))
  with pytest.raises(ValueError, match='bins must not be negative'):
    date_cells(survey('2024-01-01'), bins=-1)


# Lists.


def test_lists_of_names_are_shares():
  kind = settled(list_cells, 'a|b', 'b', ['a', 'b', 'c'], 'c', [], 'once')
  assert kind.chosen == {'data.names': ('b', 'a', 'c')}
  for cell, shares in (
    ('b', [1, 0, 0, 0]),
    ('c; a', [0, 1 / 2, 1 / 2, 0]),
    ('a|once|unseen', [0, 1 / 2, 0, 1 / 2]),
    ('a|a', [0, 1, 0, 0]),
    ([], [0, 0, 0, 0]),
  ):
    np.testing.assert_allclose(example(kind, cell)['cell'], shares)
  assert text(kind, 'a|unseen') == 'a, other'
  assert text(kind, []) == '(none)'


def test_lists_of_as_many_numbers_are_numbers():
  cells = '[1, 10]', '[2, 20]', '3;30', [4, 40]
  kind = settled(list_cells, *cells, bins=2)
  of_numbers = number_cells(survey(*cells), bins=2)
  for cell in cells:
    np.testing.assert_array_equal(
      example(kind, cell)['cell'], example(of_numbers, cell)['cell']
    )
  assert kind.chosen['data.names'] == ()


def test_lists_of_several_lengths_are_names():
  kind = settled(list_cells, [3, 7], [7], [7, 12], [12, 3])
  assert kind.chosen['data.names'] == ('7', '12', '3')


def test_lists_that_say_nothing_are_an_error():
  with pytest.raises(ValueError, match='all lists are empty'):
    list_cells(survey([], []))
  with pytest.raises(ValueError, match='max_names must be'):
    list_cells(survey('a|b'), max_names=0)


# What a person sees.


def test_a_cell_is_shown():
  view = Cell('a < b', 'category')
  assert 'a &lt; b' in senses.html_of(view)
  assert senses.sense_of(view).attention.page(attended(view)) == {
    'kind': 'cell',
    'text': 'a < b',
  }


def attended(view, cells=(1,)):
  return Attended(view, np.full((1, 2, *cells), 0.5, np.float32), 1)


def test_attention_to_a_cell_is_drawn():
  def figure(weights):
    maps = AttentionMaps(
      modalities={
        'sex': attended(Cell('$f$ ' + 'x' * 100, 'category'))._replace(
          weights=np.array(weights, np.float32).reshape(1, 2, 1)
        )
      },
      shares={'sex': np.array([weights], np.float32)},
      entropy=np.zeros((1, 2)),
      coverage=np.zeros((1, 2)),
      entropy_together=np.zeros(1),
      coverage_together=np.zeros(1),
      num_inputs=4,
    )
    return attention_figure('A row', maps, 'sex', [0, 1])

  first, second = figure([0.0, 0.9]), figure([0.9, 0.0])
  assert first.shape == second.shape
  assert (first != second).any()


def test_a_cell_is_one_element():
  view = Cell('f', 'category')
  with pytest.raises(ValueError, match='grid of 2 axes cannot be drawn'):
    senses.sense_of(view).attention.page(attended(view, (1, 1)))
