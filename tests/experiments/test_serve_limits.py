"""A server keeps its size, its places and its token, whatever is sent."""

import asyncio
import concurrent.futures
import contextlib
import io
import json
import pathlib
import re
import signal
import socket
import time

import httpx
import numpy as np
import PIL.Image
import pytest
from starlette.exceptions import HTTPException

from experiments.serve import greeting, is_loopback, token_for
from experiments.serving import connections, pace
from tests.served import (
  nothing_computed,
  served,
  served_apart,
  small_digits,
)

SECONDS = 60
TOKEN = 'a-token-of-letters-and-digits'


def png(side=28):
  pixels = np.zeros((side, side), np.uint8)
  pixels[side // 4 : side // 2, side // 3 : side // 2] = 200
  file = io.BytesIO()
  PIL.Image.fromarray(pixels).save(file, 'PNG')
  return file.getvalue()


def send(client, data, **settings):
  return client.post(
    '/api/predict', files={'file': ('a.png', data)}, **settings
  )


@pytest.fixture(scope='module')
def run():
  return nothing_computed(small_digits())


@pytest.fixture(scope='module')
def lines():
  return []


@pytest.fixture(scope='module')
def client(run, lines):
  with (
    served(run, most_waiting=4, log=lines.append) as address,
    httpx.Client(base_url=address, timeout=SECONDS) as client,
  ):
    yield client


def raw(client):
  return socket.create_connection((client.base_url.host, client.base_url.port))


def head(client, length, boundary='x'):
  return (
    f'POST /api/predict HTTP/1.1\r\nHost: {client.base_url.host}\r\n'
    f'Content-Type: multipart/form-data; boundary={boundary}\r\n'
    f'Content-Length: {length}\r\n\r\n'
  ).encode()


def ends_within(connection, seconds):
  """Whether the server ends a connection; returns what it said before."""
  connection.settimeout(seconds)
  said = b''
  with contextlib.suppress(ConnectionResetError):
    while part := connection.recv(65536):
      said += part
  return said


# Half of a request.


@pytest.mark.parametrize(
  'part', [b'', b'POST /api/pre', b'GET / HTTP/1.1\r\nHost: 127', b'\r\n']
)
def test_half_a_head_ends(client, monkeypatch, part):
  monkeypatch.setattr(connections, '_SECONDS_TO_SEND', 0.5)
  with raw(client) as connection:
    connection.sendall(part)
    ends_within(connection, 20)


def test_half_a_head_of_a_second_request_ends(client, monkeypatch):
  monkeypatch.setattr(connections, '_SECONDS_TO_SEND', 0.5)
  with raw(client) as connection:
    connection.sendall(b'GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\nGET /')
    assert b'"status":"ok"' in ends_within(connection, 20)


def test_three_hundred_halves_leave_room(client, monkeypatch):
  monkeypatch.setattr(connections, '_SECONDS_TO_SEND', 3.0)
  with contextlib.ExitStack() as stack:
    halves = [stack.enter_context(raw(client)) for _ in range(300)]
    for half in halves:
      half.sendall(b'POST /api/predict HTTP/1.1\r\nHost: 127.0.0.1\r\n')
    assert send(client, png()).status_code == 200
    for half in halves:
      ends_within(half, 30)


def test_more_connections_than_there_is_room_for_end(client, monkeypatch):
  monkeypatch.setattr(connections, '_MOST', 3)
  with contextlib.ExitStack() as stack:
    many = [stack.enter_context(raw(client)) for _ in range(6)]
    assert ends_within(many[-1], 20) == b''


def test_half_a_body_ends(client, monkeypatch):
  monkeypatch.setattr(pace, '_SECONDS', 0.5)
  with raw(client) as connection:
    connection.sendall(head(client, 1000) + b'--x\r\n')
    said = ends_within(connection, 20)
  assert said.startswith(b'HTTP/1.1 408')
  assert b'sent too slowly' in said


def test_who_takes_no_answer_is_left(run, monkeypatch):
  """A page of several megabytes, and nobody who reads it."""
  monkeypatch.setattr(connections, '_SECONDS_TO_TAKE', 0.5)
  with (
    served(run) as address,
    httpx.Client(base_url=address, timeout=SECONDS) as client,
    socket.socket() as connection,
  ):
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.connect((client.base_url.host, client.base_url.port))
    request = b'GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n'
    with contextlib.suppress(ConnectionError):
      for _ in range(1000):
        connection.settimeout(5)
        connection.sendall(request * 100)
    with contextlib.suppress(ConnectionError):
      assert len(ends_within(connection, 20)) < 2**23
    assert send(client, png()).status_code == 200


# Slow uploads.


def test_slow_uploads_leave_places_to_others(client):
  """Twice as many as there are places, none of which sends more."""
  with contextlib.ExitStack() as stack:
    slow = [stack.enter_context(raw(client)) for _ in range(32)]
    for each in slow:
      each.sendall(head(client, 1000) + b'--x\r\n')
    until = time.monotonic() + SECONDS
    statuses = []
    while (status := send(client, png()).status_code) != 200:
      statuses.append(status)
      assert time.monotonic() < until
      time.sleep(0.1)
    # While all have just begun; after that the oldest makes way.
    assert set(statuses) <= {503}
    waiting = client.get('/healthz').json()['waiting']
    assert waiting <= 16


def test_the_oldest_makes_way_once_it_had_its_time(monkeypatch):
  monkeypatch.setattr(pace, '_SECONDS_UNDISTURBED', 0.05)

  async def hold(places, begun):
    async with places.one():
      begun.set()
      await asyncio.sleep(SECONDS)

  async def scenario():
    places = pace.Places(2)
    tasks = []
    for _ in range(2):
      begun = asyncio.Event()
      tasks.append(asyncio.create_task(hold(places, begun)))
      await begun.wait()
    with pytest.raises(HTTPException) as full:
      async with places.one():
        pass
    assert full.value.status_code == 503
    await asyncio.sleep(0.1)
    async with places.one():
      with pytest.raises(HTTPException) as slow:
        await tasks[0]
      assert slow.value.status_code == 408
      assert len(places) == 2 and not tasks[1].done()
    tasks[1].cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert len(places) == 0

  asyncio.run(scenario())


def test_what_goes_on_coming_has_more_time(monkeypatch):
  monkeypatch.setattr(pace, '_SECONDS', 0.3)
  monkeypatch.setattr(pace, '_BYTES_A_SECOND', 1000)

  async def send_for(seconds, bytes_a_second):
    async with pace.Places(1).one() as sending:
      for _ in range(int(10 * seconds)):
        await asyncio.sleep(0.1)
        sending.came(bytes_a_second // 10)

  async def scenario():
    await send_for(1.5, 2000)
    with pytest.raises(HTTPException, match='408'):
      await send_for(1.5, 100)

  asyncio.run(scenario())


# Size.


def test_a_large_png_takes_little(run):
  """70 kB of 6000 x 6000 pixels; another client goes first meanwhile."""
  status = pathlib.Path('/proc/self/status')
  if not status.exists():
    pytest.skip('Looks into /proc.')
  large = png(6000)
  assert len(large) < 100_000
  with (
    served(run) as address,
    httpx.Client(base_url=address, timeout=SECONDS) as client,
    concurrent.futures.ThreadPoolExecutor(1) as pool,
  ):
    assert send(client, png()).status_code == 200
    most = []
    future = pool.submit(send, client, large)
    while not future.done():
      most.append(resident(status))
      time.sleep(0.002)
    assert future.result().status_code == 200
  # As a whole it is 36 MB, and was three times that with its copies.
  assert max(most) - most[0] < 30_000


def resident(status):
  return int(re.search(r'VmRSS:\s+(\d+)', status.read_text())[1])


@pytest.mark.parametrize('seed', range(3))
def test_damaged_pictures_are_told_of_and_nothing_ends(client, seed):
  data = bytearray(png(200))
  rng = np.random.default_rng(seed)
  for place in rng.integers(8, len(data), 20):
    data[place] = rng.integers(0, 256)
  reply = send(client, bytes(data))
  assert reply.status_code in (200, 422)
  assert send(client, png()).status_code == 200


# What is counted and said.


def test_what_is_counted(client, lines):
  lines.clear()
  before = numbers(client)
  assert send(client, png()).status_code == 200
  assert send(client, b'nothing').status_code == 422
  assert client.get('/nowhere').status_code == 404
  after = numbers(client)
  grown = {name: x - before.get(name, 0) for name, x in after.items()}
  route = 'route="/api/predict"'
  assert grown[f'perceiver_requests_total{{{route},status="200"}}'] == 1
  assert grown[f'perceiver_requests_total{{{route},status="422"}}'] == 1
  assert grown['perceiver_requests_total{route="other",status="404"}'] == 1
  assert grown[f'perceiver_request_seconds_count{{{route}}}'] == 2
  assert grown[f'perceiver_request_seconds_bucket{{{route},le="+Inf"}}'] == 2
  assert grown['perceiver_batches_total'] == 1
  assert grown['perceiver_examples_total'] == 1
  assert after['perceiver_requests_waiting'] == 0
  assert after['perceiver_peak_memory_bytes'] > 10**8
  told = [json.loads(line) for line in lines]
  assert [(x['method'], x['route'], x['status']) for x in told] == [
    ('POST', '/api/predict', 200),
    ('POST', '/api/predict', 422),
    ('GET', 'other', 404),
  ]
  assert told[0]['from'] == '127.0.0.1'
  assert told[0]['bytes'] > len(png()) and 0 < told[0]['seconds'] < SECONDS
  assert all('\n' not in line for line in lines)


def numbers(client):
  text = client.get('/metrics').text
  rows = [x.rpartition(' ') for x in text.splitlines() if x[0] != '#']
  return {name: float(value) for name, _, value in rows}


# The token.


@pytest.fixture(scope='module')
def closed(run):
  with (
    served(run, token=TOKEN) as address,
    httpx.Client(base_url=address, timeout=SECONDS) as client,
  ):
    yield client


@pytest.mark.parametrize(
  'headers',
  [
    {},
    {'Authorization': 'Bearer'},
    {'Authorization': f'Bearer {TOKEN[:-1]}'},
    {'Authorization': f'Basic {TOKEN}'},
    {'Authorization': 'Bearer ä'},
    {'Cookie': 'perceiver-token=x'},
    {'Cookie': 'perceiver-token'},
    {'Cookie': '=;;='},
  ],
)
def test_who_does_not_know_the_token_is_refused(closed, headers):
  headers = {name: value.encode() for name, value in headers.items()}
  for path in ('/', '/api/run', '/metrics', '/nowhere', '/?token=x'):
    response = closed.get(path, headers=headers)
    assert response.status_code == 401
    assert 'asks for its token' in response.json()['error']
    assert TOKEN not in response.text
    assert response.headers['X-Content-Type-Options'] == 'nosniff'
  assert send(closed, png(), headers=headers).status_code == 401
  assert closed.get('/healthz').status_code == 200


def test_who_knows_the_token_is_answered(closed):
  known = {'Authorization': f'Bearer {TOKEN}'}
  assert closed.get('/api/run', headers=known).status_code == 200
  assert send(closed, png(), headers=known).status_code == 200
  with httpx.Client(base_url=closed.base_url, timeout=SECONDS) as browser:
    came = browser.get(f'/?token={TOKEN}')
    assert (came.status_code, came.headers['Location']) == (303, '/')
    cookie = came.headers['Set-Cookie']
    assert 'HttpOnly' in cookie and 'SameSite=lax' in cookie
    assert browser.get('/').status_code == 200
    assert send(browser, png()).status_code == 200
    # A page elsewhere may not use the cookie.
    foreign = {'Origin': 'http://evil.example'}
    assert send(browser, png(), headers=foreign).status_code == 403


@pytest.mark.parametrize(
  ('host', 'alone'),
  [
    ('127.0.0.1', True),
    ('127.1.2.3', True),
    ('localhost', True),
    ('::1', True),
    ('0.0.0.0', False),
    ('::', False),
    ('192.0.2.7', False),
    ('', False),
  ],
)
def test_a_token_is_asked_for_beyond_this_machine(host, alone):
  assert is_loopback(host) == alone
  token = token_for(host, None)
  lines = greeting('http://x:1', host, token)
  if alone:
    assert token is None
    assert lines == ['Serving at http://x:1 until Ctrl-C.']
    return
  assert len(token) > 40 and token != token_for(host, None)
  assert lines[0] == f'Serving at http://x:1/?token={token} until Ctrl-C.'
  assert f'whoever can reach {host} and knows the token' in lines[1]
  assert 'Nothing is encrypted' in lines[1]


@pytest.mark.parametrize('text', ['', 'short', 'ä' * 20, 'two words ' * 4])
def test_a_file_without_a_token_is_refused(tmp_path, text):
  path = tmp_path / 'token'
  path.write_text(text, 'utf-8')
  with pytest.raises(ValueError, match='should have a token of 16 or more'):
    token_for('127.0.0.1', str(path))
  path.write_text(f'{TOKEN}\n', 'utf-8')
  assert token_for('127.0.0.1', str(path)) == TOKEN


# The end.


@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_it_answer_first(number):
  # Takes a moment to unpack and to make smaller.
  body = png(6000)
  with (
    served_apart() as (address, process),
    httpx.Client(base_url=address, timeout=SECONDS) as client,
    concurrent.futures.ThreadPoolExecutor(1) as pool,
  ):
    future = pool.submit(send, client, body)
    while not httpx.get(f'{address}/healthz').json()['waiting']:
      time.sleep(0.01)
    process.send_signal(number)
    assert future.result().status_code == 200
    _, errors = process.communicate(timeout=SECONDS)
    assert process.returncode == 0
    (line,) = errors.splitlines()
    assert json.loads(line)['status'] == 200
    with pytest.raises(httpx.ConnectError):
      httpx.get(address)
