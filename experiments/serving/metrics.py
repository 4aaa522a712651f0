"""What a server counts, as Prometheus and logs take it."""

import collections
import datetime
import json
import resource
import sys
import time
from collections.abc import Callable, Collection, Mapping
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

# Seconds of an answer, up to each.
_BUCKETS = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0)
_OTHER = 'other'
# Asked again and again by machines.
_UNSAID = ('/healthz', '/metrics')
# Of the most memory that a process had, as the system counts it.
_PEAK_UNIT = 1 if sys.platform == 'darwin' else 1024


class Metrics:
  """Counts requests; only one thread calls it."""

  def __init__(self):
    """Nothing has come yet."""
    self._requests: collections.Counter[tuple[str, int]] = collections.Counter()
    self._seconds: dict[str, list[float]] = {}

  def count(self, route: str, status: int, seconds: float) -> None:
    """Counts a request that was answered.

    Args:
      route: its path, of a closed set.
      status: of the answer.
      seconds: that it took.
    """
    self._requests[route, status] += 1
    sums = self._seconds.setdefault(route, [0.0] * (len(_BUCKETS) + 2))
    for i, most in enumerate(_BUCKETS):
      sums[i] += seconds <= most
    sums[-2] += 1
    sums[-1] += seconds

  def text(
    self, gauges: Mapping[str, float], totals: Mapping[str, float]
  ) -> str:
    """Returns all in the text format of Prometheus, version 0.0.4.

    Args:
      gauges: numbers that go up and down, by their names.
      totals: numbers that only go up, by their names without `_total`.
    """
    lines = ['# TYPE perceiver_requests_total counter']
    lines += [
      f'perceiver_requests_total{{route="{route}",status="{status}"}} {count}'
      for (route, status), count in sorted(self._requests.items())
    ]
    lines.append('# TYPE perceiver_request_seconds histogram')
    for route, (*counts, total, seconds) in sorted(self._seconds.items()):
      for most, count in zip(
        (*_BUCKETS, '+Inf'), (*counts, total), strict=True
      ):
        lines.append(
          f'perceiver_request_seconds_bucket{{route="{route}",le="{most}"}} '
          f'{count:.0f}'
        )
      lines += [
        f'perceiver_request_seconds_sum{{route="{route}"}} {seconds:.6f}',
        f'perceiver_request_seconds_count{{route="{route}"}} {total:.0f}',
      ]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _PEAK_UNIT
    for kind, values in (
      ('gauge', {**gauges, 'peak_memory_bytes': peak}),
      ('counter', {f'{name}_total': x for name, x in totals.items()}),
    ):
      for name, value in values.items():
        lines += [
          f'# TYPE perceiver_{name} {kind}',
          f'perceiver_{name} {value}',
        ]
    return '\n'.join(lines) + '\n'


class Watched:
  """Counts the requests of an application, and says a line of each."""

  def __init__(
    self,
    app: ASGIApp,
    metrics: Metrics,
    routes: Collection[str],
    log: Callable[[str], None] | None,
  ):
    """Wraps an application.

    Args:
      app: to watch.
      metrics: count.
      routes: paths that are told by their names.
      log: takes a line of JSON for each request of people and programs; None
        says nothing.
    """
    self._app, self._metrics, self._log = app, metrics, log
    self._routes = frozenset(routes)

  async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
    """Handles a request, see ASGI."""
    if scope['type'] != 'http':
      await self._app(scope, receive, send)
      return
    begin, seen = time.monotonic(), {'status': 500, 'bytes': 0}

    async def receive_and_count() -> Message:
      message = await receive()
      seen['bytes'] += len(message.get('body', b''))
      return message

    async def send_and_see(message: Message) -> None:
      if message['type'] == 'http.response.start':
        seen['status'] = message['status']
      await send(message)

    try:
      await self._app(scope, receive_and_count, send_and_see)
    finally:
      seconds = time.monotonic() - begin
      route = scope['path'] if scope['path'] in self._routes else _OTHER
      self._metrics.count(route, seen['status'], seconds)
      if self._log is not None and route not in _UNSAID:
        self._log(_line(scope, route, seconds, seen))


def _line(
  scope: Scope, route: str, seconds: float, seen: Mapping[str, int]
) -> str:
  now = datetime.datetime.now(datetime.UTC)
  client: Any = scope.get('client')
  return json.dumps(
    {
      'time': now.isoformat(timespec='milliseconds'),
      'from': client[0] if client else None,
      'method': scope['method'],
      'route': route,
      **seen,
      'seconds': round(seconds, 4),
    }
  )
