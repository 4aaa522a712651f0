"""Tables, from a file to trained runs: what rows have, and what they lack."""

import csv
import json

import jax
import numpy as np
import pytest
from PIL import Image

from experiments.data.dataset import batch_spec
from experiments.data.pipeline import evaluation_batches
from experiments.host.configuration import ConfigError, read_config
from experiments.runs.experiment import settled as settled_at_the_door
from experiments.runs.trained import load_run
from experiments.stepping.train_state import init_shapes
from experiments.tasks import make_task
from experiments.tasks.open_values import settle
from experiments.train import train_and_evaluate
from tests.pages import Page
from tests.small_tables import ANSWERS, NAMES, ROWS, small, write_table


@pytest.fixture(scope='module')
def path(tmp_path_factory):
  return write_table(tmp_path_factory.mktemp('table'))


@pytest.fixture(scope='module')
def data_dir(tmp_path_factory):
  return str(tmp_path_factory.mktemp('data'))


@pytest.fixture(scope='module')
def settled(path, data_dir):
  return settle(small(path), data_dir)


@pytest.fixture(scope='module')
def task(settled, data_dir):
  return make_task(settled[0], data_dir)


@pytest.fixture(scope='module')
def dataset(task):
  return task.data.load()


def test_columns_are_settled_once(settled, data_dir):
  config, note = settled
  assert settle(config, data_dir) == (config, '')
  columns = {each['name']: each for each in config.data.columns}
  assert list(columns) == [*NAMES[:5], 'ill', 'risk']
  assert columns['picture']['files']['image_size'] == 12
  assert columns['load']['elements']['patch'] == 1
  assert columns['ill']['options']['classes'] == ['no', 'yes']
  assert 'picture: image: 12 x 12 pixels, 36 patches of 2 x 2' in note
  assert '13 to train, 2 to validate, 5 to test' in note


def test_a_row_has_what_its_cells_have(dataset):
  # Rows 3, 7, 11, 15 and 19 are the test's.
  examples = [dataset.prepare(x) for x in dataset.evaluation]
  examples.sort(key=lambda x: x['row'])
  assert [int(x['row']) for x in examples] == [3, 7, 11, 15, 19]
  there = {
    key: [bool(x['inputs'][key]['there']) for x in examples]
    for key in examples[0]['inputs']
  }
  assert there == {
    'picture': [True, True, False, True, True],
    'load': [True] * 5,
    'note': [False, True, True, True, True],
    'age': [True] * 5,
    'sex': [True] * 5,
  }
  risks = [bool(x['answers']['risk']['there']) for x in examples]
  assert risks == [True, False, True, True, True]
  assert not examples[2]['inputs']['picture']['image'].any()


def test_shapes_are_those_that_are_promised(task, dataset):
  (batch, *_) = evaluation_batches(dataset, 4)
  expected = batch_spec(task.data.example, 4)
  for part in ('inputs', 'answers'):
    jax.tree.map(
      lambda x, spec: np.testing.assert_equal(
        (x.shape, x.dtype), (spec.shape, spec.dtype)
      ),
      batch[part],
      expected[part],
    )


def test_training_leaves_out_inputs_but_never_all(path, data_dir):
  config, _ = settle(small(path, drop_rate=0.5), data_dir)
  dataset = make_task(config, data_dir).data.load()
  rng = np.random.default_rng(0)
  raw = dataset.train[0]
  counts = []
  for _ in range(200):
    example = dataset.augment(raw, rng)
    counts.append(count(example))
  # One stays; each of the others with one half.
  assert min(counts) == 1
  assert abs(np.mean(counts) - (1 + (count(raw) - 1) / 2)) < 0.3


def count(example):
  return sum(bool(x['there']) for x in example['inputs'].values())


@pytest.fixture(scope='module')
def model(task, dataset):
  params, state = task.model.init(
    jax.random.key(0), batch_of(dataset), is_training=True
  )
  keys = iter(jax.random.split(jax.random.key(1), 1000))
  params = jax.tree.map(
    lambda x: x + 0.1 * jax.random.normal(next(keys), x.shape), params
  )
  apply = jax.jit(task.model.apply, static_argnames='is_training')
  return lambda batch: apply(params, state, None, batch, is_training=False)[0]


def batch_of(dataset):
  (batch, *_) = evaluation_batches(dataset, 5)
  return batch


def test_an_empty_cell_is_no_input_whatever_stands_there(model, dataset):
  batch = batch_of(dataset)
  expected = model(batch)['outputs']
  rng = np.random.default_rng(1)
  for key, array in (('picture', 'image'), ('load', 'series')):
    own = dict(batch['inputs'][key])
    own['there'] = np.zeros(5, bool)
    without = {**batch, 'inputs': {**batch['inputs'], key: own}}
    of_zeros = model(without)['outputs']
    own = {**own, array: rng.normal(size=own[array].shape).astype(np.float32)}
    of_noise = model({**batch, 'inputs': {**batch['inputs'], key: own}})
    jax.tree.map(
      lambda x, y: np.testing.assert_allclose(x, y, atol=1e-6),
      of_zeros,
      of_noise['outputs'],
    )
    assert np.abs(of_zeros['ill'] - expected['ill']).max() > 1e-4


def test_a_missing_answer_weighs_nothing(task, model, dataset):
  batch = dict(batch_of(dataset))
  predictions = model(batch)
  means, metrics = task.loss_function(predictions, batch)
  assert [float(mean.weight) for mean in means] == [5.0, 4.0]
  others = jax.tree.map(np.array, batch['answers'])
  (name,) = set(others['risk']) - {'there'}
  others['risk'][name][~others['risk']['there']] = 1000.0
  again, _ = task.loss_function(predictions, {**batch, 'answers': others})
  np.testing.assert_allclose(again[1].total, means[1].total)
  assert float(metrics['risk/loss'].weight) == 4.0


@pytest.mark.parametrize(
  ('change', 'told'),
  [
    ({'inputs': 'pictur:images'}, "no column 'pictur'.*'picture'"),
    ({'inputs': 'picture:image'}, "of no kind 'image'"),
    ({'answers': 'ill:clas'}, "of no kind 'clas'"),
    ({'answers': ''}, 'Name the columns that the model is to answer'),
    ({'inputs': 'age:images'}, "column 'age': there is no file '40'"),
    ({'inputs': 'picture:audio'}, r'0\.png is no file of its kind'),
    ({'inputs': 'ill,age'}, "'ill' is both in data.inputs and"),
    ({'drop_rate': 1.0}, r'data.drop_rate must be in \[0, 1\)'),
    ({'answers': 'ill:class(weight=0)'}, "weight of 'ill' must be a number"),
    ({'table': ''}, 'Name your table by --config.data.table=PATH'),
    ({'inputs': 'age:number(bin=3)'}, "did you mean 'bins'"),
  ],
)
def test_what_is_wrong_with_columns_is_told(path, data_dir, change, told):
  config = small(path)
  config.data.update(change)
  with pytest.raises((ValueError, ConfigError), match=told):
    settle(config, data_dir)


def test_a_wrong_key_is_told_before_the_table_is_looked_at(data_dir):
  config = small('/there/is/no/table.csv')
  with config.unlocked():
    config.encoder.num_latent = 5
  with pytest.raises(ConfigError, match="did you mean 'num_latents'"):
    settled_at_the_door(config, data_dir)


def test_files_that_are_not_there_are_all_named_before_any_is_read(
  path, tmp_path, data_dir
):
  rows = path.read_text().replace('3.png', 'x.png')
  broken = path.parent / 'broken.csv'
  broken.write_text(rows)
  config = small(broken, skip_unreadable=True)
  config, _ = settle(config, data_dir)
  config.data.skip_unreadable = False
  with pytest.raises(ValueError) as error:
    make_task(config, str(tmp_path)).data.load()
  told = str(error.value)
  assert "line 5, column 'picture': there is no file 'x.png'" in told
  assert "line 15, column 'picture': there is no file '1x.png'" in told


def test_cells_that_cannot_be_read_may_count_as_empty(
  path, tmp_path, data_dir, capsys
):
  damaged = path.parent / 'damaged.csv'
  damaged.write_text(path.read_text().replace('3.png', 'bad.png'))
  (path.parent / 'bad.png').write_bytes(b'no picture')
  (path.parent / '1bad.png').write_bytes(b'nor this')
  config, _ = settle(small(damaged, skip_unreadable=True), data_dir)
  dataset = make_task(config, str(tmp_path)).data.load()
  assert '2 cells cannot be read and count as empty' in capsys.readouterr().out
  first = min(map(dataset.prepare, dataset.evaluation), key=lambda x: x['row'])
  assert first['row'] == 3
  assert not first['inputs']['picture']['there']
  assert first['inputs']['age']['there']


def test_files_may_lie_anywhere(path, tmp_path, data_dir):
  there = tmp_path / 'far'
  there.mkdir()
  far = there / 'rows.csv'
  text = path.read_text()
  for ending in ('.png', 'load'):
    assert ending in text
  # Absolute names, and one as Windows writes it.
  names = [f'{i}.png' for i in range(ROWS)]
  names += [f'load{i}.csv' for i in range(ROWS)]
  for name in names:
    text = text.replace(f',{name}', f',{path.parent / name}')
    text = text.replace(f'\n{name}', f'\n{path.parent / name}')
  (there / 'in').mkdir()
  (there / 'in' / '0.png').write_bytes((path.parent / '0.png').read_bytes())
  text = text.replace(f'\n{path.parent / "0.png"}', '\nin\\0.png')
  far.write_text(text)
  config, _ = settle(small(far), data_dir)
  dataset = make_task(config, str(tmp_path)).data.load()
  assert len(dataset.evaluation) == 5
  (first,) = [x for x in map(dataset.prepare, dataset.train) if not x['row']]
  assert first['inputs']['picture']['there']


def test_a_changed_mask_is_read_anew(tmp_path, data_dir):
  rows = write_table(tmp_path)
  config = small(rows)
  config.data.answers = 'seg:mask'
  config, _ = settle(config, data_dir)

  def mask():
    dataset = make_task(config, data_dir).data.load()
    (first,) = [x for x in map(dataset.prepare, dataset.train) if not x['row']]
    return first['answers']['seg']['label_image']

  before = mask()
  numbers = np.zeros((12, 12), np.uint8)
  Image.fromarray(numbers).save(tmp_path / '0_seg.png')
  assert before.any() and not mask().any()


def test_shapes_of_a_table_that_is_all_guessed(path, data_dir):
  config = small(path)
  config.data.inputs = None
  config.data.answers = 'ill,risk,tags,seg,stage:sequence(load)'
  config, _ = settle(config, data_dir)
  kinds = {each['name']: each['kind'] for each in config.data.columns}
  assert kinds == {
    'picture': 'images',
    'load': 'series',
    'note': 'category',
    'age': 'number',
    'sex': 'category',
    'born': 'date',
    'ill': 'class',
    'risk': 'number',
    'tags': 'labels',
    'seg': 'mask',
    'stage': 'sequence',
  }
  task = make_task(config, data_dir)
  params, _ = init_shapes(task.model, batch_spec(task.data.example, 2))
  assert 'any_to_any/ill_head/logits' in params


@pytest.mark.slow
def test_a_run_from_table_to_answers(path, data_dir, tmp_path):
  workdir = tmp_path / 'run'
  config = small(path)
  config.data.answers = f'{ANSWERS},load:forecast(4)'
  results = train_and_evaluate(config, workdir, data_dir)
  assert results['test/ill/accuracy'] in {i / 5 for i in range(6)}
  assert np.isfinite(results['test/risk/mae'])
  assert results['test/load_forecast/skill'] < 1.0
  page = Page((workdir / 'report.html').read_text())
  assert 'without picture' in page.words and 'ill: Confusion' in page.words
  (table,) = [x for x in page.tables if x[0][:2] == ['inputs', 'rows']]
  assert sorted(int(row[1]) for row in table[1:]) == [1, 1, 3]
  stored = read_config(workdir)
  assert settle(stored, data_dir) == (stored, '')
  run = load_run(workdir, data_dir=data_dir)
  wanted = path.parent / 'wanted.jsonl'
  rows = [{'age': 45}, {'load': 'load1.csv'}, {'picture': '0.png'}]
  wanted.write_text('\n'.join(map(json.dumps, rows)))
  answers = run.predict(wanted).rows
  assert len(answers) == 3
  assert all(set(row) == {'ill', 'risk', 'load'} for row in answers)
  assert [row['load'] is None for row in answers] == [True, False, True]
  written, *_ = run.task.answer.write(run.predict(wanted), tmp_path, 'wanted')
  with written.open() as file:
    cells = list(csv.DictReader(file))
  assert [row['row'] for row in cells] == ['1', '2', '3']
  assert {row['ill'] for row in cells} <= {'no', 'yes'}


@pytest.mark.slow
def test_all_kinds_of_answers_in_one_run(path, data_dir, tmp_path):
  config = small(path)
  config.data.answers = (
    'ill:class,tags:labels,risk:number(quantiles),seg:mask,stage:sequence(load)'
  )
  workdir = tmp_path / 'run'
  results = train_and_evaluate(config, workdir, data_dir)
  scores = {
    *('ill/accuracy', 'tags/mean_average_precision', 'risk/r2'),
    *('seg/mean_iou', 'stage/macro_f1'),
  }
  assert scores <= {name.removeprefix('test/') for name in results}
  assert np.isfinite(results['test/score'])
  run = load_run(workdir, data_dir=data_dir)
  wanted = path.parent / 'two.csv'
  wanted.write_text('picture,load,age\n0.png,load0.csv,50\n,load1.csv,51\n')
  answers = run.predict(wanted)
  names = {'ill', 'tags', 'risk', 'seg', 'stage'}
  assert [set(row) for row in answers.rows] == [names] * 2
  # The second has no picture.
  assert answers.rows[0]['seg'] is not None and answers.rows[1]['seg'] is None
  written = run.task.answer.write(answers, tmp_path / 'answers', 'two')
  assert written[0].name == 'two.csv'
  assert any(each.suffix == '.png' for each in written)
  told = run.task.answer.lines(answers, 2)
  assert len(told) == 2 and all('stage' in line for line in told)
  assert 'seg: no answer' in told[1] and 'seg: no answer' not in told[0]
