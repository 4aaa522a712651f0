"""Where the processes of a run connect to the first one, besides by jax."""

import contextlib
import dataclasses
import errno
import json
import os
import secrets
import socket
import time
from collections.abc import Iterable
from typing import Any

# jax has connected all of them a moment before they meet here.
_MEETING_SECONDS = 60.0
# Whoever connects and says nothing is none of them.
_GREETING_SECONDS = 5.0


@dataclasses.dataclass(frozen=True)
class Member:
  """A process of a run.

  Attributes:
    index: among the processes of the run.
    pid: its number on its machine.
    host: name of its machine.
  """

  index: int
  pid: int
  host: str

  @classmethod
  def this_process(cls, index: int) -> 'Member':
    """Returns what this process is called."""
    return cls(index, os.getpid(), socket.gethostname())

  def __str__(self) -> str:
    return f'Process {self.index} of this run (pid {self.pid} on {self.host})'


class Connection:
  """Messages to and from one process, each a line."""

  def __init__(self, connected: socket.socket):
    self.socket = connected
    self._held = b''

  def send(self, message: dict[str, Any]) -> None:
    """Sends a message to a process that may no longer be there."""
    with contextlib.suppress(OSError):
      self.socket.sendall(json.dumps(message).encode() + b'\n')

  def receive(self) -> list[dict[str, Any]]:
    """Returns what has come, perhaps nothing whole yet.

    Raises:
      OSError: the other has closed it, or is lost.
    """
    received = self.socket.recv(1 << 16)
    if not received:
      raise ConnectionResetError(errno.ECONNRESET, 'closed by the other side')
    *lines, self._held = (self._held + received).split(b'\n')
    return [json.loads(line) for line in lines]

  def greeting(self) -> dict[str, Any]:
    """Returns the first message.

    Raises:
      OSError: it does not come in time.
      ValueError: it is none of ours.
    """
    self.socket.settimeout(_GREETING_SECONDS)
    while not (messages := self.receive()):
      pass
    self.socket.settimeout(None)
    return messages[0]


class Meeting:
  """Where the first process waits for the others."""

  def __init__(self, host: str):
    """Listens.

    Args:
      host: address to listen at; '' for all of this machine.
    """
    both = not host and socket.has_dualstack_ipv6()
    family = socket.AF_INET6 if both or ':' in host else socket.AF_INET
    self._server = socket.create_server(
      (host, 0), family=family, dualstack_ipv6=both, backlog=1024
    )
    self._secret = secrets.token_hex(16)

  @property
  def invitation(self) -> str:
    """What the others need to know besides the host."""
    return f'{self._server.getsockname()[1]} {self._secret}'

  def meet_all(
    self, me: Member, count: int, silence_seconds: int
  ) -> dict[Member, Connection]:
    """Returns the connections to all others.

    Args:
      me: the first process.
      count: of the processes of the run, this one included.
      silence_seconds: after which a machine counts as vanished.

    Raises:
      TimeoutError: some do not come; says which.
    """
    connections: dict[Member, Connection] = {}
    until = time.monotonic() + _MEETING_SECONDS
    with self._server:
      while len(connections) < count - 1:
        try:
          self._server.settimeout(max(until - time.monotonic(), 0.01))
          connected, _ = self._server.accept()
        except TimeoutError:
          raise TimeoutError(_missing(connections, count)) from None
        connection = Connection(connected)
        with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
          greeting = connection.greeting()
          if secrets.compare_digest(greeting['secret'], self._secret):
            _notice_vanishing(connected, silence_seconds)
            connection.send(dataclasses.asdict(me))
            connections[Member(**greeting['member'])] = connection
    return connections


def meet_first(
  host: str, invitation: str, me: Member, silence_seconds: int
) -> dict[Member, Connection]:
  """Returns the connection to the first process.

  Args:
    host: of the first process.
    invitation: of its `Meeting`.
    me: this process.
    silence_seconds: after which a machine counts as vanished.

  Raises:
    OSError: it cannot be reached.
  """
  port, secret = invitation.split()
  connected = socket.create_connection((host, int(port)), _MEETING_SECONDS)
  connection = Connection(connected)
  connection.send({'secret': secret, 'member': dataclasses.asdict(me)})
  first = Member(**connection.greeting())
  _notice_vanishing(connected, silence_seconds)
  return {first: connection}


def _missing(met: Iterable[Member], count: int) -> str:
  missing = sorted(set(range(1, count)) - {member.index for member in met})
  return f'no word from process {", ".join(map(str, missing))} of {count}'


def _notice_vanishing(connected: socket.socket, seconds: int) -> None:
  """Has the system ask whether the other machine is there, in silence."""
  connected.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
  # Where it can be set: a little before jax counts the process as dead.
  for name, value in (
    ('TCP_KEEPIDLE', seconds // 2),
    ('TCP_KEEPINTVL', seconds // 10),
    ('TCP_KEEPCNT', 3),
  ):
    if hasattr(socket, name):
      connected.setsockopt(
        socket.IPPROTO_TCP, getattr(socket, name), max(value, 1)
      )
