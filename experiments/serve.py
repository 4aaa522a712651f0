"""Serves a trained model as a web page, and to programs.

  python -m experiments.serve --workdir=runs/digits
  python -m experiments.serve --workdir=runs/digits --port=0 --max_megabytes=8

prints an address of this machine. Drop a file on the page there, and it shows
what the model says of it, and what its latents look at. To programs:

  curl -F file=@seven.png http://127.0.0.1:8000/api/predict
  curl --json '{"text": "Hello"}' http://127.0.0.1:8000/api/predict

answer with JSON; /api/predict?top=10 names more classes, ?show=1 adds pictures
and files; /api/attention answers with the page of attention, /api/run says what
the model takes, /healthz whether it answers. Requests that come at once go
through the model together. Files are deleted once they are answered. Nobody is
asked who they are: with another --host, everybody who can reach it may ask.
Needs the extra 'serve'. Ctrl-C ends it.
"""

import contextlib
import importlib.util
import socket

from absl import flags

from experiments.host import command_line
from experiments.host.compilation_cache import start_keeping
from experiments.runs import chosen_run
from experiments.stepping.parallelism import configure_backend

_HOST = flags.DEFINE_string(
  'host', '127.0.0.1', 'Address to listen at. Default: this machine only.'
)
_PORT = flags.DEFINE_integer(
  'port', 8000, 'Port; 0 is any that is free.', lower_bound=0, upper_bound=65535
)
_MAX_MEGABYTES = flags.DEFINE_float(
  'max_megabytes', 32.0, 'Largest request, in megabytes.', lower_bound=0.001
)
_MAX_WAITING = flags.DEFINE_integer(
  'max_waiting', 64, 'Requests at a time; more are put off.', lower_bound=1
)
_PACKAGES = ('starlette', 'uvicorn', 'python_multipart')
# After Ctrl-C, for requests that are being answered.
_SECONDS_TO_END = 10


def check_packages() -> None:
  """Raises a ValueError where a package of the extra 'serve' is missing."""
  missing = [name for name in _PACKAGES if not importlib.util.find_spec(name)]
  if missing:
    raise ValueError(
      f'Serving needs {", ".join(missing)}: pip install '
      "'perceiver-haiku[serve]', or pip install -e '.[serve]' in the project."
    )


def listen(host: str, port: int) -> socket.socket:
  """Returns a socket that listens.

  Args:
    host: name or address.
    port: 0 for any that is free.

  Raises:
    ValueError: it cannot be had.
  """
  try:
    family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
    return socket.create_server((host, port), family=family)
  except OSError as error:
    raise ValueError(
      f'Cannot listen at --host={host} --port={port} ({error.strerror}). '
      '--port=0 takes any port that is free.'
    ) from error


def main() -> None:
  """Serves until Ctrl-C."""
  check_packages()
  import uvicorn

  from experiments.serving.app import make_app

  configure_backend()
  start_keeping()
  app = make_app(
    chosen_run.load(),
    most_bytes=round(1e6 * _MAX_MEGABYTES.value),
    most_waiting=_MAX_WAITING.value,
    names=(_HOST.value, socket.gethostname()),
  )
  with listen(_HOST.value, _PORT.value) as listening:
    host = f'[{_HOST.value}]' if ':' in _HOST.value else _HOST.value
    port = listening.getsockname()[1]
    print(f'Serving at http://{host}:{port} until Ctrl-C.', flush=True)
    server = uvicorn.Server(
      uvicorn.Config(
        app,
        # Ours stays: uvicorn's own would close the handlers of others.
        log_config=None,
        log_level='warning',
        ws='none',
        server_header=False,
        timeout_graceful_shutdown=_SECONDS_TO_END,
      )
    )
    with contextlib.suppress(KeyboardInterrupt):  # Raised again in the end.
      server.run(sockets=[listening])


if __name__ == '__main__':
  command_line.run(main)
