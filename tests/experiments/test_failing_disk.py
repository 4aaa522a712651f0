"""Killed, full or read-only at every call that writes; then run once more.

`failing_disk.c` stands before the C library; `small_run` writes all that a run
writes, by the same code, and computes nothing. Whole runs are tried at some.
"""

import errno
import functools
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys

import pytest

from tests import simulated_devices
from tests.experiments.run_of_two import DIGITS, SMALL

ROOT = pathlib.Path(__file__).parents[2]
pytestmark = [
  pytest.mark.slow,
  pytest.mark.skipif(
    shutil.which('gcc') is None or sys.platform != 'linux',
    reason='builds a library that stands before the C library',
  ),
]
# Calls are divided among so many tests, which can run beside each other.
SHARES = 4
STEPS = 2


@pytest.fixture(scope='module')
def disk(tmp_path_factory):
  library = tmp_path_factory.mktemp('disk') / 'disk.so'
  source = pathlib.Path(__file__).with_name('failing_disk.c')
  subprocess.run(
    ['gcc', '-O1', '-shared', '-fPIC', '-o', library, source, '-ldl'],
    check=True,
  )
  return library


def small_run(disk, folder, error, calls):
  """Returns what became of each run, see `small_run`."""
  process = subprocess.run(
    [
      *(sys.executable, '-m', 'tests.experiments.small_run', disk, folder),
      *map(str, (error, *calls)),
    ],
    cwd=ROOT,
    env=os.environ | {'LD_PRELOAD': str(disk), 'JAX_PLATFORMS': 'cpu'},
    capture_output=True,
    text=True,
    check=False,
  )
  assert process.returncode == 0, process.stderr
  return [json.loads(line) for line in process.stdout.splitlines()]


@pytest.fixture(scope='module')
def calls(disk, tmp_path_factory):
  """How many calls a run makes that nothing happens to."""
  ((code, output),) = small_run(disk, tmp_path_factory.mktemp('count'), 0, ())
  assert code == 0, output
  return int(output.split()[-1])


def assert_goes_on(told):
  """The same command came to the end, from the newest checkpoint."""
  assert told['again'] == 0, told['output_again']
  *lines, begun, there = told['output_again'].splitlines()
  text = '\n'.join(lines)
  # The newest that was whole; nothing of it is called broken.
  assert json.loads(begun)['from'] == max(told['whole'], default=0)
  assert 'put aside' not in text and 'Traceback' not in text
  assert 'damaged' not in text
  there = json.loads(there)
  assert there.pop('metrics') == [
    {'step': step, 'train/loss': 1.0 / step} for step in range(1, STEPS + 1)
  ]
  assert there.pop('report') == '</html>\n'
  names = there.pop('names')
  assert names == [
    *('checkpoints', 'config.json', 'metrics.jsonl', 'report.html'),
    *('starts.jsonl', 'tensorboard'),
  ]
  assert there == {
    'is_same': True,
    'has_sums': True,
    'config': True,
    'starts': True,
  }


@pytest.mark.parametrize('share', range(SHARES))
def test_killed_at_every_call_that_writes(disk, calls, tmp_path, share):
  """At a write, half of its bytes are written."""
  assert calls > 200
  share = range(share + 1, calls + 1, SHARES)
  tried = small_run(disk, tmp_path, 0, share)
  assert [told['call'] for told in tried] == [*share]
  for told in tried:
    # Threads of Orbax may need a few calls less than when they were counted.
    if told['code'] or told['call'] < calls - 30:
      assert told['code'] == -signal.SIGKILL, told['output']
    assert_goes_on(told)


@pytest.mark.parametrize('error', [errno.ENOSPC, errno.EROFS])
def test_a_disk_that_fails_from_some_call_on(disk, calls, tmp_path, error):
  """At the start, in saves, at the end: one line, and nothing is lost."""
  sample = (1, 2, 4, 7, 15, 25, *range(40, calls * 2 // 3, 31))
  for told in small_run(disk, tmp_path, error, sample):
    output = told['output']
    assert told['code'] == 2, output
    *_, last = output.splitlines()
    assert last.startswith('Error: ') and 'Traceback' not in output
    # The file or folder, why, and what to do.
    assert str(tmp_path) in last
    assert os.strerror(error) in output
    assert re.search('Make room|Choose another|choose another', last), last
    if error == errno.ENOSPC:
      assert 'run.lock was the lock of' not in told['output_again']
    assert_goes_on(told)


def begin(folder, *arguments, **variables):
  return subprocess.Popen(
    [
      *(sys.executable, '-m', 'experiments.train', f'--config={DIGITS}'),
      *(*SMALL, f'--workdir={folder}/run', f'--data_dir={folder}/data'),
      *('--config.train_steps=4', '--config.eval_every=2'),
      *('--config.checkpoint_every=1', '--config.log_every=1', *arguments),
    ],
    cwd=ROOT,
    env=simulated_devices.environment(1) | variables,
    stdout=subprocess.PIPE,
    stderr=subprocess.PIPE,
    text=True,
  )


def train(folder, **variables):
  process = begin(folder, **variables)
  output, errors = process.communicate()
  return subprocess.CompletedProcess([], process.returncode, output, errors)


@pytest.fixture(scope='module')
def prepared(tmp_path_factory):
  """The folder of an unbroken run, and of data for others."""
  folder = tmp_path_factory.mktemp('unbroken')
  told = train(folder)
  assert told.returncode == 0, told.stderr
  return folder


def losses(folder):
  lines = (folder / 'run' / 'metrics.jsonl').read_text().splitlines()
  return [json.loads(line)['train/loss'] for line in lines]


@pytest.mark.parametrize('call', [9, 60, 170, 333])
def test_whole_runs_that_are_killed(disk, prepared, tmp_path, call):
  (tmp_path / 'data').symlink_to(prepared / 'data')
  preloaded = functools.partial(
    train,
    LD_PRELOAD=str(disk),
    FAILING_DISK=f'{tmp_path}/run',
    FAILING_DISK_CALL=str(call),
  )
  told = preloaded(tmp_path, FAILING_DISK_ERROR='0')
  assert told.returncode == -signal.SIGKILL, told.stdout + told.stderr
  told = train(tmp_path)
  assert told.returncode == 0, told.stdout + told.stderr
  assert 'Traceback' not in told.stderr
  assert losses(tmp_path) == losses(prepared)


def test_a_whole_run_whose_disk_becomes_read_only(disk, prepared, tmp_path):
  (tmp_path / 'data').symlink_to(prepared / 'data')
  told = train(
    tmp_path,
    LD_PRELOAD=str(disk),
    FAILING_DISK=f'{tmp_path}/run',
    FAILING_DISK_CALL='300',
    FAILING_DISK_ERROR=str(errno.EROFS),
  )
  assert told.returncode == 2
  assert 'Traceback' not in told.stderr
  *_, line = told.stderr.splitlines()  # Those before tell of failed saves.
  assert line.startswith('Error: ') and 'make it writable' in line
  assert (tmp_path / 'run' / 'run.lock').exists()
  told = train(tmp_path)
  assert told.returncode == 0, told.stdout + told.stderr
  assert losses(tmp_path) == losses(prepared)


def test_a_whole_run_whose_workdir_is_deleted(prepared, tmp_path):
  (tmp_path / 'data').symlink_to(prepared / 'data')
  run = tmp_path / 'run'
  process = begin(
    tmp_path, '--config.train_steps=100000', '--config.eval_every=100000'
  )
  while not (run / 'checkpoints' / '2').exists():
    assert process.poll() is None, process.communicate()
  shutil.rmtree(run.rename(tmp_path / 'away'), ignore_errors=True)
  _, errors = process.communicate(timeout=120)
  assert process.returncode == 2
  *_, line = errors.splitlines()
  assert line.startswith('Error: 3 saves in a row have failed')
  assert 'Traceback' not in errors
  assert not run.exists()
