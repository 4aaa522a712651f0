"""Processes of a run learn of each other's end; here, all are in this one."""

import contextlib
import queue
import socket
import threading
import time

import pytest

from experiments.host import meeting
from experiments.host.meeting import Meeting, Member, meet_first
from experiments.host.peers import START_AGAIN, Ending, Peers


def member(index):
  return Member(index, 100 + index, f'host-{index}')


class Run:
  """The connections of three processes, and what becomes known to each."""

  def __init__(self):
    place = Meeting('127.0.0.1')
    met = {}
    first = threading.Thread(
      target=lambda: met.update(place.meet_all(member(0), 3, 100))
    )
    first.start()
    connections = [
      meet_first('127.0.0.1', place.invitation, member(index), 100)
      for index in (1, 2)
    ]
    first.join()
    self.connections = [met, *connections]
    self.known = [queue.Queue() for _ in range(3)]
    self.peers = [
      Peers(member(index), each, self.known[index].put)
      for index, each in enumerate(self.connections)
    ]

  def knows(self, index):
    """What a process learns, soon."""
    return self.known[index].get(timeout=100.0)

  def die(self, index):
    """What the system does with a process's connections; it sees nothing."""
    self.peers[index]._ending.acquire(blocking=False)
    for connection in self.connections[index].values():
      with contextlib.suppress(OSError):  # The other side has.
        connection.socket.shutdown(socket.SHUT_RDWR)


def test_all_learn_who_died():
  run = Run()
  run.die(2)
  for index in (0, 1):
    ending = run.knows(index)
    assert ending.member == member(2)
    assert ending.code == START_AGAIN == 75
    assert str(ending).startswith(
      'Process 2 of this run (pid 102 on host-2) died; see what it printed'
    )
  # What follows from that death is no news.
  run.die(0)
  assert run.known[1].empty()


def test_all_learn_of_the_death_of_the_first():
  run = Run()
  run.die(0)
  assert [run.knows(index).member for index in (1, 2)] == [member(0)] * 2


@pytest.mark.parametrize('index', [0, 1])
def test_all_learn_why_one_fails(index):
  run = Run()
  failing = threading.Thread(
    target=run.peers[index].tell, args=('failed: no data.\nNone.', 2)
  )
  failing.start()
  expected = Ending(member(index), 'failed: no data.\nNone.', 2)
  for other in {0, 1, 2} - {index}:
    assert run.knows(other) == expected
    run.die(other)  # As `processes` does then; the first waits for it.
  failing.join(100.0)
  assert not failing.is_alive()


def test_who_has_ended_well_does_not_count():
  run = Run()
  run.peers[1].part()
  run.die(1)
  time.sleep(0.2)
  assert run.known[0].empty()
  run.die(2)  # Others are still watched.
  assert run.knows(0).member == member(2)
  run.die(0)
  assert run.known[1].empty()


def test_an_own_error_is_not_reported_after_news():
  run = Run()
  run.die(2)
  run.knows(0)
  waiting = threading.Thread(target=run.peers[0].await_news, daemon=True)
  waiting.start()
  waiting.join(2.0)
  assert waiting.is_alive()


def test_news_is_not_followed_after_an_own_error():
  run = Run()
  run.peers[0].await_news()  # Returns: there is none.
  run.die(2)
  time.sleep(0.2)  # Followed, there would be two lines.
  assert run.known[0].empty()


def test_strangers_are_left_out_and_the_missing_named(monkeypatch):
  monkeypatch.setattr(meeting, '_MEETING_SECONDS', 1.0)
  monkeypatch.setattr(meeting, '_GREETING_SECONDS', 0.1)
  place = Meeting('127.0.0.1')
  port, _ = place.invitation.split()
  with (
    socket.create_connection(('127.0.0.1', int(port))) as silent,
    socket.create_connection(('127.0.0.1', int(port))) as stranger,
  ):
    stranger.sendall(b'{"secret": "guess", "member": {"index": 1}}\n')
    with pytest.raises(TimeoutError, match='no word from process 1, 2 of 3'):
      place.meet_all(member(0), 3, 100)
    assert silent.recv(1) == b''


def test_a_machine_that_vanishes_is_asked_before_jax_counts_it_as_dead():
  (connection,) = Run().connections[1].values()

  def option(name):
    return connection.socket.getsockopt(
      socket.IPPROTO_TCP, getattr(socket, name)
    )

  assert connection.socket.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
  idle, interval = option('TCP_KEEPIDLE'), option('TCP_KEEPINTVL')
  assert idle + interval * option('TCP_KEEPCNT') == 80 < 100
