"""Checkpoints with Orbax: the last few and the best, written in background.

A save that fails is reported and training goes on, until it keeps failing; a
checkpoint that cannot be read is put aside and an older one is used.
"""

import contextlib
import functools
import pathlib
import sys
from collections.abc import Callable, Mapping

import haiku as hk
from etils import epath

from experiments.checkpointing import choosing
from experiments.checkpointing import files as checkpoint_files
from experiments.checkpointing.files import BrokenCheckpointError, Restored
from experiments.checkpointing.local_copies import copies_of
from experiments.checkpointing.manager import open_manager
from experiments.checkpointing.save_failures import SaveFailures
from experiments.host import agreement, processes
from experiments.host.buckets import is_in_bucket, sync
from experiments.host.progress import warn
from experiments.stepping.early_stop import Seen
from experiments.stepping.train_state import TrainState


def check_best_mode(best_mode: str) -> None:
  """Raises a ValueError unless it says which metrics are better."""
  if best_mode not in ('max', 'min'):
    raise ValueError(
      f"checkpoints.best_mode must be 'max' or 'min', got {best_mode!r}."
    )


class Checkpoints:
  """The checkpoints of a run, `<workdir>/checkpoints/<step>/`.

  Of a run of several processes, all call the same methods at the same points.

  Attributes:
    directory: where they are.
  """

  def __init__(
    self,
    workdir: pathlib.Path,
    say: Callable[[str], None] = warn,
    *,
    keep_last: int,
    best_metric: str,
    best_mode: str,
  ):
    """Opens the folder of checkpoints, making it if need be.

    Args:
      workdir: of the run.
      say: prints a line about what is broken.
      keep_last: number of most recent checkpoints to keep.
      best_metric: evaluation metric whose best checkpoint is also kept.
      best_mode: 'max' or 'min'.

    Raises:
      ValueError: an argument is out of its range.
      OSError: the folder cannot be made or listed.
    """
    if keep_last < 1:
      raise ValueError(
        f'checkpoints.keep_last must be at least 1, got {keep_last}.'
      )
    check_best_mode(best_mode)
    self.directory = (workdir / 'checkpoints').absolute()
    self._print = say
    self._best_metric, self._best_mode = best_metric, best_mode
    self._copies = copies_of(self.directory)
    self._has_sums = self._copies is not None or not is_in_bucket(workdir)
    self._open = functools.partial(
      open_manager,
      self.directory,
      self._copies,
      say,
      keep_last=keep_last,
      best_metric=best_metric,
      best_mode=best_mode,
    )
    self._manager = self._open()
    self._failures = SaveFailures(self.directory, say)
    self._writing: int | None = None  # Step of the save in background.

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
    return self._chosen_steps(choice)[0]

  def save(
    self,
    train_state: TrainState,
    position: int,
    metrics: Mapping[str, float] | None,
    seen: Seen = Seen(),  # noqa: B008
  ) -> None:
    """Starts writing a checkpoint, when the one before is written.

    What fails is reported in one line: now, or when the next one is saved.

    Args:
      train_state: of this step, as from `Parallelism.snapshot`. Of arrays that
        are divided among processes, each writes its part.
      position: examples of the training stream consumed so far.
      metrics: of an evaluation of this step, or None.
      seen: what is known of evaluations.

    Raises:
      OSError: too many saves in a row have failed.
    """
    self._end_save()
    step = int(train_state.step)

    def start() -> None:
      if not self._manager.save(
        step,
        args=checkpoint_files.to_save(
          train_state,
          {'position': position, 'seen': seen._asdict()},
          has_sums=self._has_sums,
        ),
        metrics=None if metrics is None else dict(metrics),
      ):
        raise FileExistsError(
          f'there is one of step {self.latest_step()} already'
        )

    # What would fail in one process only is found out before Orbax makes the
    # processes wait for each other.
    if all(
      self._failures.allow(step, act)
      for act in (self._probe, self._renew, start)
    ):
      self._writing = step

  def finish(self) -> None:
    """Waits until everything is written.

    Raises:
      OSError: the last save failed; what came after the one before is lost.
    """
    self._end_save()
    if self._failures.count:
      raise self._failures.error('The last checkpoint could not be saved')

  def close(self) -> None:
    """Waits until everything is written, and ends.

    Raises:
      OSError: the last save failed. But an error that is on its way already is
        not hidden by this one; nor are other processes waited for then, which
        may not have failed.
    """
    try:
      if sys.exception() is None:
        self.finish()
    finally:
      try:
        self._manager.close()
      except Exception as error:
        if self._writing is not None:
          cause = checkpoint_files.describe(error)
          self._print(f'Step {self._writing} could not be saved: {cause}.')
      if self._copies is not None:
        self._copies.close()
      self._writing = None
      self._failures.end()  # Said: closing again has nothing to say.

  def restore_newest(self, template: TrainState) -> Restored | None:
    """Reads the newest checkpoint that can be read, to go on from it.

    Newer ones, which are broken, are put aside, so that their steps can be
    saved again. Nothing is deleted.

    Args:
      template: shapes and dtypes that this run has; arrays with a sharding are
        restored with it, others are numpy arrays.

    Returns:
      What it holds; None where there is no checkpoint.

    Raises:
      BrokenCheckpointError: there are checkpoints, and all are broken.
      ValueError: it is of another config.
    """
    steps = agreement.of_first(self._steps())
    if processes.is_first():
      for path in checkpoint_files.unfinished(self.directory, None):
        self._print(
          f'{path} is what a run left that was ended while it saved: ignored. '
          'It can be removed.'
        )
    restored, broken = self._first_readable(steps, template)
    self._put_aside(broken)
    return restored

  def restore_chosen(
    self, choice: str, template: TrainState
  ) -> tuple[int, TrainState]:
    """Reads a checkpoint that a user chose, changing nothing.

    A run that saves meanwhile may remove what is being read: then it is chosen
    anew.

    Args:
      choice: 'best', 'latest' or a step. Instead of a broken one of the first
        two, the next best or the one before is read.
      template: as in `restore_newest`.

    Returns:
      Its step and its train state.

    Raises:
      BrokenCheckpointError: it is broken, and all that could be read instead.
      ValueError: there is no such checkpoint, or it is of another config.
    """
    while True:
      steps = agreement.of_first(self._chosen_steps(choice))
      try:
        restored, broken = self._first_readable(steps, template)
      except BrokenCheckpointError:
        if choosing.stay(self.directory, steps):
          raise
      else:
        if choosing.stay(self.directory, broken):
          break
      self._reopen()
    step = int(restored.train_state.step)
    if processes.is_first():
      for error in broken.values():
        self._print(f'{error} Step {step} is taken instead.')
    return step, restored.train_state

  def restore(self, step: int, template: TrainState) -> Restored:
    """Reads a checkpoint.

    Args:
      step: of an existing checkpoint.
      template: as in `restore_newest`.

    Raises:
      BrokenCheckpointError: it is broken.
      ValueError: there is no such checkpoint, or it is of another model.
    """
    return checkpoint_files.read(
      self.directory / str(step), self._opened(step), template
    )

  def restore_model(self, step: int) -> tuple[hk.Params, hk.State]:
    """Reads parameters and Haiku state, of whatever model they are.

    Args:
      step: of an existing checkpoint.

    Returns:
      Numpy arrays; the optimizer state is not read.

    Raises:
      BrokenCheckpointError: it is broken.
      ValueError: there is no such checkpoint.
    """
    return checkpoint_files.read_model(
      self.directory / str(step), self._opened(step)
    )

  def _steps(self) -> list[int]:
    """Returns the steps of all checkpoints, newest first."""
    self._end_save()
    self._renew()
    steps = sorted(self._manager.all_steps(), reverse=True)
    if is_in_bucket(self.directory):
      checkpoint_files.check_all_seen(self.directory, steps)
    return steps

  def _opened(self, step: int) -> epath.Path:
    """Returns the folder of a checkpoint, as Orbax reads it."""
    steps = self._steps()
    if step not in steps:
      raise ValueError(
        f'There is no checkpoint of step {step} in {self.directory}; there '
        f'are {sorted(steps)}.'
      )
    folder = self.directory / str(step)
    if self._copies is not None:
      folder = self._copies.fetch(step)
    return checkpoint_files.orbax_path(folder)

  def _chosen_steps(self, choice: str) -> list[int]:
    """Returns the step that is meant, and those to take in its place."""
    step = choosing.step_of(choice)
    if step is not None:
      return [step]
    steps = choosing.look(self.directory, self._steps, self._reopen)
    if not steps:
      raise ValueError(
        f'{self.directory} has no {choice} checkpoint yet; there are [].'
      )
    if choice == 'latest':
      return steps
    return choosing.best_first(
      steps, self._manager.metrics, self._best_metric, self._best_mode
    )

  def _first_readable(
    self, steps: list[int], template: TrainState
  ) -> tuple[Restored | None, dict[int, BrokenCheckpointError]]:
    """Returns what can be read first, and why those before cannot."""
    broken = {}
    for step in steps:
      restored, error = None, None
      try:
        restored = self.restore(step, template)
      except BrokenCheckpointError as found:
        error = found
      if not agreement.any_process(error is not None):
        return restored, broken
      # Each process has looked at some of the files.
      texts = agreement.of_each('' if error is None else str(error))
      broken[step] = error or BrokenCheckpointError(max(texts, key=bool))
    if broken:
      lines = '\n'.join(str(error) for error in broken.values())
      raise BrokenCheckpointError(
        f'{lines}\nThere is no other to take instead; nothing was changed. '
        'Repair the disk, or choose another --workdir.'
      )
    return None, broken

  def _put_aside(self, broken: Mapping[int, BrokenCheckpointError]) -> None:
    if not broken:
      return
    problem = None
    if processes.is_first():
      try:
        for step, error in broken.items():
          path = checkpoint_files.put_aside(self.directory / str(step))
          self._print(f'{error} It is put aside as {path}.')
          if self._copies is not None:
            self._copies.forget(step)
      except OSError as error:
        problem = error
    if agreement.any_process(problem is not None):
      raise OSError(
        f'A broken checkpoint in {self.directory} cannot be put aside: '
        f'{checkpoint_files.describe(problem or OSError())}.'
      ) from problem
    self._manager.reload()

  def _end_save(self) -> None:
    """Waits for the save in background, if there is one."""
    if self._writing is not None:
      step, self._writing = self._writing, None
      if self._failures.allow(step, self._settle):
        self._failures.end()

  def _settle(self) -> None:
    self._manager.wait_until_finished()
    if not is_in_bucket(self.directory) and processes.is_first():
      sync(self.directory)
    if self._copies is not None:
      self._copies.push()  # By now older ones are removed.

  def _probe(self) -> None:
    """Finds out whether the folder can be written."""
    if processes.is_first():
      checkpoint_files.probe(self.directory)

  def _renew(self) -> None:
    """Opens Orbax's manager again: after an error it is in disorder."""
    if self._failures.count:
      self._failures.clean()
      self._reopen()

  def _reopen(self) -> None:
    with contextlib.suppress(Exception):
      self._manager.close()
    self._manager = self._open()
