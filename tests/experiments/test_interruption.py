"""Signals ask a run to stop after a step."""

import fcntl
import os
import pty
import re
import signal
import subprocess
import sys
import termios

import pytest

from experiments.host.interruption import Interruption
from tests import simulated_devices
from tests.experiments.run_of_two import DIGITS, ROOT, SMALL

pytestmark = pytest.mark.usefixtures('usual_signals')


@pytest.fixture
def hang_up():
  """Sends this process SIGHUP."""
  return lambda: os.kill(os.getpid(), signal.SIGHUP)


def test_a_terminal_that_closes_asks_once_and_never_stops_at_once(hang_up):
  with Interruption() as interruption:
    assert interruption.requested(1) is None
    hang_up()
    assert interruption.requested(2) == 'SIGHUP'
    hang_up()  # The shell, then the system.
    assert interruption.requested(3) == 'SIGHUP'
  hang_up()  # While the checkpoint is written.


def test_it_does_not_end_what_was_asked_before(hang_up):
  before = signal.getsignal(signal.SIGTERM)
  with Interruption() as interruption:
    os.kill(os.getpid(), signal.SIGTERM)
    hang_up()
    assert interruption.requested(1) == 'SIGTERM'
    assert signal.getsignal(signal.SIGTERM) == before
  hang_up()


def test_under_nohup_nothing_is_heard(hang_up):
  signal.signal(signal.SIGHUP, signal.SIG_IGN)
  with Interruption() as interruption:
    hang_up()
    assert interruption.requested(1) is None
  assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN


def test_handlers_are_as_before_where_nothing_came(hang_up):
  del hang_up
  numbers = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM)
  before = [signal.getsignal(number) for number in numbers]
  with Interruption():
    assert [signal.getsignal(number) for number in numbers] != before
  assert [signal.getsignal(number) for number in numbers] == before


TWICE = """
import time
from experiments.host import command_line
from experiments.host.interruption import Interruption

def main():
  with Interruption() as interruption:
    print('ready', flush=True)
    while interruption.requested(0) is None:
      time.sleep(0.01)
    print('asked', flush=True)
    time.sleep(60)

command_line.run(main)
"""


def test_a_second_ctrl_c_is_one_line():
  process = subprocess.Popen(
    [sys.executable, '-c', TWICE],
    cwd=ROOT,
    stdout=subprocess.PIPE,
    stderr=subprocess.PIPE,
    text=True,
  )
  for word in ('ready', 'asked'):
    assert process.stdout.readline() == f'{word}\n'
    process.send_signal(signal.SIGINT)
  _, errors = process.communicate(timeout=60)
  assert errors == 'Interrupted.\n'
  assert process.returncode == 130


def start(folder, **options):
  return subprocess.Popen(
    [
      *(sys.executable, '-m', 'experiments.train', f'--config={DIGITS}'),
      *(*SMALL, f'--workdir={folder}/run', f'--data_dir={folder}/data'),
      *('--config.train_steps=100000', '--config.eval_every=100000'),
      *('--config.checkpoint_every=100000', '--config.data_workers=1'),
    ],
    cwd=ROOT,
    env=simulated_devices.environment(1),
    **options,
  )


def in_terminal(folder):
  """Starts a run in a terminal of its own; returns it, and the other end."""
  outside, inside = pty.openpty()
  termios.tcsetwinsize(inside, (24, 120))
  process = start(
    folder,
    stdin=inside,
    stdout=inside,
    stderr=inside,
    start_new_session=True,
    preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
  )
  os.close(inside)
  return process, outside


@pytest.mark.slow
def test_a_run_outlives_its_terminal(tmp_path):
  process, outside = in_terminal(tmp_path)
  shown = b''
  while not re.search(rb'loss \d', shown):
    shown += os.read(outside, 4096)
  os.close(outside)
  os.killpg(process.pid, signal.SIGHUP)  # To workers, too.
  assert process.wait(timeout=300) == 0
  (saved,) = [
    int(path.name) for path in (tmp_path / 'run' / 'checkpoints').iterdir()
  ]

  again = start(tmp_path, stdout=subprocess.PIPE, text=True)
  lines = iter(again.stdout)
  assert any(f'checkpoint of step {saved}.' in line for line in lines)
  assert any(line.startswith('step ') for line in lines)
  again.send_signal(signal.SIGHUP)
  output, _ = again.communicate(timeout=300)
  assert again.returncode == 0
  assert re.search(r'SIGHUP: saving step \d+\. Run the same command', output)
  # No checkpoint is the best of a run that was never evaluated.
  assert 'checkpoints/ (none evaluated yet), report.html' in output
