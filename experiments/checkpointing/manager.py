"""Orbax's manager of checkpoints, as a run has it."""

import contextlib
import pathlib
from collections.abc import Callable, Mapping

import jax
import orbax.checkpoint as ocp
from etils import epath
from orbax.checkpoint import checkpoint_managers

from experiments.checkpointing import files as checkpoint_files
from experiments.checkpointing import orbax_noise
from experiments.checkpointing.local_copies import LocalCopies
from experiments.host import processes
from experiments.host.buckets import BucketPath

# A save that takes longer has failed. Of several processes, those that could
# write wait so long for one that could not.
_SAVE_SECONDS = 600
# Of a folder in which a run removes a checkpoint now and then.
_MOST_OPENINGS = 5


def open_manager(
  directory: pathlib.Path | BucketPath,
  copies: LocalCopies | None,
  say: Callable[[str], None],
  *,
  keep_last: int,
  best_metric: str,
  best_mode: str,
) -> ocp.CheckpointManager:
  """Opens a folder of checkpoints, making it if need be; all processes do.

  Args:
    directory: of the checkpoints.
    copies: of them, where Orbax cannot open them themselves.
    say: prints a line about what is broken.
    keep_last: number of most recent checkpoints to keep.
    best_metric: evaluation metric whose best checkpoint is also kept.
    best_mode: 'max' or 'min'.

  Raises:
    OSError: the folder cannot be made or listed.
  """
  orbax_noise.silence()
  try:
    # Fails where a file is, or no workdir: a run does not begin a second one.
    directory.mkdir(exist_ok=True)
    if processes.is_first():
      _put_broken_metrics_aside(directory, say)
    if copies is not None:
      copies.pull()
    return _open(
      checkpoint_files.orbax_path(copies.directory if copies else directory),
      _options(
        keep_last, best_metric, best_mode, copies.push if copies else None
      ),
    )
  except OSError as error:
    raise OSError(
      f'The checkpoints in {directory} cannot be opened: '
      f'{checkpoint_files.describe(error)}. Repair the folder, or choose '
      'another --workdir.'
    ) from error


def _open(
  path: epath.Path, options: ocp.CheckpointManagerOptions
) -> ocp.CheckpointManager:
  """Opens it again where a run removed what Orbax was looking at."""
  for _ in range(_MOST_OPENINGS - 1):
    with contextlib.suppress(FileNotFoundError):
      return ocp.CheckpointManager(path, options=options)
  return ocp.CheckpointManager(path, options=options)


def _options(
  keep_last: int,
  best_metric: str,
  best_mode: str,
  when_whole: Callable[[], None] | None,
) -> ocp.CheckpointManagerOptions:
  def metric(metrics: Mapping[str, float]) -> float:
    return metrics[best_metric]

  return ocp.CheckpointManagerOptions(
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
    async_options=ocp.AsyncOptions(
      timeout_secs=_SAVE_SECONDS,
      post_finalization_callback=when_whole,
      # Otherwise, when a folder cannot be made, threads that wait for it keep
      # the process from ending for minutes. But where it is made in one process
      # for several, only waiting in background comes to an end by itself.
      create_directories_asynchronously=jax.process_count() > 1,
    ),
  )


def _put_broken_metrics_aside(
  directory: pathlib.Path | BucketPath, say: Callable[[str], None]
) -> None:
  """Of checkpoints that are whole besides: Orbax would open none of them."""
  for folder in sorted(directory.glob('*')):
    if not checkpoint_files.is_step(folder.name):
      continue
    # Unless a run removes the checkpoint just now.
    with contextlib.suppress(FileNotFoundError):
      if not checkpoint_files.has_broken_metrics(folder):
        continue
      path = checkpoint_files.put_aside(
        folder / checkpoint_files.METRICS / checkpoint_files.METRICS
      )
      say(
        f'The metrics of the checkpoint of step {folder.name} cannot be read: '
        f'put aside as {path}. It no longer counts for the best.'
      )
