"""Whole runs as a user starts them, each in a process of its own."""

import csv
import json
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import numpy as np
import pytest

from tests import simulated_devices

pytestmark = pytest.mark.usefixtures('compiled_as_users_are')

ROOT = pathlib.Path(__file__).parents[2]
# A model that compiles and runs fast; 32 steps of 32 digits.
SMALL = (
  '--config.batch_size=32',
  '--config.train_steps=32',
  '--config.log_every=8',
  '--config.eval_every=16',
  '--config.checkpoint_every=10',
  '--config.inputs.image.positions.num_bands=4',
  '--config.encoder.num_latents=8',
  '--config.encoder.latent_channels=32',
  '--config.encoder.self_attends_per_block=1',
  '--config.schedule.warmup_steps=4',
  '--config.report.seconds=0',
)


def command(module, config, *arguments):
  config = ROOT / 'experiments' / 'configs' / config
  return [sys.executable, '-m', module, f'--config={config}', *arguments]


# Processes of this module share what they compile.
CACHE = tempfile.TemporaryDirectory(prefix='compilation')


def environment(devices):
  return simulated_devices.environment(devices) | (
    simulated_devices.compilation_cache(CACHE.name)
  )


def run(module, *arguments, config='digits.py', devices=1):
  return subprocess.run(
    command(module, config, *arguments),
    cwd=ROOT,
    env=environment(devices),
    capture_output=True,
    text=True,
    timeout=300,
    check=False,
  )


def train(workdir, data_dir, *arguments, devices=1):
  result = run(
    'experiments.train',
    *SMALL,
    f'--workdir={workdir}',
    f'--data_dir={data_dir}',
    *arguments,
    devices=devices,
  )
  assert result.returncode == 0, result.stderr
  return result.stdout


def start(workdir, data_dir, until):
  """Starts a run; returns its process once it has printed a line."""
  arguments = (*SMALL, f'--workdir={workdir}', f'--data_dir={data_dir}')
  process = subprocess.Popen(
    command('experiments.train', 'digits.py', *arguments),
    cwd=ROOT,
    env=environment(1),
    stdout=subprocess.PIPE,
    text=True,
  )
  for line in process.stdout:
    if line.startswith(until):
      break
  return process


def metrics(workdir):
  lines = (workdir / 'metrics.jsonl').read_text().splitlines()
  return [json.loads(line) for line in lines]


def values(workdir, name):
  return np.array([row[name] for row in metrics(workdir) if name in row])


def numbers(workdir):
  """All that a run computes, without how long it took."""
  return [
    {k: v for k, v in row.items() if 'second' not in k}
    for row in metrics(workdir)
  ]


@pytest.fixture(scope='module')
def data_dir(tmp_path_factory):
  return tmp_path_factory.mktemp('data')


@pytest.fixture(scope='module')
def finished(tmp_path_factory, data_dir):
  """A finished run: its workdir and what it printed."""
  workdir = tmp_path_factory.mktemp('runs') / 'finished'
  return workdir, train(workdir, data_dir)


def test_a_run_says_what_it_does_and_leaves_everything(finished):
  workdir, output = finished
  parameters = re.search(r'total +([\d,]+)', output)[1]
  assert int(parameters.replace(',', '')) > 10_000
  assert (
    'Devices: 1 x cpu; batch of 32, 32 a device; pmap, 0.38 MB of state a'
    in output
  )
  assert '4,000 training and 1,000 held-out examples of 10 classes' in output
  assert '32 steps (0.3 epochs)' in output
  assert 'Starting from scratch.' in output
  assert re.search(r'step 8/32: loss \d\.\d+, \d+ examples/s, .* left', output)
  assert re.search(r'Final evaluation: eval/accuracy 0\.\d+', output)
  assert str(workdir) in output
  assert [row['step'] for row in metrics(workdir)] == [8, 16, 24, 32]
  assert {'train/loss', 'train/learning_rate', 'eval/accuracy'} < set(
    metrics(workdir)[-1]
  )
  config = json.loads((workdir / 'config.json').read_text())
  assert config['encoder']['num_latents'] == 8
  assert list((workdir / 'tensorboard').glob('events*'))
  # The last two, and the best, which is one of the evaluated: 16 or 32.
  steps = {int(path.name) for path in (workdir / 'checkpoints').glob('[0-9]*')}
  assert steps in ({30, 32}, {16, 30, 32})


def test_it_learns(finished):
  loss = values(finished[0], 'train/loss')
  assert loss[0] < 2.5 and loss[-1] < 0.98 * loss[0]


@pytest.mark.slow
def test_eight_devices_compute_what_one_does(finished, tmp_path, data_dir):
  output = train(tmp_path, data_dir, devices=8)
  assert 'Devices: 8 x cpu; batch of 32, 4 a device; pmap, ' in output
  for name in ('train/loss', 'train/gradient_norm', 'eval/loss'):
    np.testing.assert_allclose(
      values(tmp_path, name), values(finished[0], name), rtol=2e-3
    )


@pytest.mark.slow
def test_interrupted_and_resumed_equals_unbroken(finished, tmp_path, data_dir):
  """SIGINT mid-run, then the same command: the same numbers to the bit."""
  process = start(tmp_path, data_dir, until='step 8/32')
  process.send_signal(signal.SIGINT)
  rest = process.stdout.read()
  assert process.wait(timeout=300) == 0
  saved = int(re.search(r'SIGINT: saving step (\d+)', rest)[1])
  assert 8 <= saved < 32
  output = train(tmp_path, data_dir)
  assert f'Resuming from the checkpoint of step {saved}.' in output
  expected, actual = numbers(finished[0])[-1], numbers(tmp_path)[-1]
  assert actual['step'] == 32
  for name in ('eval/loss', 'eval/accuracy', 'train/learning_rate'):
    assert actual[name] == expected[name], name


@pytest.mark.slow
def test_killed_and_resumed_equals_unbroken(finished, tmp_path, data_dir):
  """SIGKILL after a checkpoint: later metrics are computed again."""
  process = start(tmp_path, data_dir, until='step 24/32')
  while not (tmp_path / 'checkpoints' / '16').exists():
    time.sleep(0.05)
  process.kill()
  process.wait()
  process.stdout.close()
  output = train(tmp_path, data_dir)
  assert re.search(r'Resuming from the checkpoint of step (16|20|30)', output)
  steps = [row['step'] for row in metrics(tmp_path)]
  assert steps == [8, 16, 24, 32]
  assert (
    numbers(tmp_path)[-1]['eval/loss']
    == (numbers(finished[0])[-1]['eval/loss'])
  )


def test_a_finished_run_only_evaluates(finished, data_dir):
  workdir, output = finished
  before = metrics(workdir)
  again = train(workdir, data_dir)
  assert 'Step 32 was the last: only evaluating.' in again
  final = r'Final evaluation: (.*)'
  assert re.search(final, again)[1] == re.search(final, output)[1]
  assert metrics(workdir) == before


@pytest.mark.slow
def test_longer_training_continues_and_says_so(finished, tmp_path, data_dir):
  workdir = shutil.copytree(finished[0], tmp_path / 'longer')
  output = train(workdir, data_dir, '--config.train_steps=34')
  assert 'since the run began: config.train_steps: 32 before, 34 now' in output
  assert 'Resuming from the checkpoint of step 32.' in output
  assert [row['step'] for row in metrics(workdir)] == [8, 16, 24, 32, 34]


def evaluate(workdir, data_dir, *arguments, **options):
  return run(
    'experiments.evaluate',
    *SMALL,
    f'--workdir={workdir}',
    f'--data_dir={data_dir}',
    *arguments,
    **options,
  )


def test_evaluate_prints_one_json_line(finished, data_dir):
  workdir, _ = finished
  evaluated = {row['step']: row for row in metrics(workdir)}
  result = evaluate(workdir, data_dir)
  best = json.loads(result.stdout)
  assert best['eval/accuracy'] == max(values(workdir, 'eval/accuracy'))
  latest = json.loads(
    evaluate(workdir, data_dir, '--checkpoint=latest', '--predictions').stdout
  )
  assert latest['step'] == 32
  for name in ('eval/loss', 'eval/accuracy'):
    np.testing.assert_allclose(latest[name], evaluated[32][name], rtol=1e-6)
  # What it says of each example is what the metrics and the report are of.
  text = pathlib.Path(latest['predictions']).read_text()
  table = list(csv.DictReader(text.splitlines()))
  assert [int(row['example']) for row in table] == list(range(1000))
  right = sum(row['true'] == row['predicted'] for row in table)
  assert right == round(1000 * latest['eval/accuracy'])
  chances = [float(row[f'p({row["true"]})']) for row in table]
  np.testing.assert_allclose(
    -np.log(chances).mean(), latest['eval/loss'], rtol=1e-4
  )
  report = (workdir / 'report.html').read_text()
  assert (
    'Of all 1,000 held-out examples, at step 32; '
    f'{right} of 1,000 are right.' in report
  )


@pytest.mark.slow
def test_training_examples_are_evaluated_like_held_out_ones(finished, data_dir):
  workdir, _ = finished
  result = evaluate(workdir, data_dir, '--training_examples=64')
  metrics_of_64 = json.loads(result.stdout)
  assert set(metrics_of_64) == {
    *('step', 'train/accuracy', 'train/loss', 'train/top_5_accuracy')
  }
  assert metrics_of_64['train/accuracy'] * 64 == pytest.approx(
    round(metrics_of_64['train/accuracy'] * 64), abs=1e-4
  )


@pytest.mark.slow
def test_evaluation_counts_every_example_once(finished, data_dir):
  """1,000 digits in batches of 32 and of 96 on 3 devices: the same mean."""
  workdir, _ = finished
  one = json.loads(evaluate(workdir, data_dir, '--checkpoint=32').stdout)
  other = json.loads(
    evaluate(
      workdir,
      data_dir,
      '--checkpoint=32',
      '--config.batch_size=96',
      devices=3,
    ).stdout
  )
  assert other['eval/accuracy'] == one['eval/accuracy']
  np.testing.assert_allclose(other['eval/loss'], one['eval/loss'], rtol=1e-5)


def error(workdir, data_dir, *arguments, **options):
  """Runs a command that must fail; returns its message."""
  result = run(
    options.pop('module', 'experiments.train'),
    *SMALL,
    f'--workdir={workdir}',
    f'--data_dir={data_dir}',
    *arguments,
    **options,
  )
  assert result.returncode != 0
  assert 'Traceback' not in result.stderr, result.stderr
  assert 'Compiling' not in result.stdout
  return result.stderr


@pytest.mark.slow
def test_mistakes_on_the_command_line(tmp_path, data_dir):
  message = error(tmp_path, data_dir, '--config.encoder.self_attend_heads=5')
  assert 'latent_channels = 32 cannot be divided' in message
  message = error(tmp_path, data_dir, devices=3)
  assert 'batch_size = 32 cannot be divided among 3 devices' in message
  assert '--config.batch_size=33' in message
  message = error(tmp_path, data_dir, '--config.encoder.num_latnets=5')
  assert "encoder.num_latnets; did you mean 'num_latents'?" in message
  message = error(
    tmp_path,
    data_dir,
    '--config.parallelism.name=sharded',
    '--config.parallelism.layer_by_layer=True',
  )
  assert "needs config.encoder.rematerialize = 'elementwise'" in message
  assert not (tmp_path / 'checkpoints').exists()


def test_a_workdir_that_cannot_be_written(tmp_path, data_dir):
  (tmp_path / 'file').write_text('')
  message = error(tmp_path / 'file' / 'run', data_dir)
  assert 'cannot be written' in message and '--workdir' in message


def test_a_workdir_of_another_config(finished, data_dir):
  workdir, _ = finished
  before = (workdir / 'config.json').read_text()
  message = error(workdir, data_dir, '--config.encoder.num_latents=16')
  assert (
    'params/encoder/latents: checkpoint (8, 32), config (16, 32)' in message
  )
  assert 'config.encoder.num_latents: 8 before, 16 now' in message
  assert (workdir / 'config.json').read_text() == before


@pytest.mark.slow
def test_evaluating_what_is_not_there(finished, tmp_path, data_dir):
  arguments = {'module': 'experiments.evaluate'}
  assert 'There is no run in' in error(tmp_path, data_dir, **arguments)
  message = error(finished[0], data_dir, '--checkpoint=7', **arguments)
  assert 'no checkpoint of step 7' in message and '32]' in message
  message = error(finished[0], data_dir, '--checkpoint=newest', **arguments)
  assert "'best', 'latest' or a step" in message


def test_imagenet_without_data_stops_with_the_command_to_run(tmp_path):
  start = time.perf_counter()
  result = run(
    'experiments.train',
    f'--workdir={tmp_path / "run"}',
    f'--data_dir={tmp_path}',
    config='imagenet.py',
  )
  assert result.returncode == 2 and 'Traceback' not in result.stderr
  assert 'tfds build imagenet2012 --file_format=array_record' in result.stderr
  assert 'experiments/configs/digits.py' in result.stderr
  assert time.perf_counter() - start < 60


@pytest.mark.slow
def test_a_run_whose_metric_is_no_better_stops_early_and_stays_so(
  tmp_path, data_dir
):
  still = (
    '--config.schedule.learning_rate=1e-30',
    '--config.eval_every=4',
    '--config.early_stop.patience=2',
  )
  output = train(tmp_path, data_dir, *still)
  # Losses of the same parameters: the second and the third are no better.
  assert 'Stopped early at step 12: eval/loss has not been better' in output
  assert 'Final evaluation: eval/accuracy' in output
  again = train(tmp_path, data_dir, *still)
  assert 'Resuming from the checkpoint of step 12' in again
  assert 'Stopped early at step 12' in again and 'Compiling' not in again
  assert values(tmp_path, 'eval/loss').size == 3


@pytest.mark.slow
def test_spikes_of_a_resumed_run_are_those_of_an_unbroken_one(
  tmp_path, data_dir
):
  skipping = (
    '--config.spikes.factor=1.05',
    '--config.spikes.window=3',
    '--config.checkpoints.keep_last=10',
  )
  unbroken, broken = tmp_path / 'unbroken', tmp_path / 'broken'
  train(unbroken, data_dir, *skipping)
  shutil.copytree(unbroken, broken)
  for folder in (broken / 'checkpoints').iterdir():
    if folder.name.isdigit() and int(folder.name) > 20:
      shutil.rmtree(folder)
  output = train(broken, data_dir, *skipping)
  assert 'Resuming from the checkpoint of step 20' in output
  for name in ('eval/loss', 'train/loss', 'train/gradient_norm'):
    assert values(broken, name)[-1] == values(unbroken, name)[-1], name
  spikes = values(unbroken, 'train/spikes')
  np.testing.assert_array_equal(values(broken, 'train/spikes'), spikes)
  assert 0 < spikes[-2] < spikes[-1] < 32
