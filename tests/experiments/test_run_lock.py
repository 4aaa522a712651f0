"""One run at a time in a workdir, with real processes."""

import errno
import json
import os
import pathlib
import re
import resource
import signal
import subprocess
import sys
import time

import pytest

from experiments.host import lock_files, run_lock
from experiments.host.run_lock import RunLock

ROOT = pathlib.Path(__file__).parents[2]
# Says 'taken' or why not, and keeps the lock until its input ends.
HOLD = """
import pathlib, sys
from experiments.host.run_lock import RunLock
print('ready', flush=True)
sys.stdin.readline()
try:
  with RunLock(pathlib.Path(sys.argv[1])):
    print('taken', flush=True)
    sys.stdin.read()
except OSError as error:
  print(f'refused: {error}', flush=True)
"""


class Holder:
  """A process that asks for the lock when told to."""

  def __init__(self, workdir, umask=-1):
    program = workdir.with_suffix('.py')
    program.write_text(HOLD)
    self.process = subprocess.Popen(
      [sys.executable, str(program), str(workdir)],
      cwd=ROOT,
      env=os.environ | {'PYTHONPATH': str(ROOT)},
      stdin=subprocess.PIPE,
      stdout=subprocess.PIPE,
      text=True,
      umask=umask,
    )
    assert self.line() == 'ready'

  def line(self):
    return self.process.stdout.readline().rstrip('\n')

  def ask(self):
    self.process.stdin.write('\n')
    self.process.stdin.flush()

  def kill(self):
    self.process.kill()
    self.process.wait()

  def leave(self):
    self.process.stdin.close()
    assert self.process.wait(timeout=300) == 0


@pytest.fixture
def start(tmp_path):
  """Starts holders, which end with the test."""
  holders = []

  def start(umask=-1):
    holders.append(Holder(tmp_path, umask))
    return holders[-1]

  yield start
  for holder in holders:
    holder.kill()
    holder.process.stdin.close()
    holder.process.stdout.close()


@pytest.fixture
def quick(monkeypatch):
  monkeypatch.setattr(run_lock, 'REFRESH_SECONDS', 0.05)
  monkeypatch.setattr(run_lock, 'SILENCE_SECONDS', 0.6)


def lock_of_another_machine(workdir, **changes):
  """Writes the lock of a living process, but of a machine far away."""
  with RunLock(workdir):
    text = (workdir / 'run.lock').read_text()
  holder = json.loads(text) | {'host': 'far', 'machine': 'x'} | changes
  (workdir / 'run.lock').write_text(json.dumps(holder) + '\n')


def test_the_second_run_refuses_and_names_the_first(start, tmp_path):
  first = start()
  first.ask()
  assert first.line() == 'taken'
  second = start()
  second.ask()
  answer = second.line()
  pid = first.process.pid
  assert answer.startswith('refused: ')
  assert f'process {pid} on {os.uname().nodename}, since 2' in answer
  assert f'{tmp_path}.py {tmp_path}`' in answer
  assert f'`kill {pid}`' in answer
  assert '--workdir' in answer
  first.leave()
  assert not list(tmp_path.iterdir())
  with RunLock(tmp_path):
    assert [path.name for path in tmp_path.iterdir()] == ['run.lock']
  assert not list(tmp_path.iterdir())


@pytest.mark.parametrize('reaped', [True, False])
def test_the_lock_of_a_killed_run_is_taken_over(
  start, tmp_path, capsys, reaped
):
  first = start()
  first.ask()
  assert first.line() == 'taken'
  pid = first.process.pid
  if reaped:
    first.kill()
  else:  # A zombie: its parent has not asked how it ended.
    os.kill(pid, signal.SIGKILL)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
  assert (tmp_path / 'run.lock').exists()
  with RunLock(tmp_path):
    holder = json.loads((tmp_path / 'run.lock').read_text())
    assert holder['pid'] == os.getpid()
  output = capsys.readouterr().out
  assert output.count('\n') == 1
  assert f'process {pid} on {os.uname().nodename}, which is gone' in output
  assert not list(tmp_path.iterdir())


def test_a_process_that_lives_is_not_the_holder_of_a_file_that_it_left(
  tmp_path, capsys
):
  """Whatever the file says: the system knows whose lock it is."""
  with RunLock(tmp_path):
    text = (tmp_path / 'run.lock').read_text()
    with pytest.raises(OSError, match=f'process {os.getpid()} on'):
      RunLock(tmp_path).__enter__()
    assert (tmp_path / 'run.lock').read_text() == text
  (tmp_path / 'run.lock').write_text(text)
  start = time.monotonic()
  with RunLock(tmp_path):
    assert (tmp_path / 'run.lock').read_text() != text
  assert time.monotonic() - start < 5
  assert 'waiting' not in capsys.readouterr().out


def test_a_disk_without_locks_of_the_system(tmp_path, quick, monkeypatch):
  """The process is looked for; one of another container must refresh it."""

  def fail(*_):
    raise OSError(errno.ENOTSUP, 'no locks')

  monkeypatch.setattr(lock_files.fcntl, 'flock', fail)
  with RunLock(tmp_path):
    with pytest.raises(OSError, match=f'process {os.getpid()} on'):
      RunLock(tmp_path).__enter__()
    text = (tmp_path / 'run.lock').read_text()
  gone = subprocess.Popen([sys.executable, '-c', ''])
  gone.wait()
  holder = json.loads(text)
  for other, waits in (
    # Numbers of processes are used again.
    ({'started': str(int(holder['started']) - 1)}, False),
    ({'started': None, 'pid': gone.pid}, False),
    ({'processes': 'elsewhere'}, True),
  ):
    text = json.dumps(holder | other) + '\n'
    (tmp_path / 'run.lock').write_text(text)
    start = time.monotonic()
    with RunLock(tmp_path):
      assert (tmp_path / 'run.lock').read_text() != text
      assert (time.monotonic() - start > 0.5) == waits


@pytest.mark.parametrize('text', ['', '{\n  "host": "far'])
def test_a_lock_of_who_ended_while_writing_costs_a_second(
  tmp_path, capsys, text
):
  (tmp_path / 'run.lock').write_text(text)
  start = time.monotonic()
  with RunLock(tmp_path):
    assert 0.9 < time.monotonic() - start < 10
  assert 'waiting' not in capsys.readouterr().out


def test_a_full_disk_leaves_no_lock(tmp_path):
  soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
  resource.setrlimit(resource.RLIMIT_FSIZE, (20, hard))
  try:
    with pytest.raises(OSError) as error:
      RunLock(tmp_path).__enter__()
  finally:
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
  assert str(error.value) == (
    f'{tmp_path}/run.lock cannot be written: File too large. Make room on its '
    'disk, or make it writable.'
  )
  assert not list(tmp_path.iterdir())


def test_of_processes_that_find_a_stale_lock_exactly_one_wins(start, tmp_path):
  dead = start()
  dead.ask()
  assert dead.line() == 'taken'
  dead.kill()
  stale = (tmp_path / 'run.lock').read_text()
  racers = [start() for _ in range(4)]
  for racer in racers:
    racer.ask()
  answers = [racer.line() for racer in racers]
  for _ in range(2 * len(racers)):  # 'taken over' comes before 'taken'.
    answers = [
      racer.line() if 'taken over' in answer else answer
      for racer, answer in zip(racers, answers, strict=True)
    ]
  assert answers.count('taken') == 1
  winner = racers[answers.index('taken')].process.pid
  refused = [answer for answer in answers if answer != 'taken']
  assert all(f'process {winner} on' in answer for answer in refused)
  assert (tmp_path / 'run.lock').read_text() != stale
  assert [path.name for path in tmp_path.iterdir()] == ['run.lock']


def test_one_that_died_while_taking_over_does_not_block(start, tmp_path):
  dead = start()
  dead.ask()
  assert dead.line() == 'taken'
  dead.kill()
  lock = tmp_path / 'run.lock'
  # Just what it leaves: a claim on the stale lock, by a process that is gone.
  claim = tmp_path / f'run.lock.{run_lock._digest(lock.read_text())}'
  claim.write_text(lock.read_text())
  with RunLock(tmp_path):
    assert json.loads(lock.read_text())['pid'] == os.getpid()
  assert not list(tmp_path.iterdir())


def test_a_refreshed_lock_of_another_machine_refuses(tmp_path, quick):
  with RunLock(tmp_path):
    other = subprocess.run(
      [
        sys.executable,
        '-c',
        'import pathlib, sys\n'
        'from experiments.host import lock_files, run_lock\n'
        # Neither name nor machine: it sees the disk only.
        'run_lock._machine = lambda: "elsewhere"\n'
        'lock_files.DiskLockFile.is_held = lambda _: False\n'
        'run_lock.SILENCE_SECONDS = 20\n'
        'run_lock.RunLock(pathlib.Path(sys.argv[1])).__enter__()',
        str(tmp_path),
      ],
      cwd=ROOT,
      capture_output=True,
      text=True,
      timeout=300,
      check=False,
    )
  assert other.returncode == 1
  assert 'waiting, 20 seconds at most' in other.stdout
  assert f'use by another run: process {os.getpid()} on' in other.stderr


def test_a_silent_lock_of_another_machine_is_taken_over(
  tmp_path, quick, capsys
):
  lock_of_another_machine(tmp_path, pid=123)
  written = os.stat(tmp_path / 'run.lock').st_mtime
  with RunLock(tmp_path):
    assert time.time() - written > 0.5
  assert '123 on far, which is gone: taken over' in capsys.readouterr().out


def test_an_old_lock_of_another_machine_is_taken_over_at_once(tmp_path, capsys):
  lock_of_another_machine(tmp_path, pid=123)
  old = time.time() - run_lock.SILENCE_SECONDS - 1
  os.utime(tmp_path / 'run.lock', (old, old))
  start = time.monotonic()
  with RunLock(tmp_path):
    assert time.monotonic() - start < run_lock.SILENCE_SECONDS
  assert 'waiting' not in capsys.readouterr().out


@pytest.mark.parametrize(
  'text', ['{', '[1]', '{"pid": 1}', '{"pid": "x"}', '\xff']
)
def test_a_damaged_lock_counts_until_it_is_silent(tmp_path, quick, text):
  (tmp_path / 'run.lock').write_text(text + '\n')
  with RunLock(tmp_path):
    assert 'nonce' in (tmp_path / 'run.lock').read_text()


def test_the_refresher_ends_with_the_block(tmp_path, quick):
  with RunLock(tmp_path) as lock:
    first = os.stat(tmp_path / 'run.lock').st_mtime_ns
    for _ in range(1200):
      time.sleep(0.05)
      if os.stat(tmp_path / 'run.lock').st_mtime_ns != first:
        break
    assert os.stat(tmp_path / 'run.lock').st_mtime_ns > first
    assert lock._refresher.is_alive()
    assert lock._refresher.daemon
  assert not lock._refresher.is_alive()


def test_a_lock_that_is_not_ours_any_more_is_left_alone(
  tmp_path, quick, capsys
):
  with RunLock(tmp_path) as lock:
    (tmp_path / 'run.lock').write_text('of somebody else')
    lock._refresher.join(timeout=100)
    assert not lock._refresher.is_alive()
  assert (tmp_path / 'run.lock').read_text() == 'of somebody else'
  assert 'is no longer the lock of this run' in capsys.readouterr().err


@pytest.mark.parametrize('umask', [0o022, 0o027, 0o077])
def test_the_users_umask_holds(start, tmp_path, umask):
  for _ in range(2):  # A new lock, then one that is taken over.
    holder = start(umask)
    holder.ask()
    assert re.search('taken', holder.line())
    mode = (tmp_path / 'run.lock').stat().st_mode
    assert mode & 0o777 == 0o666 & ~umask
    holder.kill()


def test_an_error_in_the_block_removes_the_lock(tmp_path):
  with pytest.raises(RuntimeError, match='of the run'), RunLock(tmp_path):
    raise RuntimeError('of the run')
  assert not list(tmp_path.iterdir())
