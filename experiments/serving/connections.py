"""Connections that end where nothing whole comes or nobody takes the answer."""

import asyncio
from typing import Any

import h11
import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

# For the head of a request, and for what is left of one that was answered.
_SECONDS_TO_SEND = 10.0
# For an answer that nobody takes.
_SECONDS_TO_TAKE = 30.0
# At a time. An idle one ends by itself.
_MOST = 512
# After a signal, for requests that are being answered.
_SECONDS_TO_END = 10


class Connection(H11Protocol):
  """A connection of HTTP/1.1 that keeps nobody waiting.

  Within a request's body the application looks at the time.
  """

  _sends: asyncio.TimerHandle | None = None
  _takes: asyncio.TimerHandle | None = None

  def connection_made(self, transport: Any) -> None:
    """See `asyncio.Protocol`."""
    super().connection_made(transport)
    if len(self.connections) > _MOST:
      transport.abort()
      return
    self._look()

  def data_received(self, data: bytes) -> None:
    """See `asyncio.Protocol`."""
    super().data_received(data)
    self._look()

  def on_response_complete(self) -> None:
    """Called by uvicorn."""
    super().on_response_complete()
    self._look()

  def pause_writing(self) -> None:
    """See `asyncio.Protocol`."""
    super().pause_writing()
    if self._takes is None:
      self._takes = self.loop.call_later(_SECONDS_TO_TAKE, self.transport.abort)

  def resume_writing(self) -> None:
    """See `asyncio.Protocol`."""
    super().resume_writing()
    self._takes = _stopped(self._takes)

  def connection_lost(self, exc: Exception | None) -> None:
    """See `asyncio.Protocol`."""
    self._sends, self._takes = _stopped(self._sends), _stopped(self._takes)
    super().connection_lost(exc)

  def _look(self) -> None:
    """Sets the time for what is to come, if there is nothing to answer."""
    is_answered = self.cycle is None or self.cycle.response_complete
    if not is_answered:
      self._sends = _stopped(self._sends)
    elif self._sends is None and self.conn.their_state is not h11.CLOSED:
      self._sends = self.loop.call_later(_SECONDS_TO_SEND, self.transport.abort)


def _stopped(timer: asyncio.TimerHandle | None) -> None:
  if timer is not None:
    timer.cancel()


def server_of(app: ASGIApp) -> uvicorn.Server:
  """Returns a server of an application; its `run` serves.

  Args:
    app: to serve.
  """
  return uvicorn.Server(
    uvicorn.Config(
      app,
      http=Connection,
      # Ours stays: uvicorn's own would close the handlers of others.
      log_config=None,
      log_level='error',
      ws='none',
      server_header=False,
      timeout_graceful_shutdown=_SECONDS_TO_END,
    )
  )
