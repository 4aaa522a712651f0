"""What commit 7f28270 wrote can still be read: a run, and an export of it.

`data/earlier_run.tar.xz` has both, and the logits of the first four held-out
digits as that commit computed them.
"""

import pathlib
import tarfile

import jax
import numpy as np
import pytest

from experiments.handing_on.weights import read_weights
from experiments.host.configuration import read_config
from experiments.runs.trained import load_run
from experiments.train import train_and_evaluate

ARCHIVE = pathlib.Path(__file__).parent / 'data' / 'earlier_run.tar.xz'


@pytest.fixture
def earlier(tmp_path):
  with tarfile.open(ARCHIVE) as archive:
    archive.extractall(tmp_path, filter='data')
  return tmp_path


def test_a_run_is_restored_and_predicts_the_same(earlier, tmp_path):
  run = load_run(earlier / 'run')
  dataset = run.task.data.load()
  examples = [dataset.prepare(dataset.evaluation[i]) for i in range(4)]
  batch = {
    name: np.stack([example[name] for example in examples])
    for name in examples[0]
  }
  np.testing.assert_allclose(
    run(batch), np.load(earlier / 'logits.npy'), rtol=1e-4, atol=1e-6
  )


def test_it_goes_on(earlier, capsys):
  workdir = earlier / 'run'
  config = read_config(workdir)
  config.train_steps, config.data_workers = 5, 0
  results = train_and_evaluate(config, workdir, None)
  assert 'Resuming from the checkpoint of step 4' in capsys.readouterr().out
  assert 0.0 < results['eval/loss'] < 3.0
  # The learning rate is warming up: one step changes little.
  assert results['eval_ema/loss'] == pytest.approx(2.3026, abs=0.01)


def test_its_exported_weights_are_those_of_the_run(earlier):
  run = load_run(earlier / 'run')
  params, state = read_weights(
    earlier / 'exported' / 'weights.safetensors', run.params, run.state
  )[:2]
  jax.tree.map(np.testing.assert_array_equal, params, run.params)
  jax.tree.map(np.testing.assert_array_equal, state, run.state)
