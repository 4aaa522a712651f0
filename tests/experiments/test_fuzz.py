"""Nonsense of any kind is answered in one line, with exit code 2.

Command lines, configs, what a run left, and files that people have: each is
made of what is right by chance, from a fixed seed, in a few dozens of ways.
FUZZ_CASES=1000 makes as many of each kind.
"""

import importlib
import io
import json
import os
import pathlib
import random
import shutil
import struct
import subprocess
import sys
import wave

import av
import cv2
import ml_collections
import numpy as np
import pytest

from experiments.datasets.embedded_builder import FILES
from experiments.host.configuration import fill_defaults
from tests.test_documents import small_digits, write_run

ROOT = pathlib.Path(__file__).parents[2]
CASES = int(os.environ.get('FUZZ_CASES', 0))
CONFIGS = (
  ('digits', ''), ('digits', 'vit'), ('tones', 'mel'), ('watch', ''),
  ('declaration', 'mlm'), ('folder', 'image'), ('folder', 'text'),
)  # fmt: skip
VALUES = (
  *('0', '-1', '1', '0.5', '-0.0', '1e400', '-1e400', 'nan', '1e-400'),
  *('None', 'True', "'x'", '()', '(0,)', '(1,)', '(1,1,1,1,1,1)', '[]', '{}'),
  *('10**20', '100000000000000000000', '4294967296', '2147483648', '0x10'),
  *('', ' ', ',', '((((', "'", 'é', '\u0663', '\ud83d\ude00', 'x' * 5000),
  *("('a','b')", '{1: 2}', "{'name': 'none'}", "__import__('os')", '1j'),
)
NAMES = (
  *('', 'x', 'name', 'num_latent', 'x.y', '0', '__class__', 'é', '*', 'update'),
)


def run_all(cases):
  """Returns [code, output, errors] of each [mode, arguments]."""
  done = subprocess.run(
    [sys.executable, '-m', 'tests.forked'],
    cwd=ROOT,
    input=json.dumps(cases),
    capture_output=True,
    text=True,
    check=False,
    env=os.environ | {'JAX_PLATFORMS': 'cpu'},
  )
  assert done.returncode == 0, done.stderr[-3000:]
  outcomes = json.loads(done.stdout)
  assert len(outcomes) == len(cases)
  return outcomes


def check_all(cases):
  """All end well or with one line; returns the lines of those that do not."""
  outcomes = run_all(cases)
  wrong = [
    f'{case}: {code}, {errors[-1500:]}'
    for case, (code, _, errors) in zip(cases, outcomes, strict=True)
    if not is_in_order(code, errors)
  ]
  assert not wrong, '\n'.join([f'{len(wrong)} of {len(cases)}', *wrong[:10]])
  return [errors for code, _, errors in outcomes if code]


def is_in_order(code, errors):
  lines = errors.splitlines()
  if code == 0:
    return 'Traceback' not in errors
  return code == 2 and len(lines) == 1 and lines[0].startswith('Error: ')


def leaves(section, path=''):
  for key in section:
    place = f'{path}.{key}' if path else key
    yield place
    if isinstance(section[key], ml_collections.ConfigDict):
      yield from leaves(section[key], place)


def config_of(name, variant):
  module = importlib.import_module(f'experiments.configs.{name}')
  return fill_defaults(module.get_config(*([variant] if variant else [])))


OF_A_KIND = {
  int: ('0', '-1', '1', '2', '3', '5', '100', '2147483648', '4294967296'),
  float: ('0', '-1', '0.5', '1', '1.5', '1e-30', '1e30', 'nan', '-inf'),
  tuple: ('()', '(0,)', '(1,)', '(2,)', '(3,3)', '(1,1,1,1)', "('a','b')"),
  bool: ('True', 'False'),
  str: ('', 'x', 'none', 'fourier', 'min', 'None', '3'),
}


def changed_flag(rng, config):
  """A flag of a key that is there, or nearly, with any value."""
  path = rng.choice(sorted(leaves(config)))
  *sections, key = path.split('.')
  for section in sections:
    config = config[section]
  if rng.random() < 0.5:
    values = OF_A_KIND.get(config.get_type(key), VALUES)
    return f'--config.{path}={rng.choice(values)}'
  how = rng.randrange(6)
  if how == 0:
    path = f'{path}.{rng.choice(NAMES)}'
  elif how == 1:
    path = f'{path.rpartition(".")[0]}.{rng.choice(NAMES)}'
  elif how == 2:
    place = rng.randrange(len(path))
    path = path[:place] + rng.choice('x_.=-é ') + path[place + 1 :]
  return f'--config.{path}={rng.choice(VALUES)}'


def command_lines(rng, count, folder):
  for _ in range(count):
    name, variant = rng.choice(CONFIGS)
    file = f'experiments/configs/{name}.py' + (f':{variant}' if variant else '')
    if rng.random() < 0.1:
      file = rng.choice(
        [
          '',
          ':',
          'README.md',
          'experiments',
          '/dev/null',
          'gs://a/b.py',
          f'{file}x',
          f'{file}:x:y',
          'LICENSE',
          'nowhere.py',
        ]
      )
    config = config_of(name, variant)
    flags = [changed_flag(rng, config) for _ in range(rng.randint(1, 2))]
    if rng.random() < 0.1:
      flags.append(
        rng.choice(['--seed=1', '--', '--config', 'x', '--heartbeat_seconds=x'])
      )
    yield [
      'door',
      [
        f'--config={file}',
        *flags,
        f'--workdir={folder}/run',
        f'--data_dir={folder}/data',
      ],
    ]


def test_command_lines(tmp_path):
  rng = random.Random(0)
  cases = list(command_lines(rng, CASES or 40, tmp_path))
  lines = check_all(cases)
  assert len(lines) > len(cases) // 2
  assert not (tmp_path / 'data').exists()


@pytest.fixture(scope='module')
def left(tmp_path_factory):
  """What a run left."""
  folder = tmp_path_factory.mktemp('left')
  write_run(small_digits(), folder / 'run')
  row = {'step': 3, 'eval/loss': 2.0, 'eval/accuracy': 0.1}
  (folder / 'run' / 'metrics.jsonl').write_text(json.dumps(row) + '\n')
  (folder / 'run' / 'starts.jsonl').write_text('{"step": 0}\n')
  with np.load(FILES / 'digits.npz') as arrays:
    cv2.imwrite(str(folder / 'seven.png'), arrays['image'][0])
  return folder


def damaged(rng, content):
  """Bytes near to some, or none of them."""
  content, how = bytearray(content), rng.randrange(6)
  if how == 0:
    return content[: rng.randrange(len(content) + 1)]
  if how == 1:
    return rng.randbytes(rng.randrange(200))
  for _ in range(rng.choice((1, 1, 2, 20))):
    place = rng.randrange(max(1, len(content)))
    if how == 2:
      content[place : place + rng.randrange(40)] = b''
    elif how == 3:
      content[place:place] = rng.randbytes(rng.randrange(1, 9))
    elif how == 4:
      content[place : place + 4] = rng.choice(
        (
          b'\xff\xff\xff\xff',
          b'\0\0\0\0',
          b'\x7f\xff\xff\xff',
          b'9999',
          b'nan ',
        )
      )
    else:
      content[place : place + 1] = rng.randbytes(1)
  return content


def damaged_json(rng, content):
  """Another value somewhere; what it is of remains JSON."""
  values = json.loads(content)
  section, path = values, []
  while True:
    key = rng.choice(sorted(section))
    path.append(key)
    if not isinstance(section[key], dict) or rng.random() < 0.2:
      break
    section = section[key]
  if rng.random() < 0.2:
    del section[key]
  else:
    section[key] = rng.choice(
      [None, -1, 0, 1e300, 10**30, 'x', [], [0], {}, {'name': 'x'}, True, 0.5]
    )
  return json.dumps(values).encode()


def test_what_a_run_left(left, tmp_path):
  rng, cases = random.Random(1), []
  for number in range(CASES or 16):
    run = tmp_path / str(number)
    shutil.copytree(left / 'run', run)
    name = rng.choice(
      ['config.json'] * 3 + ['metrics.jsonl', 'starts.jsonl', 'checkpoints']
    )
    path = run / name
    if name == 'checkpoints':
      shutil.rmtree(path)
      path.write_bytes(b'')
    elif rng.random() < 0.1:
      path.unlink()
      path.mkdir()
    elif name == 'config.json' and rng.random() < 0.7:
      path.write_bytes(damaged_json(rng, path.read_bytes()))
    else:
      path.write_bytes(damaged(rng, path.read_bytes()))
    command, files = rng.choice(
      [
        ('predict', [str(left / 'seven.png')]),
        ('report', []),
        ('door', [f'--data_dir={tmp_path}/data']),
      ]
    )
    cases.append([command, [f'--workdir={run}', *files]])
  check_all(cases)


def encoded(array, extension, *options):
  return cv2.imencode(extension, array, options)[1].tobytes()


def film():
  buffer = io.BytesIO()
  with av.open(buffer, 'w', 'mp4') as container:
    stream = container.add_stream('mpeg4', rate=8)
    stream.width = stream.height = 32
    for shade in range(10):
      image = np.full((32, 32, 3), 20 * shade, np.uint8)
      container.mux(stream.encode(av.VideoFrame.from_ndarray(image, 'rgb24')))
    container.mux(stream.encode())
  return buffer.getvalue()


def sound():
  buffer = io.BytesIO()
  with wave.open(buffer, 'wb') as file:
    file.setparams((1, 2, 8000, 0, 'NONE', ''))
    file.writeframes(struct.pack('<800h', *range(0, 8000, 10)))
  return buffer.getvalue()


def measurements(save, **arrays):
  buffer = io.BytesIO()
  save(buffer, **arrays)
  return buffer.getvalue()


def originals():
  """A variant of configs/folder.py, the end of a name, what is in order."""
  noise = np.random.default_rng(0).integers(0, 255, (40, 40, 3), np.uint8)
  series = np.arange(90.0).reshape(30, 3)
  corners = [(x, y, z) for x in (0, 1) for y in (0, 1) for z in (0, 1)]
  faces = [(0, 1, 2), (1, 2, 3), (4, 5, 6), (5, 6, 7)]
  points = '\n'.join(' '.join(map(str, corner)) for corner in corners)
  obj = '\n'.join(
    [f'v {x} {y} {z}' for x, y, z in corners]
    + [f'f {a + 1} {b + 1} {c + 1}' for a, b, c in faces]
  )
  off = '\n'.join(
    ['OFF', '8 4 0', points] + [f'3 {a} {b} {c}' for a, b, c in faces]
  )
  ply = (
    'ply\nformat ascii 1.0\nelement vertex 8\nproperty float x\n'
    f'property float y\nproperty float z\nend_header\n{points}\n'
  )
  lines = '\n'.join(['x,y,z', *(f'{a},{b},{c}' for a, b, c in series)])
  return [
    ('image', '.png', encoded(noise, '.png')),
    ('image', '.jpg', encoded(noise, '.jpg')),
    ('image', '.tiff', encoded(noise, '.tiff', 259, 1)),  # Not compressed.
    ('image', '.bmp', encoded(noise, '.bmp')),
    ('audio', '.wav', sound()),
    ('video', '.mp4', film()),
    ('mesh', '.obj', obj.encode()),
    ('mesh', '.off', off.encode()),
    ('mesh', '.ply', ply.encode()),
    ('mesh', '.xyz', points.encode()),
    ('text', '.txt', 'Größe\n'.encode()),
    ('timeseries', '.csv', lines.encode()),
    ('events', '.csv', f'time,{lines}'.replace('\n', '\n1,').encode()),
    ('timeseries', '.npy', measurements(np.save, arr=series)),
    ('timeseries', '.npz', measurements(np.savez, values=series)),
  ]


def test_files_of_people(tmp_path):
  rng, cases = random.Random(2), []
  found = originals()
  for number, (variant, end, content) in enumerate(found):
    path = tmp_path / f'right_{number}{end}'
    path.write_bytes(content)
    cases.append(['read', [variant, str(path)]])
  for code, _, errors in run_all(cases):
    assert code == 0, errors
  cases = []
  for number in range(CASES or 84):
    variant, end, content = found[number % len(found)]
    path = tmp_path / f'wrong_{number}{end}'
    path.write_bytes(damaged(rng, content))
    cases.append(['read', [variant, str(path)]])
  lines = check_all(cases)
  assert len(lines) > len(cases) // 10
  assert all(str(tmp_path) in line for line in lines)


def test_the_check_can_fail():
  assert is_in_order(0, '') and is_in_order(2, 'Error: x.\n')
  assert not is_in_order(1, 'Error: x.\n')
  assert not is_in_order(-11, '')
  assert not is_in_order(2, 'Error: x.\nTwo.\n')
  assert not is_in_order(2, 'Traceback\n')
