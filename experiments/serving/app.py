"""Routes of the server; it knows requests and responses, and no models."""

import asyncio
import base64
import contextlib
import functools
import hashlib
import importlib.resources
import logging
import os
import string
from collections.abc import AsyncIterator, Callable, Collection
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import (
  HTMLResponse,
  JSONResponse,
  PlainTextResponse,
  Response,
)
from starlette.routing import Route
from starlette.types import ASGIApp

from experiments.runs.reading_apart import SERVED, reading_apart
from experiments.runs.trained import TrainedRun
from experiments.serving.batching import Batcher
from experiments.serving.guard import Guard
from experiments.serving.metrics import Metrics, Watched
from experiments.serving.pace import Places, too_many
from experiments.serving.replies import Replies
from experiments.serving.sizes import whole_number
from experiments.serving.uploads import Limits, Unreadable, Upload, received

_ROOM = importlib.resources.files('experiments.serving')
_PAGE_POLICY = (
  "default-src 'none'; script-src 'sha256-{digest}'; style-src "
  "'unsafe-inline'; img-src data: blob:; media-src data: blob:; connect-src "
  "'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
# The page of attention shows a sender's words: it gets no rights here at all.
_ATTENTION_POLICY = (
  "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; "
  "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
  'sandbox allow-scripts'
)
_PROMETHEUS = 'text/plain; version=0.0.4; charset=utf-8'
_TOP = 5
# More would be a page of numbers.
_MOST_TOP = 1000
# For each place of those that wait for the model, so many to send.
_SENDING_PLACES = 4
# Each has a core, but that of the model.
_LEAST_READERS = 2


def make_app(
  run: TrainedRun,
  *,
  most_bytes: int,
  most_waiting: int,
  names: Collection[str] = (),
  token: str | None = None,
  log: Callable[[str], None] | None = None,
) -> ASGIApp:
  """Returns the application.

  Args:
    run: that answers.
    most_bytes: of a request.
    most_waiting: requests that are read, wait or are answered at a time.
    names: of this machine, besides localhost and its addresses, that a request
      may be for.
    token: that a request must know; None asks nobody.
    log: takes a line of JSON for each request; None says nothing.

  Raises:
    ValueError: the run does not answer files or texts.
  """
  routes = _Routes(run, most_bytes, most_waiting)
  app = Starlette(
    routes=[
      Route('/', routes.page),
      Route('/api/run', routes.about),
      Route('/api/predict', routes.predict, methods=['POST']),
      Route('/api/attention', routes.attention, methods=['POST']),
      Route('/healthz', routes.health),
      Route('/metrics', routes.metrics),
    ],
    exception_handlers={HTTPException: _refused},
    lifespan=routes.lifespan,
  )
  paths = [route.path for route in app.routes]
  return Watched(Guard(app, names, token), routes.counted, paths, log)


class _Routes:
  """What is done for each address."""

  def __init__(self, run: TrainedRun, most_bytes: int, most_waiting: int):
    self._run = run
    self._replies = Replies(run)
    self._limits = Limits(self._replies.files, most_bytes)
    # Read, waiting for the model or answered; being sent is another thing.
    self._most_waiting, self._waiting = most_waiting, 0
    self._places = Places(_SENDING_PLACES * most_waiting)
    self._page = _page()
    self.counted = Metrics()

  @contextlib.asynccontextmanager
  async def lifespan(self, app: Starlette) -> AsyncIterator[None]:
    """Holds the helper that reads, and the thread of the model."""
    del app
    readers = max(_LEAST_READERS, (os.cpu_count() or 1) - 1)
    with reading_apart(SERVED):
      self._batcher = Batcher(self._run, readers)
      try:
        yield
      finally:
        await asyncio.to_thread(self._batcher.close)

  async def page(self, request: Request) -> Response:
    """The page where files are dropped."""
    del request
    return self._page

  async def about(self, request: Request) -> Response:
    """What the run is, and what it takes."""
    del request
    return JSONResponse(self._replies.about(self._limits))

  async def health(self, request: Request) -> Response:
    """Whether requests are answered, and how many are at work."""
    del request
    is_alive = self._batcher.is_alive()
    waiting = self._waiting + len(self._places)
    return JSONResponse(
      {'status': 'ok' if is_alive else 'stopped', 'waiting': waiting},
      200 if is_alive else 503,
    )

  async def metrics(self, request: Request) -> Response:
    """What was counted, for Prometheus."""
    del request
    counts = dict(self._batcher.counts())
    gauges = {
      'requests_sending': len(self._places),
      'requests_waiting': self._waiting,
      'inputs_ready': counts.pop('ready'),
    }
    return PlainTextResponse(
      self.counted.text(gauges, counts), media_type=_PROMETHEUS
    )

  async def predict(self, request: Request) -> Response:
    """What the model says of an input."""
    finish = functools.partial(
      self._replies.answer,
      top=_number(request, 'top', 1, _MOST_TOP, default=_TOP),
      show=bool(_number(request, 'show', 0, 1, default=0)),
    )
    return JSONResponse(await self._ask(request, finish))

  async def attention(self, request: Request) -> Response:
    """The page of what the model's latents look at in an input."""
    part = _number(request, 'part', 0, _MOST_TOP, default=0)
    finish = functools.partial(self._replies.attention, part=part)
    return HTMLResponse(
      await self._ask(request, finish),
      headers={'Content-Security-Policy': _ATTENTION_POLICY},
    )

  async def _ask(self, request: Request, finish: Any) -> Any:
    """Puts the input of a request to the model."""
    self._check_room()
    try:
      async with received(request, self._limits, self._places) as upload:
        self._check_room()  # Others were faster.
        return await self._answered(upload, finish)
    except Unreadable as error:
      raise HTTPException(422, str(error)) from error
    except HTTPException:
      raise
    except Exception as error:  # pylint: disable=broad-exception-caught
      # Here, and not in the server: it would hang up on its next request.
      logging.getLogger(__name__).exception('A request was not answered.')
      raise HTTPException(
        500,
        f'The server made a mistake ({type(error).__name__}); its output says '
        'more. It goes on answering others.',
      ) from error

  async def _answered(self, upload: Upload, finish: Any) -> Any:
    self._waiting += 1
    try:
      future = self._batcher.submit(
        upload.read, functools.partial(finish, upload.name)
      )
      return await asyncio.wrap_future(future)
    finally:
      self._waiting -= 1

  def _check_room(self) -> None:
    """Raises an HTTPException where too many requests are at work."""
    if self._waiting >= self._most_waiting:
      raise too_many()


def _page() -> Response:
  """Puts style and script into the page; nothing else may run in it."""
  page, style, script = (
    _ROOM.joinpath(f'page.{ending}').read_text(encoding='utf-8')
    for ending in ('html', 'css', 'js')
  )
  digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
  return HTMLResponse(
    string.Template(page).substitute(style=style, script=script),
    headers={'Content-Security-Policy': _PAGE_POLICY.format(digest=digest)},
  )


def _number(
  request: Request, name: str, lowest: int, highest: int, *, default: int
) -> int:
  """Returns a number of a request's query."""
  text = request.query_params.get(name, str(default))
  number = whole_number(text)
  if number is None or not lowest <= number <= highest:
    raise HTTPException(
      400, f'{name} must be a number from {lowest} to {highest}.'
    )
  return int(text)


async def _refused(request: Request, error: Exception) -> Response:
  """A request that cannot be answered, and why."""
  del request
  return JSONResponse(
    {'error': error.detail}, error.status_code, headers=error.headers
  )
