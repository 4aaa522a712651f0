"""Whole runs in buckets, really killed, against an unbroken one on a disk."""

import contextlib
import json
import pathlib
import re
import subprocess
import sys
import tempfile

import jax
import numpy as np
import pytest

from experiments.host.addresses import place
from experiments.host.configuration import read_config
from experiments.runs.experiment import build_experiment, open_checkpoints
from tests import simulated_devices
from tests.bucket_servers import stores  # noqa: F401

ROOT = pathlib.Path(__file__).parents[2]
CONFIG = ROOT / 'experiments' / 'configs' / 'digits.py'
STEPS = 60
SMALL = [
  '--config.encoder.num_latents=4',
  '--config.encoder.latent_channels=8',
  '--config.encoder.self_attends_per_block=1',
  '--config.inputs.image.positions.num_bands=2',
  '--config.batch_size=16',
  f'--config.train_steps={STEPS}',
  '--config.log_every=5',
  '--config.eval_every=30',
  '--config.checkpoint_every=10',
]

# Processes of this module share what they compile.
CACHE = tempfile.TemporaryDirectory(prefix='compilation')

pytestmark = pytest.mark.slow


@pytest.fixture(scope='module')
def data_dir(tmp_path_factory):
  return tmp_path_factory.mktemp('data')


def command(name, *arguments, cwd):
  return subprocess.Popen(
    [sys.executable, '-m', f'experiments.{name}', *map(str, arguments)],
    cwd=cwd,
    env=simulated_devices.environment(1)
    | simulated_devices.compilation_cache(CACHE.name)
    | {'PYTHONPATH': str(ROOT)},
    stdout=subprocess.PIPE,
    stderr=subprocess.STDOUT,
    text=True,
  )


def train(workdir, data_dir, cwd, stop=None):
  """Trains to the end, or kills the run at a step; returns what it printed."""
  process = command(
    'train',
    f'--config={CONFIG}',
    f'--workdir={workdir}',
    f'--data_dir={data_dir}',
    *SMALL,
    cwd=cwd,
  )
  lines = []
  for line in process.stdout:
    lines.append(line)
    found = re.match(r'step (\d+)/', line)
    if stop is not None and found and int(found[1]) >= stop:
      process.kill()
      break
  process.stdout.close()
  code = process.wait()
  assert code == (0 if stop is None else -9), ''.join(lines)
  return ''.join(lines)


def final_state(workdir, data_dir):
  config = read_config(workdir)
  experiment = build_experiment(config, str(data_dir))
  with contextlib.closing(open_checkpoints(config, workdir)) as checkpoints:
    return checkpoints.restore(STEPS, experiment.template)


def losses(workdir):
  rows = map(json.loads, (workdir / 'metrics.jsonl').read_text().splitlines())
  return [(x['step'], x['train/loss'], x.get('eval/loss')) for x in rows]


@pytest.fixture(scope='module')
def unbroken(data_dir, tmp_path_factory):
  """The workdir of a run on a disk."""
  folder = tmp_path_factory.mktemp('unbroken')
  train(folder / 'run', data_dir, folder)
  return folder / 'run'


@pytest.mark.parametrize('scheme', ['gs', 's3'])
def test_a_run_that_is_killed_ends_as_one_that_is_not(
  scheme,
  stores,  # noqa: F811
  unbroken,
  data_dir,
  tmp_path,
):
  workdir = place(f'{scheme}://bucket/runs/killed', '--workdir')
  train(workdir, data_dir, tmp_path, stop=25)
  told = train(workdir, data_dir, tmp_path, stop=45)
  assert 'run.lock was the lock of process' in told
  assert 'Resuming from the checkpoint of step' in told
  told = train(workdir, data_dir, tmp_path)
  assert f'In {workdir}: checkpoints/' in told
  assert losses(workdir) == losses(unbroken)
  jax.tree.map(
    np.testing.assert_array_equal,
    final_state(workdir, data_dir),
    final_state(unbroken, data_dir),
  )
  names = set(workdir.files())
  assert {'config.json', 'metrics.jsonl', 'report.html'} <= names
  assert not any(name.startswith('run.lock') for name in names)
  assert len((workdir / 'starts.jsonl').read_text().splitlines()) == 3
  for name, *arguments in (
    ('evaluate', f'--data_dir={data_dir}'),
    ('export', '--platforms=cpu'),
    ('report', f'--data_dir={data_dir}'),
  ):
    process = command(name, f'--workdir={workdir}', *arguments, cwd=tmp_path)
    said, _ = process.communicate(timeout=600)
    assert process.returncode == 0, said
  assert {'model.jaxexport', 'weights.safetensors', 'load.py'} <= set(
    (workdir / 'export').files()
  )
  # Nothing was written into a folder that is called so.
  assert list(tmp_path.iterdir()) == []
