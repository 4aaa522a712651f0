"""What every request must be, and what every response says of itself.

A page elsewhere on the web must neither read the server's answers, under a name
that it has pointed to this machine (DNS rebinding), nor send it files. Who asks
from another machine must know a token.
"""

import hmac
import http.cookies
import ipaddress
import re
import urllib.parse
from collections.abc import Collection

from starlette.datastructures import Headers, MutableHeaders, QueryParams
from starlette.responses import JSONResponse, RedirectResponse, Response
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
# NAME or NAME:PORT, and nothing besides, see RFC 9110, 7.2. Names are those of
# the DNS, or addresses, in brackets those with colons.
_HOST = re.compile(
  r'(?:\[(?P<address>[0-9a-f:.]+)\]|(?P<name>[a-z0-9_-][a-z0-9._-]*))'
  r'(?::[0-9]{1,5})?',
  re.IGNORECASE,
)
# Machines that start and stop servers ask here, and learn nothing else.
_OPEN = '/healthz'
_COOKIE = 'perceiver-token'


class Guard:
  """Refuses requests under foreign names, from foreign pages, or of strangers.

  Addresses in numbers are always right: only a name can be pointed elsewhere.
  """

  def __init__(
    self, app: ASGIApp, names: Collection[str], token: str | None = None
  ):
    """Wraps an application.

    Args:
      app: to guard.
      names: of this machine that may stand in a request's `Host`.
      token: that a request must know, in `Authorization: Bearer TOKEN` or in
        the cookie that `/?token=TOKEN` gives; None asks nobody.
    """
    self._app = app
    self._names = {'localhost', *(name.lower() for name in names)}
    self._token = token

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

    headers = Headers(scope=scope)
    refusal = self._refusal(scope['method'], headers)
    if refusal is None and self._token is not None:
      refusal = self._unknown(scope, headers, self._token)
    app = self._app if refusal is None else refusal
    await app(scope, receive, send_with_headers)

  def _refusal(self, method: str, headers: Headers) -> JSONResponse | None:
    hosts = headers.getlist('host')
    host = hosts[0] if len(hosts) == 1 else ''
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
    found = _HOST.fullmatch(host)
    if not found:
      return False
    name = (found['address'] or found['name']).lower()
    return name in self._names or _is_address(name)

  def _unknown(
    self, scope: Scope, headers: Headers, token: str
  ) -> Response | None:
    """Answers who does not know the token, or sends it in an address."""
    if scope['path'] == _OPEN:
      return None
    asked = QueryParams(scope['query_string']).get('token', '')
    if scope['path'] == '/' and _same(asked, token):
      # So that it does not stay in the address.
      response = RedirectResponse('/', 303)
      response.set_cookie(_COOKIE, token, httponly=True, samesite='lax')
      return response
    kind, _, given = headers.get('authorization', '').partition(' ')
    if kind.lower() == 'bearer' and _same(given.strip(), token):
      return None
    if _same(_cookie(headers), token):
      return None
    return JSONResponse(
      {
        'error': 'This server asks for its token: open /?token=TOKEN, or send '
        'Authorization: Bearer TOKEN.'
      },
      401,
      {'WWW-Authenticate': 'Bearer'},
    )


def _same(given: str, token: str) -> bool:
  """Whether a token is right, in the same time wherever it is wrong."""
  return hmac.compare_digest(given.encode(), token.encode())


def _cookie(headers: Headers) -> str:
  try:
    cookies = http.cookies.SimpleCookie(headers.get('cookie', ''))
  except http.cookies.CookieError:
    return ''
  return cookies[_COOKIE].value if _COOKIE in cookies else ''


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
