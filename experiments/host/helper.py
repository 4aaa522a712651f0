"""A helper process: does for this one what it may not come to harm by.

Bytes of a stranger can ask a decoder for years of work or all memory, and can
be made to break it. The helper answers each request in a process of its own,
which ends with its answer or at its limits; see `helper_process` for its half.
"""

import contextlib
import functools
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from experiments.host.plain import unpack

MEGABYTE = 1_000_000
# Lengths of the text and of the arrays of an answer.
ANSWER_HEAD = struct.Struct('>QQ')
# Of the text of an answer, in bytes.
_MOST_TEXT = 2**28
# It imports first, on a machine that has other things to do.
_SECONDS_TO_START = 120.0
_SECONDS_TO_END = 5.0
_OUT_OF_TIME = (signal.SIGALRM, signal.SIGXCPU)
_ERRORS = {
  'ValueError': ValueError,
  'FileNotFoundError': FileNotFoundError,
  'OSError': OSError,
}


class Limits(NamedTuple):
  """What answering one request may take.

  Attributes:
    seconds: from its begin.
    most_bytes: memory, besides what the helper has before.
    most_answer_bytes: size of the arrays that it answers with.
  """

  seconds: float
  most_bytes: int
  most_answer_bytes: int


class LimitError(Exception):
  """A request took more than it may; the message says of what."""


class Helper:
  """Asks a helper process; any number of threads may, at the same time.

  Within its `with` block the process is there, and one that died is replaced.
  """

  def __init__(self, module: str, limits: Limits):
    """Starts nothing yet.

    Args:
      module: what the helper runs: it calls `helper_process.answer`.
      limits: of each request.
    """
    self._module, self._limits = module, limits
    self._lock = threading.Lock()
    self._process: subprocess.Popen | None = None
    self._control: socket.socket | None = None

  def __enter__(self) -> 'Helper':
    with self._lock:
      self._start()
    return self

  def __exit__(self, *exception) -> None:
    with self._lock:
      self._end()

  def ask(self, request: Any) -> Any:
    """Returns the answer to a request, a plain tree of arrays.

    Args:
      request: what JSON has.

    Raises:
      ValueError: the helper's, with its message.
      OSError: the helper's, with its message.
      LimitError: the answer takes more than it may.
      RuntimeError: the helper made a mistake, or cannot run.
    """
    ours, theirs = socket.socketpair()
    with ours:
      with theirs:
        self._hand_over(theirs)
      ours.settimeout(self._limits.seconds + _SECONDS_TO_START)
      try:
        ours.sendall(json.dumps(request).encode() + b'\n')
        answer = self._receive(ours)
      except TimeoutError as error:
        raise LimitError(_too_long(self._limits)) from error
      except OSError as error:
        raise RuntimeError(f'The helper process has ended ({error}).') from None
    match answer:
      case {'value': value}:
        return value
      case {'error': kind, 'message': message} if kind in _ERRORS:
        raise _ERRORS[kind](message)
      case {'ended': status}:
        raise LimitError(self._reason(int(status)))
      case {'message': message}:
        raise RuntimeError(str(message))
    raise RuntimeError('The helper process answered with something else.')

  def _hand_over(self, connection: socket.socket) -> None:
    """Gives the helper the other end of a connection."""
    with self._lock:
      if self._process is None:
        raise RuntimeError('The helper process is not there any more.')
      if self._process.poll() is not None:
        self._end()
        self._start()
      # One byte a connection, so that they come one by one.
      socket.send_fds(self._control, [b'.'], [connection.fileno()])

  def _receive(self, connection: socket.socket) -> Any:
    head = _exactly(connection, ANSWER_HEAD.size)
    text_size, data_size = ANSWER_HEAD.unpack(head)
    most = self._limits.most_answer_bytes
    if text_size > _MOST_TEXT or data_size > most:
      raise LimitError(f'comes to more than {most / MEGABYTE:,.0f} MB')
    text = _exactly(connection, text_size)
    try:
      return unpack(text, _exactly(connection, data_size))
    except ValueError as error:
      raise RuntimeError(f'The helper process answered {error}.') from error

  def _reason(self, status: int) -> str:
    """Says why a process ended.

    Args:
      status: its signal or, negative, its exit code.
    """
    if status in _OUT_OF_TIME:
      return _too_long(self._limits)
    memory = f'more than {self._limits.most_bytes / MEGABYTE:,.0f} MB of memory'
    if status <= 0:
      return f'takes {memory}'
    return f'takes {memory}, or breaks its reader ({_signal_name(status)})'

  def _start(self) -> None:
    ours, theirs = socket.socketpair()
    with theirs:
      command = [sys.executable, '-m', self._module, str(theirs.fileno())]
      self._process = subprocess.Popen(
        [*command, json.dumps(self._limits)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        pass_fds=[theirs.fileno()],
        # It hears no Ctrl-C: it ends when this process does.
        start_new_session=True,
        env={
          **os.environ,
          # It computes nothing, and leaves accelerators to this process.
          'JAX_PLATFORMS': 'cpu',
          # A process with threads cannot be copied safely.
          'OPENBLAS_NUM_THREADS': '1',
          'OMP_NUM_THREADS': '1',
          'PYTHONPATH': os.pathsep.join(filter(None, sys.path)),
        },
      )
    self._control = ours

  def _end(self) -> None:
    if self._control is not None:
      self._control.close()
    process, self._process = self._process, None
    if process is None:
      return
    with contextlib.suppress(ProcessLookupError):
      # With all that it started.
      os.killpg(process.pid, signal.SIGKILL)
    process.wait(_SECONDS_TO_END)


def _exactly(connection: socket.socket, size: int) -> bytearray:
  data = bytearray(size)
  view, at = memoryview(data), 0
  while at < size:
    count = connection.recv_into(view[at:])
    if not count:
      raise ConnectionError('its answer broke off')
    at += count
  return data


def _too_long(limits: Limits) -> str:
  return f'takes more than {limits.seconds:g} s'


def _signal_name(number: int) -> str:
  try:
    return signal.Signals(number).name
  except ValueError:
    return f'signal {number}'


_helper: Helper | None = None


@contextlib.contextmanager
def asked(helper: Helper) -> Iterator[None]:
  """Within, a helper does what `done_apart` marks, in all threads.

  Args:
    helper: is handed `[name, arguments, keyword arguments]`.
  """
  global _helper
  before, _helper = _helper, helper
  try:
    yield
  finally:
    _helper = before


def done_apart(read: Callable[..., Any]) -> Callable[..., Any]:
  """Marks a reader of a file, which `asked` leaves to a helper.

  Args:
    read: a path, and what JSON has, to a plain tree of arrays.
  """

  @functools.wraps(read)
  def read_or_ask(path: Any, *args: Any, **kwargs: Any) -> Any:
    helper = _helper
    if helper is None:
      return read(path, *args, **kwargs)
    try:
      return helper.ask([read.__name__, [os.fspath(path), *args], kwargs])
    except LimitError as error:
      raise ValueError(
        f'{path} {error} to be read: it is very large, damaged or made to do '
        'harm. Make it smaller, or take it out.'
      ) from error

  return read_or_ask
