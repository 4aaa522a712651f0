"""What becomes of steps whose loss or gradient is not finite.

Such a step changes nothing, see `steps.py`. It stops the run, or is left out,
up to a limit; either way its batch is kept for a look.
"""

import collections
import dataclasses
import io
import pathlib
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from experiments.host.buckets import write_whole
from experiments.stepping.parallelism import Parallelism
from experiments.stepping.steps import Health, Update
from experiments.stepping.train_state import Batch, TrainState

FOLDER = 'bad_batches'
_OPTION = '--config.numbers.bad_steps'
# Steps that an accelerator may be ahead before their numbers are looked at.
_STEPS_AHEAD = 2
_MOST_NAMED = 5


@dataclasses.dataclass(frozen=True, kw_only=True)
class Debug:
  """The section `debug` of a config.

  Attributes:
    nans: whether a step that is not finite is run again, one operation after
      the other, to find the first whose result is not. Steps are then waited
      for one by one.
  """

  nans: bool = False


class HealthWatch:
  """Looks at the numbers of each step, on accelerators a little later.

  Attributes:
    bad_steps: that were left out so far, by this process.
    spikes: steps that were left out as spikes so far, of the whole run; None
      where none can be.
  """

  def __init__(
    self,
    workdir: pathlib.Path,
    parallelism: Parallelism,
    say: Callable[[str], None],
    rerun: Update | None,
    *,
    bad_steps: int = 0,
  ):
    """Nothing is looked at yet.

    Args:
      workdir: of the run; bad batches are written into it.
      parallelism: of the run.
      say: prints a line.
      rerun: the update of one device, to run bad steps again by operations;
        None does not, see `Debug`.
      bad_steps: that may be left out; 0 stops at the first.

    Raises:
      ValueError: a value is out of its range.
    """
    if bad_steps < 0:
      raise ValueError(
        f'config.numbers.bad_steps must not be negative, got {bad_steps}.'
      )
    self.bad_steps = 0
    self.spikes: int | None = None
    self._folder = workdir / FOLDER
    self._parallelism = parallelism
    self._say = say
    self._limit = bad_steps
    self._rerun = rerun
    at_once = rerun is not None or jax.default_backend() == 'cpu'
    self._steps_ahead = 0 if at_once else _STEPS_AHEAD
    self._pending: collections.deque = collections.deque()

  def check(
    self,
    step: int,
    train_state: TrainState,
    batch: Batch,
    health: Health,
  ) -> None:
    """Looks at a step, or keeps it to look at it after later ones.

    Args:
      step: that was done.
      train_state: after it.
      batch: of it, on the devices.
      health: of its numbers.

    Raises:
      ValueError: its numbers are not finite, and no more may be left out.
    """
    self._pending.append((step, batch, health))
    while len(self._pending) > self._steps_ahead:
      self._check(*self._pending.popleft(), train_state)

  def settle(self, train_state: TrainState) -> None:
    """Looks at all steps so far; argument and error as in `check`."""
    while self._pending:
      self._check(*self._pending.popleft(), train_state)

  def _check(
    self,
    step: int,
    batch: Batch,
    health: Health,
    train_state: TrainState,
  ) -> None:
    if health.skipped is not None:
      self._count_spikes(step, health)
    if bool(health.is_finite):
      return
    self.bad_steps += 1
    own_part = self._parallelism.fetch_batch(batch)
    lines = [
      f'Step {step}: {describe(health)}. It changed nothing; its batch is in '
      f'{self._write(step, own_part)}.'
    ]
    if self._rerun is not None:
      same_state = self._parallelism.fetch_state(train_state)
      same_state = same_state._replace(step=np.int32(step - 1))
      lines.append(first_bad_operation(self._rerun, same_state, own_part))
    if self.bad_steps > self._limit:
      lines.append(
        f'That is bad step {self.bad_steps}, and {_OPTION} = {self._limit} may '
        'be left out. The same command goes on from the last checkpoint; with '
        '--config.debug.nans=True it finds the operation.'
      )
      raise ValueError('\n'.join(lines))
    lines.append(
      f'Left out (bad step {self.bad_steps} of at most {self._limit}).'
    )
    self._say('\n'.join(lines))

  def _count_spikes(self, step: int, health: Health) -> None:
    before, self.spikes = self.spikes, int(health.skipped)
    if before is not None and self.spikes > before:
      norms = named_leaves(health.gradient_norms).values()
      norm = np.sqrt(sum(np.square(each) for each in norms))
      self._say(
        f'Step {step} is a spike and changed nothing: loss '
        f'{float(health.loss):.4g}, norm of the gradient {float(norm):.4g} '
        f'({self.spikes} so far).'
      )

  def _write(self, step: int, batch: Batch) -> pathlib.Path:
    """Writes this process's part of a batch; returns its path."""
    self._folder.mkdir(exist_ok=True)
    part = '' if jax.process_count() == 1 else f'_process_{jax.process_index()}'
    path = self._folder / f'step_{step}{part}.npz'
    with io.BytesIO() as file:
      np.savez(file, **named_leaves(batch))
      write_whole(path, file.getvalue())
    return path


def describe(health: Health) -> str:
  """Returns in words which numbers of a step are not finite."""
  bad = [
    name
    for name, norm in named_leaves(health.gradient_norms).items()
    if not np.isfinite(norm)
  ]
  words = f'the loss is {float(health.loss)}'
  if not bad:
    return f'{words} and the norm of the gradient is too large for float32'
  shown = ', '.join(bad[:_MOST_NAMED])
  more = len(bad) - _MOST_NAMED
  return (
    f'{words}; not finite is the gradient of {shown}'
    f'{f" and {more} more" if more > 0 else ""}'
  )


def first_bad_operation(
  update: Update, train_state: TrainState, batch: Batch
) -> str:
  """Runs a step operation by operation, until one is not finite.

  Args:
    update: of one device, not compiled.
    train_state: numpy arrays.
    batch: numpy arrays, this process's part.

  Returns:
    What was found, in one line and the place in the code.
  """
  try:
    with jax.disable_jit(), jax.debug_nans(True), jax.debug_infs(True):
      update(train_state, batch)
  except FloatingPointError as error:
    place = error.__traceback__
    places = []
    while place is not None:
      # Not by the file's name: whole checkouts are called perceiver_jax, and
      # have an environment inside.
      package, *_ = place.tb_frame.f_globals['__name__'].split('.')
      if package in ('perceiver_jax', 'experiments'):
        filename = place.tb_frame.f_code.co_filename
        places.append(f'{filename}:{place.tb_lineno}')
      place = place.tb_next
    what = str(error).splitlines()[0]
    return f'Run again operation by operation: {what} At {places[-1]}.'
  return (
    'Run again operation by operation on the part of the batch of this process '
    'alone, all numbers are finite.'
  )


def named_leaves(tree: Any) -> dict[str, np.ndarray]:
  """Returns the arrays of a tree by their path, such as 'encoder/latents'."""
  leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
  return {
    jax.tree_util.keystr(path, simple=True, separator='/'): np.asarray(leaf)
    for path, leaf in leaves
  }
