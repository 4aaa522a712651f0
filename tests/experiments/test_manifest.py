"""Checkpoints whose bits flip: never taken for what was written."""

import contextlib
import json
import re
import shutil
import subprocess
import sys
import zlib

import jax
import numpy as np
import pytest

from experiments import checkpoints as command
from experiments.checkpointing import listing, manifest
from experiments.checkpointing.checkpoints import Checkpoints
from experiments.checkpointing.files import BrokenCheckpointError
from experiments.stepping.train_state import TrainState

OLD, NEW = 10, 20
# Of each file of a checkpoint, so many bits are flipped, one at a time.
FLIPS = 12


def state(step):
  rng = np.random.default_rng(step)
  layer = {'w': rng.normal(size=(30, 40)).astype(np.float32)}
  # Zeros, which are compressed to almost nothing.
  zeros = {'w': np.zeros((100, 100), np.float32)}
  return TrainState(
    np.int32(step), {'layer': layer, 'zeros': zeros}, {}, (np.int32(step),)
  )


def template():
  return jax.tree.map(
    lambda x: jax.ShapeDtypeStruct(np.shape(x), x.dtype), state(0)
  )


def opened(workdir, say=print):
  return contextlib.closing(
    Checkpoints(
      workdir, say, keep_last=3, best_metric='eval/score', best_mode='max'
    )
  )


@pytest.fixture(scope='module')
def healthy(tmp_path_factory):
  """A workdir with two checkpoints, the newer one the better."""
  workdir = tmp_path_factory.mktemp('healthy')
  with opened(workdir) as checkpoints:
    for step in (OLD, NEW):
      checkpoints.save(state(step), 32 * step, {'eval/score': float(step)})
  return workdir


@pytest.fixture
def workdir(healthy, tmp_path):
  return shutil.copytree(healthy, tmp_path / 'run')


def files_of(checkpoint):
  return sorted(path for path in checkpoint.rglob('*') if path.is_file())


def flip(path, bit):
  data = bytearray(path.read_bytes())
  data[bit // 8] ^= 1 << bit % 8
  path.write_bytes(data)


def is_equal(restored, step):
  same = jax.tree.map(np.array_equal, restored.train_state, state(step))
  return all(jax.tree.leaves(same)) and restored.position == 32 * step


def test_the_checksums_are_crc32_of_every_file(healthy):
  folder = healthy / 'checkpoints' / str(NEW)
  written = json.loads((folder / 'whole' / 'checksums.json').read_text())
  assert list(written) == ['crc32', 'of_these']
  items = {'data', 'metrics', 'train_state'}
  assert written['crc32'] == {
    path.relative_to(folder).as_posix(): [
      path.stat().st_size,
      zlib.crc32(path.read_bytes()),
    ]
    for path in files_of(folder)
    if path.relative_to(folder).parts[0] in items
  }
  assert len(written['crc32']) > 8


def test_no_flipped_bit_is_silently_accepted(workdir):
  """Of all files, also those that a run goes on without."""
  folder = workdir / 'checkpoints' / str(NEW)
  rng = np.random.default_rng(0)
  found, harmless = 0, set()
  for path in files_of(folder):
    size = 8 * path.stat().st_size
    for bit in rng.choice(size, min(FLIPS, size), replace=False):
      before = path.read_bytes()
      flip(path, int(bit))
      name = path.relative_to(folder).as_posix()
      try:
        restored = read(workdir)
      except BrokenCheckpointError as error:
        found += 1
        assert f'{name} ' in str(error) or f'{name},' in str(error)
      else:
        # What is not read: the very numbers come back.
        assert is_equal(restored, NEW)
        harmless.add(name)
      path.write_bytes(before)
  assert is_equal(read(workdir), NEW)
  assert found > 100
  # Orbax writes these after the last of its items; metrics choose the best, see
  # the next test; and white space between checksums says nothing.
  own = {'_CHECKPOINT_METADATA', 'commit_success.txt'}
  own |= {f'{item}/commit_success.txt' for item in ('whole', 'metrics')}
  assert harmless <= own | {'metrics/metrics', 'whole/checksums.json'}


def read(workdir):
  """Reads the newer checkpoint with all that a run checks of it."""
  from experiments.checkpointing import files
  from experiments.checkpointing.files import orbax_path

  folder = workdir / 'checkpoints' / str(NEW)
  return files.read(folder, orbax_path(folder), template())


@pytest.mark.parametrize('bit', [3, 8 * 15 + 1, 8 * 17 + 2])
def test_metrics_that_are_others_do_not_count_for_the_best(workdir, bit):
  """Most of these flips leave JSON: 20.0 becomes 28.0, or another name."""
  metrics = workdir / 'checkpoints' / str(NEW) / 'metrics' / 'metrics'
  flip(metrics, bit)
  lines = []
  with opened(workdir, lines.append) as checkpoints:
    assert checkpoints.best_step() == OLD
    assert is_equal(checkpoints.restore_newest(template()), NEW)
  (line,) = lines
  assert f'metrics of the checkpoint of step {NEW} cannot be read' in line


@pytest.mark.parametrize('where', ['train_state/d/*', 'data/metadata'])
def test_the_newest_whole_one_is_taken_and_the_file_named(workdir, where):
  folder = workdir / 'checkpoints' / str(NEW)
  (path, *_) = sorted(folder.glob(where))
  flip(path, 8 * (path.stat().st_size // 2))
  lines = []
  with opened(workdir, lines.append) as checkpoints:
    assert is_equal(checkpoints.restore_newest(template()), OLD)
  (line,) = lines
  assert f'cannot be read: {path.relative_to(folder)} is damaged: ' in line
  assert f'put aside as {folder}.broken' in line


def test_all_damaged_files_are_counted(workdir):
  folder = workdir / 'checkpoints' / str(NEW)
  for path in files_of(folder / 'train_state'):
    flip(path, 0)
  count = len(files_of(folder / 'train_state'))
  with pytest.raises(
    BrokenCheckpointError, match=rf'and {count - 1} more file'
  ):
    read(workdir)


@pytest.mark.parametrize(
  'content', [b'', b'{', b'[]', b'{"crc32": {"a": 1}}', b'{"crc32": {}}']
)
def test_checksums_that_cannot_be_read(workdir, content):
  sums = workdir / 'checkpoints' / str(NEW) / 'whole' / 'checksums.json'
  sums.write_bytes(content)
  with pytest.raises(
    BrokenCheckpointError, match=r'whole/checksums\.json, are'
  ):
    read(workdir)
  with opened(workdir, [].append) as checkpoints:
    assert is_equal(checkpoints.restore_newest(template()), OLD)


def test_large_files_are_shared_among_processes(tmp_path, monkeypatch):
  monkeypatch.setattr(manifest, '_BLOCK_BYTES', 100)
  sums = {}
  for number in range(5):
    path = tmp_path / f'{number}'
    path.write_bytes(bytes(1000) if number else b'small')
    sums[path.name] = (path.stat().st_size, 1)  # Of none of them.
  parts = [
    [each.split()[0] for each in manifest.damages(tmp_path, sums, **of)]
    for of in ({}, {'part': 0, 'parts': 2}, {'part': 1, 'parts': 2})
  ]
  assert parts == [['0', '1', '2', '3', '4'], ['0', '1', '3'], ['0', '2', '4']]


def test_the_list_of_checkpoints(workdir):
  folder = workdir / 'checkpoints'
  shutil.copytree(folder / str(OLD), folder / '5.broken')
  (folder / '30.orbax-checkpoint-tmp').mkdir()
  shutil.rmtree(folder / str(OLD) / 'whole')
  found = listing.list_checkpoints(workdir, verify=False)
  assert [(each['name'], each['state']) for each in found] == [
    ('5.broken', 'put aside, broken'),
    ('10', 'no checksums'),
    ('20', 'checksums'),
    ('30.orbax-checkpoint-tmp', 'a save that did not end'),
  ]
  assert found[2]['metrics'] == {'eval/score': 20.0}
  assert found[2]['bytes'] == sum(
    path.stat().st_size for path in files_of(folder / '20')
  )
  verified = listing.list_checkpoints(workdir, verify=True)
  assert [each['state'] for each in verified[1:3]] == [
    'no checksums',
    'as written',
  ]
  flip(folder / '20' / 'data' / 'metadata', 9)
  (*_, damaged, _) = listing.list_checkpoints(workdir, verify=True)
  assert damaged['state'] == 'damaged'
  assert damaged['damaged'] == [
    'data/metadata is damaged: its checksum is another one'
  ]
  text = command.render({'checkpoints': [*verified, damaged]})
  assert re.search(
    r'^20 +0\.\d\d MB +2.* as written +eval/score 20$', text, re.M
  )
  assert '\n  data/metadata is damaged: its' in text


@pytest.mark.slow
def test_the_command(workdir, tmp_path):
  def run(*arguments):
    return subprocess.run(
      [sys.executable, '-m', 'experiments.checkpoints', *arguments],
      capture_output=True,
      text=True,
      check=False,
    )

  told = run(f'--workdir={workdir}', '--verify')
  assert told.returncode == 0 and told.stdout.count('as written') == 2
  path = files_of(workdir / 'checkpoints' / str(OLD) / 'train_state')[0]
  flip(path, 1)
  told = run(f'--workdir={workdir}', '--verify', '--json')
  assert told.returncode == 2 and told.stderr.startswith('Error: Of step 10 ')
  assert json.loads(told.stdout)['checkpoints'][0]['state'] == 'damaged'
  told = run(f'--workdir={tmp_path}/none')
  assert told.returncode == 2 and 'There is no run in' in told.stderr
  assert told.stderr.count('\n') == 1
