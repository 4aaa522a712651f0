"""Says that data does not come while it is waited for, not only afterwards."""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator

# At least so often in the shortest wait that is reported.
_LOOKS = 8
_SECONDS_BETWEEN_LOOKS = 1.0


class StallWatch:
  """A thread that reports long waits, at `seconds` and at each doubling.

  Args:
    say: prints a line; it is called from the thread, too.
    seconds: of the shortest wait that is reported.
  """

  def __init__(self, say: Callable[[str], None], seconds: float):
    self._say = say
    self._seconds = seconds
    self._lock = threading.Lock()
    self._closed = threading.Event()
    self._thread: threading.Thread | None = None
    # Of the wait that is going on.
    self._what = ''
    self._since: float | None = None
    self._next_report = seconds

  @contextlib.contextmanager
  def waiting(self, what: str) -> Iterator[None]:
    """Watches the block, which waits; reports its end if it was long.

    Args:
      what: is waited for.
    """
    if self._thread is None:
      self._thread = threading.Thread(
        target=self._watch, name='stall-watch', daemon=True
      )
      self._thread.start()
    with self._lock:
      self._what, self._since = what, time.monotonic()
      self._next_report = self._seconds
    try:
      yield
    except BaseException:
      self._end()
      raise
    seconds = self._end()
    if seconds is not None:
      self._say(f'{what[0].upper()}{what[1:]} came after {seconds:.1f} s.')

  def close(self) -> None:
    """Ends the thread."""
    self._closed.set()
    if self._thread is not None:
      self._thread.join()

  def _end(self) -> float | None:
    """Ends the wait; returns its seconds if it was reported."""
    with self._lock:
      seconds = time.monotonic() - self._since
      self._since = None
      return seconds if self._next_report > self._seconds else None

  def _watch(self) -> None:
    pause = min(_SECONDS_BETWEEN_LOOKS, self._seconds / _LOOKS)
    while not self._closed.wait(pause):
      with self._lock:
        if self._since is None:
          continue
        seconds = time.monotonic() - self._since
        if seconds < self._next_report:
          continue
        while self._next_report <= seconds:
          self._next_report *= 2
        line = (
          f'Waited {seconds:.1f} s for {self._what}, and still do: reading or '
          'augmenting hangs, or is too slow.'
        )
      self._say(line)
