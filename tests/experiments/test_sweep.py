"""Tables of runs, as a user makes them, and as Markdown."""

import importlib
import json
import os
import pathlib
import subprocess
import sys

import pytest

from experiments.configs import digits as digits_config
from experiments.sweep import run_table
from experiments.sweeps.report import missed_goals, render, write_section
from experiments.sweeps.rows import Result, read_result, run_row
from experiments.sweeps.tables import TABLES, Goal, Row, Table
from experiments.tasks import make_task
from tests import simulated_devices

ROOT = pathlib.Path(__file__).parents[2]
# Two steps of the smallest Transformer; a ViT's grid does not fit the images.
TINY = {
  'train_steps': 2,
  'log_every': 2,
  'eval_every': 2,
  'checkpoint_every': 2,
  'batch_size': 250,
  'data.image_size': 4,
}


def sweep(workdir, *arguments):
  """Runs the command; returns what it printed, and its exit code."""
  overrides = [f'--override={key}={value}' for key, value in TINY.items()]
  result = subprocess.run(
    [
      *(sys.executable, '-m', 'experiments.sweep', '--table=digits'),
      f'--workdir={workdir / "sweep"}',
      f'--data_dir={workdir}',
      *overrides,
      *arguments,
    ],
    cwd=ROOT,
    env=os.environ
    | {
      'JAX_PLATFORMS': 'cpu',
      **simulated_devices.compilation_cache(str(workdir / 'compiled')),
    },
    capture_output=True,
    text=True,
    check=False,
  )
  assert 'Traceback' not in result.stderr, result.stderr
  return result.stdout, result.returncode


@pytest.fixture(scope='module')
def made(tmp_path_factory):
  """A sweep of three rows of which one fails, then of what did not."""
  workdir = tmp_path_factory.mktemp('sweep')
  rows = '--rows=transformer,vit,transformer-permuted'
  return (
    workdir,
    sweep(workdir, rows),
    sweep(workdir, '--rows=transformer,transformer-permuted'),
  )


def result_of(made, name):
  return read_result(made[0] / 'sweep' / name)


@pytest.mark.slow
def test_rows_are_trained_and_the_table_is_printed(made):
  output, _ = made[1]
  result = result_of(made, 'transformer')
  assert result.error is None and result.steps == 2
  assert set(result.metrics) >= {'accuracy', 'loss'}
  assert f'{result.metrics["loss"]:.4f}' in output
  assert result.parameters == 103_818 and result.devices == '1 x cpu'
  assert result.cpu_seconds > 0.0 and 1.0 < result.seconds < 300.0
  assert 1e8 < result.peak_bytes < 1e11  # A process with jax in it.
  assert not result.resumed
  assert '| perceiver | not run |' in output
  assert '--config' not in output.partition('## Digits')[2]


@pytest.mark.slow
def test_permuted_pixels_are_the_same_row_for_a_transformer(made):
  raw, permuted = (
    result_of(made, name).metrics
    for name in ('transformer', 'transformer-permuted')
  )
  assert permuted['accuracy'] == pytest.approx(raw['accuracy'], abs=2e-3)
  assert permuted['loss'] == pytest.approx(raw['loss'], rel=1e-4)


@pytest.mark.slow
def test_a_row_that_fails_is_reported_and_stops_no_other(made):
  output, code = made[1]
  assert code == 1
  assert 'baseline.grid_shape = (28, 28)' in result_of(made, 'vit').error
  (line,) = [each for each in output.splitlines() if '| vit |' in each]
  assert 'failed: Error: baseline.grid_shape' in line
  assert output.index('vit: training') < output.index('permuted: training')
  assert 'grid_shape' in (made[0] / 'sweep/vit/output.txt').read_text()


@pytest.mark.slow
def test_what_is_finished_is_not_trained_again(made):
  output, _ = made[2]
  assert 'transformer: finished on' in output
  assert 'training' not in output.partition('## ')[0]
  first, _ = made[1]
  assert output.partition('## ')[2] == first.partition('## ')[2]


@pytest.mark.slow
def test_a_row_that_failed_is_tried_again(made, monkeypatch):
  folder = made[0] / 'sweep' / 'vit'
  monkeypatch.setattr(sys, 'executable', '/bin/false')
  again = run_row(Row('vit', 'digits:vit'), folder, None, [])
  assert again.error == 'exit code 1'
  assert read_result(folder) == again


@pytest.mark.slow
def test_mistakes(made, tmp_path):
  row = Row('transformer', 'digits:transformer')
  folder = made[0] / 'sweep' / 'transformer'
  with pytest.raises(ValueError, match=r'result of .*train_steps=2.*--workdir'):
    run_row(row, folder, None, [])
  with pytest.raises(ValueError, match=r"KEY=VALUE, got 'seed'"):
    run_row(row, tmp_path, None, ['seed'])
  table = Table('', '', (row,))
  with pytest.raises(ValueError, match=r"no row 'vit', choose of \['transf"):
    run_table(table, tmp_path, None, names=['vit'])


@pytest.mark.parametrize('rows', ['', '{"step": 600, "eval/loss": 1.0}\n'])
def test_a_run_that_was_stopped_has_no_result(rows, tmp_path, monkeypatch):
  """A process that ends well before its last step, as after Ctrl-C."""
  config = digits_config.get_config()
  (tmp_path / 'config.json').write_text(config.to_json())
  (tmp_path / 'metrics.jsonl').write_text(rows)
  monkeypatch.setattr(sys, 'executable', '/bin/true')
  with pytest.raises(InterruptedError, match='before step 3600, its last'):
    run_row(Row('a', 'digits'), tmp_path, None, [])
  assert read_result(tmp_path) is None


# Tables.


def config_of(row):
  name, _, variant = row.config.partition(':')
  module = importlib.import_module(f'experiments.configs.{name}')
  config = module.get_config(*([variant] if variant else []))
  config.update_from_flattened_dict(row.overrides)
  return config


@pytest.mark.parametrize('name', list(TABLES))
def test_rows_are_configs_that_bind(name):
  rows = TABLES[name].rows
  assert len({row.name for row in rows}) == len(rows)
  for row in rows:
    known = config_of(Row(row.name, row.config)).to_dict()
    for key in row.overrides:  # On the command line new keys are errors.
      section = known
      for part in key.split('.'):
        section = section[part]
    config = config_of(row)
    assert make_task(config, None).loss_function is not None
    assert config.train_steps % config.eval_every == 0


def test_every_row_of_the_ablation_changes_one_thing():
  base, *others = TABLES['ablation'].rows
  for row in others:
    changed = {
      key
      for key, value in row.overrides.items()
      if base.overrides.get(key) != value
    }
    assert len(changed) == 1, row
    (key,) = changed
    value = config_of(base)
    for part in key.split('.'):
      value = value[part]
    assert value != row.overrides[key], row


# Markdown.


def result(**fields):
  values = dict(
    arguments=['digits.py:vit', '--config.seed=1'],
    error=None,
    metrics={'loss': 0.25, 'accuracy': 0.9},
    steps=1200,
    parameters=173_834,
    devices='1 x cpu',
    seconds=125.4,
    cpu_seconds=59.6,
    peak_bytes=512 * 2**20,
    resumed=False,
    date='2026-11-21',
  )
  return Result(**(values | fields))


TABLE = Table('Some', 'A note.', tuple(Row(name, 'digits') for name in 'abcd'))
GOALS = Table(
  'Some',
  'A note.',
  (
    Row('a', 'digits', goals=[Goal('accuracy', least=0.9)]),
    Row('b', 'digits', goals=[Goal('loss', most=1.5), Goal('psnr', least=6)]),
    Row('c', 'digits', goals=[Goal('loss', most=1.5)]),
    Row('d', 'digits'),
  ),
)


def test_table():
  results = {
    'a': result(),
    'b': result(metrics={'loss': 2.0, 'accuracy': 1234.5}, resumed=True),
    'c': result(error='x | y', metrics={}),
    'd': None,
  }
  lines = render(TABLE, 'some', results).splitlines()
  assert lines[0] == '## Some'
  assert lines[2] == '`python -m experiments.sweep --table=some`. A note.'
  assert lines[4:10] == [
    '| run | changes | steps | parameters | loss | accuracy | time '
    '| CPU time | memory | date |',
    '| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | --- |',
    '| a | `digits.py:vit seed=1` | 1,200 | 173,834 | 0.2500 | 0.9000 '
    '| 2 min 5 s | 1 min 0 s | 512 MiB | 2026-11-21 |',
    '| b | `digits.py:vit seed=1` | 1,200 | 173,834 | 2.0000 | 1,234.5000 '
    '| 2 min 5 s (resumed) | 1 min 0 s | 512 MiB | 2026-11-21 |',
    '| c | `digits.py:vit seed=1` failed: x / y |' + '  |' * 8,
    '| d | not run |' + '  |' * 8,
  ]
  assert lines[11].startswith('1 x cpu; ')
  assert missed_goals(TABLE, results) == []


def test_rows_of_different_tasks_and_their_goals():
  results = {
    'a': result(),
    'b': result(metrics={'loss': 2.0, 'psnr': 5.98}),
    'c': result(error='x | y', metrics={}),
    'd': result(),
  }
  lines = render(GOALS, 'some', results).splitlines()
  cells = [
    [cell.strip() for cell in line.split('|')[5:7]] for line in lines[4:10]
  ]
  assert cells == [
    ['metrics', 'goal'],
    ['---:', '---:'],
    ['loss 0.2500, accuracy 0.9000', 'accuracy at least 0.9'],
    [
      'loss 2.0000, psnr 5.9800',
      'loss at most 1.5 (missed), psnr at least 6 (missed)',
    ],
    ['', ''],
    ['loss 0.2500, accuracy 0.9000', ''],
  ]
  assert missed_goals(GOALS, results) == [
    'b: loss at most 1.5, and it is 2.0',
    'b: psnr at least 6, and it is 5.98',
  ]
  results['b'] = result(metrics={'loss': 1.5})
  assert missed_goals(GOALS, results) == [
    'b: psnr at least 6, and it is not there'
  ]


def test_results_survive_their_file(tmp_path):
  one = result()
  (tmp_path / 'result.json').write_text(json.dumps(one._asdict()))
  assert read_result(tmp_path) == one


def test_a_section_is_written_again_in_its_place(tmp_path):
  path = tmp_path / 'results.md'
  path.write_text('# Results\n')
  write_section(path, 'one', 'first')
  write_section(path, 'two', 'second')
  path.write_text(path.read_text() + '\nThe end.\n')
  write_section(path, 'one', 'changed')
  assert path.read_text() == (
    '# Results\n\n<!-- table one -->\n\nchanged\n\n<!-- end of table one -->\n'
    '\n<!-- table two -->\n\nsecond\n\n<!-- end of table two -->\n\nThe end.\n'
  )
  path.write_text('<!-- table one -->\n')
  with pytest.raises(ValueError, match=r'no .<!-- end of table one'):
    write_section(path, 'one', 'x')


def test_a_file_of_its_own(tmp_path):
  path = tmp_path / 'new.md'
  write_section(path, 'one', 'first')
  assert path.read_text() == (
    '<!-- table one -->\n\nfirst\n\n<!-- end of table one -->\n'
  )
