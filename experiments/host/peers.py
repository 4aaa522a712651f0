"""How the processes of a run learn at once that one of them has ended.

Each of the others holds a connection to the first. The system closes it when a
process dies, however it dies and whatever the others are doing then: computing,
compiling, writing a checkpoint, waiting for it. A process that fails says why
before it goes. The first passes the news on, and goes last: jax's own service
lives in it, and without that jax ends the others, with pages of stacks.

A machine that vanishes closes nothing: the system asks it, now and then,
whether it is there.
"""

import dataclasses
import errno
import os
import selectors
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from experiments.host.meeting import Connection, Member

# What 'try again' is in sysexits.h.
START_AGAIN = os.EX_TEMPFAIL
AGAIN = (
  'Run the same command for all processes again: it goes on from the last '
  'checkpoint.'
)
# The death of a process breaks other connections, too, and an error of those
# may be seen before the news of it is here.
_NEWS_SECONDS = 1.0
# For the others to go before the first does.
_GOING_SECONDS = 3.0
_WELL: dict[str, Any] = {}


@dataclasses.dataclass(frozen=True)
class Ending:
  """How a process has ended.

  Attributes:
    member: the process.
    what: it did, for whoever reads of it.
    code: to end with on account of it.
  """

  member: Member
  what: str
  code: int

  def __str__(self) -> str:
    return f'{self.member} {self.what}'


class Peers:
  """The connections of a process to the others of its run.

  The first is connected to all, each of the others to the first.
  """

  def __init__(
    self,
    me: Member,
    connections: Mapping[Member, Connection],
    follow: Callable[[Ending], None],
  ):
    """Watches them from now on.

    Args:
      me: this process.
      connections: from `meet_all` or `meet_first`.
      follow: is called once, in a thread, when another process has ended: ends
        this one.
    """
    self._me = me
    self._connections = connections
    self._follow = follow
    self._present = set(connections)
    self._gone = threading.Condition()
    self._ending = threading.Lock()
    self._begun = False  # By the thread that computes.
    threading.Thread(target=self._watch, daemon=True).start()

  def await_news(self) -> None:
    """Waits a moment; returns unless another process has ended.

    From then on this one is ending, and no news of others counts: one line is
    printed, its own or theirs.
    """
    time.sleep(_NEWS_SECONDS)
    self._begin_ending()

  def tell(self, what: str, code: int) -> None:
    """Says how this process is about to end; waits for those to go before it.

    Does not return when another process has ended before.

    Args:
      what: the others print.
      code: the others end with.
    """
    self._begin_ending()
    self._pass_on(Ending(self._me, what, code))
    self.await_others()

  def part(self) -> None:
    """Says that this process has ended well. No news counts any more."""
    self._begin_ending()
    for connection in self._connections.values():
      connection.send(_WELL)

  def await_others(self) -> None:
    """In the first, waits until the others have gone; not for long."""
    with self._gone:
      self._gone.wait_for(
        lambda: all(member.index == 0 for member in self._present),
        _GOING_SECONDS,
      )

  def _begin_ending(self) -> None:
    # Where the thread of `_watch` has, it ends the process: wait for that.
    if not self._begun:
      self._ending.acquire()
      self._begun = True

  def _pass_on(self, ending: Ending) -> None:
    for member in self._connections.keys() - {ending.member}:
      self._connections[member].send(dataclasses.asdict(ending))

  def _watch(self) -> None:
    """Reads what the others say until all of them have gone."""
    with selectors.DefaultSelector() as selector:
      for member, connection in self._connections.items():
        selector.register(connection.socket, selectors.EVENT_READ, member)
      while selector.get_map():
        for key, _ in selector.select():
          if not self._hear(key.data):
            selector.unregister(key.fileobj)

  def _hear(self, member: Member) -> bool:
    """Returns whether a process that says something is still there."""
    try:
      messages = self._connections[member].receive()
    except OSError as error:
      lost = error.errno in (errno.ETIMEDOUT, errno.EHOSTUNREACH)
      self._lose(member, 'cannot be reached' if lost else 'died')
      return False
    for message in messages:
      if message == _WELL:
        self._leave_out(member)
        return False
      self._act(
        Ending(Member(**message['member']), message['what'], message['code'])
      )
    return True

  def _lose(self, member: Member, how: str) -> None:
    self._leave_out(member)
    self._act(
      Ending(
        member,
        f'{how}; see what it printed last. {AGAIN}',
        START_AGAIN,
      )
    )

  def _leave_out(self, member: Member) -> None:
    with self._gone:
      self._present.discard(member)
      self._gone.notify_all()

  def _act(self, ending: Ending) -> None:
    if self._ending.acquire(blocking=False):
      self._pass_on(ending)
      # Meanwhile this thread sees the others go.
      threading.Thread(target=self._follow, args=(ending,), daemon=True).start()
