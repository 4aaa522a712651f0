"""Buckets: paths, locks, metrics and checkpoints, with real servers."""

import contextlib
import itertools
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import threading
import time
import types

import jax
import numpy as np
import pytest

from experiments.checkpointing.checkpoints import Checkpoints
from experiments.checkpointing.files import COMMITTED
from experiments.checkpointing.local_copies import (
  LocalCopies,
  check_processes,
)
from experiments.files.fetched import fetched
from experiments.host import run_lock
from experiments.host.addresses import place
from experiments.host.buckets import BucketPath, write_whole, written_here
from experiments.host.run_lock import RunLock
from experiments.stepping.train_state import TrainState
from experiments.watching import writers
from experiments.watching.profiling import Profiler
from experiments.watching.weights_and_biases import WeightsAndBiases
from experiments.watching.writers import MetricsWriter
from tests.bucket_servers import stores  # noqa: F401

ROOT = pathlib.Path(__file__).parents[2]
_numbers = itertools.count()


@pytest.fixture(params=['gs', 's3'])
def folder(request, stores):  # noqa: F811
  """An empty folder of a bucket."""
  return place(f'{request.param}://bucket/tests/{next(_numbers)}', '--workdir')


# Paths.


def test_what_is_not_there(folder):
  assert not folder.exists() and not folder.is_dir()
  assert folder.files() == [] and list(folder.glob('*')) == []
  for read in (folder.read_text, lambda: list(folder.iterdir())):
    with pytest.raises(FileNotFoundError, match='There is no '):
      read()
  folder.unlink(missing_ok=True)
  folder.rmtree(missing_ok=True)


def test_files_and_folders(folder):
  (folder / 'a' / 'b.json').write_text('é')
  (folder / 'a.txt').write_bytes(b'\xff')
  assert (folder / 'a').is_dir() and not (folder / 'a').is_file()
  assert (folder / 'a.txt').is_file() and not (folder / 'a.txt').is_dir()
  assert sorted(folder.iterdir()) == [folder / 'a', folder / 'a.txt']
  assert list(folder.glob('*.txt')) == [folder / 'a.txt']
  assert folder.files() == ['a.txt', 'a/b.json']
  assert (folder / 'a' / 'b.json').read_text() == 'é'
  assert (folder / 'a.txt').read_text(errors='replace') == '\ufffd'
  assert folder.absolute() is folder and folder.resolve() is folder
  moved = (folder / 'a').rename(folder / 'c')
  assert folder.files() == ['a.txt', 'c/b.json']
  assert isinstance(moved, BucketPath) and str(moved) == f'{folder}/c'
  (folder / 'a.txt').unlink()
  moved.rmtree()
  assert not folder.exists()


def test_written_by_another_program(folder, tmp_path):
  with written_here(folder / 'made') as here:
    (here / 'x').mkdir()
    (here / 'x' / 'large').write_bytes(bytes(6_000_000))
    (here / 'small').write_text('s')
  assert not here.exists()
  assert (folder / 'made').files() == ['small', 'x/large']
  (folder / 'made').download('x/large', tmp_path / 'y' / 'large')
  assert (tmp_path / 'y' / 'large').stat().st_size == 6_000_000
  assert len(list((tmp_path / 'y').iterdir())) == 1


def test_of_many_that_create_a_file_one_does(folder):
  made, start = [], threading.Barrier(8)

  def create(index):
    start.wait()
    if (folder / 'one').create(str(index).encode()):
      made.append(index)

  threads = [threading.Thread(target=create, args=(i,)) for i in range(8)]
  for thread in threads:
    thread.start()
  for thread in threads:
    thread.join()
  assert made == [int((folder / 'one').read_text())]


def test_the_time_is_that_of_the_store(folder):
  write_whole(folder / 'now', 'x')
  assert abs((folder / 'now').modified() - time.time()) < 60


def test_a_bucket_that_is_not_there(folder):
  scheme = str(folder).partition(':')[0]
  path = place(f'{scheme}://no-such-bucket/a', '--workdir')
  with pytest.raises(OSError, match=r'There is no .*, or no such bucket'):
    path.write_text('x')


# Locks.


@pytest.fixture
def quick(monkeypatch):
  monkeypatch.setattr(run_lock, 'REFRESH_SECONDS', 0.1)
  monkeypatch.setattr(run_lock, 'SILENCE_SECONDS', 2.0)


def elsewhere(monkeypatch):
  """From now on this process takes holders for those of another machine."""
  monkeypatch.setattr(run_lock, '_machine', lambda: 'elsewhere')


def test_a_lock_is_there_as_long_as_its_run(folder, monkeypatch, quick):
  with RunLock(folder):
    holder = json.loads((folder / 'run.lock').read_text())
    # Also for those who see the bucket alone: they wait, and see it refreshed.
    elsewhere(monkeypatch)
    with (
      pytest.raises(OSError, match=rf'process {holder["pid"]} on .*--workdir'),
      RunLock(folder),
    ):
      pass
  assert folder.files() == []


def test_the_lock_of_a_process_that_is_gone_is_taken_over(folder, capsys):
  lock = RunLock(folder)
  gone = json.loads(lock._text) | {'pid': 2**22 + 1, 'started': '1'}
  (folder / 'run.lock').write_text(json.dumps(gone))
  with RunLock(folder):
    holder = json.loads((folder / 'run.lock').read_text())
    assert holder['pid'] == os.getpid()
  assert 'which is gone: taken over' in capsys.readouterr().out
  assert folder.files() == []


def test_a_silent_lock_of_another_machine_is_taken_over(
  folder, monkeypatch, quick, capsys
):
  (folder / 'run.lock').write_text(RunLock(folder)._text)
  (folder / 'run.lock.alive').write_text('1')
  elsewhere(monkeypatch)
  with RunLock(folder):
    pass
  told = capsys.readouterr().out
  assert 'waiting, ' in told and 'taken over' in told


def test_who_lost_the_lock_is_told_and_leaves_it(folder, quick, capsys):
  with RunLock(folder):
    (folder / 'run.lock').write_text('{}')
    for _ in range(100):
      time.sleep(0.05)
      if 'no longer the lock' in capsys.readouterr().err:
        break
    else:
      pytest.fail('Nothing was said.')
  assert (folder / 'run.lock').read_text() == '{}'


def test_a_store_that_writes_over_files_is_refused(folder, monkeypatch):
  def create(self, data):
    self.write_bytes(data)
    return True

  monkeypatch.setattr(BucketPath, 'create', create)
  with pytest.raises(OSError, match='does not keep two runs apart'):
    RunLock(folder)
  assert folder.files() == []


# Metrics.


def metrics_of(folder):
  text = (folder / 'metrics.jsonl').read_text()
  return [json.loads(line)['step'] for line in text.splitlines()]


def test_metrics_are_written_now_and_then_and_before_checkpoints(folder):
  writer = MetricsWriter(folder, 0, active=True)
  writer.write(1, {'train/loss': 1.0})
  assert metrics_of(folder) == [1]
  writer.write(2, {'train/loss': 1.0})
  assert metrics_of(folder) == [1]
  writer.flush()
  assert metrics_of(folder) == [1, 2]
  writer.write(3, {'train/loss': 1.0})
  writer.close()
  assert metrics_of(folder) == [1, 2, 3]
  (events,) = (folder / 'tensorboard').iterdir()
  assert events.read_bytes().count(b'train/loss') == 3
  # What comes after the checkpoint that a run goes on from is dropped.
  with contextlib.closing(MetricsWriter(folder, 2, active=True)) as writer:
    writer.write(4, {'train/loss': 1.0})
  assert metrics_of(folder) == [1, 2, 4]


def test_metrics_wait_for_a_bucket_that_fails(folder, monkeypatch, capsys):
  monkeypatch.setattr(writers, '_BUCKET_SECONDS', 0.0)
  with contextlib.closing(MetricsWriter(folder, 0, active=True)) as writer:
    with monkeypatch.context() as broken:
      broken.setattr(BucketPath, 'write_bytes', _unreachable)
      writer.write(1, {'train/loss': 1.0})
      writer.flush()
    writer.write(2, {'train/loss': 1.0})
  assert metrics_of(folder) == [1, 2]
  first, second = capsys.readouterr().out.splitlines()
  assert 'Metrics wait, and training goes on' in first and 'again' in second


def _unreachable(path, data):
  raise OSError(f'{path} cannot be reached: no route to host')


# Checkpoints.


def state(step):
  """A train state that tells its step."""
  layer = {'w': np.full((30, 40), step, np.float32)}
  return TrainState(np.int32(step), {'layer': layer}, {}, (np.int32(step),))


def template():
  return jax.tree.map(
    lambda x: jax.ShapeDtypeStruct(np.shape(x), x.dtype), state(0)
  )


def opened(folder, lines):
  return contextlib.closing(
    Checkpoints(
      folder,
      lines.append,
      keep_last=2,
      best_metric='eval/score',
      best_mode='max',
    )
  )


def test_checkpoints_are_kept_and_read(folder):
  lines = []
  with opened(folder, lines) as checkpoints:
    for step, score in ((1, 1.0), (2, 9.0), (3, 2.0), (4, 3.0)):
      checkpoints.save(state(step), 32 * step, {'eval/score': score})
  assert {path.name for path in (folder / 'checkpoints').iterdir()} == {
    '2',
    '3',
    '4',
  }
  with opened(folder, lines) as checkpoints:
    assert (checkpoints.latest_step(), checkpoints.best_step()) == (4, 2)
    restored = checkpoints.restore_newest(template())
    assert restored.position == 128
    np.testing.assert_array_equal(restored.train_state.params['layer']['w'], 4)
    params, _ = checkpoints.restore_model(2)
    np.testing.assert_array_equal(params['layer']['w'], 2)
  assert lines == []


@pytest.mark.parametrize('lost', ['train_state/manifest.ocdbt', COMMITTED])
def test_a_checkpoint_that_is_not_whole(folder, lost):
  lines = []
  with opened(folder, lines) as checkpoints:
    for step in (1, 2):
      checkpoints.save(state(step), step, None)
  (folder / 'checkpoints' / '2' / lost).unlink()
  with opened(folder, lines) as checkpoints:
    restored = checkpoints.restore_newest(template())
    assert restored.position == 1
    checkpoints.save(state(2), 2, None)
  (line,) = lines
  if lost == COMMITTED:
    assert line.startswith(f'{folder}/checkpoints/2 is what a run left')
  else:
    assert line.startswith('The checkpoint of step 2 in ') and re.search(
      r'put aside as \S+/checkpoints/2\.broken', line
    )
  with opened(folder, lines) as checkpoints:
    assert checkpoints.restore_newest(template()).position == 2


def test_saves_that_fail_are_told_and_end_the_run(folder, monkeypatch):
  lines = []
  with opened(folder, lines) as checkpoints:
    checkpoints.save(state(1), 1, None)
    checkpoints.finish()
    with monkeypatch.context() as broken:
      broken.setattr(BucketPath, 'touch', _unreachable_touch)
      checkpoints.save(state(2), 2, None)
      checkpoints.save(state(3), 3, None)
      with pytest.raises(OSError, match='the bucket can be reached') as error:
        checkpoints.save(state(4), 4, None)
    assert 'disk' not in str(error.value)
    assert len(lines) == 2
    checkpoints.save(state(5), 5, None)
    assert checkpoints.restore_newest(template()).position == 5


def _unreachable_touch(path, mode=0, exist_ok=True):
  raise OSError(f'{path} cannot be reached: no route to host')


def test_several_processes_save_into_gs_alone(monkeypatch, tmp_path):
  monkeypatch.setattr(jax, 'process_count', lambda: 2)
  for workdir in (tmp_path, BucketPath('gs://bucket/a')):
    check_processes(workdir)
  with pytest.raises(ValueError, match=r'--workdir s3://bucket/a: .* EFS, FSx'):
    check_processes(BucketPath('s3://bucket/a'))


def test_copies_of_processes_that_are_gone_are_removed(tmp_path, monkeypatch):
  monkeypatch.setattr(tempfile, 'tempdir', str(tmp_path))
  others = tmp_path / 'others'
  abandoned = tmp_path / 'perceiver_jax-checkpoints-1' / 'checkpoints'
  for folder in (others, abandoned):
    folder.mkdir(parents=True)
  (abandoned.parent / 'owner').touch()
  one, two = (LocalCopies(BucketPath('s3://bucket/a')) for _ in range(2))
  assert not abandoned.exists()
  assert one.directory.is_dir() and two.directory.is_dir()
  one.close()
  two.close()
  assert list(tmp_path.iterdir()) == [others]


# What others write.


def test_a_profile_is_copied_into_the_bucket(folder):
  with contextlib.closing(Profiler(folder, steps=(1, 2))) as profiler:
    for step in (1, 2, 3):
      profiler.run(step, lambda x: x + 1, np.ones(3))
  names = folder.files()
  assert names and all(
    name.startswith('tensorboard/plugins/profile/') for name in names
  )


def test_files_for_wandb_sync_would_not_stay(monkeypatch):
  monkeypatch.setitem(sys.modules, 'wandb', types.ModuleType('wandb'))
  tracking = WeightsAndBiases(project='p', mode='offline')
  with pytest.raises(ValueError, match=r'mode=offline .* gs://bucket/a'):
    tracking.start({}, BucketPath('gs://bucket/a'))


# People's own files.


def test_a_folder_is_copied_once_and_kept_up(
  folder, tmp_path, monkeypatch, capsys
):
  monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
  for name in ('cat/1.png', 'cat/2.png', 'dog/1.png'):
    (folder / 'train' / name).write_text(name)
  copy = fetched(folder)
  assert (copy / 'train' / 'dog' / '1.png').read_text() == 'dog/1.png'
  assert 'Copying 3 files' in capsys.readouterr().out
  before = {path: path.stat() for path in copy.rglob('*.png')}
  assert fetched(folder) == copy
  assert {path: path.stat() for path in before} == before
  assert capsys.readouterr().out == ''
  (folder / 'train' / 'cat' / '1.png').unlink()
  (folder / 'train' / 'cat' / '2.png').write_text('another')
  # What a process that was killed has left.
  (copy / 'train' / 'cat' / '3.png.1.part').write_text('ca')
  fetched(folder)
  assert 'Copying 1 files' in capsys.readouterr().out
  assert (copy / 'train' / 'cat' / '2.png').read_text() == 'another'
  assert len(list((copy / 'train' / 'cat').iterdir())) == 1


def test_the_times_of_copies_are_those_of_the_bucket(
  folder, tmp_path, monkeypatch
):
  (folder / 'a').write_text('a')
  keys = []
  for machine in ('one', 'two'):
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / machine))
    keys.append((fetched(folder) / 'a').stat().st_mtime_ns)
  assert keys[0] == keys[1]


def test_a_folder_that_is_not_there_or_too_large(folder, tmp_path, monkeypatch):
  monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
  with pytest.raises(FileNotFoundError, match='There is no folder'):
    fetched(folder)
  (folder / 'a').write_text('a')
  monkeypatch.setattr(BucketPath, 'listing', lambda self: {'a': (2**60, 0)})
  with pytest.raises(OSError, match='Set XDG_CACHE_HOME to a larger disk'):
    fetched(folder)


# A store that does not answer.


@pytest.mark.parametrize('scheme', ['gs', 's3'])
def test_a_store_that_does_not_answer_is_not_an_empty_one(scheme, tmp_path):
  # In a process of its own: the libraries keep the address.
  program = tmp_path / 'look.py'
  program.write_text(LOOK)
  nowhere = 'http://127.0.0.1:1'
  result = subprocess.run(
    [sys.executable, str(program), f'{scheme}://bucket/a/b'],
    env=os.environ
    | {
      'PYTHONPATH': str(ROOT),
      'STORAGE_EMULATOR_HOST': nowhere,
      'GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT': 'false',
      'AWS_ENDPOINT_URL': nowhere,
      'AWS_ACCESS_KEY_ID': 'tests',
      'AWS_SECRET_ACCESS_KEY': 'tests',
      'AWS_MAX_ATTEMPTS': '1',
    },
    capture_output=True,
    text=True,
    timeout=300,
    check=False,
  )
  assert result.stdout.split() == ['unreachable'] * 7, result.stderr


LOOK = """
import asyncio, sys
from experiments.host.addresses import place
sleep = asyncio.sleep
# gcsfs gives up after half a minute.
asyncio.sleep = lambda seconds: sleep(0)
path = place(sys.argv[1], '--workdir')
for ask in (
  path.exists,
  path.is_dir,
  path.is_file,
  path.files,
  path.read_text,
  lambda: path.write_text('x'),
  lambda: list(path.glob('*')),
):
  try:
    print(ask())
  except FileNotFoundError:
    print('not_there')
  except OSError as error:
    assert str(error).startswith(f'{path} cannot be reached: '), error
    print('unreachable')
"""


def test_checkpoints_that_were_not_seen_stop_the_run(folder, monkeypatch):
  lines = []
  with opened(folder, lines) as checkpoints:
    checkpoints.save(state(1), 1, None)
    checkpoints.finish()
    monkeypatch.setattr(checkpoints._manager, 'all_steps', list)
    with pytest.raises(OSError, match='not seen at first'):
      checkpoints.restore_newest(template())
