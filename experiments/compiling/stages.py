"""What a command that takes minutes says meanwhile, on the error stream."""

import contextlib
import sys
import threading
import time
from collections.abc import Iterator

_SECONDS_BETWEEN_LINES = 20.0


class Stages:
  """Says which stage a command is at, and for how long."""

  def __init__(self) -> None:
    """Starts the clock."""
    self._start = time.monotonic()
    self._interactive = sys.stderr.isatty()

  @contextlib.contextmanager
  def stage(self, text: str) -> Iterator[None]:
    """While it is open, says so: every second on a terminal, else in lines."""
    done = threading.Event()
    start = time.monotonic()

    def tell() -> None:
      wait = 1.0 if self._interactive else _SECONDS_BETWEEN_LINES
      while not done.wait(wait):
        self._say(f'{text} ... {time.monotonic() - start:.0f} s')

    if self._interactive:
      self._say(f'{text} ...')
    teller = threading.Thread(target=tell, daemon=True)
    teller.start()
    try:
      yield
    finally:
      done.set()
      teller.join()
    self._say(f'{text}: {time.monotonic() - start:.1f} s', ends=True)

  def note(self, text: str) -> None:
    """Says something once."""
    self._say(text, ends=True)

  def _say(self, text: str, *, ends: bool = False) -> None:
    line = f'[{time.monotonic() - self._start:5.0f} s] {text}'
    if self._interactive:
      # What stood in the line before is written over.
      line = f'\r\x1b[K{line}'
    print(
      line,
      end='' if self._interactive and not ends else '\n',
      file=sys.stderr,
      flush=True,
    )
