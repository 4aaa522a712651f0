"""A run of several processes ends when one of them does, and says which."""

import contextlib
import pathlib
import socket
import subprocess
import sys
import time

import pytest

from experiments.host.peers import START_AGAIN
from tests import simulated_devices
from tests.experiments.run_of_two import (
  DIGITS,
  ROOT,
  SHARDED,
  SMALL,
  SOON,
  RunOfTwo,
)

pytestmark = pytest.mark.slow

LONG = ('--config.train_steps=100000', '--config.eval_every=100000')
OFTEN = ('--config.train_steps=100000', '--config.eval_every=1')


@pytest.fixture(scope='module')
def data_dir(tmp_path_factory):
  return f'--data_dir={tmp_path_factory.mktemp("data")}'


@pytest.fixture
def begin(tmp_path, data_dir):
  """Starts runs of two processes that end with the test."""
  with contextlib.ExitStack() as stack:

    def start(*arguments, **options):
      run = RunOfTwo(tmp_path, *SMALL, data_dir, *arguments, **options)
      stack.callback(run.end)
      return run

    yield start


def assert_ends_after_the_death_of(run, dead):
  """The other one ends soon, says who died, and that it can start again."""
  other = 1 - dead
  assert run.code(other) == START_AGAIN, run.output(other)
  (line,) = run.errors(other)
  assert line.startswith(f'{run.name(dead)} died; see what it printed last.')
  assert line.endswith('it goes on from the last checkpoint.')
  assert 'Traceback' not in run.output(other)
  # What faulthandler prints of a process that jax aborts.
  assert 'Fatal Python error' not in run.output(other)


@pytest.mark.parametrize(
  ('parallelism', 'dead'), [((), 0), ((), 1), ((SHARDED,), 1)]
)
def test_a_death_in_a_step(begin, parallelism, dead):
  run = begin(*LONG, *parallelism)
  run.wait_for(r'\nstep 5/')
  run.kill(dead)
  assert_ends_after_the_death_of(run, dead)


def test_a_death_while_compiling(begin):
  run = begin(*LONG, cached=False)
  run.wait_for('Compiling the update')
  run.kill(1)
  assert_ends_after_the_death_of(run, 1)


def test_a_death_in_evaluation(begin):
  run = begin(*OFTEN, '--config.checkpoint_every=100000')
  # A line is printed before the evaluation of its step, 23 steps long.
  run.wait_for(r'\nstep 3/')
  run.kill(1)
  assert_ends_after_the_death_of(run, 1)


@pytest.mark.parametrize('dead', [0, 1])
def test_a_death_while_saving(begin, dead):
  run = begin(*LONG, '--config.checkpoint_every=1', SHARDED)
  run.wait_for(r'\nstep 3/')
  checkpoints = run.folder / 'run' / 'checkpoints'
  until = time.monotonic() + 60.0
  while not any('tmp' in path.name for path in checkpoints.iterdir()):
    assert time.monotonic() < until
  run.kill(dead)
  assert_ends_after_the_death_of(run, dead)


def test_a_death_at_the_end(begin):
  run = begin(
    *('--config.train_steps=2', '--config.eval_every=2'),
    script='import time\n'
    'from experiments import train\n'
    'from experiments.host import command_line\n'
    'from experiments.reporting.writing import FinalReport\n'
    'FinalReport.write = lambda *_, **__: time.sleep(600.0)\n'
    'command_line.run(train.main)',
  )
  run.wait_for('Final evaluation')  # The first then writes a report.
  run.kill(1)
  assert_ends_after_the_death_of(run, 1)


def test_the_same_command_goes_on(begin):
  run = begin(*LONG, '--config.checkpoint_every=2')
  run.wait_for(r'\nstep 6/')
  run.kill(0)
  assert run.code(1) == START_AGAIN
  run = begin(*LONG, '--config.checkpoint_every=2')
  run.wait_for(r'Resuming from the checkpoint of step [2-9]')


def test_one_that_never_comes(begin):
  run = begin(
    script='from experiments import train\n'
    'from experiments.host import command_line, processes\n'
    'processes._BEGINNING_SECONDS = 6.0\n'
    'command_line.run(train.main)'
  )
  run.kill(1)
  assert run.code(0, 60.0) == START_AGAIN, run.output(0)
  (line,) = run.errors(0)
  assert 'did not all come within 6 seconds' in line
  assert 'Fatal Python error' not in run.output(0)


def test_one_that_prepares_data_for_long_is_waited_for(begin):
  run = begin(
    *LONG,
    script='import contextlib, sys, time\n'
    'from experiments import train\n'
    'from experiments.host import command_line\n'
    'from experiments.runs import experiment\n'
    '@contextlib.contextmanager\n'
    'def slowly(*arguments):\n'
    "  if any(each.endswith(',2,1') for each in sys.argv):\n"
    '    time.sleep(45)\n'
    '  yield\n'
    'experiment.one_at_a_time = slowly\n'
    'command_line.run(train.main)',
  )
  run.wait_for(r'\nstep 2/')


def test_data_that_one_process_misses(begin, tmp_path):
  missing = f'--config.data.root={tmp_path}/nowhere'
  there = tmp_path / 'there'
  for number in range(40):
    split = ('train', 'test')[number // 20]
    path = there / split / 'ab'[number % 2] / f'{number}.txt'
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f'the text of number {number}')
  run = RunOfTwo(
    tmp_path,
    f'--config.data.root={there}',
    config=f'{ROOT}/experiments/configs/folder.py:text',
    of_one=[missing],
  )
  try:
    assert [run.code(index, 120.0) for index in (0, 1)] == [2, 2]
    (own,) = run.errors(1)
    assert f'{tmp_path}/nowhere' in own
    assert run.errors(0) == [f'{run.name(1)} failed: {own}']
  finally:
    run.end()


def test_a_workdir_that_is_not_shared(begin, tmp_path):
  (tmp_path / 'elsewhere').mkdir()
  run = begin(*LONG, of_one=[f'--workdir={tmp_path}/elsewhere/run'])
  assert [run.code(index, 120.0) for index in (0, 1)] == [2, 2]
  for index in (0, 1):
    (line,) = run.errors(index)
    assert f'is not seen on {socket.gethostname()}: it must be on' in line
  assert not list((tmp_path / 'elsewhere').iterdir())
  assert [path.name for path in (tmp_path / 'run').iterdir()] == []


def test_an_error_of_one_process_alone_ends_both(begin):
  run = begin(
    *LONG,
    script='from experiments import train\n'
    'from experiments.host import command_line, processes\n'
    'def main():\n'
    '  if not processes.is_first():\n'
    "    raise RuntimeError('out of luck')\n"
    '  train.main()\n'
    'command_line.run(main)',
  )
  assert [run.code(index, 60.0) for index in (0, 1)] == [1, 1]
  assert 'Traceback' in run.output(1)
  assert run.errors(0) == [f'{run.name(1)} failed: RuntimeError: out of luck']


def launch(tmp_path, data_dir, *arguments):
  return subprocess.Popen(
    [
      *(sys.executable, '-m', 'experiments.launch.local', '--'),
      *(f'--config={DIGITS}', *SMALL, *LONG, *arguments),
      *(data_dir, f'--workdir={tmp_path}/run'),
    ],
    cwd=ROOT,
    env=simulated_devices.environment(1),
    stdout=subprocess.PIPE,
    stderr=subprocess.STDOUT,
    text=True,
  )


def test_processes_end_with_their_launcher(tmp_path, data_dir):
  process = launch(tmp_path, data_dir)
  lines = iter(process.stdout)
  assert any('Compiling the update' in line for line in lines)
  path = pathlib.Path(f'/proc/{process.pid}/task/{process.pid}/children')
  children = [int(pid) for pid in path.read_text().split()]
  assert len(children) == 2
  process.kill()
  process.communicate()
  until = time.monotonic() + SOON
  for pid in children:
    while pathlib.Path(f'/proc/{pid}').exists():
      assert time.monotonic() < until, pid
      time.sleep(0.1)
