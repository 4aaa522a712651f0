"""A profiler trace of some steps, to be looked at in TensorBoard."""

import contextlib
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

import jax

from experiments.host.buckets import written_here
from experiments.host.progress import say


class Profiler:
  """Traces the steps that a config names.

  The trace lies in `<workdir>/tensorboard/plugins/profile/<time>/`: TensorBoard
  looks for profiles beside event files only. Its Profile tab is the package
  `xprof`.
  """

  def __init__(
    self,
    workdir: pathlib.Path,
    *,
    steps: Sequence[int] = (),
    active: bool = True,
  ):
    """Nothing is traced yet.

    Args:
      workdir: of the run.
      steps: first and last step of the trace; () for none.
      active: False traces nothing, for all processes but one.

    Raises:
      ValueError: these are not a first and a last step.
    """
    if steps and not (len(steps) == 2 and 1 <= steps[0] <= steps[1]):
      raise ValueError(
        f'profile.steps = {tuple(steps)} must be the first and the last step '
        'of a trace, counted from 1, such as --config.profile.steps=10,15.'
      )
    first, last = steps if steps and active else (0, -1)
    self._steps = range(first, last + 1)
    self._folder = workdir / 'tensorboard'
    self._traced = []
    self._writing = contextlib.ExitStack()

  def run(self, step: int, update: Callable[..., Any], *arguments: Any) -> Any:
    """Runs an update, traced if it is one of those steps.

    Args:
      step: that it is, counted from 1. A run that resumes between the first and
        the last is traced from there on.
      update: what to run, without waiting for it but at the end of the trace.
      *arguments: of the update.

    Returns:
      What the update returns.
    """
    if step not in self._steps:
      return update(*arguments)
    if not self._traced:
      jax.profiler.start_trace(
        self._writing.enter_context(written_here(self._folder))
      )
    self._traced.append(step)
    with jax.profiler.StepTraceAnnotation('train', step_num=step):
      results = update(*arguments)
    if step == self._steps[-1]:
      jax.block_until_ready(results)  # Steps are queued, the trace is of time.
      self.close()
    return results

  def close(self) -> None:
    """Writes the trace of a run that ends before the last of the steps."""
    if not self._traced:
      return
    jax.profiler.stop_trace()
    try:
      self._writing.close()
    except OSError as error:  # Of a bucket; the run goes on.
      say(f'The profile is lost: {error}')
      self._traced = []
      return
    say(
      f'Profile of steps {self._traced[0]} to {self._traced[-1]} in '
      f'{self._folder / "plugins" / "profile"}.'
    )
    self._traced = []
