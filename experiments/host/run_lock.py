"""One run at a time in a workdir: the second names the first and refuses.

The lock is a small file, `run.lock`, that says who holds it. On the machine of
its holder the system holds it for as long as that process runs; in a bucket,
and on disks that have no such locks, the process is looked for. Machines that
only share the disk or the bucket may see neither: for them it counts while it
is refreshed, which a thread of the holder does every `REFRESH_SECONDS`, and no
longer once that has not been seen for `SILENCE_SECONDS`. A lock that does not
count is stale; of several processes that find it, one takes it over.
"""

import contextlib
import dataclasses
import datetime
import hashlib
import json
import os
import pathlib
import secrets
import shlex
import socket
import sys
import threading
import time
from collections.abc import Iterator

from experiments.host.buckets import BucketPath, cannot_write
from experiments.host.error_text import one_line
from experiments.host.lock_files import LockFile, lock_file

NAME = 'run.lock'
# Disks of several machines may show a change late: NFS and gcsfuse remember the
# state of a file for up to a minute.
REFRESH_SECONDS = 15.0
SILENCE_SECONDS = 90.0
# Replacing a stale lock takes no longer, unless the disk hangs.
_TAKEOVER_SECONDS = 10.0
# From making a file to writing into it.
_WRITING_SECONDS = 1.0
# Of a lock that is whole.
_END = '\n'


class _InUse(OSError):
  """Another process has the lock."""


class RunLock:
  """Within its `with` block, the workdir is this process's alone.

  Of a run of several processes, only the first enters it.
  """

  def __init__(self, workdir: pathlib.Path | BucketPath):
    """No lock is written before the block is entered.

    Args:
      workdir: of the run. It exists and can be written.

    Raises:
      OSError: it is in a bucket that cannot have locks.
    """
    self._file = lock_file(workdir / NAME)
    self._text = _Holder.this_process().to_text()
    self._leaving = threading.Event()
    self._refresher = threading.Thread(target=self._refresh, daemon=True)

  def __enter__(self) -> 'RunLock':
    """Takes the lock. May wait to see whether another machine's run is alive.

    Raises:
      OSError: another run has it, or the workdir cannot be written.
    """
    try:
      _take(self._file, self._text)
    except _InUse:
      raise
    except OSError as error:
      raise cannot_write(self._file.path, error) from error
    self._refresher.start()
    return self

  def __exit__(self, *exception) -> None:
    self._leaving.set()
    self._refresher.join()
    # One that cannot be removed is that of a process that is gone.
    with contextlib.suppress(OSError):
      if self._file.read() == self._text:
        self._file.remove()

  def _refresh(self) -> None:
    """Tells other machines that this process is alive, until it leaves."""
    while not self._leaving.wait(REFRESH_SECONDS):
      # A disk that fails for a moment may be back the next time.
      with contextlib.suppress(OSError):
        if self._file.read() != self._text:
          print(
            f'Warning: {self._file.path} is no longer the lock of this run, '
            'which was silent for too long, or it was removed. If another run '
            'uses the workdir, stop one of them.',
            file=sys.stderr,
            flush=True,
          )
          return
        self._file.refresh()


@dataclasses.dataclass(frozen=True)
class _Holder:
  """Who holds a lock, as the file says.

  Attributes:
    host: name of its machine.
    machine: tells apart machines of one name, and a machine before and after
      a restart. Empty where the system does not say.
    processes: tells apart containers, which do not see each other's processes.
    pid: number of the process.
    started: when the process began, in ticks since the machine did; None where
      the system does not say. Numbers of processes are used again.
    command: that was run.
    since: when the lock was taken, local time with its offset.
    nonce: no two locks are the same text.
  """

  host: str
  machine: str
  processes: str
  pid: int
  started: str | None
  command: str
  since: str
  nonce: str

  @classmethod
  def this_process(cls) -> '_Holder':
    return cls(
      host=socket.gethostname(),
      machine=_machine(),
      processes=_processes(),
      pid=os.getpid(),
      started=_started(os.getpid()),
      command=shlex.join(sys.orig_argv),
      since=datetime.datetime.now().astimezone().isoformat(' ', 'seconds'),
      nonce=secrets.token_hex(8),
    )

  @classmethod
  def from_text(cls, text: str) -> '_Holder':
    """Of a file that is damaged or not yet written, nothing is known."""
    try:
      found = json.loads(text)
      if not isinstance(found['pid'], int):
        raise TypeError('the pid is no number')
      return cls(
        **{each.name: found[each.name] for each in dataclasses.fields(cls)}
      )
    except (ValueError, TypeError, KeyError, RecursionError):
      unknown = dict.fromkeys(
        (each.name for each in dataclasses.fields(cls)), 'unknown'
      )
      return cls(**unknown | {'host': 'an unknown machine', 'pid': 0})

  def to_text(self) -> str:
    return json.dumps(dataclasses.asdict(self), indent=2) + _END

  def __str__(self) -> str:
    return f'process {self.pid} on {self.host}'

  @property
  def is_here(self) -> bool:
    """Whether it is of this machine."""
    return self.host == socket.gethostname() and self.machine == _machine()

  @property
  def runs(self) -> bool | None:
    """Whether the process does; None where it could not be seen from here."""
    if not self.is_here or self.processes != _processes():
      return None
    started = _started(self.pid)
    if started is not None and self.started is not None:
      return started == self.started
    try:
      os.kill(self.pid, 0)
    except ProcessLookupError:
      return False
    except PermissionError:  # It is there, of another user.
      return True
    return True


def _take(file: LockFile, text: str) -> None:
  """Writes a file that nobody else holds.

  A stale file is replaced only by the holder of a second such file, which is
  named after the stale one's content: so by one process, and only while it is
  that very file. Should this process end just there, the second file is stale
  in turn.

  Args:
    file: to write.
    text: a description of this process, unlike that of any other.
  """
  began = time.monotonic()
  while not file.create(text):
    found = file.read()
    if found is None:  # Removed just now.
      continue
    is_cut = not found.endswith(_END)
    if is_cut and time.monotonic() < began + _WRITING_SECONDS:
      time.sleep(0.01)
      continue
    holder = _Holder.from_text(found)
    # One that stays empty, or cut, is of a process that ended while it wrote:
    # nobody refreshes it.
    is_left = is_cut and file.is_held() is False
    if not is_left and _is_alive(file, holder):
      if file.read() == found:
        raise _refusal(file.path, holder)
      continue
    claim = file.sibling(f'{file.path.name}.{_digest(found)}')
    try:
      _take(claim, text)
    except _InUse:
      if time.monotonic() > began + _TAKEOVER_SECONDS:
        raise
      # Who is replacing the stale lock will be named by the new one.
      time.sleep(0.01)
      continue
    try:
      if file.read() == found:
        file.replace(text, f'{file.path.name}.{_digest(text)}.new')
        print(
          f'{file.path} was the lock of {holder}, which is gone: taken over.',
          flush=True,
        )
        return
    finally:
      claim.remove()


def _is_alive(file: LockFile, holder: _Holder) -> bool:
  """Whether a lock counts, as far as one can see from here."""
  held = file.is_held()
  if held is None:
    held = holder.runs
  elif not held and not holder.is_here:
    held = None
  return _is_refreshed(file, holder) if held is None else held


def _is_refreshed(file: LockFile, holder: _Holder) -> bool:
  """Whether a lock is refreshed; waits for it unless it is an old one."""
  first = file.mark()
  if first is None:
    return False
  left = SILENCE_SECONDS - file.age()
  if left > 0:
    print(
      f'{file.path} is the lock of {holder}: waiting, {left:.0f} seconds at '
      'most, to see whether it is alive.',
      flush=True,
    )
  end = time.monotonic() + left
  while time.monotonic() < end:
    time.sleep(min(1.0, REFRESH_SECONDS / 4))
    if file.mark() != first:
      return True
  return False


def _machine() -> str:
  """What processes whose locks the same system holds have in common."""
  try:
    path = pathlib.Path('/proc/sys/kernel/random/boot_id')
    return path.read_text(encoding='utf-8').strip()
  except OSError:
    return ''


def _processes() -> str:
  """What processes that see each other have in common."""
  try:
    return os.readlink('/proc/self/ns/pid')
  except OSError:
    return ''


def _started(pid: int) -> str | None:
  """When a process began, or 'ended'; None if the system does not say."""
  try:
    text = pathlib.Path(f'/proc/{pid}/stat').read_text(
      errors='replace', encoding='utf-8'
    )
  except OSError:
    return None
  # Behind the name, which may hold anything: the state is the third field of
  # proc(5), the start the twenty-second. Zombies wait only to be counted.
  fields = text.rpartition(')')[2].split()
  return 'ended' if fields[0] in 'ZX' else fields[19]


def _digest(text: str) -> str:
  return hashlib.sha256(text.encode()).hexdigest()[:16]


def _refusal(path: pathlib.Path | BucketPath, holder: _Holder) -> _InUse:
  return _InUse(
    f'The workdir {path.parent.absolute()} is in use by another run: {holder}, '
    f'since {holder.since}, `{holder.command}`. Stop it (on {holder.host}: '
    f'`kill {holder.pid}`, which lets it save a checkpoint), or choose another '
    f'--workdir. If it is certainly gone, remove {path}.'
  )


@contextlib.contextmanager
def owned(workdir: pathlib.Path) -> Iterator[None]:
  """Makes the workdir of a run and locks it; in the block it is this run's.

  Args:
    workdir: folder of the run.

  Raises:
    OSError: it cannot be written, or is another run's.
  """
  try:
    workdir.mkdir(parents=True, exist_ok=True)
    probe = workdir / '.writable'
    probe.touch()
    probe.unlink()
  except OSError as error:
    raise OSError(
      f'The workdir {workdir.absolute()} cannot be written: '
      f'{error.strerror or one_line(error)}. Choose another with --workdir.'
    ) from error
  with RunLock(workdir):
    yield
