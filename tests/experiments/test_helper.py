"""A helper process answers within limits, and what goes wrong is told."""

import concurrent.futures
import contextlib
import os
import pathlib
import signal
import socket
import sys
import time

import jax.numpy as jnp
import numpy as np
import pytest

from experiments.host.helper import Helper, LimitError, Limits
from experiments.host.helper_process import answer, resident_bytes
from experiments.host.plain import pack, unpack

LIMITS = Limits(seconds=2.0, most_bytes=2**28, most_answer_bytes=2**24)


# What the helper does here.


def sleep(seconds):
  time.sleep(seconds)


def turn_for_ever():
  while True:
    sum(range(10**6))


def deaf():
  """Takes for ever, in C, where Python hears no signal."""
  signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT, signal.SIGTERM])
  return hash((b'(' * 10,)) + 10 ** (10**9)


def take(num_bytes):
  return np.ones(num_bytes, np.uint8).sum().item()


def write(path):
  with open(path, 'wb') as file:
    file.write(b'x' * 100)
  return True


def open_many():
  files = []
  for _ in range(1000):
    files.append(open(os.devnull, 'rb'))  # noqa: SIM115
  return len(files)


def connect(port):
  socket.create_connection(('127.0.0.1', port), timeout=1).close()
  return True


def die(number):
  os.kill(os.getpid(), number)


def fail(kind, message):
  raise {'ValueError': ValueError, 'OSError': OSError, 'KeyError': KeyError}[
    kind
  ](message)


def lie():
  """Answers by itself, with something that is nothing."""
  for number in map(int, os.listdir('/proc/self/fd')):
    with contextlib.suppress(OSError):
      socket.socket(fileno=os.dup(number)).sendall(
        bytes(7) + b'\x05' + bytes(8)
      )
  os._exit(0)


def arrays(size):
  return {'ones': np.ones(size, np.uint8), 'name': 'x', 'pair': (1, [2.5])}


@pytest.fixture(scope='module')
def helper():
  with Helper(__name__, LIMITS) as helper:
    yield helper


def do(helper, function, *arguments):
  return helper.ask([function.__name__, arguments])


# Tests.


def test_an_answer_is_what_was_returned(helper):
  found = do(helper, arrays, 1000)
  assert found.pop('ones').tolist() == [1] * 1000
  assert found == {'name': 'x', 'pair': (1, [2.5])}


def test_many_may_ask_at_once(helper):
  with concurrent.futures.ThreadPoolExecutor(8) as pool:
    sizes = list(range(200))
    found = pool.map(lambda size: len(do(helper, arrays, size)['ones']), sizes)
    assert list(found) == sizes


@pytest.mark.parametrize(
  ('function', 'arguments'), [(sleep, (60,)), (turn_for_ever, ()), (deaf, ())]
)
def test_time_ends(helper, function, arguments):
  begin = time.monotonic()
  with pytest.raises(LimitError, match='takes more than 2 s'):
    do(helper, function, *arguments)
  assert time.monotonic() - begin < 20


@pytest.mark.skipif(sys.platform != 'linux', reason='The system has no limit.')
def test_memory_ends(helper):
  assert do(helper, take, 2**26) == 2**26
  with pytest.raises(LimitError, match='takes more than 268 MB of memory'):
    do(helper, take, 2**29)


def test_large_answers_are_refused(helper):
  assert len(do(helper, arrays, 2**24)['ones']) == 2**24
  with pytest.raises(LimitError, match='comes to more than 17 MB'):
    do(helper, arrays, 2**24 + 1)


def test_nothing_is_written(helper, tmp_path):
  with pytest.raises(OSError, match='File too large'):
    do(helper, write, str(tmp_path / 'x'))
  assert (tmp_path / 'x').stat().st_size == 0


def test_few_files_are_opened(helper):
  with pytest.raises(OSError, match='Too many open files'):
    do(helper, open_many)


@pytest.mark.skipif(sys.platform != 'linux', reason='Namespaces of Linux.')
def test_there_is_no_network(helper):
  if os.system('unshare --user --net true') != 0:
    pytest.skip('This system does not let users leave the network.')
  with socket.create_server(('127.0.0.1', 0)) as server:
    port = server.getsockname()[1]
    assert connect(port)
    with pytest.raises(OSError):
      do(helper, connect, port)


@pytest.mark.parametrize('number', [signal.SIGSEGV, signal.SIGKILL])
def test_a_reader_that_breaks_is_told_of(helper, number):
  with pytest.raises(LimitError, match=f'breaks its reader \\({number.name}'):
    do(helper, die, number)
  assert do(helper, take, 3) == 3


def test_errors_come_back_with_their_messages(helper):
  with pytest.raises(ValueError, match=r'^x is damaged$'):
    do(helper, fail, 'ValueError', 'x is damaged')
  with pytest.raises(OSError, match=r'^x is away$'):
    do(helper, fail, 'OSError', 'x is away')
  with pytest.raises(RuntimeError, match="KeyError: 'y'"):
    do(helper, fail, 'KeyError', 'y')


@pytest.mark.skipif(sys.platform != 'linux', reason='Looks into /proc.')
def test_what_lies_is_not_believed(helper):
  with pytest.raises((RuntimeError, LimitError)):
    do(helper, lie)
  assert do(helper, take, 3) == 3


def children(pid):
  found = []
  for file in pathlib.Path(f'/proc/{pid}/task').glob('*/children'):
    # A thread may end while others are looked at.
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
      found += map(int, file.read_text().split())
  return found


@pytest.mark.skipif(sys.platform != 'linux', reason='Looks into /proc.')
def test_one_that_died_is_replaced_and_none_is_left():
  before = set(children(os.getpid()))
  with Helper(__name__, LIMITS) as helper:
    (first,) = set(children(os.getpid())) - before
    assert do(helper, take, 3) == 3
    os.kill(first, signal.SIGKILL)
    until = time.monotonic() + 20
    while helper._process.poll() is None:
      assert time.monotonic() < until
      time.sleep(0.01)
    assert do(helper, take, 4) == 4
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
      waiting = pool.submit(do, helper, sleep, 60)
      while not (grand := children(helper._process.pid)):
        time.sleep(0.01)
      helper.__exit__()
      with pytest.raises((RuntimeError, LimitError)):
        waiting.result(20)
  assert set(children(os.getpid())) == before
  for pid in grand:
    assert not pathlib.Path(f'/proc/{pid}').exists() or (
      'State:\tZ' in pathlib.Path(f'/proc/{pid}/status').read_text()
    )
  with pytest.raises(RuntimeError, match='not there any more'):
    do(helper, take, 3)


def test_the_memory_of_a_process_is_that_of_ps():
  held = np.ones(2**25, np.uint8)
  assert held.nbytes < resident_bytes(os.getpid()) < 2**36
  assert resident_bytes(2**22 + 1) == 0


def test_plain_trees_come_back():
  one = np.arange(6, dtype='>f4').reshape(2, 3)[:, ::2]
  tree = {
    ('a', 1): [one, one, None],
    'half': np.asarray(jnp.arange(3, dtype=jnp.bfloat16)),
    'none': np.zeros((0, 4)),
    'scalar': np.array(7),
  }
  text, parts = pack(tree)
  found = unpack(text, bytearray(b''.join(parts)))
  assert found['a', 1][0] is found['a', 1][1]
  assert found['a', 1][0].tolist() == [[0, 2], [3, 5]]
  assert found['half'].dtype == jnp.bfloat16
  assert found['half'].tolist() == [0, 1, 2]
  assert found['none'].shape == (0, 4) and found['scalar'] == 7


@pytest.mark.parametrize(
  'text',
  [
    '',
    '[]',
    '{"tree": {"array": 1}, "arrays": []}',
    '{"tree": 1, "arrays": [["O", [1], 0]]}',
    '{"tree": 1, "arrays": [["<f4", [-1], 0]]}',
    '{"tree": 1, "arrays": [["<f4", [3], 0]]}',
    '{"tree": 1, "arrays": [["<f4", [1], -4]]}',
    '{"tree": 1, "arrays": [["nothing", [1], 0]]}',
    '{"tree": ' + 9999 * '{"list": [' + 9999 * ']}' + ', "arrays": []}',
    '{"tree": {"keys": [1], "values": []}, "arrays": []}',
  ],
)
def test_what_is_no_plain_tree_is_refused(text):
  with pytest.raises(ValueError):
    unpack(text.encode(), bytearray(8))


if __name__ == '__main__':
  answer(lambda request: globals()[request[0]](*request[1]))
