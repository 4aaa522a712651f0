"""Checkpoints on a disk that breaks: really killed, truncated, full, gone."""

import asyncio
import contextlib
import itertools
import json
import logging
import os
import pathlib
import re
import shutil
import socket
import subprocess
import sys
import types

import jax
import numpy as np
import orbax.checkpoint as ocp
import pytest

from experiments.checkpointing import orbax_noise, save_failures
from experiments.checkpointing.checkpoints import Checkpoints
from experiments.checkpointing.files import BrokenCheckpointError, parts_of
from experiments.stepping.early_stop import Seen
from experiments.stepping.spikes import no_spikes
from experiments.stepping.train_state import TrainState

ROOT = pathlib.Path(__file__).parents[2]
OLD, NEW = 10, 20


def state(step, width=40):
  """A train state that tells its step."""
  rng = np.random.default_rng(step)
  layer = {'w': rng.normal(size=(30, width)).astype(np.float32)}
  return TrainState(np.int32(step), {'layer': layer}, {}, (np.int32(step),))


def template(width=40):
  return jax.tree.map(
    lambda x: jax.ShapeDtypeStruct(np.shape(x), x.dtype), state(0, width)
  )


def is_state(train_state, step):
  same = jax.tree.map(np.array_equal, train_state, state(step))
  return all(jax.tree.leaves(same))


@pytest.fixture
def lines():
  return []


@pytest.fixture
def opened(tmp_path, lines):
  """Opens the checkpoints of tmp_path; they are closed before the next."""
  with contextlib.ExitStack() as stack:

    def open_again(keep_last=3, best_mode='max'):
      stack.close()
      checkpoints = Checkpoints(
        tmp_path,
        lines.append,
        keep_last=keep_last,
        best_metric='eval/score',
        best_mode=best_mode,
      )
      return stack.enter_context(contextlib.closing(checkpoints))

    yield open_again


def test_checkpoints_of_older_releases_and_of_other_settings(opened, tmp_path):
  """They know nothing of evaluations, and steps may be compared or not."""
  known = Seen(0.5, 3)
  spikes = jax.tree.map(np.asarray, no_spikes())._replace(skipped=np.int32(7))
  checkpoints = opened()
  checkpoints.save(state(OLD), 5, None)
  checkpoints.save(state(NEW)._replace(spikes=spikes), 6, None, known)
  checkpoints.finish()
  folder = tmp_path / 'checkpoints' / str(OLD)
  (folder / 'data' / 'metadata').write_text(json.dumps({'position': 5}))
  shutil.rmtree(folder / 'whole')
  comparing = template()._replace(spikes=jax.eval_shape(no_spikes))
  checkpoints = opened()
  for wanted in (template(), comparing):
    old, new = (checkpoints.restore(step, wanted) for step in (OLD, NEW))
    assert (old.position, old.seen) == (5, Seen())
    assert (new.position, new.seen) == (6, known)
    for restored, step in ((old, OLD), (new, NEW)):
      assert is_state(restored.train_state._replace(spikes=None), step)
    if wanted.spikes is None:
      assert old.train_state.spikes is new.train_state.spikes is None
    else:
      assert int(old.train_state.spikes.skipped) == 0
      assert int(new.train_state.spikes.skipped) == 7


@pytest.fixture(scope='module')
def healthy(tmp_path_factory):
  """A workdir with two checkpoints."""
  workdir = tmp_path_factory.mktemp('healthy')
  checkpoints = Checkpoints(
    workdir, keep_last=3, best_metric='eval/score', best_mode='max'
  )
  with contextlib.closing(checkpoints):
    for step in (OLD, NEW):
      checkpoints.save(state(step), 32 * step, {'eval/score': float(step)})
  return workdir


@pytest.fixture
def folder(healthy, tmp_path):
  """A copy of its folder of checkpoints, to break."""
  return shutil.copytree(healthy / 'checkpoints', tmp_path / 'checkpoints')


def names(folder):
  return sorted(path.name for path in folder.iterdir())


def empty(path):
  os.truncate(path, 0)


def halve(path):
  os.truncate(path, path.stat().st_size // 2)


# What a checkpoint cannot be without. In a folder `d`, the largest file.
NEEDED = [
  'data/metadata',
  'train_state/_METADATA',
  'train_state/manifest.ocdbt',
  'train_state/d',
  'train_state/ocdbt.process_0/d',
]


def file_of(checkpoint, name):
  path = checkpoint / name
  if path.is_dir():
    return max(path.iterdir(), key=lambda file: file.stat().st_size)
  return path


@pytest.mark.parametrize('has_sums', [True, False])
@pytest.mark.parametrize('damage', [os.remove, empty, halve])
@pytest.mark.parametrize('name', NEEDED)
def test_a_damaged_file(folder, opened, lines, name, damage, has_sums):
  path = file_of(folder / str(NEW), name)
  if not has_sums:  # As earlier releases write them.
    shutil.rmtree(folder / str(NEW) / 'whole')
  damage(path)
  restored = opened().restore_newest(template())
  assert is_state(restored.train_state, OLD)
  assert restored.position == 32 * OLD
  assert names(folder) == [str(OLD), f'{NEW}.broken']
  (line,) = lines
  assert '\n' not in line and len(line) < 700
  assert line.startswith(
    f'The checkpoint of step {NEW} in {folder} cannot be read: '
  )
  assert line.endswith(f'. It is put aside as {folder}/{NEW}.broken.')
  named = f'{path.relative_to(folder / str(NEW))} '
  assert (f'cannot be read: {named}' in line) == has_sums


@pytest.mark.parametrize(
  'name',
  ['data', 'train_state', 'train_state/d', 'train_state/ocdbt.process_0'],
)
def test_a_half_deleted_checkpoint(folder, opened, lines, name):
  shutil.rmtree(folder / str(NEW) / name)
  restored = opened().restore_newest(template())
  assert is_state(restored.train_state, OLD)
  assert names(folder) == [str(OLD), f'{NEW}.broken']
  assert len(lines) == 1


@pytest.mark.parametrize(
  'name', ['_CHECKPOINT_METADATA', 'commit_success.txt', 'metrics/metrics']
)
def test_a_file_that_is_not_needed(folder, opened, lines, name):
  # Earlier releases of Orbax do not write all of them.
  (folder / str(NEW) / name).unlink(missing_ok=True)
  restored = opened().restore_newest(template())
  assert is_state(restored.train_state, NEW)
  assert names(folder) == [str(OLD), str(NEW)]
  assert lines == []


def test_an_empty_folder(folder, opened):
  (folder / '30').mkdir()
  restored = opened().restore_newest(template())
  assert is_state(restored.train_state, NEW)
  assert names(folder) == [str(OLD), str(NEW), '30.broken']


def test_the_step_that_was_broken_is_saved_again(folder, opened):
  for number in ('', '-2'):
    empty(folder / str(NEW) / 'data' / 'metadata')
    checkpoints = opened()
    checkpoints.restore_newest(template())
    checkpoints.save(state(NEW), 32 * NEW, {'eval/score': 20.0})
    checkpoints.finish()
    assert (folder / f'{NEW}.broken{number}' / 'train_state').is_dir()
    assert is_state(opened().restore_newest(template()).train_state, NEW)
  assert opened().best_step() == NEW


def test_nothing_starts_afresh_where_all_is_broken(folder, opened, lines):
  for step in (OLD, NEW):
    empty(folder / str(step) / 'train_state' / '_METADATA')
  with pytest.raises(BrokenCheckpointError) as error:
    opened().restore_newest(template())
  message = str(error.value)
  assert f'step {NEW} in' in message and f'step {OLD} in' in message
  assert 'nothing was changed. Repair the disk' in message
  assert names(folder) == [str(OLD), str(NEW)]
  assert lines == []


def test_another_config_is_not_a_broken_disk(folder, opened):
  with pytest.raises(ValueError, match='is of another config') as error:
    opened().restore_newest(template(width=41))
  assert 'params/layer/w: checkpoint (30, 40), config (30, 41)' in str(
    error.value
  )
  assert names(folder) == [str(OLD), str(NEW)]


def test_too_little_memory_is_not_a_broken_disk(folder, opened, monkeypatch):
  def fail(*arguments, **options):
    raise MemoryError

  checkpoints = opened()
  monkeypatch.setattr(json, 'loads', fail)
  with pytest.raises(MemoryError):
    checkpoints.restore_newest(template())
  assert names(folder) == [str(OLD), str(NEW)]


def test_without_checkpoints_there_is_nothing_to_go_on_from(opened, lines):
  assert opened().restore_newest(template()) is None
  assert lines == []


# Choosing one, as evaluation does.


@pytest.mark.parametrize('mode', ['max', 'min'])
@pytest.mark.parametrize('choice', ['best', 'latest'])
def test_evaluation_takes_the_next_and_changes_nothing(
  folder, opened, lines, choice, mode
):
  checkpoints = opened(best_mode=mode)
  step = checkpoints.chosen_step(choice)
  assert step == (OLD if (choice, mode) == ('best', 'min') else NEW)
  empty(folder / str(step) / 'train_state' / 'manifest.ocdbt')
  other = OLD + NEW - step
  chosen, train_state = opened(best_mode=mode).restore_chosen(
    choice, template()
  )
  assert chosen == other and is_state(train_state, other)
  assert names(folder) == [str(OLD), str(NEW)]
  (line,) = lines
  assert line.endswith(f'. Step {other} is taken instead.')


def test_the_best_comes_before_the_latest(folder, opened):
  checkpoints = opened()
  for step, score in ((30, 10.0), (40, None), (50, 5.0)):
    metrics = None if score is None else {'eval/score': score}
    checkpoints.save(state(step), 0, metrics)
  for expected in (NEW, 30, 50, 40):
    step, _ = opened().restore_chosen('best', template())
    assert step == expected
    empty(folder / str(step) / 'data' / 'metadata')
  with pytest.raises(BrokenCheckpointError, match='no other to take instead'):
    opened().restore_chosen('best', template())


def test_nothing_is_taken_instead_of_a_step_that_was_named(folder, opened):
  empty(folder / str(NEW) / 'data' / 'metadata')
  with pytest.raises(BrokenCheckpointError, match=f'of step {NEW} in'):
    opened().restore_chosen(str(NEW), template())
  assert opened().restore_chosen(str(OLD), template())[0] == OLD
  with pytest.raises(ValueError, match=r'no checkpoint of step 15 .* \[10, 20'):
    opened().restore_chosen('15', template())


def test_a_model_that_cannot_be_read(folder, opened):
  params, _ = opened().restore_model(NEW)
  np.testing.assert_array_equal(
    params['layer']['w'], state(NEW).params['layer']['w']
  )
  halve(file_of(folder / str(NEW), 'train_state/ocdbt.process_0/d'))
  with pytest.raises(BrokenCheckpointError, match=f'of step {NEW} in'):
    opened().restore_model(NEW)


@pytest.mark.parametrize('damage', [empty, halve])
def test_metrics_that_cannot_be_read(folder, opened, lines, damage):
  damage(folder / str(NEW) / 'metrics' / 'metrics')
  checkpoints = opened()
  (line,) = lines
  assert f'metrics of the checkpoint of step {NEW} cannot be read' in line
  assert (folder / str(NEW) / 'metrics' / 'metrics.broken').exists()
  assert checkpoints.best_step() == OLD
  assert is_state(checkpoints.restore_newest(template()).train_state, NEW)
  opened()
  assert len(lines) == 1


# A folder that cannot be written: a file is in its place.


@contextlib.contextmanager
def gone(folder):
  away = folder.rename(folder.with_name('away'))
  folder.touch()
  yield
  folder.unlink()
  away.rename(folder)


def test_a_folder_that_cannot_be_opened(tmp_path, opened):
  (tmp_path / 'checkpoints').touch()
  with pytest.raises(OSError, match=r'cannot be opened: .*File exists'):
    opened()


def test_saving_goes_on_when_the_folder_is_back(folder, opened, lines):
  checkpoints = opened(keep_last=1)
  with gone(folder):
    checkpoints.save(state(30), 0, None)
    checkpoints.save(state(40), 0, None)
  assert [line.split(':')[0] for line in lines] == [
    'Step 30 could not be saved',
    'Step 40 could not be saved',
  ]
  assert lines[0].endswith('(failure 1 in a row; 3 end the run).')
  assert lines[1].endswith('(failure 2 in a row; 3 end the run).')
  assert names(folder) == [str(OLD), str(NEW)]
  checkpoints.save(state(50), 0, None)
  checkpoints.finish()
  # The best, and the last. Now older ones may go.
  assert names(folder) == [str(NEW), '50']
  # One that succeeded ends the row.
  with gone(folder):
    checkpoints.save(state(60), 0, None)
  assert lines[2].endswith('(failure 1 in a row; 3 end the run).')
  checkpoints.save(state(70), 0, None)
  assert is_state(opened().restore_newest(template()).train_state, 70)
  assert len(lines) == 3


def test_a_run_ends_when_saving_keeps_failing(folder, opened, lines):
  checkpoints = opened()
  with gone(folder):
    with pytest.raises(OSError) as error:
      for step in range(30, 100, 10):
        checkpoints.save(state(step), 0, None)
    message = str(error.value)
    assert message.startswith(
      '3 saves in a row have failed, the last one of step 50: '
    )
    assert 'Make room on the disk' in message
    assert len(lines) == 2
  assert names(folder) == [str(OLD), str(NEW)]
  with pytest.raises(OSError, match='The last checkpoint could not be saved'):
    checkpoints.close()


def test_the_last_save_must_succeed(folder, opened):
  checkpoints = opened()
  with gone(folder):
    checkpoints.save(state(30), 0, None)
  for end in (checkpoints.finish, checkpoints.close):
    with pytest.raises(OSError, match='The last checkpoint could not be saved'):
      end()
  checkpoints.close()  # It was said already.


def test_a_workdir_that_is_deleted_is_not_made_again(tmp_path, lines):
  workdir = tmp_path / 'run'
  workdir.mkdir()
  checkpoints = Checkpoints(
    workdir, lines.append, keep_last=1, best_metric='a', best_mode='max'
  )
  checkpoints.save(state(OLD), 0, None)
  checkpoints.finish()
  shutil.rmtree(workdir)
  checkpoints.save(state(NEW), 0, None)
  (line,) = lines
  assert line.startswith(f'Step {NEW} could not be saved: ')
  assert 'No such file or directory' in line
  with pytest.raises(OSError, match='The last checkpoint could not be saved'):
    checkpoints.close()
  assert not workdir.exists()


WRITES_ON = """
writing = opened(keep_last=1)
for step in range(1, 1_000_000):
  writing.save(state(step), step, {'a': float(step)})
"""
READS = """
seen = set()
for number in range(60):
  with contextlib.closing(opened(keep_last=1)) as checkpoints:
    choice = ('best', 'latest')[number % 2]
    step, train_state = checkpoints.restore_chosen(choice, template())
  same = jax.tree.map(np.array_equal, train_state, state(step))
  assert all(jax.tree.leaves(same))
  seen.add(step)
say(len(seen))
"""


def test_reading_beside_a_run_that_saves(tmp_path):
  """Checkpoints are removed while they are listed, chosen and read."""
  writer = start(WRITES_ON, tmp_path)
  try:
    while not any(tmp_path.glob('checkpoints/[1-9]')):
      assert writer.poll() is None
    code, said, errors = end(start(READS, tmp_path))
    assert writer.poll() is None
  finally:
    writer.kill()
    writer.communicate()
  assert code == 0, errors
  (steps,) = said  # And nothing of a broken disk.
  assert steps > 5


def test_an_error_that_ends_a_run_is_not_hidden(folder, opened, lines):
  with (
    pytest.raises(KeyError, match='the first'),
    contextlib.closing(opened()) as checkpoints,
    gone(folder),
  ):
    checkpoints.save(state(30), 0, None)
    raise KeyError('the first')
  assert len(lines) == 1


def test_only_what_orbax_says_is_silenced(monkeypatch):
  seen = []
  monkeypatch.setattr(sys, 'unraisablehook', seen.append)
  orbax_noise.silence()
  orbax_noise.silence()
  loop = asyncio.new_event_loop()
  loop.close()
  try:
    loop.call_soon_threadsafe(print)
  except RuntimeError as error:
    ours, theirs = (
      types.SimpleNamespace(
        exc_type=RuntimeError, exc_value=error, exc_traceback=traceback
      )
      for traceback in (error.__traceback__, error.__traceback__.tb_next)
    )
  sys.unraisablehook(theirs)
  sys.unraisablehook(ours)
  assert seen == [ours]
  logger = logging.getLogger('absl')
  theirs, ours = ocp.args.__file__, '/home/me/orbax/experiments/x.py'
  for path, counts in ((theirs, False), (ours, True)):
    record = logger.makeRecord('absl', logging.ERROR, path, 1, '', (), None)
    assert bool(logger.filter(record)) is counts


# A full disk, and processes that are killed or several: programs of their own.

COMMON = """
import contextlib, json, os, pathlib, resource, signal, sys, time
import jax
import numpy as np
from experiments.checkpointing import files as checkpoint_files
from experiments.checkpointing import manager as checkpoint_manager
from experiments.checkpointing.checkpoints import Checkpoints
from experiments.stepping.train_state import TrainState

SIZE = 200_000
folder = pathlib.Path(sys.argv[1]) / 'checkpoints'

def say(line):
  # At once: Gloo prints lines of its own, in pieces, from other threads.
  print('\\n> ' + json.dumps(line) + '\\n', end='', flush=True)

def opened(keep_last):
  return Checkpoints(
    folder.parent, say, keep_last=keep_last, best_metric='a', best_mode='max'
  )

def weights(step):
  return np.random.default_rng(step).normal(size=(SIZE,)).astype(np.float32)

def state(step):
  return TrainState(np.int32(step), {'layer': {'w': weights(step)}}, {}, ())

def template():
  return jax.tree.map(
    lambda x: jax.ShapeDtypeStruct(np.shape(x), x.dtype), state(0)
  )

def newest(checkpoints):
  restored = checkpoints.restore_newest(template())
  if restored is None:
    return 0
  step, same = restored.position, jax.tree.map(
    np.array_equal, restored.train_state, state(restored.position)
  )
  assert all(jax.tree.leaves(same)), step
  return step

def save(checkpoints, *steps):
  for step in steps:
    checkpoints.save(state(step), step, None)

def names():
  return sorted(path.name for path in folder.iterdir())

def limit(size):
  resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
"""


def start(script, *arguments):
  return subprocess.Popen(
    [sys.executable, '-c', COMMON + script, *map(str, arguments)],
    cwd=ROOT,
    env=os.environ | {'JAX_PLATFORMS': 'cpu'},
    stdout=subprocess.PIPE,
    stderr=subprocess.PIPE,
    text=True,
  )


def end(process):
  """Returns the exit code, what a program said, and its errors."""
  output, errors = process.communicate(timeout=120)
  said = re.findall('^> (.*)$', output, re.MULTILINE)
  said = [json.loads(line) for line in said]
  return process.returncode, said, errors


def failure(step, number):
  return (
    f'Step {step} could not be saved: OUT_OF_RANGE: Failed to write N bytes to '
    f'file N: File too large (failure {number} in a row; 3 end the run).'
  )


def without_sizes(said):
  return [
    re.sub(r'write \d+ bytes to file \d+', 'write N bytes to file N', line)
    if isinstance(line, str)
    else line
    for line in said
  ]


# The data file of a checkpoint is larger than the limit.
FULL = """
checkpoints = opened(keep_last=1)
save(checkpoints, 1)
checkpoints.finish()
limit(100_000)
save(checkpoints, 2, 3)
say([newest(checkpoints), names()])
limit(-1)
save(checkpoints, 4)
say([newest(checkpoints), names()])
limit(100_000)
try:
  save(checkpoints, 5, 6, 7, 8, 9)
except OSError as error:
  say(str(error))
say([newest(checkpoints), names()])
with contextlib.closing(opened(keep_last=1)) as checkpoints:
  save(checkpoints, 8)
"""


def test_what_comes_back_after_a_failed_save_is_removed(
  tmp_path, monkeypatch, lines
):
  unfinished = tmp_path / '7.orbax-checkpoint-tmp' / 'train_state'
  comes_back = iter([True, True, False])

  def write_on(_):
    if next(comes_back):
      unfinished.mkdir(parents=True)

  def fail():
    unfinished.mkdir(parents=True)
    raise OSError('full')

  monkeypatch.setattr(save_failures.time, 'sleep', write_on)
  failures = save_failures.SaveFailures(tmp_path, lines.append)
  assert not failures.allow(7, fail)
  assert not names(tmp_path)
  # Much later, and what is of no failed save.
  unfinished.mkdir(parents=True)
  other = tmp_path / '8.orbax-checkpoint-tmp'
  other.mkdir()
  monkeypatch.undo()
  failures.end()
  assert names(tmp_path) == [other.name]
  unfinished.mkdir(parents=True)
  failures.end()
  assert unfinished.exists()
  assert len(lines) == 1


def test_a_full_disk(tmp_path):
  code, said, errors = end(start(FULL, tmp_path))
  *said, ended, left, last = without_sizes(said)
  assert said == [
    failure(2, 1),
    failure(3, 2),
    [1, ['1']],
    [4, ['4']],
    failure(5, 1),
    failure(6, 2),
  ]
  cause = 'OUT_OF_RANGE: Failed to write N bytes to file N: File too large. '
  assert ended.startswith(
    f'3 saves in a row have failed, the last one of step 7: {cause}'
  )
  assert left == [4, ['4']]
  assert last == failure(8, 1)
  # A run whose last checkpoint failed has failed; all else was said in a line.
  assert code == 1
  assert errors.count('Traceback') == 1
  assert 'OSError: The last checkpoint could not be saved: OUT_OF' in errors


# Each child goes on from the newest checkpoint and saves without end. The
# parent, where jax must not have started, kills it: while it writes its first
# one, or some time after its second.
KILLED = """
def child():
  with contextlib.closing(opened(keep_last=2)) as checkpoints:
    step = newest(checkpoints)
    say({'from': step})
    save(checkpoints, *range(step + 1, step + 1000))

def entries():
  return {(entry.name, entry.inode()) for entry in os.scandir(folder)}

def is_time(before, first):
  names = [name for name, inode in entries() - before]
  return names if first else sum(map(str.isdigit, names)) > 1

folder.mkdir()
rng = np.random.default_rng(0)
for first, delay in [
  *((False, delay) for delay in rng.uniform(0, 0.2, size=4)),
  *((True, delay) for delay in rng.uniform(0, 0.02, size=4)),
]:
  before = entries()
  pid = os.fork()
  if not pid:
    child()
  while not is_time(before, first):
    time.sleep(0.002)
  time.sleep(delay)
  os.kill(pid, signal.SIGKILL)
  os.waitpid(pid, 0)
  say({'left': names()})
with contextlib.closing(opened(keep_last=2)) as checkpoints:
  say({'from': newest(checkpoints)})
  (folder / str(checkpoints.latest_step()) / 'data' / 'metadata').unlink()
  say({'older': newest(checkpoints)})
"""


def test_killed_while_saving(tmp_path):
  code, said, errors = end(start(KILLED, tmp_path))
  assert code == 0, errors
  lines = [line for line in said if isinstance(line, str)]
  said = [line for line in said if isinstance(line, dict)]
  left = [line['left'] for line in said if 'left' in line]
  complete = [sorted(int(x) for x in names if x.isdigit()) for names in left]
  # The newest that was complete is gone on from, whenever it was killed.
  newest = [max(steps, default=0) for steps in complete]
  assert [line['from'] for line in said if 'from' in line] == [0, *newest]
  assert newest[-1] > 2
  assert said[-1] == {'older': complete[-1][-2]}
  # Older ones are there until newer ones are.
  for before, after in itertools.pairwise(complete):
    assert len(after) >= min(2, len(before))
  # It did happen while a checkpoint was half written.
  unfinished = [x for names in left for x in names if x.endswith('-tmp')]
  assert unfinished
  for name in unfinished:
    assert any(f'{name} is what a run left' in line for line in lines)


SEVERAL = """
index, port = int(sys.argv[2]), sys.argv[3]
address = f'127.0.0.1:{port}'
jax.distributed.initialize(
  address, 2, index, coordinator_bind_address=address
)
from jax.experimental import multihost_utils
from jax.sharding import NamedSharding, PartitionSpec

def together():
  multihost_utils.sync_global_devices('')

checkpoint_manager._SAVE_SECONDS = 5
checkpoints = opened(keep_last=3)
save(checkpoints, 1, 2, 3)
checkpoints.finish()
say(names())
if index == 0:
  os.truncate(folder / '3' / 'data' / 'metadata', 0)
together()
say(newest(checkpoints))

# Only one process cannot read.
read = checkpoint_files.read
def broken(path, opened, template):
  raise checkpoint_files.BrokenCheckpointError(f'no {path.name}')
if index == 1:
  checkpoint_files.read = lambda path, opened, template: (
    broken if path.name == '2' else read
  )(path, opened, template)
say(newest(checkpoints))
say(names())

# Only the first writes what all have; each writes its part of what is divided.
if index == 0:
  limit(100_000)
save(checkpoints, 4)
say(newest(checkpoints))
limit(-1)
save(checkpoints, 5)
checkpoints.finish()
sharding = NamedSharding(jax.make_mesh((2,), ('x',)), PartitionSpec('x'))
def divided(step):
  part = weights(step)[index * SIZE // 2 : (index + 1) * SIZE // 2]
  w = jax.make_array_from_process_local_data(sharding, part)
  return TrainState(np.int32(step), {'layer': {'w': w}}, {}, ())
if index == 1:
  limit(100_000)
checkpoints.save(divided(6), 6, None)
say(newest(checkpoints))
limit(-1)
checkpoints.save(divided(7), 7, None)
checkpoints.finish()
say(newest(checkpoints))

# The folder is gone.
together()
if index == 0:
  folder.rename(folder.with_name('away'))
  folder.touch()
together()
save(checkpoints, 8)
together()
if index == 0:
  folder.unlink()
  folder.with_name('away').rename(folder)
together()
save(checkpoints, 9)
checkpoints.close()
say(names())
"""


def test_processes_agree(tmp_path):
  with socket.socket() as free:
    free.bind(('127.0.0.1', 0))
    port = free.getsockname()[1]
  processes = [start(SEVERAL, tmp_path, index, port) for index in range(2)]
  (code, first, errors), (other_code, other, other_errors) = map(end, processes)
  assert (code, other_code) == (0, 0), errors + other_errors
  *said, folder_gone, left = without_sizes(first)
  folder = tmp_path / 'checkpoints'
  assert said == [
    ['1', '2', '3'],
    f'The checkpoint of step 3 in {folder} cannot be read: data/metadata has 0 '
    f'bytes and was written with 51. It is put aside as {folder}/3.broken.',
    2,
    f'no 2 It is put aside as {folder}/2.broken.',
    1,
    ['1', '2.broken', '3.broken'],
    failure(4, 1),
    1,
    'Step 6 could not be saved: another process could not write its part '
    '(failure 1 in a row; 3 end the run).',
    5,
    7,
  ]
  assert folder_gone.startswith('Step 8 could not be saved: [Errno 17] ')
  assert left == ['2.broken', '3.broken', '5', '7', '9']
  # The same in the other, which says only what the first cannot know.
  assert other == [line for line in first if not isinstance(line, str)]
  assert 'Process 1: Step 6 could not be saved: OUT_OF_RANGE: ' in other_errors


def test_what_a_run_does_not_keep_is_not_in_its_checkpoints():
  """Checkpoints from before there was an average can be read."""
  train_state = state(3)
  names = {'step', 'params', 'state', 'opt_state'}
  assert set(parts_of(train_state)) == names
  with_average = train_state._replace(ema=train_state.params)
  assert set(parts_of(with_average)) == {*names, 'ema'}


def test_orbax_is_given_nothing_that_it_calls_deprecated(opened, monkeypatch):
  deprecated, given = set(), set()
  for name in ('CheckpointManager', 'CheckpointManagerOptions'):
    original = getattr(ocp, name)
    texts = f'{original.__doc__}\n{original.__init__.__doc__}'
    deprecated.update(re.findall(r'^ *(\w+):\s+deprecated', texts, re.M))

    def noted(*args, original=original, **given_now):
      given.update(given_now)
      return original(*args, **given_now)

    monkeypatch.setattr(ocp, name, noted)
  opened()
  assert {'item_handlers', 'max_to_keep'} < deprecated
  assert {'options', 'preservation_policy'} < given
  assert not given & deprecated
