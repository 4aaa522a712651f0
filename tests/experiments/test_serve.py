"""A real server, asked by a real client: what is right, and what is not."""

import concurrent.futures
import contextlib
import html
import io
import os
import re
import signal
import socket
import stat
import struct
import tempfile
import threading
import time
import zlib

import httpx
import numpy as np
import PIL.Image
import pytest
from absl import flags
from absl.testing import flagsaver
from prometheus_client.parser import text_string_to_metric_families

from experiments import serve
from experiments.configs import declaration, flow
from experiments.modalities.images.files import EXTENSIONS
from experiments.runs.trained import TrainedRun
from experiments.serve import check_packages, listen
from experiments.serving.app import make_app
from tests.served import nothing_computed, served, small_digits
from tests.small_runs import random_run

LIMIT = 1_000_000
WAITING = 20
SECONDS = 60


def png(seed=0):
  """A digit, light on dark, that is no other's."""
  pixels = np.zeros((28, 28), np.uint8)
  pixels[4:24, 8:20] = np.random.default_rng(seed).integers(0, 256, (20, 12))
  return encoded(pixels)


def encoded(pixels):
  file = io.BytesIO()
  PIL.Image.fromarray(pixels).save(file, 'PNG')
  return file.getvalue()


def bomb():
  """A small file that says it is a picture of 400 million pixels."""

  def chunk(name, data):
    check = zlib.crc32(name + data)
    return struct.pack('>I', len(data)) + name + data + struct.pack('>I', check)

  header = struct.pack('>IIBBBBB', 20_000, 20_000, 8, 0, 0, 0, 0)
  pixels = zlib.compress(bytes(1000))
  return (
    b'\x89PNG\r\n\x1a\n'
    + chunk(b'IHDR', header)
    + chunk(b'IDAT', pixels)
    + chunk(b'IEND', b'')
  )


@pytest.fixture(scope='module')
def run():
  return small_digits()


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
  return tmp_path_factory.mktemp('uploads')


@pytest.fixture(scope='module')
def client(run, folder):
  """Of a server; checks in the end that it left no file."""
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(tempfile, 'tempdir', str(folder))
    with (
      served(run, most_bytes=LIMIT, most_waiting=WAITING) as address,
      httpx.Client(base_url=address, timeout=SECONDS) as client,
    ):
      yield client
  assert list(folder.iterdir()) == []


@pytest.fixture(autouse=True)
def still_alive(request):
  """Whatever a test does, the server answers afterwards, and kept nothing."""
  yield
  if 'client' not in request.fixturenames:
    return
  client = request.getfixturevalue('client')
  until = time.monotonic() + SECONDS
  while (health := client.get('/healthz').json())['waiting']:
    assert time.monotonic() < until, health
    time.sleep(0.01)
  assert health == {'status': 'ok', 'waiting': 0}
  assert list(request.getfixturevalue('folder').iterdir()) == []
  assert send(client, png()).status_code == 200


def send(client, data, name='digit.png', route='/api/predict', **settings):
  return client.post(route, files={'file': (name, data)}, **settings)


class Held:
  """Holds every call of the model until it is let go, and counts them."""

  def __init__(self, patch):
    self.calls, self.go = 0, threading.Event()
    call = TrainedRun.__call__

    def wait(run, batch):
      self.calls += 1
      assert self.go.wait(SECONDS)
      return call(run, batch)

    patch.setattr(TrainedRun, '__call__', wait)


def wait_for(client, count):
  """Waits until so many requests are at work."""
  until = time.monotonic() + SECONDS
  while client.get('/healthz').json()['waiting'] != count:
    assert time.monotonic() < until
    time.sleep(0.01)


def metric(client, name):
  """Returns a number of /metrics, read by Prometheus' own parser."""
  for family in text_string_to_metric_families(client.get('/metrics').text):
    for sample in family.samples:
      if sample.name == name and not sample.labels:
        return sample.value
  raise AssertionError(f'There is no {name}.')


# What is right.


def test_an_answer_is_that_of_predict(client, run, tmp_path):
  path = tmp_path / 'seven.png'
  path.write_bytes(png(7))
  expected = run.predict(path).top(5)
  reply = send(client, png(7), 'seven.PNG').json()
  assert (reply['input'], reply['step'], reply['parts']) == ('seven.PNG', 7, 1)
  assert [each['name'] for each in reply['classes']] == [n for n, _ in expected]
  np.testing.assert_allclose(
    [each['probability'] for each in reply['classes']],
    [probability for _, probability in expected],
    rtol=1e-4,
  )
  assert set(reply) == {'input', 'step', 'parts', 'classes'}


def test_more_can_be_asked_for(client):
  reply = send(client, png(), route='/api/predict?top=10&show=1').json()
  assert len(reply['classes']) == 10
  (view,) = reply['views']
  assert view['name'] == 'image'
  assert reply['said'].count('<li>') == 10
  assert view['html'].startswith('<img ')
  assert reply['files'] == []


def test_many_at_once_go_through_the_model_together(
  client, run, tmp_path, monkeypatch
):
  paths = [tmp_path / f'{i}.png' for i in range(WAITING)]
  for i, path in enumerate(paths):
    path.write_bytes(png(i))
  expected = [run.predict(path).probabilities for path in paths]
  with concurrent.futures.ThreadPoolExecutor(WAITING) as pool:
    held = Held(monkeypatch)
    futures = [
      pool.submit(
        send, client, path.read_bytes(), path.name, params={'top': 10}
      )
      for path in paths
    ]
    wait_for(client, WAITING)
    # No more than these.
    refused = send(client, png())
    assert refused.status_code == 503
    assert refused.headers['Retry-After'] == '1'
    assert 'Try again' in refused.json()['error']
    # All but the one that the model is at work on are read beside it.
    while metric(client, 'perceiver_inputs_ready') < WAITING - 1:
      time.sleep(0.01)
    held.go.set()
    replies = [future.result() for future in futures]
  assert held.calls <= 4
  for path, reply, probabilities in zip(paths, replies, expected, strict=True):
    assert (reply.status_code, reply.json()['input']) == (200, path.name)
    told = {x['name']: x['probability'] for x in reply.json()['classes']}
    np.testing.assert_allclose(
      [told[str(digit)] for digit in range(10)], probabilities, rtol=1e-3
    )


def test_attention_is_a_page_of_its_own(client):
  name = '<script>alert(1)<b>.png'
  response = send(client, png(), name, '/api/attention')
  assert response.status_code == 200
  assert response.headers['Content-Type'].startswith('text/html')
  policy = response.headers['Content-Security-Policy']
  assert 'sandbox allow-scripts' in policy
  assert "form-action 'none'" in policy
  assert html.escape(name) in response.text
  assert name not in response.text
  assert re.search(r'The model says: \d \(', response.text)
  response = send(client, png(), route='/api/attention?part=1')
  assert response.status_code == 422
  assert 'no part 1: they are 0 to 0' in response.json()['error']


def test_what_the_run_is(client):
  assert client.get('/api/run').json() == {
    'run': 'run',
    'step': 7,
    'task': 'classification',
    'data': 'digits',
    'classes': [str(digit) for digit in range(10)],
    'extensions': list(EXTENSIONS),
    'files': 1,
    'text': False,
    'cells': [],
    'attention': True,
    'max_megabytes': 1.0,
  }


def test_files_lie_where_nobody_else_reads_them(client, folder, monkeypatch):
  with concurrent.futures.ThreadPoolExecutor(1) as pool:
    held = Held(monkeypatch)
    future = pool.submit(send, client, png(3), '../../etc/x.png')
    wait_for(client, 1)
    while not held.calls:
      time.sleep(0.01)
    (upload,) = folder.iterdir()
    assert stat.S_IMODE(upload.stat().st_mode) == 0o700
    assert [path.name for path in upload.iterdir()] == ['upload-0.png']
    held.go.set()
    assert future.result().json()['input'] == 'x.png'


# What is not.


@pytest.mark.parametrize(
  ('name', 'data', 'status', 'message'),
  [
    ('digit.wav', png(), 415, 'digit.wav: this run reads .jpg, .jpeg'),
    ('digit', png(), 415, 'digit: this run reads'),
    ('digit.png.exe', png(), 415, 'digit.png.exe: this run reads'),
    ('.png', png(), 415, '.png: this run reads'),
    ('a.png', b'', 422, 'a.png is empty.'),
    ('a.png', b'no picture', 422, 'a.png is no image, or is damaged'),
    ('a.png', png()[:200], 422, 'a.png is no image, or is damaged'),
    ('a.png', encoded(np.zeros((9, 9), 'u1')), 422, 'a.png shows nothing'),
    ('a.png', bomb(), 422, 'a.png is too large: more than'),
    ('../../etc/passwd.png', b'no', 422, 'passwd.png is no image'),
    ('C:\\secret\\a.png', b'no', 422, 'a.png is no image'),
    ('<script>alert(1)<b>.png', b'no', 422, '<script>alert(1)<b>.png is no'),
    ('a\x00\u202eb\r\n.png', b'no', 422, '.png is no image'),
    ('ß' * 500 + '.png', b'no', 422, 'ß' * 116 + '.png is no image'),
  ],
)
def test_files_that_are_no_input(client, folder, name, data, status, message):
  response = send(client, data, name)
  error = response.json()['error']
  assert (response.status_code, message in error) == (status, True), error
  assert str(folder) not in error and 'upload-' not in error
  assert error.isprintable()


@pytest.mark.parametrize('chunked', [False, True])
@pytest.mark.parametrize('size', [LIMIT + 100_000, 10 * LIMIT])
def test_too_large(client, size, chunked):
  request = client.build_request(
    'POST', '/api/predict', files={'file': ('a.png', bytes(size))}
  )
  whole = content = request.read()
  if chunked:  # Without a stated length.
    content = (whole[i : i + 65536] for i in range(0, len(whole), 65536))
  headers = {'Content-Type': request.headers['Content-Type']}
  with contextlib.suppress(httpx.WriteError):
    # Who sends on and on may not see the answer.
    response = client.post('/api/predict', content=content, headers=headers)
    assert response.status_code == 413
    assert response.json() == {'error': 'The limit is 1 MB.'}
    return
  assert size == 10 * LIMIT


@pytest.mark.parametrize(
  ('settings', 'status', 'message'),
  [
    ({}, 415, 'Send multipart'),
    ({'content': b'x', 'headers': {'Content-Type': 'image/png'}}, 415, 'Send'),
    ({'data': {'file': 'x'}}, 415, 'Send multipart'),
    ({'json': {'text': 'seven'}}, 415, 'takes no text: it reads .jpg'),
    ({'json': {'words': 'seven'}}, 400, 'Expected JSON with a text'),
    ({'json': ['text']}, 400, 'Expected JSON with a text'),
    ({'json': {'text': 7}}, 400, 'Expected JSON with a text'),
    ({'files': {'file': (None, 'x')}}, 400, "a 'file' as a file"),
    ({'files': {'text': ('a.png', png())}}, 400, "a 'text' as a text"),
    ({'files': {'other': ('a.png', png())}}, 400, "either a 'file' or"),
    (
      {'files': {'file': ('a.png', png())}, 'data': {'text': 'a'}},
      400,
      "either a 'file' or",
    ),
    (
      {'files': [('file', (f'{i}.png', png())) for i in range(2)]},
      400,
      'is 1 file(s), got 2: 0.png, 1.png',
    ),
    (
      {'files': [('file', (f'{i}.png', b'')) for i in range(50)]},
      400,
      'Too many files',
    ),
    (
      {
        'content': b'{' * 100_000,
        'headers': {'Content-Type': 'application/json'},
      },
      400,
      'Expected JSON',
    ),
    (
      {
        'content': b'--x\r\nnonsense',
        'headers': {'Content-Type': 'multipart/form-data; boundary=x'},
      },
      400,
      '',
    ),
    (
      {
        'content': b'x',
        'headers': {'Content-Type': 'multipart/form-data'},
      },
      400,
      'boundary',
    ),
  ],
)
def test_requests_that_are_wrong(client, settings, status, message):
  response = client.post('/api/predict', **settings)
  error = response.json()['error']
  assert (response.status_code, message in error) == (status, True), error


@pytest.mark.parametrize(
  'query', ['top=0', 'top=x', 'show=2', 'top=' + 99 * '9', 'top=' + 5000 * '9']
)
def test_settings_that_are_wrong(client, query):
  response = send(client, png(), route=f'/api/predict?{query}')
  assert response.status_code == 400
  assert 'must be a number from' in response.json()['error']


def test_places_that_are_not_there(client):
  assert client.get('/nothing').json() == {'error': 'Not Found'}
  assert client.get('/api/predict').status_code == 405
  assert client.get('/../../etc/passwd').status_code == 404


def test_a_mistake_of_ours_is_no_traceback(client, monkeypatch, caplog):
  def fail(run, batch):
    raise RuntimeError('secret')

  with monkeypatch.context() as patch:
    patch.setattr(TrainedRun, '__call__', fail)
    response = send(client, png())
  assert response.status_code == 500
  error = response.json()['error']
  assert 'mistake (RuntimeError)' in error
  assert 'secret' not in error and '\n' not in error
  assert 'RuntimeError: secret' in caplog.text
  check_headers(response)


@pytest.mark.parametrize('whole', [False, True])
def test_who_hangs_up_does_no_harm(client, monkeypatch, whole):
  held = Held(monkeypatch)
  request = client.build_request(
    'POST', '/api/predict', files={'file': ('a.png', png())}
  )
  content = request.read()
  url = client.base_url
  with socket.create_connection((url.host, url.port)) as connection:
    head = f'POST /api/predict HTTP/1.1\r\nHost: {url.host}:{url.port}\r\n'
    for name in ('Content-Type', 'Content-Length'):
      head += f'{name}: {request.headers[name]}\r\n'
    part = content if whole else content[:200]
    connection.sendall(head.encode() + b'\r\n' + part)
    wait_for(client, 1)
  held.go.set()


# Whom it answers.


def check_headers(response):
  assert response.headers['X-Content-Type-Options'] == 'nosniff'
  assert response.headers['Referrer-Policy'] == 'same-origin'
  assert 'frame-ancestors' in response.headers['Content-Security-Policy']
  assert not [x for x in response.headers if x.startswith('access-control')]


def test_only_the_page_itself_runs_on_the_page(client):
  response = client.get('/')
  check_headers(response)
  policy = response.headers['Content-Security-Policy']
  assert "script-src 'sha256-" in policy
  assert "connect-src 'self'" in policy
  assert "default-src 'none'" in policy
  # It asks nobody else, and what stands in it is all that it needs.
  assert not re.search(r"""(src|href)=["'](?!data:,|/api)""", response.text)
  assert not re.search(r'\son\w+=', response.text)
  for other in (client.get('/api/run'), client.get('/nothing')):
    check_headers(other)


@pytest.mark.parametrize(
  ('host', 'status'),
  [
    ('localhost:1', 200),
    ('LOCALHOST', 200),
    ('127.0.0.1', 200),
    ('192.168.3.4:8000', 200),
    ('[::1]:8000', 200),
    ('evil.example', 421),
    ('localhost.evil.example', 421),
    ('127.0.0.1.evil.example', 421),
    ('evil.example@localhost]', 421),
    ('evil.example@localhost', 421),
    ('localhost/evil.example', 421),
    ('localhost?evil.example', 421),
    ('localhost#evil.example', 421),
    ('localhost:8000:80', 421),
    ('localhost:', 421),
    ('localhost,evil.example', 421),
    ('[::1', 421),
    ('::1', 421),
    ('', 421),
  ],
)
def test_a_name_that_is_pointed_here_is_not_answered(client, host, status):
  response = client.get('/api/run', headers={'Host': host})
  assert response.status_code == status
  if status != 200:
    assert 'does not answer for' in response.json()['error']
    check_headers(response)


@pytest.mark.parametrize(
  ('headers', 'status'),
  [
    ({'Origin': '{own}', 'Sec-Fetch-Site': 'same-origin'}, 200),
    ({'Sec-Fetch-Site': 'none'}, 200),
    ({'Origin': 'http://evil.example'}, 403),
    ({'Origin': 'null'}, 403),
    ({'Sec-Fetch-Site': 'cross-site'}, 403),
    ({'Origin': '{own}', 'Sec-Fetch-Site': 'same-site'}, 403),
  ],
)
def test_pages_of_others_may_not_send(client, headers, status):
  own = f'http://{client.base_url.host}:{client.base_url.port}'
  headers = {name: value.format(own=own) for name, value in headers.items()}
  assert send(client, png(), headers=headers).status_code == status


# Other models; what they compute does not matter here.


def small_flow():
  config = flow.get_config('embedded')
  config.data.update(height=16, width=24)
  config.preprocessor.num_channels = 8
  config.preprocessor.positions.update(num_bands=2, max_resolution=(4, 6))
  config.encoder.update(
    num_latents=4, latent_channels=8, self_attends_per_block=1
  )
  config.decoder.update(qk_channels=8, v_channels=8)
  return config


def small_language():
  config = declaration.get_config('mlm')
  config.data.length = config.queries.num_queries = 40
  config.embedding.update(num_channels=16, max_length=40)
  config.queries.num_channels = 16
  config.encoder.update(
    num_latents=4, latent_channels=16, self_attends_per_block=1
  )
  return config


def test_two_files_are_one_input():
  run = nothing_computed(random_run(small_flow()))
  files = [
    ('file', (f'{i}.png', encoded(np.full((16, 24, 3), 9 * i, np.uint8))))
    for i in range(3)
  ]
  with served(run) as address, httpx.Client(base_url=address) as client:
    assert client.get('/api/run').json()['files'] == 2
    reply = client.post('/api/predict?show=1', files=files[:2]).json()
    wrong = client.post('/api/predict', files=files[:1])
    assert wrong.status_code == 400
    large = encoded(np.zeros((32, 24, 3), np.uint8))
    sizes = client.post(
      '/api/predict', files=[files[0], ('file', ('b.png', large))]
    )
  assert reply['input'] == '0.png → 1.png'
  assert reply['motion']['fastest'] == 0.0
  names = [view['name'] for view in reply['views']]
  assert names == ['First frame', 'Second frame', 'Estimated motion']
  assert [each['name'] for each in reply['files']] == [
    f'answer.{ending}' for ending in ('png', 'flo', 'npz')
  ]
  assert 'is 2 file(s), got 1: 0.png' in wrong.json()['error']
  assert sizes.status_code == 422
  assert '0.png has 24 x 16 pixels and b.png 24 x 32' in sizes.json()['error']


def test_a_text_is_an_input():
  run = nothing_computed(random_run(small_language()))
  text = 'Free and e[MASK]ual — <b>'
  with served(run) as address, httpx.Client(base_url=address) as client:
    assert client.get('/api/run').json()['text'] is True
    replies = [
      client.post('/api/predict', json={'text': text}),
      client.post('/api/predict', files={'text': (None, text)}),
      client.post('/api/predict', files={'file': ('a.txt', text.encode())}),
    ]
    wrong = [
      (client.post('/api/predict', json={'text': each}), message)
      for each, message in (
        ('none', 'Nothing is to be filled in'),
        (41 * '[MASK]', 'The text has 41 bytes'),
      )
    ]
  assert [reply.status_code for reply in replies] == [200] * 3
  for reply in replies:
    assert reply.json()['text'].endswith('ual — <b>')
    assert reply.json()['blanks'][0]['start'] == len('Free and e')
  assert [x.json()['input'] for x in replies] == ['text', 'text', 'a.txt']
  for response, message in wrong:
    assert response.status_code == 422
    assert response.json()['error'].startswith(message)


# Around it.


def test_a_port_that_is_taken():
  with (
    listen('127.0.0.1', 0) as first,
    pytest.raises(ValueError, match='--port=0 takes any'),
  ):
    listen('127.0.0.1', first.getsockname()[1])


def test_ctrl_c_ends_it(run, monkeypatch, capsys):
  addresses, replies = [], []

  def record(host, port):
    listening = listen(host, port)
    addresses.append('http://{}:{}'.format(*listening.getsockname()))
    return listening

  def ask_and_stop():
    while not ended.is_set():
      with contextlib.suppress(IndexError, httpx.TransportError):
        replies.append(httpx.get(f'{addresses[0]}/api/run').json())
        os.kill(os.getpid(), signal.SIGINT)
        return

  monkeypatch.setattr(serve, 'listen', record)
  monkeypatch.setattr(serve.chosen_run, 'load', lambda: run)
  monkeypatch.setattr(serve, 'configure_backend', lambda: None)
  flags.FLAGS.mark_as_parsed()
  ended = threading.Event()
  stopper = threading.Thread(target=ask_and_stop)
  with flagsaver.as_parsed(port='0', max_megabytes='0.5'):
    stopper.start()
    try:
      serve.main()
    finally:
      ended.set()
      stopper.join()
  assert replies[0]['max_megabytes'] == 0.5
  assert capsys.readouterr().out == f'Serving at {addresses[0]} until Ctrl-C.\n'
  with pytest.raises(httpx.ConnectError):
    httpx.get(addresses[0])


def test_packages_that_are_missing(monkeypatch):
  check_packages()
  monkeypatch.setattr('importlib.util.find_spec', lambda name: None)
  with pytest.raises(ValueError, match=r"pip install 'perceiver-haiku\[serve"):
    check_packages()


def test_a_run_that_reads_no_files(run):
  task = run.task._replace(data=run.task.data._replace(files=None))
  without = TrainedRun(run.config, run.workdir, 0, task, run.params, run.state)
  with pytest.raises(ValueError, match="read for the data 'digits'"):
    make_app(without, most_bytes=LIMIT, most_waiting=WAITING)
