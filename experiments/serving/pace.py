"""Room for requests that are being sent: who is slow makes way.

Sending costs a stranger nothing, so the places for it are other ones than those
of requests that are read and answered, and none is kept for waiting.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator

from starlette.exceptions import HTTPException

# A request has so long to begin with, and goes on as long as this many bytes
# come each second: about a slow telephone.
_SECONDS = 10.0
_BYTES_A_SECOND = 50_000
# Where no place is left, the oldest request that had this long makes way.
_SECONDS_UNDISTURBED = 2.0


class Sending:
  """A request that is being sent, and how long it may take."""

  def __init__(self, timeout: asyncio.Timeout):
    """Begins.

    Args:
      timeout: that ends it.
    """
    self._timeout = timeout
    self._begin = asyncio.get_running_loop().time()
    self._bytes = 0
    self.came(0)

  def came(self, num_bytes: int) -> None:
    """Gives more time for what came.

    Args:
      num_bytes: that came since the last call.
    """
    self._bytes += num_bytes
    self._timeout.reschedule(
      self._begin + _SECONDS + self._bytes / _BYTES_A_SECOND
    )

  def seconds(self) -> float:
    """Returns for how long it has been sent."""
    return asyncio.get_running_loop().time() - self._begin

  def end(self) -> None:
    """Ends it at once."""
    with contextlib.suppress(RuntimeError):  # It is ending already.
      self._timeout.reschedule(asyncio.get_running_loop().time())


class Places:
  """A number of places for requests that are being sent."""

  def __init__(self, most: int):
    """All are free.

    Args:
      most: requests at a time.
    """
    self._most = most
    self._taken: dict[Sending, None] = {}  # The oldest first.

  def __len__(self) -> int:
    """Returns how many are taken."""
    return len(self._taken)

  @contextlib.asynccontextmanager
  async def one(self) -> AsyncIterator[Sending]:
    """Takes a place within its block.

    Raises:
      HTTPException: none is free, or the request is sent too slowly.
    """
    if len(self._taken) >= self._most:
      oldest = next(iter(self._taken))
      if oldest.seconds() < _SECONDS_UNDISTURBED:
        raise too_many()
      del self._taken[oldest]
      oldest.end()
    sending = None
    try:
      async with asyncio.timeout(None) as timeout:
        sending = Sending(timeout)
        self._taken[sending] = None
        yield sending
    except TimeoutError:
      raise HTTPException(
        408,
        'The request was sent too slowly. Try again.',
        {'Connection': 'close'},
      ) from None
    finally:
      self._taken.pop(sending, None)


def too_many() -> HTTPException:
  """Returns what is said where there is no room."""
  return HTTPException(
    503, 'Too many requests at once. Try again.', {'Retry-After': '1'}
  )
