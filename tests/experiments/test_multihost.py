"""Runs of several processes and devices, broken and continued elsewhere."""

import contextlib
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import time

import jax
import numpy as np
import pytest

from experiments.host.configuration import read_config
from experiments.runs.experiment import build_experiment, open_checkpoints
from tests import simulated_devices

pytestmark = pytest.mark.slow

ROOT = pathlib.Path(__file__).parents[2]
STEPS = 40  # So many that a signal comes before the last of them.
CONFIGS = ROOT / 'experiments' / 'configs'
# A model that compiles and runs fast, with everything that a state can have.
ARGUMENTS = (
  '--config.batch_size=16',
  f'--config.train_steps={STEPS}',
  '--config.log_every=1',
  f'--config.eval_every={STEPS}',
  '--config.checkpoint_every=3',
  '--config.ema_decay=0.9',
  '--config.inputs.image.positions.num_bands=4',
  '--config.baseline.num_channels=16',
  '--config.baseline.num_layers=1',
  '--config.schedule.warmup_steps=4',
)
DIGITS = f'{CONFIGS}/digits.py:transformer'
SHARDED = '--config.parallelism.name=sharded'
BUNNY = f'{CONFIGS}/bunny.py'
# The film's clips are fewer than two batches, and its metrics are no means.
FILM = (
  '--config.batch_size=6',
  '--config.train_steps=2',
  '--config.eval_every=2',
  '--config.checkpoint_every=2',
  '--config.encoder.num_latents=4',
  '--config.encoder.latent_channels=16',
  '--config.encoder.cross_attend_qk_channels=16',
  '--config.encoder.self_attends_per_block=1',
)

# Processes of this module share what they compile.
CACHE = tempfile.TemporaryDirectory(prefix='compilation')


def start(workdir, data_dir, *arguments, config=DIGITS, processes=1, devices=1):
  """Starts a run; its errors go where its output goes."""
  command = ['experiments.train']
  if processes > 1:
    command = ['experiments.launch.local', f'--processes={processes}']
    command += [f'--devices={devices}', '--', '--heartbeat_seconds=10']
  environment = simulated_devices.environment(devices) | (
    simulated_devices.compilation_cache(CACHE.name)
  )
  return subprocess.Popen(
    [
      *(sys.executable, '-m', *command, f'--config={config}'),
      *(*(ARGUMENTS if config != BUNNY else ()), *arguments),
      f'--workdir={workdir}',
      f'--data_dir={data_dir}',
    ],
    cwd=ROOT,
    env=environment,
    stdout=subprocess.PIPE,
    stderr=subprocess.STDOUT,
    text=True,
  )


def run(*arguments, **options):
  """Runs to the end; returns the output."""
  process = start(*arguments, **options)
  output, _ = process.communicate(timeout=300)
  assert process.returncode == 0, output
  return output


def read_until(process, pattern):
  """Reads lines until one matches; returns them."""
  lines = []
  for line in process.stdout:
    lines.append(line)
    if re.search(pattern, line):
      return lines
  raise AssertionError(''.join(lines))


def children(process):
  """Process numbers of the runs that a launcher started, in their order."""
  path = pathlib.Path(f'/proc/{process.pid}/task/{process.pid}/children')
  return sorted(int(pid) for pid in path.read_text().split())


def worker_processes(process):
  """Process numbers of those that a run started, by any of its threads."""
  found = []
  for task in pathlib.Path(f'/proc/{process.pid}/task').iterdir():
    # A thread may end while others are looked at.
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
      found += map(int, (task / 'children').read_text().split())
  return found


def assert_end(pids):
  """Waits until processes have ended, not for ever."""
  until = time.monotonic() + 80.0
  for pid in pids:
    while pathlib.Path(f'/proc/{pid}').exists():
      assert time.monotonic() < until, pid
      time.sleep(0.1)


def rows(workdir):
  lines = (workdir / 'metrics.jsonl').read_text().splitlines()
  return [json.loads(line) for line in lines]


def column(workdir, name):
  return [row[name] for row in rows(workdir) if name in row]


def final_state(workdir, data_dir):
  """The last checkpoint, whole and as numpy arrays, on this one device."""
  config = read_config(workdir)
  config.parallelism = {'name': 'pmap'}
  experiment = build_experiment(config, str(data_dir))
  with contextlib.closing(open_checkpoints(config, workdir)) as checkpoints:
    return checkpoints.restore(STEPS, experiment.template)


@pytest.fixture(scope='module')
def data_dir(tmp_path_factory):
  return tmp_path_factory.mktemp('data')


@pytest.fixture(scope='module')
def unbroken(tmp_path_factory, data_dir):
  """A run on one device, never interrupted."""
  workdir = tmp_path_factory.mktemp('runs') / 'unbroken'
  run(workdir, data_dir)
  return workdir


@pytest.fixture(scope='module')
def moved(tmp_path_factory, data_dir):
  """A run that was stopped, killed, and went on on other machines.

  Returns the workdir and what its three parts printed.
  """
  workdir = tmp_path_factory.mktemp('runs') / 'moved'
  first = start(workdir, data_dir, SHARDED, processes=2, devices=4)
  lines = read_until(first, rf'step 4/{STEPS}')
  os.kill(children(first)[1], signal.SIGTERM)  # One of them hears of it.
  lines += first.stdout.readlines()
  assert first.wait(timeout=300) == 0, ''.join(lines)

  second = start(workdir, data_dir, devices=8)
  more = read_until(second, rf'step 10/{STEPS}')
  second.send_signal(signal.SIGSTOP)  # Else it may end before.
  refused = start(workdir, data_dir)
  more += refused.communicate(timeout=300)[0].splitlines(keepends=True)
  assert refused.returncode == 2
  second.kill()
  second.wait()
  second.stdout.close()
  third = run(workdir, data_dir, SHARDED, processes=2, devices=2)
  return workdir, ''.join(lines), ''.join(more), third


def test_processes_agree_on_the_step_to_stop_at(moved):
  _, output, _, _ = moved
  assert 'Devices: 8 x cpu; batch of 16, 2 a device; sharded' in output
  (step,) = re.findall(r'\[0\] SIGTERM: saving step (\d+)\. Run the', output)
  assert 4 <= int(step) < STEPS
  assert not re.search(r'^\[1\] step', output, re.MULTILINE)  # One prints.


def test_it_goes_on_at_the_next_example_on_other_machines(moved):
  _, first, second, third = moved
  (saved,) = re.findall(r'saving step (\d+)', first)
  assert f'Resuming from the checkpoint of step {saved}.' in second
  assert 'Devices: 8 x cpu; batch of 16, 2 a device; pmap' in second
  (resumed,) = re.findall(r'Resuming from the checkpoint of step (\d+)', third)
  assert int(saved) <= int(resumed) < STEPS
  assert 'Devices: 4 x cpu; batch of 16, 4 a device; sharded' in third


def test_it_computes_what_an_unbroken_run_does(moved, unbroken):
  workdir = moved[0]
  assert [row['step'] for row in rows(workdir)] == list(range(1, STEPS + 1))
  for name in ('train/loss', 'eval/loss', 'eval_ema/loss'):
    np.testing.assert_allclose(
      column(workdir, name), column(unbroken, name), rtol=2e-3
    )
  seen = column(workdir, 'train/examples_seen')
  assert seen == [16.0 * step for step in range(1, STEPS + 1)]
  # Small differences show that it is not the same run that is compared.
  assert column(workdir, 'train/loss') != column(unbroken, 'train/loss')


def test_a_second_run_in_the_workdir_is_refused(moved):
  message = moved[2]
  assert re.search(r'Error: .*is used by|Error: .*another run', message)


def test_a_sharded_run_killed_and_resumed_is_the_same_to_the_bit(
  tmp_path, data_dir
):
  run(tmp_path / 'unbroken', data_dir, SHARDED, devices=4)
  broken, two_workers = tmp_path / 'broken', '--config.data_workers=2'
  process = start(broken, data_dir, SHARDED, two_workers, devices=4)
  read_until(process, rf'step 8/{STEPS}')
  workers = worker_processes(process)
  assert len(workers) >= 2
  process.kill()
  process.wait()
  process.stdout.close()
  assert_end(workers)  # Nobody else would end them.
  output = run(broken, data_dir, SHARDED, devices=4)
  assert re.search(r'Resuming from the checkpoint of step [1-9]', output)
  expected = final_state(tmp_path / 'unbroken', data_dir)
  actual = final_state(broken, data_dir)
  assert actual.train_state.ema is not None
  jax.tree.map(
    np.testing.assert_array_equal, actual.train_state, expected.train_state
  )
  assert actual.position == expected.position == 16 * STEPS
  losses = column(broken, 'train/loss')
  assert losses == column(tmp_path / 'unbroken', 'train/loss')


def test_a_dead_process_ends_the_others(tmp_path, data_dir):
  process = start(tmp_path, data_dir, processes=2, devices=1)
  lines = read_until(process, rf'step 4/{STEPS}')
  os.kill(children(process)[1], signal.SIGKILL)
  lines += process.stdout.readlines()
  output = ''.join(lines)
  # Of the first that failed, as a shell counts; test_ends.py has the others'.
  assert process.wait(timeout=300) == 128 + signal.SIGKILL
  assert re.search(r'^\[0\] Error: Process 1 .* died', output, re.MULTILINE)
  assert 'terminating those left' not in output  # It has ended by itself.


def test_ctrl_c_stops_all_of_them_after_a_step(tmp_path, data_dir):
  long = '--config.train_steps=1000'
  process = start(tmp_path, data_dir, long, processes=2)
  lines = read_until(process, 'step 4/1000')
  process.send_signal(signal.SIGINT)
  lines += process.stdout.readlines()
  output = ''.join(lines)
  assert process.wait(timeout=300) == 0, output
  (step,) = re.findall(r'SIGINT: saving step (\d+)\. Run the', output)
  assert 4 <= int(step) < 1000
  assert (tmp_path / 'checkpoints' / step).is_dir()


def test_metrics_of_all_examples_together_are_of_each_once(tmp_path, data_dir):
  run(tmp_path / 'one', data_dir, *FILM, config=BUNNY)
  run(tmp_path / 'two', data_dir, *FILM, config=BUNNY, processes=2)
  for name in ('eval/audio_psnr', 'eval/image_psnr_gain', 'eval/loss'):
    one, two = (column(tmp_path / x, name) for x in ('one', 'two'))
    assert len(one) == 1
    np.testing.assert_allclose(two, one, rtol=1e-4)
  # So is the report: of the same examples, shown in the same order.
  shown, others = (
    re.findall(
      r'no\. \d+: loss|all \d+ held-out examples|reconstruction, [\d.]+ dB',
      (tmp_path / x / 'report.html').read_text(),
    )
    for x in ('one', 'two')
  )
  assert len(shown) > 8 and shown == others


def test_finetuning_on_several_processes(unbroken, tmp_path, data_dir):
  config = tmp_path / 'finetuning.py'
  config.write_text(
    'from experiments.configs import digits\n'
    'def get_config():\n'
    "  config = digits.get_config('transformer')\n"
    f'  config.finetuning = dict(workdir={str(unbroken)!r},\n'
    "    checkpoint='latest', skip=('transformer/average_pool',),\n"
    "    freeze=('transformer/blocks',))\n"
    '  return config\n'
  )
  run(tmp_path / 'one', data_dir, config=config)
  run(
    tmp_path / 'two', data_dir, SHARDED, config=config, processes=2, devices=2
  )
  source = final_state(unbroken, data_dir)[0].params
  tuned = final_state(tmp_path / 'two', data_dir)[0].params
  for name in source:
    if name.startswith('transformer/blocks'):
      jax.tree.map(np.testing.assert_array_equal, tuned[name], source[name])
  tokens = [x['transformer/tokens']['w'] for x in (tuned, source)]
  assert np.abs(tokens[0] - tokens[1]).max() > 1e-4
  losses = [column(tmp_path / x, 'train/loss') for x in ('one', 'two')]
  np.testing.assert_allclose(losses[1], losses[0], rtol=2e-3)
