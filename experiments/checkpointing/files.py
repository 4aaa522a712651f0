"""The folder of one checkpoint: read, found to be broken, put aside.

Each process reads for itself: with Orbax's manager, which makes all of them
wait for each other, one that cannot read its part would leave the others
waiting for ever.
"""

import contextlib
import json
import os
import pathlib
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import haiku as hk
import jax
import numpy as np
import orbax.checkpoint as ocp
from etils import epath

from experiments.checkpointing import manifest
from experiments.host.buckets import BucketPath, is_in_bucket
from experiments.host.error_text import one_line
from experiments.stepping.early_stop import Seen
from experiments.stepping.spikes import no_spikes
from experiments.stepping.train_state import TrainState

# More than a disk that is full gives room to beside its own records.
_PROBE_BYTES = 1 << 16
STATE, DATA, METRICS = 'train_state', 'data', 'metrics'
# Orbax writes `<step>` under this name, and renames it when it is complete.
_UNFINISHED = '.orbax-checkpoint-tmp'
# In a bucket, where nothing is renamed, it writes this file at the end.
COMMITTED = 'commit_success.txt'
# Tensorstore says what failed at every level, with the file, then why, then how
# the file was opened. The kind of error and why are enough.
_WHERE = re.compile(r'^([A-Z_]+: ).*": ')
_OPENED = re.compile(r" \[[a-z_ ]+(\[\d+\])?='")
# What it says where a bucket does not answer, or forbids.
_OUT_OF_REACH = (
  'UNAVAILABLE',
  'DEADLINE_EXCEEDED',
  'PERMISSION_DENIED',
  'UNAUTHENTICATED',
  'RESOURCE_EXHAUSTED',
)


class BrokenCheckpointError(OSError):
  """A checkpoint cannot be read: files of it are missing or damaged."""


class Restored(NamedTuple):
  """What a checkpoint holds.

  Attributes:
    train_state: as it was saved.
    position: examples of the training stream consumed so far.
    seen: what is known of evaluations.
  """

  train_state: TrainState
  position: int
  seen: Seen = Seen()


def read(
  folder: pathlib.Path | BucketPath, opened: epath.Path, template: TrainState
) -> Restored:
  """Reads a checkpoint whose files are as they were written.

  Args:
    folder: of the checkpoint.
    opened: the same, or a copy of it, as Orbax opens it.
    template: shapes and dtypes that this run has; arrays with a sharding are
      restored with it, others are numpy arrays.

  Raises:
    BrokenCheckpointError: files are missing or damaged.
    ValueError: it is of another config.
  """
  handler = ocp.StandardCheckpointHandler()
  with _reading(folder):
    _check_sums(opened)
    saved = _shapes(handler.metadata(opened / STATE))
  has_spikes = any(name.startswith('spikes/') for name in saved)
  wanted = template
  if has_spikes != (template.spikes is not None):
    shapes = jax.eval_shape(no_spikes) if has_spikes else None
    wanted = template._replace(spikes=shapes)
  _check_shapes(folder, saved, _shapes(wanted))
  with _reading(folder):
    parts = handler.restore(
      opened / STATE,
      args=ocp.args.StandardRestore(jax.tree.map(_target, parts_of(wanted))),
    )
    data = ocp.JsonCheckpointHandler().restore(opened / DATA)
  state = TrainState(**parts)
  # A run may begin and cease to compare steps: its checkpoints stay its own.
  if template.spikes is None:
    state = state._replace(spikes=None)
  elif not has_spikes:
    state = state._replace(spikes=jax.tree.map(np.asarray, no_spikes()))
  return Restored(state, data['position'], Seen(**data.get('seen', {})))


def to_save(
  train_state: TrainState, data: Mapping[str, Any], *, has_sums: bool
) -> ocp.args.Composite:
  """Returns what Orbax is to save as one checkpoint.

  Args:
    train_state: of a step.
    data: what else a run needs to go on, as JSON has it.
    has_sums: whether checksums are written: not where files would have to be
      fetched for that.
  """
  sums = {manifest.ITEM: manifest.Checksums()} if has_sums else {}
  return ocp.args.Composite(
    **{
      STATE: ocp.args.StandardSave(parts_of(train_state)),
      DATA: ocp.args.JsonSave(dict(data)),
      **sums,
    }
  )


def parts_of(train_state: TrainState) -> dict[str, Any]:
  """Returns what a checkpoint has of a train state, by name.

  What a run does not keep, such as an average, its checkpoints do not have. So
  they can be read whatever else a train state may come to have.
  """
  return {
    name: part
    for name, part in train_state._asdict().items()
    if part is not None
  }


def read_model(
  folder: pathlib.Path | BucketPath, opened: epath.Path
) -> tuple[hk.Params, hk.State]:
  """Reads parameters and Haiku state, of whatever model they are.

  Args:
    folder: of the checkpoint.
    opened: the same, or a copy of it, as Orbax opens it.

  Returns:
    Numpy arrays; the optimizer state is not read.

  Raises:
    BrokenCheckpointError: files are missing or damaged.
  """
  # The standard handler restores all of a tree or nothing.
  handler = ocp.PyTreeCheckpointHandler()
  with _reading(folder):
    _check_sums(opened)
    saved = handler.metadata(opened / STATE)
    template = {
      key: jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), saved[key])
      for key in ('params', 'state')
    }
    restored = handler.restore(
      opened / STATE,
      args=ocp.args.PyTreeRestore(
        template,
        restore_args=ocp.checkpoint_utils.construct_restore_args(template),
        partial_restore=True,
      ),
    )
  return restored['params'], restored['state']


def has_broken_metrics(folder: pathlib.Path) -> bool:
  """Whether a checkpoint has metrics of an evaluation that cannot be read."""
  try:
    json.loads((folder / METRICS / METRICS).read_text(encoding='utf-8'))
    return bool(_damages(folder, lambda name: name == f'{METRICS}/{METRICS}'))
  except FileNotFoundError:  # It was not evaluated.
    return False
  except manifest.ManifestError:
    return False  # The checkpoint is broken: who restores it says so.
  except ValueError:
    return True
  except OSError:
    if is_in_bucket(folder):  # Nothing is known: it cannot be reached.
      raise
    return True
  return False


def put_aside(path: pathlib.Path) -> pathlib.Path:
  """Renames what is broken so that Orbax does not see it.

  Returns:
    The new path, `<name>.broken`, with a number where there is one already.
  """
  new, number = path.with_name(f'{path.name}.broken'), 1
  while new.exists():
    number += 1
    new = path.with_name(f'{path.name}.broken-{number}')
  return path.rename(new)


def unfinished(directory: pathlib.Path, step: int | None) -> list[pathlib.Path]:
  """Returns folders of saves that did not come to their end.

  Args:
    directory: of all checkpoints.
    step: of the save; None for any.
  """
  name = '*' if step is None else str(step)
  if is_in_bucket(directory):
    return sorted(
      folder
      for folder in directory.glob(name)
      if is_step(folder.name) and not (folder / COMMITTED).exists()
    )
  return sorted(directory.glob(f'{name}{_UNFINISHED}*'))


def check_all_seen(directory: BucketPath, steps: Sequence[int]) -> None:
  """Looks again whether these are all checkpoints of a bucket.

  Orbax takes one for not there when the store does not answer: a run would
  begin anew, and write over it.

  Args:
    directory: of all checkpoints.
    steps: that Orbax sees.

  Raises:
    OSError: there are more, or the store does not answer.
  """
  for folder in directory.glob('*'):
    if (
      is_step(folder.name)
      and int(folder.name) not in steps
      and (folder / COMMITTED).exists()
    ):
      raise OSError(
        f'{folder} is a checkpoint that was not seen at first: the bucket does '
        'not answer reliably. Run the same command again.'
      )


def probe(directory: pathlib.Path | BucketPath) -> None:
  """Raises an OSError where the folder of checkpoints cannot be written."""
  if is_in_bucket(directory):
    file = directory.with_name('.writable')
    file.touch()
    file.unlink(missing_ok=True)
  else:
    directory.mkdir(exist_ok=True)  # A workdir that is gone stays gone.
    with tempfile.TemporaryFile(dir=directory) as file:
      file.write(bytes(_PROBE_BYTES))


def remove(folder: pathlib.Path | BucketPath) -> None:
  """Removes what a save has half written, as far as that is possible."""
  if is_in_bucket(folder):
    with contextlib.suppress(OSError):
      folder.rmtree()
  else:
    shutil.rmtree(folder, ignore_errors=True)


def orbax_path(path: pathlib.Path | BucketPath) -> epath.Path:
  """Returns a path as Orbax opens it."""
  return epath.Path(str(path))


def describe(error: BaseException) -> str:
  """Returns what went wrong as one line, without the library's own details."""
  return one_line(error, lambda text: _WHERE.sub(r'\1', _OPENED.split(text)[0]))


@contextlib.contextmanager
def _reading(folder: pathlib.Path) -> Iterator[None]:
  """Within the block, whatever fails says that the checkpoint is broken."""
  try:
    yield
  except (MemoryError, jax.errors.JaxRuntimeError):
    raise  # Too little memory breaks no file.
  except Exception as error:
    if is_in_bucket(folder) and _is_out_of_reach(folder, error):
      raise OSError(
        f'The checkpoint of step {folder.name} in {folder.parent} cannot be '
        f'reached: {describe(error)}. The same command goes on from it.'
      ) from error
    raise BrokenCheckpointError(
      f'The checkpoint of step {folder.name} in {folder.parent} cannot be '
      f'read: {describe(error)}.'
    ) from error


def _check_sums(opened: epath.Path) -> None:
  """Raises an OSError that names the files that are not as they were written.

  Those of metrics are not needed: see `has_broken_metrics`.
  """
  found = _damages(
    opened,
    lambda name: not name.startswith(f'{METRICS}/'),
    part=jax.process_index(),
    parts=jax.process_count(),
  )
  if found:
    more = f', and {len(found) - 1} more files' if len(found) > 1 else ''
    raise OSError(f'{found[0]}{more}')


def _damages(
  folder: os.PathLike[str],
  counts: Callable[[str], bool],
  *,
  part: int = 0,
  parts: int = 1,
) -> list[str]:
  """What is wrong with files of a checkpoint that has checksums.

  In gs:// none are written: the store keeps those of its own.
  """
  here = pathlib.Path(folder)
  sums = None if '://' in str(folder) else manifest.read_sums(here)
  wanted = {name: each for name, each in (sums or {}).items() if counts(name)}
  return manifest.damages(here, wanted, part=part, parts=parts)


def _is_out_of_reach(folder: BucketPath, error: Exception) -> bool:
  """Whether it is the network, or the rights, that fail: no file is broken."""
  if any(kind in str(error) for kind in _OUT_OF_REACH):
    return True
  try:
    (folder / COMMITTED).exists()
  except OSError:
    return True
  return False


def _check_shapes(
  folder: pathlib.Path,
  saved: dict[str, tuple[int, ...]],
  expected: dict[str, tuple[int, ...]],
) -> None:
  differences = [
    f'  {name}: checkpoint {saved.get(name, "lacks it")}, '
    f'config {expected.get(name, "lacks it")}'
    for name in sorted(saved.keys() | expected.keys())
    if saved.get(name) != expected.get(name)
  ]
  if differences:
    shown = differences[:10]
    if len(differences) > len(shown):
      shown.append(f'  and {len(differences) - len(shown)} more')
    raise ValueError(
      f'The checkpoint of step {folder.name} in {folder.parent} is of another '
      'config; these shapes differ:\n' + '\n'.join(shown) + '\nUse another '
      '--workdir, or the config that the run was started with (its '
      'config.json lies in the workdir).'
    )


def _target(like: jax.ShapeDtypeStruct) -> Any:
  """What Orbax wants to know of an array to restore."""
  if like.sharding is None:
    return np.zeros(like.shape, like.dtype)
  return like


def _shapes(tree: Any) -> dict[str, tuple[int, ...]]:
  leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
  return {
    jax.tree_util.keystr(path, simple=True, separator='/'): tuple(leaf.shape)
    for path, leaf in leaves
  }


def is_step(text: str) -> bool:
  """Whether a text is a step as folders are called; others have digits too."""
  return text.isascii() and text.isdecimal()
