"""Saves of checkpoints that fail: reported, cleaned up, counted, limited."""

import pathlib
import time
from collections.abc import Callable

import jax

from experiments.checkpointing import files as checkpoint_files
from experiments.host import agreement, processes
from experiments.host.buckets import is_in_bucket
from experiments.host.progress import warn

# Failed saves in a row that end a run. A disk that fails for a moment is back
# by then; with one that does not come back, all further work would be lost.
_MOST_FAILURES = 3
# After a save has failed, threads of Orbax that write other arrays go on for a
# moment, and make a folder again that was removed.
_STRAY_SECONDS = 0.1
_MOST_STRAYS = 10


class SaveFailures:
  """Saves that failed in a row.

  A save has failed in all processes when it has in one of them.

  Attributes:
    count: how many, since the last that succeeded.
  """

  def __init__(self, directory: pathlib.Path, say: Callable[[str], None]):
    """None yet.

    Args:
      directory: of the checkpoints.
      say: prints a line.
    """
    self.count = 0
    self._directory = directory
    self._say = say
    self._cause = ''
    self._failed_steps: set[int] = set()

  def allow(self, step: int, act: Callable[[], None]) -> bool:
    """Does a part of a save; all processes do the same part.

    Args:
      step: that is saved.
      act: raises any error.

    Returns:
      Whether it succeeded. Otherwise the save is reported, counts as failed,
      and what it has half written is removed.

    Raises:
      OSError: too many in a row have failed.
    """
    error = None
    try:
      act()
    except Exception as found:
      error = found
    failed = agreement.any_process(error is not None)
    if failed:
      self._add(step, error)
    return not failed

  def end(self) -> None:
    """A save has succeeded in all its parts."""
    self.clean()
    self._failed_steps.clear()
    self.count = 0

  def clean(self) -> None:
    """Removes what failed saves have half written; nothing may be saving.

    It takes up room that the next one may need.
    """
    if not processes.is_first():
      return
    for _ in range(_MOST_STRAYS):
      paths = [
        path
        for step in self._failed_steps
        for path in checkpoint_files.unfinished(self._directory, step)
      ]
      if not paths:
        return
      for path in paths:
        checkpoint_files.remove(path)
      time.sleep(_STRAY_SECONDS)

  def error(self, what: str) -> OSError:
    """Returns an error that says the last cause, and what to do.

    Args:
      what: begins its text.
    """
    remedy = 'Make room on the disk, or make it writable'
    if is_in_bucket(self._directory):
      remedy = 'See that the bucket can be reached and written to'
    return OSError(
      f'{what}: {self._cause}. Older checkpoints in {self._directory} are as '
      f'they were. {remedy}; the same command then goes on from the newest of '
      'them.'
    )

  def _add(self, step: int, error: Exception | None) -> None:
    self.count += 1
    if jax.process_count() > 1:
      error = _origin(error)
    self._cause = 'another process could not write its part'
    if error is not None:
      self._cause = checkpoint_files.describe(error)
    line = f'Step {step} could not be saved: {self._cause}'
    self._failed_steps.add(step)
    self.clean()
    if error is not None and not processes.is_first():
      warn(f'Process {jax.process_index()}: {line}.')
    if self.count >= _MOST_FAILURES:
      raise self.error(
        f'{self.count} saves in a row have failed, the last one of step {step}'
      ) from error
    if processes.is_first():
      self._say(
        f'{line} (failure {self.count} in a row; {_MOST_FAILURES} end the run).'
      )


def _origin(error: BaseException | None) -> BaseException | None:
  """What failed here before waiting for the other processes did."""
  while isinstance(error, jax.errors.JaxRuntimeError):
    error = error.__context__
    if isinstance(error, TimeoutError):
      error = error.__context__
  return error
