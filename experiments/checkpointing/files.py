"""The folder of one checkpoint: read, found to be broken, put aside.

Each process reads for itself: with Orbax's manager, which makes all of them
wait for each other, one that cannot read its part would leave the others
waiting for ever.
"""

import contextlib
import json
import pathlib
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import haiku as hk
import jax
import numpy as np
import orbax.checkpoint as ocp

from experiments.error_text import one_line
from experiments.train_state import TrainState

STATE, DATA, METRICS = 'train_state', 'data', 'metrics'
# Orbax writes `<step>` under this name, and renames it when it is complete.
_UNFINISHED = '.orbax-checkpoint-tmp'
# Tensorstore says what failed at every level, with the file, then why, then how
# the file was opened. The kind of error and why are enough.
_WHERE = re.compile(r'^([A-Z_]+: ).*": ')
_OPENED = re.compile(r" \[[a-z_ ]+(\[\d+\])?='")


class BrokenCheckpointError(OSError):
  """A checkpoint cannot be read: files of it are missing or damaged."""


class Restored(NamedTuple):
  """What a checkpoint holds.

  Attributes:
    train_state: as it was saved.
    position: examples of the training stream consumed so far.
  """

  train_state: TrainState
  position: int


def read(folder: pathlib.Path, template: TrainState) -> Restored:
  """Reads a checkpoint.

  Args:
    folder: of the checkpoint.
    template: shapes and dtypes that this run has; arrays with a sharding are
      restored with it, others are numpy arrays.

  Raises:
    BrokenCheckpointError: files are missing or damaged.
    ValueError: it is of another config.
  """
  handler = ocp.StandardCheckpointHandler()
  with _reading(folder):
    saved = _shapes(handler.metadata(folder / STATE))
  _check_shapes(folder, saved, _shapes(template))
  with _reading(folder):
    parts = handler.restore(
      folder / STATE,
      args=ocp.args.StandardRestore(jax.tree.map(_target, parts_of(template))),
    )
    position = ocp.JsonCheckpointHandler().restore(folder / DATA)['position']
  return Restored(TrainState(**parts), position)


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


def read_model(folder: pathlib.Path) -> tuple[hk.Params, hk.State]:
  """Reads parameters and Haiku state, of whatever model they are.

  Args:
    folder: of the checkpoint.

  Returns:
    Numpy arrays; the optimizer state is not read.

  Raises:
    BrokenCheckpointError: files are missing or damaged.
  """
  # The standard handler restores all of a tree or nothing.
  handler = ocp.PyTreeCheckpointHandler()
  with _reading(folder):
    saved = handler.metadata(folder / STATE)
    template = {
      key: jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), saved[key])
      for key in ('params', 'state')
    }
    restored = handler.restore(
      folder / STATE,
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
  except FileNotFoundError:  # It was not evaluated.
    return False
  except (ValueError, OSError):
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
  return sorted(directory.glob(f'{name}{_UNFINISHED}*'))


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
    raise BrokenCheckpointError(
      f'The checkpoint of step {folder.name} in {folder.parent} cannot be '
      f'read: {describe(error)}.'
    ) from error


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
