"""The processes of a run, one on each host, and what only the first one does.

All of them run the same command; jax connects them. They begin together, and
end together.
"""

import contextlib
import itertools
import multiprocessing
import os
import re
import sys
import threading
from collections.abc import Iterator, Mapping
from typing import Any, NoReturn

import jax
from jax._src import distributed

from experiments.host import agreement
from experiments.host.error_text import one_line
from experiments.host.meeting import Connection, Meeting, Member, meet_first
from experiments.host.peers import AGAIN, START_AGAIN, Ending, Peers

_LOOPBACK = ('127.0.0.1', 'localhost', '[::1]')
_MEETING = 'perceiver_jax/meeting'
# Machines of a cluster do not start at once.
_BEGINNING_SECONDS = 300.0
_PRINTING_SECONDS = 10.0
# Nobody waits for a process that has died.
_DAY_MILLISECONDS = 24 * 60 * 60 * 1000
# What shells report of a program that Ctrl-C has ended.
_SIGINT_CODE = 130
# What an error says, of whatever kind, when others cannot be reached.
_COMMUNICATION = re.compile(
  r'\bGloo\b|\bNCCL\b|^(UNAVAILABLE|DEADLINE_EXCEEDED|ABORTED|CANCELLED):'
)
# As with jax's own connections, there is one such thing in a process.
_peers: Peers | None = None
# A barrier of jax's has another name each time.
_times_here = itertools.count()


@contextlib.contextmanager
def joined(multihost: str | None, heartbeat_seconds: int) -> Iterator[None]:
  """Connects to the other processes of the run; in the block, all are one.

  When another one dies or fails, this one ends at once, whatever it is doing,
  with a line that says which and why. What no such end explains leaves the
  block; `leave` then ends the others, too.

  Args:
    multihost: 'auto' for what Cloud TPU, Slurm or Open MPI say;
      'HOST:PORT,COUNT,INDEX' says where the first of COUNT processes listens,
      and which of them this is; None for a run of one process.
    heartbeat_seconds: after so long without a word from its machine a process
      counts as dead.

  Raises:
    ValueError: it is none of these, or there is nothing that 'auto' knows.
  """
  global _peers
  if multihost is None:
    yield
    return
  with _beginning():
    _initialize(multihost, heartbeat_seconds)
    me = Member.this_process(distributed.global_state.process_id)
    _peers = Peers(me, _meet(me, heartbeat_seconds), _follow)
  try:
    yield
  except SystemExit:  # With a code that all of them come to.
    _part()
    raise
  except KeyboardInterrupt:
    leave(_SIGINT_CODE, 'stopped at once by Ctrl-C.')
  except Exception as error:
    _peers.await_news()
    if _COMMUNICATION.search(str(error)):
      _give_up(f'Computing with the others failed: {one_line(error)}. {AGAIN}')
    raise
  _part()


def leave(code: int, what: str) -> NoReturn:
  """Ends this process on an error that it has printed, and all others with it.

  With others, it does not end as usual: that would wait for them, for minutes,
  and they for this one.

  Args:
    code: to end with.
    what: is wrong; the others print it.
  """
  if _peers is None:
    sys.exit(code)
  _peers.tell(f'failed: {what}', code)
  _exit(code)


def is_first() -> bool:
  """Whether this process is the one that writes and prints."""
  return jax.process_index() == 0


def say(text: str) -> None:
  """Prints a line, in the first process only."""
  if is_first():
    print(text, flush=True)


def await_all() -> None:
  """Waits until all processes are here: some may have more to do.

  On CPUs, computing together fails unless all begin it within 30 seconds.
  """
  if _peers is not None:
    distributed.global_state.client.wait_at_barrier(
      f'perceiver_jax/here/{next(_times_here)}', _DAY_MILLISECONDS
    )


@contextlib.contextmanager
def only_first(context: contextlib.AbstractContextManager) -> Iterator[None]:
  """Enters a context in the first process; what it refuses, all refuse.

  Args:
    context: such as a lock, for all processes.

  Raises:
    OSError: of entering it; in every process with the same words.
  """
  with contextlib.ExitStack() as stack:
    refusal = b''
    if is_first():
      try:
        stack.enter_context(context)
      except OSError as error:
        refusal = str(error).encode()
    refusal = bytes(agreement.of_first(list(refusal)))
    if refusal:
      raise OSError(refusal.decode())
    yield


def _initialize(multihost: str, heartbeat_seconds: int) -> None:
  """Has jax connect the processes."""
  options: dict[str, Any] = {
    'heartbeat_timeout_seconds': heartbeat_seconds,
    # Ours is over before.
    'initialization_timeout': int(_BEGINNING_SECONDS) + 60,
  }
  if multihost == 'auto':
    try:
      jax.distributed.initialize(**options)
    except ValueError as error:
      raise ValueError(
        '--multihost=auto finds none of Cloud TPU, Slurm and Open MPI here. '
        'Say --multihost=HOST:PORT,COUNT,INDEX, or leave it out for a run of '
        'one process.'
      ) from error
    return
  address, count, index = _parse(multihost)
  host = address.rpartition(':')[0]
  jax.distributed.initialize(
    address,
    num_processes=count,
    process_id=index,
    # On one machine, nobody else is to reach it.
    coordinator_bind_address=address if host in _LOOPBACK else None,
    **options,
  )


@contextlib.contextmanager
def _beginning() -> Iterator[None]:
  """Ends this process with a line where the others do not come.

  jax would abort it, in the middle of a call.
  """
  waiting = threading.Timer(
    _BEGINNING_SECONDS,
    _give_up,
    [
      'The other processes of this run did not all come within '
      f'{_BEGINNING_SECONDS:g} seconds. See what they printed last. {AGAIN}'
    ],
  )
  waiting.daemon = True
  waiting.start()
  try:
    yield
  except (jax.errors.JaxRuntimeError, OSError) as error:
    _give_up(
      f'The processes of this run cannot connect: {one_line(error)}. On the '
      'first one, something else may listen at the port; and some may have '
      f'died. {AGAIN}'
    )
  finally:
    waiting.cancel()


def _meet(me: Member, heartbeat_seconds: int) -> Mapping[Member, Connection]:
  """Connects this process to the first, or the first to all."""
  # jax has no public way to pass a word on before devices are in use.
  state = distributed.global_state
  host = state.coordinator_address.rpartition(':')[0]
  if me.index == 0:
    meeting = Meeting(host.strip('[]') if host in _LOOPBACK else '')
    state.client.key_value_set(_MEETING, meeting.invitation)
    return meeting.meet_all(me, state.num_processes, heartbeat_seconds)
  invitation = state.client.blocking_key_value_get(
    _MEETING, int(_BEGINNING_SECONDS * 1000)
  )
  return meet_first(host.strip('[]'), invitation, me, heartbeat_seconds)


def _part() -> None:
  """Ends well, when all do; one that dies here still ends this one."""
  await_all()  # The first may have a report to write: jax would not wait long.
  jax.distributed.shutdown()
  _peers.part()


def _follow(ending: Ending) -> None:
  """Ends this process since another one has ended."""
  # Should nobody read what it prints, it ends all the same.
  impatience = threading.Timer(_PRINTING_SECONDS, os._exit, [ending.code])
  impatience.daemon = True
  impatience.start()
  _print(f'{ending}')
  _peers.await_others()
  _exit(ending.code)


def _give_up(text: str) -> NoReturn:
  _print(text)
  if _peers is not None:
    leave(START_AGAIN, text)
  _exit(START_AGAIN)


def _print(text: str) -> None:
  with contextlib.suppress(OSError):
    print(f'Error: {text}', file=sys.stderr, flush=True)


def _exit(code: int) -> NoReturn:
  """Ends this process at once, and the workers that it started."""
  with contextlib.suppress(OSError):
    sys.stdout.flush()
  for child in multiprocessing.active_children():
    child.kill()
  os._exit(code)


def _parse(multihost: str) -> tuple[str, int, int]:
  parts = multihost.split(',')
  if (
    len(parts) != 3
    or not parts[0].rpartition(':')[0]
    or not all(
      part.isdecimal() for part in (parts[0].rpartition(':')[2], *parts[1:])
    )
    or not int(parts[2]) < int(parts[1])
  ):
    raise ValueError(
      "--multihost must be 'auto' or HOST:PORT,COUNT,INDEX with an INDEX from "
      f'0 to COUNT - 1, such as 10.0.0.2:1234,4,0; got {multihost!r}.'
    )
  return parts[0], int(parts[1]), int(parts[2])
