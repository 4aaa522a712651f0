"""Ctrl-C, SIGTERM and a terminal that closes as a wish to stop after a step."""

import os
import signal
import sys

import jax
from jax.experimental import multihost_utils

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interruption:
  """Within its `with` block, the first signal asks, a second stops at once.

  SIGHUP, which a terminal sends when it is closed, asks too, but never stops at
  once: it comes from the shell and from the system. A run under `nohup` does
  not hear it.

  Several processes agree on the step: jax passes the news of a SIGTERM on to
  all of them. There a second SIGTERM is not heard; Ctrl-C is.
  """

  def __init__(self):
    """Handlers are set on entering the block."""
    self._signal: str | None = None
    self._previous = {}
    self._terminals = []
    self._agrees = jax.process_count() > 1

  def __enter__(self) -> 'Interruption':
    # With several processes, SIGTERM is already watched by jax.
    watched = (signal.SIGINT,) if self._agrees else _SIGNALS
    for number in watched:
      self._previous[number] = signal.signal(number, self._ask)
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
      self._previous[signal.SIGHUP] = signal.signal(signal.SIGHUP, self._ask)
    self._terminals = [
      stream.fileno() for stream in (sys.stdout, sys.stderr) if stream.isatty()
    ]
    return self

  def __exit__(self, *exception) -> None:
    self._restore()

  def requested(self, step: int) -> str | None:
    """Returns why to stop after this step, None to go on.

    Every process asks after every step, and all get the same answer.

    Args:
      step: that is done.
    """
    if not self._agrees:
      return self._signal
    if not multihost_utils.reached_preemption_sync_point(step):
      return None
    return self._signal or signal.SIGTERM.name

  def _ask(self, number: int, frame) -> None:
    del frame
    self._signal = signal.Signals(number).name
    if signal.SIGHUP in self._previous:
      self._previous[signal.SIGHUP] = signal.SIG_IGN
    self._restore()
    if number == signal.SIGHUP:
      self._leave_terminals()
    if self._agrees:  # What jax listens to.
      os.kill(os.getpid(), signal.SIGTERM)

  def _leave_terminals(self) -> None:
    """Prints to nowhere what would go to a terminal that is no more."""
    for number in self._terminals:
      if not os.isatty(number):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, number)
        os.close(nowhere)

  def _restore(self) -> None:
    for number, handler in self._previous.items():
      signal.signal(number, handler)
