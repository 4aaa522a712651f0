"""The processes of a run, one on each host, and what only the first one does.

All of them run the same command; jax connects them.
"""

import contextlib
import multiprocessing
import os
import sys
from collections.abc import Iterator

import jax

from experiments import agreement

_LOOPBACK = ('127.0.0.1', 'localhost', '[::1]')


def join(multihost: str | None, heartbeat_seconds: int) -> None:
  """Connects to the other processes of the run, before jax computes anything.

  Args:
    multihost: 'auto' for what Cloud TPU, Slurm or Open MPI say;
      'HOST:PORT,COUNT,INDEX' says where the first of COUNT processes listens,
      and which of them this is; None for a run of one process.
    heartbeat_seconds: after so long without a word a process counts as dead,
      and ends the others.

  Raises:
    ValueError: it is none of these, or there is nothing that 'auto' knows.
  """
  if multihost is None:
    return
  if multihost == 'auto':
    try:
      jax.distributed.initialize(heartbeat_timeout_seconds=heartbeat_seconds)
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
    heartbeat_timeout_seconds=heartbeat_seconds,
  )


def is_first() -> bool:
  """Whether this process is the one that writes and prints."""
  return jax.process_index() == 0


def say(text: str) -> None:
  """Prints a line, in the first process only."""
  if is_first():
    print(text, flush=True)


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


@contextlib.contextmanager
def ending_together() -> Iterator[None]:
  """Ends this process when computing with the others fails in the block.

  That is how the death of another process shows. What is usually done at the
  end would wait for it, and jax would end this process in the middle of that.
  """
  try:
    yield
  except jax.errors.JaxRuntimeError as error:
    if jax.process_count() == 1:
      raise
    reason = str(error).strip().splitlines()[0]
    print(
      'Error: Another process of this run died or cannot be reached: '
      f'{reason}\n'
      'See what the others printed. Run the same command for all of them '
      'again: it goes on from the last checkpoint.',
      file=sys.stderr,
      flush=True,
    )
    for child in multiprocessing.active_children():
      child.kill()
    os._exit(1)


def _parse(multihost: str) -> tuple[str, int, int]:
  parts = multihost.split(',')
  if (
    len(parts) != 3
    or not parts[0].rpartition(':')[0]
    or not all(
      part.isdigit() for part in (parts[0].rpartition(':')[2], *parts[1:])
    )
    or not int(parts[2]) < int(parts[1])
  ):
    raise ValueError(
      "--multihost must be 'auto' or HOST:PORT,COUNT,INDEX with an INDEX from "
      f'0 to COUNT - 1, such as 10.0.0.2:1234,4,0; got {multihost!r}.'
    )
  return parts[0], int(parts[1]), int(parts[2])
