"""Events as inputs: what suits them, examples, views, and runs from tables."""

import csv
import json

import jax
import numpy as np
import pytest

from experiments.attention.figure import attention_figure
from experiments.attention.maps import AttentionMaps
from experiments.attention.maps_of import AttentionOf
from experiments.configs import folder as folder_config
from experiments.configs import table as table_config
from experiments.modalities import senses
from experiments.modalities.events.augmentation import Changes, change_events
from experiments.modalities.events.classical import event_statistics
from experiments.modalities.events.folder import events_files
from experiments.modalities.events.view import Events, in_words
from experiments.runs.trained import load_run
from experiments.table.kinds import guess_kind
from experiments.tasks import make_task
from experiments.tasks.open_values import settle
from experiments.train import train_and_evaluate
from tests.experiments.test_cells import closed, survey
from tests.small_tables import tiny

HEADER = 'time,a,b'


def write(folder, name, rows, shift=0.0):
  """Writes a file in the wide form of rows (time, a, b)."""
  lines = [
    ','.join('' if np.isnan(x) else repr(float(x)) for x in row)
    for row in np.add(rows, [shift, 0.0, 0.0])
  ]
  path = folder / name
  path.write_text('\n'.join([HEADER, *lines]))
  return path


def recorded(seed, steps=20, missing=0.3):
  """Rows (time, a, b) at irregular times, with gaps."""
  rng = np.random.default_rng(seed)
  rows = np.column_stack(
    [
      np.cumsum(rng.uniform(0.5, 1.5, steps)),
      rng.normal(5.0, 2.0, (steps, 2)),
    ]
  )
  rows[:, 1:][rng.random((steps, 2)) < missing] = np.nan
  return rows


@pytest.fixture(scope='module')
def paths(tmp_path_factory):
  folder = tmp_path_factory.mktemp('events')
  return [write(folder, f'{i}.csv', recorded(i)) for i in range(5)]


def arrays(kind, path):
  """The arrays of an example, of the shapes that were announced."""
  kept = kind.read(path)
  for name, feature in kind.features.items():
    assert kept[name].dtype == feature.np_dtype
  for made in (
    kind.prepare(kept),
    kind.augment(kept, np.random.default_rng(0)),
  ):
    jax.tree.map(
      lambda x, spec: np.testing.assert_equal(
        (x.shape, x.dtype), (spec.shape, spec.dtype)
      ),
      made,
      dict(kind.example),
    )
  return kind.prepare(kept)['events']


# What suits them.


def test_what_suits_the_files(paths):
  kind = events_files(survey(*paths))
  rows = [recorded(i) for i in range(5)]
  values = np.concatenate(rows)[:, 1:]
  chosen = kind.chosen
  assert chosen['data.channels'] == ('a', 'b')
  np.testing.assert_allclose(
    chosen['data.mean'], np.nanmean(values, axis=0), rtol=1e-4
  )
  np.testing.assert_allclose(
    chosen['data.stddev'], np.nanstd(values, axis=0), rtol=1e-4
  )
  counts = [np.isfinite(x[:, 1:]).sum() for x in rows]
  assert chosen['data.num_events'] == max(counts)
  there = [x[np.isfinite(x[:, 1:]).any(axis=1), 0] for x in rows]
  assert chosen['data.span'] == pytest.approx(
    max(np.ptp(x) for x in there), rel=1e-4
  )
  gaps = [np.diff(x[np.isfinite(x[:, k]), 0]) for x in rows for k in (1, 2)]
  gap = np.median(np.concatenate(gaps))
  assert chosen['data.gap'] == pytest.approx(gap, rel=1e-4)
  assert chosen['inputs.events.num_rows'] == 2
  assert chosen['inputs.events.max_resolution'] == pytest.approx(
    chosen['data.span'] / gap, rel=1e-3
  )
  assert f'files have {min(counts)} to {max(counts)}' in kind.note


def test_what_was_settled_makes_the_same_examples(paths):
  for origin in ('end', 'start', 'absolute'):
    kind = events_files(survey(*paths), origin=origin)
    options = {
      path.removeprefix('data.'): value
      for path, value in kind.chosen.items()
      if path.startswith('data.')
    }
    again = events_files(closed, origin=origin, **options)
    for path in paths:
      expected = arrays(kind, path)
      for name, found in arrays(again, path).items():
        np.testing.assert_array_equal(found, expected[name])


def test_times_are_told_from_the_end_or_the_start(paths):
  rows = recorded(0)
  time = rows[np.isfinite(rows[:, 1:]).any(axis=1), 0]
  for origin, at in (('end', -1), ('start', 0)):
    kind = events_files(survey(*paths), origin=origin)
    found = arrays(kind, paths[0])
    own = np.unique(found['time'][found['channel'] >= 0])
    expected = 2 * (time - time[at]) / kind.chosen['data.span']
    expected += 1.0 if at else -1.0
    np.testing.assert_allclose(own, expected, atol=1e-5)


def test_absolute_times_lie_between_the_first_and_the_last(paths):
  kind = events_files(survey(*paths), origin='absolute')
  found = [arrays(kind, path) for path in paths]
  times = np.concatenate([x['time'][x['channel'] >= 0] for x in found])
  np.testing.assert_allclose([times.min(), times.max()], [-1, 1], atol=1e-3)


@pytest.mark.parametrize('origin', ['end', 'start'])
def test_a_shift_of_all_times_changes_nothing(paths, tmp_path, origin):
  kind = events_files(survey(*paths), origin=origin)
  # Since 1970, to the microsecond.
  shifted = write(tmp_path, 'x.csv', recorded(1), shift=1.7e9)
  expected, found = arrays(kind, paths[1]), arrays(kind, shifted)
  for name in expected:
    np.testing.assert_allclose(found[name], expected[name], atol=1e-6)


def test_lines_without_events_change_nothing(paths, tmp_path):
  kind = events_files(survey(*paths))
  rows = recorded(2)
  empty = np.full((30, 3), np.nan)
  empty[:, 0] = np.linspace(-50, 90, 30)
  more = write(tmp_path, 'x.csv', np.concatenate([empty, rows])[::-1])
  expected, found = arrays(kind, paths[2]), arrays(kind, more)
  for name in expected:
    np.testing.assert_array_equal(found[name], expected[name])


def test_of_a_long_file_evaluation_takes_the_last_events(paths, tmp_path):
  path = write(tmp_path, 'x.csv', recorded(7, steps=100, missing=0.0))
  rows = recorded(7, steps=100, missing=0.0)
  for origin, chosen in (
    ('end', slice(-5, None)),
    ('start', slice(0, 5)),
    ('absolute', slice(47, 52)),
  ):
    kind = events_files(survey(*paths), num_events=10, origin=origin)
    (view,) = kind.view(kind.prepare(kind.read(path))).values()
    expected = rows[chosen, 1:].reshape(-1)
    if origin == 'absolute':  # 95 to 105 of 200: from the second of a time.
      expected = rows[:, 1:].reshape(-1)[95:105]
    np.testing.assert_allclose(view.value, expected, rtol=1e-4)
  parts = kind.parts(kind.read(path))
  assert len(parts) == 20
  assert all((x['events']['channel'] >= 0).all() for x in parts)
  starts = {
    float(
      kind.augment(kind.read(path), np.random.default_rng(i))['events']['time'][
        0
      ]
    )
    for i in range(20)
  }
  assert len(starts) > 10


def test_a_file_may_lack_a_channel_and_have_no_other(paths, tmp_path):
  kind = events_files(survey(*paths))
  (tmp_path / 'x.csv').write_text('time,b\n1,5\n2,6\n')
  found = arrays(kind, tmp_path / 'x.csv')
  assert found['channel'][:3].tolist() == [1, 1, -1]
  (tmp_path / 'y.csv').write_text('time,c\n1,5\n2,6\n')
  with pytest.raises(ValueError, match="channel 'c'; known are a, b"):
    kind.read(tmp_path / 'y.csv')


def test_a_channel_that_never_changes_is_zero(tmp_path):
  rows = recorded(0)
  rows[:, 2] = 0.1
  path = write(tmp_path, 'x.csv', rows)
  found = arrays(events_files(survey(path)), path)
  assert np.abs(found['value'][found['channel'] == 1]).max() < 1e-3


def test_a_single_event_is_enough(tmp_path):
  path = write(tmp_path, 'x.csv', [[3.0, 1.0, np.nan]])
  kind = events_files(survey(path))
  found = arrays(kind, path)
  assert found['time'] == 1.0
  assert np.isfinite(
    event_statistics(kind.view({'events': found})['events'])[0]
  )


@pytest.mark.parametrize(
  ('options', 'told'),
  [
    (dict(origin='middle'), 'origin must be one of'),
    (dict(max_drop=1.0), 'max_drop must be in'),
    (dict(noise=-1.0), 'noise must not be negative'),
    (dict(channels=('a', 'b'), mean=(0.0,)), 'one entry for each channel'),
    (dict(channels=('a', 'b', 'a')), 'a name twice'),
    (dict(channels=('b',)), "the channel 'a'"),
    (dict(gap=-1.0), 'must be above 0'),
  ],
)
def test_options_are_checked(paths, options, told):
  with pytest.raises(ValueError, match=told):
    events_files(survey(*paths), **options)


def test_files_of_series_are_events_only_where_a_person_says_so(tmp_path):
  extensions = {
    name: kind.extensions
    for name, kind in senses.columns().items()
    if kind.extensions
  }
  for name, kind in (('x.csv', 'series'), ('x.parquet', 'events')):
    (tmp_path / name).touch()
    assert guess_kind('x', [name], tmp_path, extensions) == kind


# Changes of training.


def changed(seed=0, **options):
  values = dict.fromkeys(Changes._fields, 0.0) | options
  time = np.linspace(-1, 1, 200)
  channel = np.arange(200, dtype=np.int32) % 2
  value = np.ones(200, np.float32)
  return change_events(
    time,
    channel,
    value,
    Changes(**values),
    0.5,
    np.random.default_rng(seed),
  )


def test_nothing_is_changed_without_a_reason():
  time, channel, value = changed()
  np.testing.assert_allclose(time, np.linspace(-1, 1, 200), atol=1e-15)
  assert channel.tolist() == [0, 1] * 100
  assert (value == 1).all()


def test_each_change_is_as_large_as_it_may_be():
  shares = [len(changed(i, max_drop=0.5)[0]) / 200 for i in range(300)]
  assert min(shares) > 0.4
  assert abs(np.mean(shares) - 0.75) < 0.03
  ends = np.array(
    [changed(i, max_speed_change=0.5)[0][[0, -1]] for i in range(50)]
  )
  np.testing.assert_allclose(ends[:, 1], 1.0)
  assert ends[:, 0].min() > 1 - 2 / 0.5
  assert ends[:, 0].max() < 1 - 2 / 1.5
  time, channel, _ = changed(jitter=0.1)
  assert (np.diff(time) >= 0).all()
  assert channel.tolist() != [0, 1] * 100
  _, channel, value = changed(max_scale=0.5)
  assert len(np.unique(value)) == 2
  assert np.unique(value[channel == 1]).size == 1
  _, _, value = changed(noise=0.3)
  assert abs(value.std() - 0.3) < 0.05


# Views and classical features.


def test_statistics_of_a_channel():
  view = Events(
    time=np.array([0.0, 1.0, 2.0, 4.0, 5.0]),
    channel=np.array([0, 0, 0, 0, 2], np.int32),
    value=np.array([1.0, 3.0, 5.0, 9.0, 7.0]),
    names=('a', 'b', 'c'),
  )
  a, b, c = event_statistics(view).reshape(3, -1)
  assert a[:3].tolist() == [4, 4.5, np.std([1, 3, 5, 9])]
  assert a[5] == 4.0
  np.testing.assert_allclose(a[8:], [9, 1, 2, 2])
  assert b[0] == 0
  assert np.isnan(b[1:]).all()
  assert c[:2].tolist() == [1, 7]
  assert np.isnan(c[-2:]).all()


def test_a_picture_of_events_has_a_point_for_each():
  view = Events(
    np.arange(9.0), np.arange(9) % 2, np.arange(9.0) ** 2, ('<a>', 'b')
  )
  html = senses.html_of(view)
  assert html.count('h0') == 9
  assert '9 events in 8 seconds; from above: &lt;a&gt;, b' in html
  many = view._replace(
    channel=np.arange(9), names=tuple(f'c{i}' for i in range(20))
  )
  assert senses.html_of(many).count('h0') == 9
  empty = Events(*(np.zeros(0) for _ in range(3)), ('a',))
  assert '0 events' in senses.html_of(empty)


def test_times_in_words():
  assert in_words(0.5) == '500 ms'
  assert in_words(90.0) == '90 seconds'
  assert in_words(36 * 3600.0) == '36 hours'
  assert in_words(10 * 86_400.0) == '10 days'
  assert in_words(-600.0) == '-10 minutes'
  assert in_words(0.0) == '0 seconds'


# Runs.


def write_table(folder):
  rows = []
  for i in range(20):
    events = recorded(i)
    # Those of one kind become faster at their ends.
    if i % 2:
      events[:, 0] = -np.square(events[-1, 0] - events[:, 0])
    write(folder, f'{i}.csv', events)
    rows.append(
      (
        '' if i == 4 else f'{i}.csv',
        i,
        'xy'[i % 2],
        'test' * (i > 15) or 'train',
      )
    )
  path = folder / 'rows.csv'
  with path.open('w', newline='') as file:
    csv.writer(file).writerows([('vitals', 'age', 'ill', 'use'), *rows])
  return path


@pytest.fixture(scope='module')
def table_run(tmp_path_factory):
  folder = tmp_path_factory.mktemp('rows')
  config = tiny(table_config.get_config())
  config.queries.num_channels = 8
  config.data.update(
    table=str(write_table(folder)),
    inputs='vitals:events,age',
    answers='ill:class',
    split='use',
  )
  train_and_evaluate(config, folder / 'run', str(folder / 'data'))
  return folder, load_run(folder / 'run', data_dir=str(folder / 'data'))


def predicted(run, examples):
  batch = jax.tree.map(lambda *x: np.stack(x), *examples)
  made, _ = run.task.model.apply(
    run.params, run.state, None, batch, is_training=False
  )
  return np.asarray(made['outputs']['ill'])


@pytest.mark.slow
def test_a_table_is_trained_on(table_run):
  folder, run = table_run
  (column, *_) = run.config.data.columns
  assert column['kind'] == 'events'
  assert column['elements']['num_rows'] == 2
  dataset = run.task.data.load()
  examples = [dataset.prepare(x) for x in dataset.train]
  there = [bool(x['inputs']['vitals']['there']) for x in examples]
  lacking = there.index(False)
  assert not examples[lacking]['inputs']['vitals']['events']['value'].any()
  assert np.isfinite(predicted(run, examples)).all()
  assert json.loads((folder / 'run' / 'config.json').read_text())
  assert '<svg' in (folder / 'run' / 'report.html').read_text()


@pytest.mark.slow
def test_the_answers_know_no_order_no_shift_and_no_empty_lines(table_run):
  folder, run = table_run
  files = run.task.columns.inputs[0].files
  rows = recorded(3)
  rng = np.random.default_rng(0)
  empty = np.column_stack([rng.uniform(0, 99, 9), np.full((9, 2), np.nan)])
  example = dict(run.task.data.load().evaluation[0])

  def answers(rows, shift=0.0):
    made = files.prepare(files.read(write(folder, 'x.csv', rows, shift)))
    vitals = {**made, 'there': np.bool_(True)}
    age = {**prepared['inputs']['age']}
    return predicted(run, [{'inputs': {'vitals': vitals, 'age': age}}])

  prepared = run.task.data.load().prepare(example)
  expected = answers(rows)
  np.testing.assert_array_equal(answers(rng.permutation(rows)), expected)
  np.testing.assert_array_equal(
    answers(np.concatenate([rows, empty])), expected
  )
  np.testing.assert_allclose(answers(rows, 5e8), expected, atol=1e-4)
  # And they know the rest.
  rows[:, 1] *= 3
  assert np.abs(answers(rows) - expected).max() > 1e-3


@pytest.mark.slow
def test_attention_is_drawn_over_time(table_run):
  _, run = table_run
  dataset = run.task.data.load()
  example = dataset.prepare(dataset.evaluation[0])
  maps: AttentionMaps = AttentionOf(run)(example)
  attended = maps.modalities['vitals']
  time = np.unique(attended.view.time)
  assert attended.cells == time.shape
  np.testing.assert_allclose(
    attended.weights.sum(axis=-1), maps.shares['vitals'], atol=1e-5
  )
  shares = (time - time[0]) / (time[-1] - time[0])
  np.testing.assert_allclose(
    attended.labels[1:], (shares[1:] + shares[:-1]) / 2, atol=1e-5
  )
  drawing = senses.sense_of(attended.view).attention
  spec = drawing.page(attended)
  assert json.loads(json.dumps(spec)) == spec
  assert [lane['name'] for lane in spec['lanes']] == ['a', 'b']
  assert sum(len(lane['x']) for lane in spec['lanes']) == len(
    attended.view.time
  )
  assert len(spec['places']) == len(time)
  assert attention_figure('title', maps, 'vitals', [0]).shape[-1] == 3


@pytest.mark.slow
def test_a_folder_is_trained_on(tmp_path):
  for i in range(12):
    place = tmp_path / 'root' / ('test' if i > 7 else 'train') / 'xy'[i % 2]
    place.mkdir(parents=True, exist_ok=True)
    write(place, f'{i}.csv', recorded(i))
  config = tiny(folder_config.get_config('events'))
  config.data.root = str(tmp_path / 'root')
  config, note = settle(config, str(tmp_path / 'data'))
  assert 'events: 2 channels' in note
  assert config.inputs.events.num_rows == 2
  task = make_task(config, str(tmp_path / 'data'))
  dataset = task.data.load()
  examples = [dataset.prepare(dataset.evaluation[i]) for i in range(2)]
  batch = jax.tree.map(lambda *x: np.stack(x), *examples)
  params, state = task.model.init(jax.random.key(0), batch, is_training=True)
  made, _ = task.model.apply(params, state, None, batch, is_training=False)
  assert made.shape == (2, 2)
