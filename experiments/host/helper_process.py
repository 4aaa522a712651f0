"""The helper's half of `helper`: answers each request in a process of its own.

Linux limits the memory of that process, its time and what it may open, lets it
write no file and, where a user may ask for that, takes the network away.
Elsewhere the helper looks at its memory and ends it.
"""

import contextlib
import ctypes
import gc
import json
import os
import resource
import select
import signal
import socket
import subprocess
import sys
import traceback
from collections.abc import Callable
from typing import Any

from experiments.host.error_text import one_line
from experiments.host.helper import ANSWER_HEAD, Limits
from experiments.host.plain import pack

_IS_LINUX = sys.platform == 'linux'
# How often the helper looks whether a process has ended.
_SECONDS_A_LOOK = 0.05
_MOST_OPEN_FILES = 64
# Threads reserve addresses that they never use.
_SPARE_ADDRESSES = 2**33
# Those who wait for the model go first.
_NICENESS = 5
_OUT_OF_MEMORY_CODE = 70
_NEW_USER, _NEW_NETWORK = 0x10000000, 0x40000000
_MOST_REQUEST = 2**20

Handle = Callable[[Any], Any]


def answer(handle: Handle) -> None:
  """Answers requests until the process that started this one ends.

  Args:
    handle: a request to a plain tree of arrays.
  """
  control = socket.socket(fileno=int(sys.argv[1]))
  limits = Limits(*json.loads(sys.argv[2]))
  _leave_network()
  gc.freeze()  # Pages that stay shared with copies of this process.
  at_work: dict[int, socket.socket] = {}
  while True:
    ready, _, _ = select.select(
      [control], [], [], _SECONDS_A_LOOK if at_work else None
    )
    if ready:
      mark, numbers, _, _ = socket.recv_fds(control, 1, 1)
      if not mark:
        for pid in at_work:
          os.kill(pid, signal.SIGKILL)
        return
      connection = socket.socket(fileno=numbers[0])
      pid = os.fork()
      if not pid:
        for other in (control, *at_work.values()):
          other.close()
        _answer_one(connection, handle, limits)
      at_work[pid] = connection
    _look_after(at_work, limits)


def _look_after(at_work: dict[int, socket.socket], limits: Limits) -> None:
  """Tells of processes that have ended, and ends those that are too large."""
  for pid in list(at_work):
    if not _IS_LINUX and resident_bytes(pid) > limits.most_bytes:
      os.kill(pid, signal.SIGKILL)
    done, status = os.waitpid(pid, os.WNOHANG)
    if not done:
      continue
    with at_work.pop(pid) as connection:
      code = os.waitstatus_to_exitcode(status)
      if code:
        with contextlib.suppress(OSError):  # Nobody may wait for it any more.
          _send(connection, {'ended': -code})


def resident_bytes(pid: int) -> int:
  """Returns the memory of a process, as `ps` of any system tells; 0 of none."""
  told = subprocess.run(
    ['ps', '-o', 'rss=', '-p', str(pid)],
    capture_output=True,
    encoding='utf-8',
    check=False,
  )
  return 1024 * int(told.stdout.strip() or 0)


def _answer_one(
  connection: socket.socket, handle: Handle, limits: Limits
) -> None:
  """Answers a request within limits, and ends this process."""
  code = _OUT_OF_MEMORY_CODE
  try:
    _limit(limits)
    with connection.makefile('rb') as file:
      request = json.loads(file.readline(_MOST_REQUEST))
    _send(connection, _answered(handle, request))
    code = 0
  except MemoryError:
    pass  # The code says it.
  finally:
    os._exit(code)


def _answered(handle: Handle, request: Any) -> dict[str, Any]:
  try:
    return {'value': handle(request)}
  except MemoryError:
    raise
  except (ValueError, OSError) as error:
    kind = next(
      each.__name__
      for each in (FileNotFoundError, OSError, ValueError)
      if isinstance(error, each)
    )
    return {'error': kind, 'message': str(error)}
  except Exception as error:  # pylint: disable=broad-exception-caught
    return {'error': '', 'message': one_line(error) + traceback.format_exc()}


def _send(connection: socket.socket, tree: Any) -> None:
  text, parts = pack(tree)
  size = sum(len(part) for part in parts)
  connection.sendall(ANSWER_HEAD.pack(len(text), size) + text)
  for part in parts:
    connection.sendall(part)


def _limit(limits: Limits) -> None:
  """Limits this process; it cannot undo it."""
  # What libraries say of damaged files is nobody's output.
  os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())
  os.nice(_NICENESS)
  # The system ends it, whatever it is doing.
  signal.signal(signal.SIGALRM, signal.SIG_DFL)
  signal.setitimer(signal.ITIMER_REAL, limits.seconds)
  seconds = (1 + int(limits.seconds)) * (os.cpu_count() or 1)
  _lower(resource.RLIMIT_CPU, seconds)
  _lower(resource.RLIMIT_CORE, 0)
  _lower(resource.RLIMIT_NOFILE, _MOST_OPEN_FILES)
  _lower(resource.RLIMIT_FSIZE, 0)
  if not _IS_LINUX:
    return
  page = resource.getpagesize()
  with open('/proc/self/statm', encoding='ascii') as file:
    sizes = [page * int(word) for word in file.read().split()]
  _lower(resource.RLIMIT_DATA, sizes[5] + limits.most_bytes)
  _lower(resource.RLIMIT_AS, sizes[0] + limits.most_bytes + _SPARE_ADDRESSES)
  with (
    contextlib.suppress(OSError),
    # Where the machine has too little memory, this process goes first.
    open('/proc/self/oom_score_adj', 'w', encoding='ascii') as file,
  ):
    file.write('1000')


def _lower(kind: int, value: int) -> None:
  _, most = resource.getrlimit(kind)
  if most != resource.RLIM_INFINITY:
    value = min(value, most)
  resource.setrlimit(kind, (value, value))


def _leave_network() -> None:
  """Goes into a network of no devices, where the system lets users do so."""
  if _IS_LINUX:
    ctypes.CDLL(None).unshare(_NEW_USER | _NEW_NETWORK)
