"""Checkpoints with Orbax: the last few and the best, written in background."""

import pathlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import haiku as hk
import jax
import numpy as np
import orbax.checkpoint as ocp
from orbax.checkpoint import checkpoint_managers

from experiments.train_state import TrainState


class Restored(NamedTuple):
  """What a checkpoint holds.

  Attributes:
    train_state: as it was saved, numpy arrays.
    position: examples of the training stream consumed so far.
  """

  train_state: TrainState
  position: int


class Checkpoints:
  """The checkpoints of a run, `<workdir>/checkpoints/<step>/`.

  Attributes:
    directory: where they are.
  """

  def __init__(
    self,
    workdir: pathlib.Path,
    *,
    keep_last: int,
    best_metric: str,
    best_mode: str,
  ):
    """Opens the folder of checkpoints, making it if need be.

    Args:
      workdir: of the run.
      keep_last: number of most recent checkpoints to keep.
      best_metric: evaluation metric whose best checkpoint is also kept.
      best_mode: 'max' or 'min'.

    Raises:
      ValueError: an argument is out of its range.
    """
    if keep_last < 1:
      raise ValueError(
        f'checkpoints.keep_last must be at least 1, got {keep_last}.'
      )
    if best_mode not in ('max', 'min'):
      raise ValueError(
        f"checkpoints.best_mode must be 'max' or 'min', got {best_mode!r}."
      )

    def metric(metrics: Mapping[str, float]) -> float:
      return metrics[best_metric]

    self.directory = (workdir / 'checkpoints').absolute()
    self._manager = ocp.CheckpointManager(
      self.directory,
      item_handlers={
        'train_state': ocp.StandardCheckpointHandler(),
        'data': ocp.JsonCheckpointHandler(),
      },
      options=ocp.CheckpointManagerOptions(
        best_fn=metric,
        best_mode=best_mode,
        preservation_policy=checkpoint_managers.AnyPreservationPolicy(
          [
            checkpoint_managers.LatestN(keep_last),
            checkpoint_managers.BestN(
              get_metric_fn=metric,
              reverse=best_mode == 'min',
              n=1,
              keep_checkpoints_without_metrics=False,
            ),
          ]
        ),
        enable_async_checkpointing=True,
      ),
    )

  def latest_step(self) -> int | None:
    """Returns the step of the newest checkpoint, None without any."""
    return self._manager.latest_step()

  def best_step(self) -> int | None:
    """Returns the step of the best evaluated checkpoint, None without any."""
    return self._manager.best_step()

  def chosen_step(self, choice: str) -> int:
    """Returns the step of a checkpoint that a user chose.

    Args:
      choice: 'best', 'latest' or a step. Where nothing was evaluated, as in a
        run of imported weights, the best is the latest.

    Raises:
      ValueError: it is none of these, or there is no such checkpoint yet.
    """
    if choice not in ('best', 'latest'):
      if not choice.isdigit():
        raise ValueError(
          f"The checkpoint must be 'best', 'latest' or a step, got {choice!r}."
        )
      return int(choice)
    step = self.best_step() if choice == 'best' else None
    step = self.latest_step() if step is None else step
    if step is None:
      raise ValueError(
        f'{self.directory} has no {choice} checkpoint yet; there are '
        f'{sorted(self._manager.all_steps())}.'
      )
    return step

  def save(
    self,
    train_state: TrainState,
    position: int,
    metrics: Mapping[str, float] | None,
  ) -> None:
    """Starts writing a checkpoint; returns when the state may be donated.

    Args:
      train_state: of this step.
      position: examples of the training stream consumed so far.
      metrics: of an evaluation of this step, or None.
    """
    # A copy of our own: on the CPU, numpy would share the donated buffers.
    train_state = jax.tree.map(lambda x: np.array(x, copy=True), train_state)
    self._manager.save(
      int(train_state.step),
      args=ocp.args.Composite(
        train_state=ocp.args.StandardSave(train_state),
        data=ocp.args.JsonSave({'position': position}),
      ),
      metrics=None if metrics is None else dict(metrics),
    )

  def restore(self, step: int, template: TrainState) -> Restored:
    """Reads a checkpoint.

    Args:
      step: of an existing checkpoint.
      template: shapes and dtypes that this run has.

    Raises:
      ValueError: there is no such checkpoint, or it is of another model.
    """
    self._check_exists(step)
    self._check_shapes(step, template)
    restored = self._manager.restore(
      step,
      args=ocp.args.Composite(
        train_state=ocp.args.StandardRestore(
          jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), template)
        ),
        data=ocp.args.JsonRestore(),
      ),
    )
    return Restored(restored.train_state, restored.data['position'])

  def restore_model(self, step: int) -> tuple[hk.Params, hk.State]:
    """Reads parameters and Haiku state, of whatever model they are.

    Args:
      step: of an existing checkpoint.

    Returns:
      Numpy arrays; the optimizer state is not read.

    Raises:
      ValueError: there is no such checkpoint.
    """
    self._check_exists(step)
    saved = self._manager.item_metadata(step).train_state
    template = {
      key: jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), saved[key])
      for key in ('params', 'state')
    }
    # The manager's handler restores all of a tree or nothing.
    with ocp.PyTreeCheckpointer() as checkpointer:
      restored = checkpointer.restore(
        self.directory / str(step) / 'train_state',
        ocp.args.PyTreeRestore(
          template,
          restore_args=ocp.checkpoint_utils.construct_restore_args(template),
          partial_restore=True,
        ),
      )
    return restored['params'], restored['state']

  def close(self) -> None:
    """Waits until everything is written."""
    self._manager.wait_until_finished()
    self._manager.close()

  def _check_exists(self, step: int) -> None:
    if step not in self._manager.all_steps():
      raise ValueError(
        f'There is no checkpoint of step {step} in {self.directory}; there '
        f'are {sorted(self._manager.all_steps())}.'
      )

  def _check_shapes(self, step: int, template: TrainState) -> None:
    saved = _shapes(self._manager.item_metadata(step).train_state)
    expected = _shapes(template)
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
        f'The checkpoint of step {step} in {self.directory} is of another '
        'config; these shapes differ:\n' + '\n'.join(shown) + '\nUse another '
        '--workdir, or the config that the run was started with (its '
        'config.json lies in the workdir).'
      )


def _shapes(tree: Any) -> dict[str, tuple[int, ...]]:
  leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
  return {
    jax.tree_util.keystr(path, simple=True, separator='/'): tuple(leaf.shape)
    for path, leaf in leaves
  }
