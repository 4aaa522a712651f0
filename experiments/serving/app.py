"""Routes of the server; it knows requests and responses, and no models."""

import asyncio
import base64
import contextlib
import functools
import hashlib
import importlib.resources
import logging
import string
from collections.abc import AsyncIterator, Collection
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from experiments.runs.trained import TrainedRun
from experiments.serving.batching import Batcher
from experiments.serving.guard import Guard
from experiments.serving.replies import Replies
from experiments.serving.sizes import whole_number
from experiments.serving.uploads import Limits, Unreadable, received

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
_TOP = 5
# More would be a page of numbers.
_MOST_TOP = 1000


def make_app(
  run: TrainedRun,
  *,
  most_bytes: int,
  most_waiting: int,
  names: Collection[str] = (),
) -> ASGIApp:
  """Returns the application.

  Args:
    run: that answers.
    most_bytes: of a request.
    most_waiting: requests that are taken in, wait or are answered at a time.
    names: of this machine, besides localhost and its addresses, that a request
      may be for.

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
    ],
    exception_handlers={HTTPException: _refused},
    lifespan=routes.lifespan,
  )
  return Guard(app, names)


class _Routes:
  """What is done for each address."""

  def __init__(self, run: TrainedRun, most_bytes: int, most_waiting: int):
    self._run = run
    self._replies = Replies(run)
    self._limits = Limits(self._replies.files, most_bytes)
    self._most_waiting, self._waiting = most_waiting, 0
    self._page = _page()

  @contextlib.asynccontextmanager
  async def lifespan(self, app: Starlette) -> AsyncIterator[None]:
    """Holds the thread of the model."""
    del app
    self._batcher = Batcher(self._run)
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
    return JSONResponse(
      {'status': 'ok' if is_alive else 'stopped', 'waiting': self._waiting},
      200 if is_alive else 503,
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
    if self._waiting >= self._most_waiting:
      raise HTTPException(
        503, 'Too many requests at once. Try again.', {'Retry-After': '1'}
      )
    self._waiting += 1
    try:
      async with received(request, self._limits) as upload:
        future = self._batcher.submit(
          upload.read, functools.partial(finish, upload.name)
        )
        return await asyncio.wrap_future(future)
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
    finally:
      self._waiting -= 1


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
