"""A kind of answer of somebody else goes wherever those of the package go.

Nothing of the package knows of it: one folder, `angle/`, and one registration.
"""

import json
import pathlib
import re
import subprocess
import sys

import httpx
import numpy as np
import pytest

from experiments import tasks
from experiments.answers.classes.record import CLASSES
from experiments.export import write_export
from experiments.reporting.comparison import comparison_page
from experiments.reporting.run_page import read_run
from experiments.runs.trained import load_run
from experiments.tasks.task import TaskKind
from experiments.train import train_and_evaluate
from tests import simulated_devices
from tests.outside.angle.record import ANGLE, Angle, off
from tests.outside.dials import DIALS, draw_dial, get_config
from tests.pages import Page
from tests.served import served

ROOT = pathlib.Path(__file__).parents[2]


@pytest.fixture(scope='module', autouse=True)
def _registered():
  tasks.register('dials', DIALS)
  yield
  tasks._TASKS.pop('dials')


def command(name, workdir, *arguments):
  result = subprocess.run(
    [
      *(sys.executable, '-m', 'tests.outside.commands', name),
      f'--workdir={workdir}',
      *arguments,
    ],
    cwd=ROOT,
    env=simulated_devices.environment(1),
    capture_output=True,
    text=True,
    timeout=600,
    check=False,
  )
  assert result.returncode == 0, result.stderr
  return result.stdout


@pytest.fixture(scope='module')
def workdir(tmp_path_factory):
  workdir = tmp_path_factory.mktemp('runs') / 'dials'
  config = get_config()
  config.report = dict(seconds=300.0)  # For all dials on a busy machine.
  train_and_evaluate(config, workdir, None)
  return workdir


@pytest.fixture(scope='module')
def run(workdir):
  return load_run(workdir)


def test_it_is_trained_and_evaluated(workdir):
  rows = [
    json.loads(line)
    for line in (workdir / 'metrics.jsonl').read_text().splitlines()
  ]
  first, last = (row for row in rows if 'eval/loss' in row)
  # Of answers by chance it would be 90 degrees.
  assert last['eval/median_degrees_off'] < 20
  assert last['eval/loss'] < first['eval/loss'] < 1.1


def test_it_is_told_of_a_file(workdir, run, tmp_path):
  path = tmp_path / 'dial.npy'
  np.save(path, draw_dial(120.0))
  said = command('predict', workdir, str(path))
  degrees = float(re.search(r'points to ([\d.]+) degrees', said)[1])
  assert off(degrees, 120.0) < 45
  assert run.predict(path).degrees == pytest.approx(degrees, abs=0.06)
  assert (workdir / 'predictions' / 'dial.svg').read_text().startswith('<svg')
  assert f'-> {workdir}/predictions/dial.svg' in said


def test_it_is_in_the_report(workdir):
  report = Page((workdir / 'report.html').read_text())
  assert 'How far off' in report.words
  table = report.table_with('off by')
  assert sum(int(count) for _, count in table[1:]) == 40
  assert len(re.findall(r'\d+° and is \d+°', report.words)) == 24


def test_what_is_better_is_known(workdir):
  files = read_run(workdir)
  best = min(row['eval/degrees_off'] for row in files.history.evaluations())
  worse = files._replace(
    workdir=workdir / 'other',
    history=files.history._replace(
      rows=[
        {name: 2 * x if name != 'step' else x for name, x in row.items()}
        for row in files.history.rows
      ]
    ),
  )
  text = comparison_page([files, worse])
  assert f'<b>{best:.4g}</b>' in text
  assert ANGLE.is_lower_better('eval/degrees_off') is True


def test_it_is_served(run, tmp_path):
  path = tmp_path / 'dial.npy'
  np.save(path, draw_dial(45.0))
  expected = run.predict(path)
  with served(run) as address, httpx.Client(base_url=address) as client:
    reply = client.post(
      '/api/predict?show=1',
      files={'file': ('dial.npy', path.read_bytes())},
    ).json()
    page = client.post(
      '/api/attention', files={'file': ('dial.npy', path.read_bytes())}
    ).text
  assert reply['degrees'] == pytest.approx(expected.degrees, abs=1e-3)
  (line,) = ANGLE.lines(expected, 5)
  # What it has no page for, the page says in the words of `predict`.
  assert reply['said'] == f'<div class="said"><pre>{line}</pre></div>'
  assert reply['views'][0]['name'] == 'image'
  assert [each['name'] for each in reply['files']] == ['answer.svg']
  assert ANGLE.note(expected) in page


def test_it_is_exported(run, tmp_path):
  write_export(run, tmp_path, platforms=['cpu'], weights_inside=False)
  card = (tmp_path / 'README.md').read_text()
  assert ') for reading dials, trained on `dials`' in card
  assert ANGLE.outputs in card
  np.savez(tmp_path / 'in.npz', image=draw_dial(200.0)[None])
  subprocess.run(
    [sys.executable, 'load.py', 'in.npz', 'out.npz'], cwd=tmp_path, check=True
  )
  with np.load(tmp_path / 'out.npz') as made:
    predictions = made['predictions']
  expected = run({'image': draw_dial(200.0)[None]})
  np.testing.assert_allclose(predictions, expected, atol=1e-5)


def test_a_name_stands_for_one_task():
  tasks.register('dials', DIALS)  # The same again is none the worse.
  other = TaskKind(DIALS.sections, DIALS.make_task, CLASSES)
  with pytest.raises(ValueError, match="a task 'dials' already"):
    tasks.register('dials', other)
  with pytest.raises(ValueError, match="a task 'glue' already"):
    tasks.register('glue', DIALS)


def test_degrees_between_angles():
  assert off(350.0, 10.0) == off(10.0, 350.0) == 20.0
  assert off(90.0, 270.0) == 180.0
  assert ANGLE.json(Angle(3.0), 5) == {'degrees': 3.0}
