"""How much a request may bring, as it is sent and as it is unpacked."""

import math
import pathlib
import zipfile

from starlette.exceptions import HTTPException
from starlette.types import Message, Receive

MEGABYTE = 1_000_000
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

  def __init__(self, receive: Receive, most_bytes: int):
    """Counts from here.

    Args:
      receive: the request's own, see ASGI.
      most_bytes: of its files together.
    """
    self._receive = receive
    self._most_bytes = most_bytes
    self._seen = 0

  async def check(self, stated: str) -> None:
    """Raises an HTTPException where the stated length is over the limit."""
    number = whole_number(stated)
    if number is not None and number > self._most_bytes + _FRAME_BYTES:
      await self._refuse()

  async def __call__(self) -> Message:
    """Returns the next message, see ASGI."""
    message = await self._receive()
    self._seen += len(message.get('body', b''))
    if self._seen > self._most_bytes + _FRAME_BYTES:
      await self._refuse(message.get('more_body', False))
    return message

  async def _refuse(self, more: bool = True) -> None:
    while more and self._seen < _REFUSED_LIMITS * self._most_bytes:
      message = await self._receive()
      self._seen += len(message.get('body', b''))
      more = message.get('more_body', False)
    raise HTTPException(
      413, f'The limit is {self._most_bytes / MEGABYTE:g} MB.'
    )


def check_unpacked(path: pathlib.Path, most_bytes: int) -> None:
  """Raises a ValueError where an archive unpacks to very much.

  Args:
    path: of any file; most are no archives.
    most_bytes: that it may unpack to.
  """
  if not zipfile.is_zipfile(path):
    return
  try:
    with zipfile.ZipFile(path) as archive:
      size = sum(member.file_size for member in archive.infolist())
  except zipfile.BadZipFile as error:
    raise ValueError(f'{path} is damaged ({error}).') from error
  if size > most_bytes:
    raise ValueError(
      f'{path} unpacks to {size / MEGABYTE:,g} MB, more than '
      f'{most_bytes / MEGABYTE:,g} MB.'
    )
