"""How much a request may bring."""

import math
from collections.abc import Callable

from starlette.exceptions import HTTPException
from starlette.types import Message, Receive

from experiments.host.helper import MEGABYTE

# What a request has around its files.
_FRAME_BYTES = 16_384
# Python refuses to read a number of very many.
_MOST_DIGITS = 18
# A refused request is read on up to this many times the limit: who is still
# sending does not look for an answer.
_REFUSED_LIMITS = 4


def whole_number(text: str) -> float | None:
  """Returns a number that a request states; None where it is none."""
  if not (text.isascii() and text.isdecimal()):
    return None
  return int(text) if len(text) <= _MOST_DIGITS else math.inf


class Counted:
  """Receives a request, up to a limit."""

  def __init__(
    self, receive: Receive, most_bytes: int, came: Callable[[int], None]
  ):
    """Counts from here.

    Args:
      receive: the request's own, see ASGI.
      most_bytes: of its files together.
      came: is told of the bytes of each part.
    """
    self._receive = receive
    self._came = came
    self._most_bytes = most_bytes
    self._seen = 0

  async def check(self, stated: str) -> None:
    """Raises an HTTPException where the stated length is over the limit."""
    number = whole_number(stated)
    if number is not None and number > self._most_bytes + _FRAME_BYTES:
      await self._refuse()

  async def __call__(self) -> Message:
    """Returns the next message, see ASGI."""
    message = await self._next()
    if self._seen > self._most_bytes + _FRAME_BYTES:
      await self._refuse(message.get('more_body', False))
    return message

  async def _refuse(self, more: bool = True) -> None:
    while more and self._seen < _REFUSED_LIMITS * self._most_bytes:
      message = await self._next()
      more = message.get('more_body', False)
    raise HTTPException(
      413, f'The limit is {self._most_bytes / MEGABYTE:g} MB.'
    )

  async def _next(self) -> Message:
    message = await self._receive()
    size = len(message.get('body', b''))
    self._seen += size
    self._came(size)
    return message
