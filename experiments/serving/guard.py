"""What every request must be, and what every response says of itself.

A page elsewhere on the web must neither read the server's answers, under a name
that it has pointed to this machine (DNS rebinding), nor send it files.
"""

import ipaddress
import urllib.parse
from collections.abc import Collection

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

# Where a response does not say otherwise; see app.py for the page.
_HEADERS = {
  'Content-Security-Policy': "default-src 'none'; frame-ancestors 'none'",
  'X-Content-Type-Options': 'nosniff',
  # Forms of the page say where they come from; see `_check_origin`.
  'Referrer-Policy': 'same-origin',
  'Cross-Origin-Resource-Policy': 'same-origin',
  'Cache-Control': 'no-store',
}
_READING = ('GET', 'HEAD')


class Guard:
  """Refuses requests under foreign names or from foreign pages.

  Addresses in numbers are always right: only a name can be pointed elsewhere.
  """

  def __init__(self, app: ASGIApp, names: Collection[str]):
    """Wraps an application.

    Args:
      app: to guard.
      names: of this machine that may stand in a request's `Host`.
    """
    self._app = app
    self._names = {'localhost', *(name.lower() for name in names)}

  async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
    """Handles a request, see ASGI."""
    if scope['type'] != 'http':
      await self._app(scope, receive, send)
      return

    async def send_with_headers(message: Message) -> None:
      if message['type'] == 'http.response.start':
        headers = MutableHeaders(scope=message)
        for name, value in _HEADERS.items():
          headers.setdefault(name, value)
      await send(message)

    refusal = self._refusal(scope['method'], Headers(scope=scope))
    app = self._app if refusal is None else refusal
    await app(scope, receive, send_with_headers)

  def _refusal(self, method: str, headers: Headers) -> JSONResponse | None:
    host = headers.get('host', '')
    if not self._is_ours(host):
      return JSONResponse(
        {'error': f'This server does not answer for the host {host!r}.'}, 421
      )
    if method not in _READING and not _is_from(host, headers):
      return JSONResponse(
        {'error': 'Requests from the pages of others are not answered.'}, 403
      )
    return None

  def _is_ours(self, host: str) -> bool:
    try:
      name = urllib.parse.urlsplit(f'//{host}').hostname or ''
    except ValueError:
      return False
    return name in self._names or _is_address(name)


def _is_address(name: str) -> bool:
  try:
    ipaddress.ip_address(name)
  except ValueError:
    return False
  return True


def _is_from(host: str, headers: Headers) -> bool:
  """Whether a request is from a page of that host, or from no page at all."""
  if headers.get('sec-fetch-site', 'none') not in ('same-origin', 'none'):
    return False
  origin = headers.get('origin')
  return origin is None or urllib.parse.urlsplit(origin).netloc == host
