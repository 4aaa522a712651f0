"""Ctrl-C and SIGTERM as a wish to stop after a step."""

import os
import signal

import jax
from jax.experimental import multihost_utils

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interruption:
  """Within its `with` block, the first signal asks, a second stops at once.

  Several processes agree on the step: jax passes the news of a SIGTERM on to
  all of them. There a second SIGTERM is not heard; Ctrl-C is.
  """

  def __init__(self):
    """Handlers are set on entering the block."""
    self._signal: str | None = None
    self._previous = {}
    self._agrees = jax.process_count() > 1

  def __enter__(self) -> 'Interruption':
    # With several processes, SIGTERM is already watched by jax.
    watched = (signal.SIGINT,) if self._agrees else _SIGNALS
    for number in watched:
      self._previous[number] = signal.signal(number, self._ask)
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
    self._restore()
    if self._agrees:  # What jax listens to.
      os.kill(os.getpid(), signal.SIGTERM)

  def _restore(self) -> None:
    for number, handler in self._previous.items():
      signal.signal(number, handler)
