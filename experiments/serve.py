"""Serves a trained model as a web page, and to programs.

  python -m experiments.serve --workdir=runs/digits
  python -m experiments.serve --workdir=runs/digits --port=0 --max_megabytes=8

prints an address of this machine. Drop a file on the page there, and it shows
what the model says of it, and what its latents look at. To programs:

  curl -F file=@seven.png http://127.0.0.1:8000/api/predict
  curl --json '{"text": "Hello"}' http://127.0.0.1:8000/api/predict

answer with JSON; /api/predict?top=10 names more classes, ?show=1 adds pictures
and files; /api/attention answers with the page of attention, /api/run says what
the model takes, /healthz whether it answers, /metrics what was counted
(Prometheus). Requests that come at once go through the model together. Files
are read in a helper process with limits, and deleted once they are answered.
With a --host that others can reach, requests must know a token. Each request is
a line of JSON on standard error. Needs the extra 'serve'. Ctrl-C or SIGTERM
ends it, once what is being answered is answered.
"""

import contextlib
import importlib.util
import ipaddress
import pathlib
import re
import secrets
import signal
import socket
import sys

from absl import flags

from experiments.host import command_line
from experiments.host.compilation_cache import start_keeping
from experiments.host.helper import MEGABYTE
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
_TOKEN_FILE = flags.DEFINE_string(
  'token_file',
  None,
  'File with the token that requests must know. Default: none on this machine '
  'alone, a new one where others can reach --host.',
)
_LEAST_TOKEN = 16
_PACKAGES = ('starlette', 'uvicorn', 'python_multipart')


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


def token_for(host: str, token_file: str | None) -> str | None:
  """Returns the token that requests must know; None where nobody is asked.

  Args:
    host: that is listened at.
    token_file: has a token; None for a new one where others can reach the host.

  Raises:
    ValueError: the file has no token.
    OSError: it cannot be read.
  """
  if token_file is not None:
    token = pathlib.Path(token_file).read_text('utf-8').strip()
    if len(token) < _LEAST_TOKEN or not re.fullmatch(
      r'[\w.~+/=-]+', token, re.ASCII
    ):
      raise ValueError(
        f'--token_file={token_file} should have a token of {_LEAST_TOKEN} or '
        'more letters and digits, such as `openssl rand -hex 16` makes.'
      )
    return token
  return None if is_loopback(host) else secrets.token_urlsafe()


def is_loopback(host: str) -> bool:
  """Returns whether only this machine can reach a host."""
  found = socket.getaddrinfo(host or '0.0.0.0', None, type=socket.SOCK_STREAM)
  return all(
    ipaddress.ip_address(address[0].partition('%')[0]).is_loopback
    for *_, address in found
  )


def greeting(address: str, host: str, token: str | None) -> list[str]:
  """Returns what is said at the start.

  Args:
    address: of the server.
    host: that is listened at.
    token: that requests must know.
  """
  query = '' if token is None else f'/?token={token}'
  lines = [f'Serving at {address}{query} until Ctrl-C.']
  if not is_loopback(host):
    lines.append(
      f'Exposed: whoever can reach {host} and knows the token may send files, '
      'ask this model and see its classes, its attention and /metrics; '
      '/healthz answers anybody. Nothing is encrypted: beyond a network that '
      'you trust, put a proxy with TLS before it.'
    )
  return lines


def main() -> None:
  """Serves until Ctrl-C or SIGTERM."""
  check_packages()
  from experiments.serving.app import make_app
  from experiments.serving.connections import server_of

  host = _HOST.value
  with listen(host, _PORT.value) as listening:
    token = token_for(host, _TOKEN_FILE.value)
    configure_backend()
    start_keeping()
    app = make_app(
      chosen_run.load(),
      most_bytes=round(MEGABYTE * _MAX_MEGABYTES.value),
      most_waiting=_MAX_WAITING.value,
      names=(host, socket.gethostname()),
      token=token,
      log=lambda line: print(line, file=sys.stderr, flush=True),
    )
    port = listening.getsockname()[1]
    address = f'http://{f"[{host}]" if ":" in host else host}:{port}'
    print('\n'.join(greeting(address, host, token)), flush=True)
    # uvicorn stops for a signal, and raises it again in the end.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with contextlib.suppress(KeyboardInterrupt):
      server_of(app).run(sockets=[listening])


if __name__ == '__main__':
  command_line.run(main)
