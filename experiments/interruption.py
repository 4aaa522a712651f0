"""Ctrl-C and SIGTERM as a wish to stop after the current step."""

import signal


class Interruption:
  """Within its `with` block, the first signal asks, the second stops at once.

  Attributes:
    requested: name of the signal that came, None before.
  """

  def __init__(self):
    """Handlers are set on entering the block."""
    self.requested: str | None = None
    self._previous = {}

  def __enter__(self) -> 'Interruption':
    for number in (signal.SIGINT, signal.SIGTERM):
      self._previous[number] = signal.signal(number, self._ask)
    return self

  def __exit__(self, *exception) -> None:
    for number, handler in self._previous.items():
      signal.signal(number, handler)

  def _ask(self, number: int, frame) -> None:
    del frame
    self.requested = signal.Signals(number).name
    for each, handler in self._previous.items():
      signal.signal(each, handler)
