"""The launchers: one really starts processes, the others are read."""

import os
import pathlib
import re
import signal
import subprocess
import sys
import time

import pytest

from experiments.launch import local

ROOT = pathlib.Path(__file__).parents[2]
FOLDER = ROOT / 'experiments' / 'launch'


def start(*arguments):
  return subprocess.Popen(
    [
      sys.executable,
      '-m',
      'experiments.launch.local',
      '--module=tests.experiments.launched',
      *arguments,
    ],
    cwd=ROOT,
    env=os.environ | {'XLA_FLAGS': '--xla_dump_max_hlo_modules=1'},
    stdout=subprocess.PIPE,
    stderr=subprocess.PIPE,
    text=True,
  )


def run(*arguments):
  """Returns the exit code and what was printed and said."""
  process = start(*arguments)
  output, errors = process.communicate(timeout=300)
  return process.returncode, output, errors


def wait_for(process, count):
  """Reads lines until so many processes wait."""
  lines = []
  while sum('waiting' in line for line in lines) < count:
    lines.append(process.stdout.readline())
    assert lines[-1], lines
  return lines


def ends(pid):
  """Whether a process ends soon."""
  for _ in range(1200):
    try:
      stat = pathlib.Path(f'/proc/{pid}/stat').read_text()
    except FileNotFoundError:
      return True
    if stat.rpartition(')')[2].split()[0] == 'Z':
      return True
    time.sleep(0.05)
  return False


def test_processes_compute_together_and_print_with_their_number():
  code, output, errors = run('--processes=2', '--devices=3', '--', 'sum', 'sum')
  assert code == 0, errors
  assert '[0] 3 of 6, sum 3.0\n' in output
  assert '[1] 3 of 6, sum 3.0\n' in output


def test_arguments_pass_behind_dashes():
  # absl reads --flags anywhere: they must get there untouched, in order.
  code, output, errors = run('--processes=1', '--', '--config=x', 'exit:0')
  assert code == 1
  assert 'ValueError: --config=x' in output
  assert 'process 0 ended with exit code 1.' in errors


def test_the_exit_code_is_that_of_the_first_that_failed():
  start = time.monotonic()
  code, output, errors = run(
    '--processes=3', '--patience=0.5', '--', 'wait', 'exit:7', 'wait'
  )
  assert code == 7
  assert '[1] cannot go on\n' in output
  assert 'process 1 ended with exit code 7.' in errors
  assert 'terminating those left after 0.5 seconds.' in errors
  # Those left were asked, and could save.
  assert '[0] SIGTERM: saving\n' in output
  assert '[2] SIGTERM: saving\n' in output
  assert time.monotonic() - start < 300


def test_those_that_end_by_themselves_are_not_terminated():
  code, _, errors = run('--processes=2', '--', 'exit:3', 'exit:0')
  assert code == 3
  assert 'terminating' not in errors


def test_a_killed_process_counts_as_in_a_shell():
  code, _, errors = run('--processes=2', '--patience=0', '--', 'die', 'wait')
  assert code == 128 + signal.SIGKILL
  assert 'process 0 ended with exit code 137.' in errors


def test_what_ignores_the_signal_is_killed(monkeypatch):
  monkeypatch.setattr(local, '_GRACE_SECONDS', 0.2)
  monkeypatch.chdir(ROOT)
  begin = time.monotonic()
  code = local.launch(
    ['ignore', 'exit:5'],
    processes=2,
    devices=1,
    module='tests.experiments.launched',
    patience=1.0,
  )
  assert code == 5
  assert time.monotonic() - begin < 300


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_signals_go_to_all_processes_once(number):
  process = start('--processes=2', '--', 'wait', 'wait')
  wait_for(process, 2)
  process.send_signal(number)
  output, errors = process.communicate(timeout=300)
  name = signal.Signals(number).name
  assert sorted(output.splitlines()) == [
    f'[0] {name}: saving',
    f'[1] {name}: saving',
  ]
  assert process.returncode == 0, errors


def test_nothing_is_left_running():
  process = start('--processes=1', '--', 'child')
  lines = wait_for(process, 1)
  child = int(re.search(r'child (\d+)', ''.join(lines))[1])
  os.kill(child, 0)
  process.send_signal(signal.SIGTERM)
  process.communicate(timeout=300)
  assert ends(child)


def test_flags_of_the_user_stay_but_for_the_number_of_devices(monkeypatch):
  monkeypatch.setenv(
    'XLA_FLAGS', '--a=1 --xla_force_host_platform_device_count=8 --b'
  )
  flags = local._environment(2)['XLA_FLAGS'].split()
  assert flags == [
    '--a=1',
    '--b',
    '--xla_force_host_platform_device_count=2',
  ]


@pytest.mark.parametrize('flag', ['--processes=0', '--devices=-1'])
def test_numbers_are_positive(flag):
  code, _, errors = run(flag, '--', 'wait')
  assert code == 2
  assert 'is less than 1' in errors


@pytest.mark.parametrize('order', [(0, 1), (1, 0)])
def test_who_ends_for_another_is_not_the_first_to_fail(order, capsys):
  class Asked:
    def __init__(self, *codes):
      self._codes = list(codes)

    def code(self):
      return self._codes.pop(0) if len(self._codes) > 1 else self._codes[0]

  # As seen on a busy machine: killed just after it had been asked.
  both = [Asked(None, 128 + signal.SIGKILL), Asked(os.EX_TEMPFAIL)]
  code = local._wait([both[index] for index in order], local._Stop(), 30.0)
  assert code == 128 + signal.SIGKILL
  index = order.index(0)
  assert f'process {index} ended with exit code 137.' in capsys.readouterr().err
