"""Pickles are read in a process that has limits, and come back as they were."""

import os
import pathlib
import pickle
import signal
import subprocess
import sys
import threading
import time

import jax.numpy as jnp
import numpy as np
import pytest

from experiments.handing_on.unpickling import load_apart

ROOT = pathlib.Path(__file__).parents[2]


def write(tmp_path, tree):
  path = tmp_path / 'weights.pkl'
  path.write_bytes(pickle.dumps(tree) if not isinstance(tree, bytes) else tree)
  return path


def key_of_keys(depth):
  """A key of two tuples of two tuples ...: its hash takes 2**depth steps."""
  build = b'(t' + b'2\x86' * depth  # DUP, TUPLE2.
  return b'\x80\x02}' + build + b'K\x01s.'


def lists_of_lists(depth):
  return b'\x80\x02}K\x01]' + b'2\x86' * depth + b's.'


def test_what_is_read_is_what_was_there(tmp_path):
  tree = {
    'a/b': {
      'w': np.arange(6, dtype=np.float64).reshape(2, 3),
      'h': np.array(jnp.arange(5, dtype=jnp.bfloat16)),
      'none': None,
      'numbers': (1, 2.5, [True, 'x']),
    },
    ('k', 3): np.float32(7),
    'scalar': np.array(True),
  }
  found = load_apart(write(tmp_path, tree))
  assert list(found) == list(tree)
  np.testing.assert_array_equal(found['a/b']['w'], tree['a/b']['w'])
  np.testing.assert_array_equal(found['a/b']['h'], tree['a/b']['h'])
  assert found['a/b']['h'].dtype == jnp.bfloat16
  assert found['a/b']['numbers'] == (1, 2.5, [True, 'x'])
  assert found['a/b']['none'] is None
  assert found['k', 3] == 7 and found['k', 3].dtype == np.float32
  assert found['scalar'].shape == () and found['scalar'].dtype == bool


@pytest.mark.slow
def test_refusals_come_back_as_they_are(tmp_path):
  path = write(tmp_path, b'cos\nsystem\n(S"true"\ntR.')
  with pytest.raises(ValueError, match=r'weights\.pkl is refused, and nothing'):
    load_apart(path)


@pytest.mark.parametrize(
  'bomb',
  [key_of_keys, pytest.param(lists_of_lists, marks=pytest.mark.slow)],
)
def test_work_without_end_is_ended(tmp_path, bomb):
  path = write(tmp_path, bomb(70))
  assert path.stat().st_size < 250
  begin = time.monotonic()
  with pytest.raises(ValueError, match=r'weights\.pkl takes more than 4 s'):
    load_apart(path, seconds=4)
  assert time.monotonic() - begin < 60


@pytest.mark.slow
def test_memory_without_end_is_refused(tmp_path):
  # Bytes of 40 GB that are stated, and not there; nor is the room for them.
  with pytest.raises(ValueError, match=r'weights\.pkl'):
    load_apart(
      write(tmp_path, b'\x80\x04}\x8e' + (40 * 10**9).to_bytes(8, 'little'))
    )


@pytest.mark.usefixtures('usual_signals')
@pytest.mark.slow
def test_ctrl_c_ends_an_import_and_its_process(tmp_path):
  path = write(tmp_path, key_of_keys(70))
  process = subprocess.Popen(
    [
      *(sys.executable, '-m', 'experiments.import_weights'),
      *('--config=experiments/configs/language.py', f'--source={path}'),
      f'--workdir={tmp_path / "run"}',
    ],
    cwd=ROOT,
    env={**os.environ, 'JAX_PLATFORMS': 'cpu'},
    stderr=subprocess.PIPE,
    start_new_session=True,
  )

  def readers():
    found = pathlib.Path(f'/proc/{process.pid}/task').glob('*/children')
    return [int(pid) for each in found for pid in each.read_text().split()]

  begin = time.monotonic()
  while not readers() and time.monotonic() - begin < 60:
    time.sleep(0.1)
  (reader,) = readers()
  time.sleep(5)  # It has begun to compute the hash.
  threading.Timer(120, process.kill).start()
  process.send_signal(signal.SIGINT)
  process.wait(100)
  with pytest.raises(ProcessLookupError):
    os.kill(reader, 0)
  assert not (tmp_path / 'run').exists()
