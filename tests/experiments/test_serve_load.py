"""Fifty clients at once, a third hostile: 2,000 requests of one server."""

import collections
import http.client
import json
import pathlib
import random
import re
import struct
import sys
import threading
import time
import zlib

import numpy as np
import pytest

from tests.experiments.test_serve_limits import png
from tests.served import served_apart

CLIENTS = 50
REQUESTS = 2_000
MOST_SECONDS_TO_END = 30
# What the process may grow by, in the second half of the requests.
MOST_GROWTH = 60_000  # KiB


def form(data, name='a.png'):
  body = (
    f'--x\r\nContent-Disposition: form-data; name="file"; filename="{name}"'
    '\r\n\r\n'
  ).encode()
  return body + data + b'\r\n--x--\r\n'


HEAD = {'Content-Type': 'multipart/form-data; boundary=x'}


def post(connection, body, path='/api/predict', headers=HEAD):
  connection.request('POST', path, body, headers)
  response = connection.getresponse()
  return response.status, response.read()


# What hostile clients do; each returns a status, or None of no answer.


def large_picture(address, rng):
  del rng
  return post(address(), form(png(3000)))[0]


def picture_that_lies(address, rng):
  """States 400 million pixels, and has none."""
  del rng
  body = struct.pack('>IIBBBBB', 20_000, 20_000, 8, 0, 0, 0, 0)
  chunk = b'IHDR' + body
  data = b'\x89PNG\r\n\x1a\n' + struct.pack('>I', 13) + chunk
  data += struct.pack('>I', zlib.crc32(chunk)) + bytes(100)
  return post(address(), form(data))[0]


def noise(address, rng):
  data = bytearray(png(64))
  for _ in range(10):
    data[rng.randrange(8, len(data))] = rng.randrange(256)
  return post(address(), form(bytes(data)))[0]


def too_large(address, rng):
  del rng
  return post(address(), form(bytes(1_100_000)))[0]


def many_digits(address, rng):
  del rng
  path = '/api/predict?top=' + 5000 * '9'
  return post(address(), form(png()), path)[0]


def foreign_host(address, rng):
  del rng
  headers = {**HEAD, 'Host': 'evil.example@localhost'}
  return post(address(), form(png()), headers=headers)[0]


def hangs_up(address, rng):
  """Sends half a body, or half a head, and goes."""
  connection = address()
  connection.connect()
  whole = (
    b'POST /api/predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 900\r\n'
    b'Content-Type: multipart/form-data; boundary=x\r\n\r\n' + form(png())
  )
  connection.sock.sendall(whole[: rng.randrange(1, len(whole))])
  connection.close()


def waits(address, rng):
  """Sends half a head and stays for a while."""
  connection = address()
  connection.connect()
  connection.sock.sendall(b'POST /api/predict HTTP/1.1\r\nHost: loc')
  time.sleep(rng.uniform(0, 0.5))
  connection.close()


# What each is told; 503 puts off.
HOSTILE = {
  large_picture: (200, 503),
  picture_that_lies: (422, 503),
  noise: (200, 422, 503),
  too_large: (413, 503, None),
  many_digits: (400,),
  foreign_host: (421,),
  hangs_up: (None,),
  waits: (None,),
}


class Clients:
  """Threads that ask until enough was asked."""

  def __init__(self, host, port):
    self.host, self.port = host, port
    self.left, self.lock = REQUESTS, threading.Lock()
    self.seconds, self.statuses, self.wrong = [], collections.Counter(), []
    self.put_off = 0

  def address(self):
    return http.client.HTTPConnection(self.host, self.port, timeout=60)

  def one_more(self):
    with self.lock:
      self.left -= 1
      return self.left >= 0

  def honest(self, seed):
    rng = np.random.default_rng(seed)
    connection = self.address()
    while self.one_more():
      body = form(png(int(rng.integers(28, 200))))
      begin = time.monotonic()
      while True:
        status, reply = post(connection, body)
        if status != 503:
          break
        with self.lock:
          self.put_off += 1
        time.sleep(0.2)
      with self.lock:
        self.seconds.append(time.monotonic() - begin)
        self.statuses['honest', status] += 1
        if status != 200 or len(json.loads(reply)['classes']) != 5:
          self.wrong.append((status, reply))
    connection.close()

  def hostile(self, seed):
    rng = random.Random(seed)
    while self.one_more():
      attack = rng.choice(list(HOSTILE))
      try:
        status = attack(self.address, rng)
      except (TimeoutError, ConnectionError, http.client.HTTPException):
        status = None
      with self.lock:
        self.statuses[attack.__name__, status] += 1
        if status not in HOSTILE[attack]:
          self.wrong.append((attack.__name__, status))

  def run(self):
    threads = [
      threading.Thread(
        target=self.hostile if i % 3 == 2 else self.honest, args=(i,)
      )
      for i in range(CLIENTS)
    ]
    for thread in threads:
      thread.start()
    while any(thread.is_alive() for thread in threads):
      yield REQUESTS - max(self.left, 0)
      time.sleep(0.05)


def resident(pid):
  """KiB of a process."""
  status = pathlib.Path(f'/proc/{pid}/status').read_text()
  return int(re.search(r'VmRSS:\s+(\d+)', status)[1])


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != 'linux', reason='Looks into /proc.')
def test_many_clients_a_third_of_them_hostile(capsys):
  with served_apart('--max_megabytes=1') as (address, process):
    # What it says of each request is read, or it would wait for that.
    log = collections.deque(maxlen=1)
    reader = threading.Thread(target=lambda: log.extend(process.stderr))
    reader.start()
    host, port = address.removeprefix('http://').split(':')
    clients = Clients(host, int(port))
    assert post(clients.address(), form(png()))[0] == 200
    begin, sizes = time.monotonic(), []
    for done in clients.run():
      sizes.append((done, resident(process.pid)))
    seconds = time.monotonic() - begin
    assert post(clients.address(), form(png()))[0] == 200
    assert json.loads(get(clients, '/healthz')) == {
      'status': 'ok',
      'waiting': 0,
    }
    counted = get(clients, '/metrics').decode()
    process.terminate()
    assert process.wait(MOST_SECONDS_TO_END) == 0
    reader.join()
  median, tail = np.quantile(clients.seconds, [0.5, 0.99])
  half = max(size for done, size in sizes if done < REQUESTS / 2)
  most = max(size for _, size in sizes)
  with capsys.disabled():
    print(
      f'\n{REQUESTS:,} requests of {CLIENTS} clients, a third hostile, in '
      f'{seconds:.1f} s: {len(clients.seconds):,} answers, median '
      f'{1000 * median:.0f} ms, 99th percentile {1000 * tail:.0f} ms, put off '
      f'{clients.put_off} times; memory {sizes[0][1] // 1024} MiB at the start,'
      f' up to {half // 1024} MiB in the first half, {most // 1024} MiB in all'
    )
  assert not clients.wrong
  assert most - half < MOST_GROWTH
  assert json.loads(log[0])['route'] in ('/api/predict', 'other')
  answered = clients.statuses['honest', 200]
  found = re.search(r'route="/api/predict",status="200"} (\d+)', counted)
  assert int(found[1]) >= answered > REQUESTS / 3


def get(clients, path):
  connection = clients.address()
  connection.request('GET', path)
  return connection.getresponse().read()
