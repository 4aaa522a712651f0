"""Which of a run's checkpoints is meant, and what to take in its place."""

import pathlib
import time
from collections.abc import Callable, Collection, Mapping, Sequence

from experiments.checkpointing.files import is_step
from experiments.host import agreement
from experiments.host.buckets import BucketPath

# How long a run may take to remove a checkpoint that somebody else reads.
_MOST_LOOKS, _LOOK_SECONDS = 5, 0.2


def step_of(choice: str) -> int | None:
  """Returns the step that a user named; None for 'best' and 'latest'.

  Raises:
    ValueError: it is none of these.
  """
  if choice in ('best', 'latest'):
    return None
  if not is_step(choice):
    raise ValueError(
      f"The checkpoint must be 'best', 'latest' or a step, got {choice!r}."
    )
  return int(choice)


def look(
  directory: pathlib.Path | BucketPath,
  steps_of: Callable[[], list[int]],
  reopen: Callable[[], None],
) -> list[int]:
  """Returns the steps of all checkpoints, newest first.

  A run may have removed the only one while Orbax listed them, and have made
  another: then it is asked again.

  Args:
    directory: folder of all checkpoints.
    steps_of: asks Orbax.
    reopen: has Orbax read the folder anew.
  """
  steps, looks = steps_of(), 0
  while (
    not steps
    and looks < _MOST_LOOKS
    and any(is_step(path.name) for path in directory.glob('*'))
  ):
    looks += 1
    reopen()
    steps = steps_of()
  return steps


def best_first(
  steps: Sequence[int],
  metrics_of: Callable[[int], Mapping[str, float] | None],
  metric: str,
  mode: str,
) -> list[int]:
  """Returns steps in the order of a metric; those without it come last.

  Args:
    steps: newest first, as they stay where nothing tells them apart.
    metrics_of: returns what an evaluation of a step gave, or None.
    metric: name among these.
    mode: 'max' or 'min'.
  """
  sign = 1.0 if mode == 'max' else -1.0
  scores = {}
  for step in steps:
    metrics = metrics_of(step)
    if metrics is not None:
      scores[step] = sign * metrics[metric]
  # The newest of equals, as Orbax has it. Sorting is stable.
  best = sorted(scores, key=scores.__getitem__, reverse=True)
  return best + [step for step in steps if step not in scores]


def stay(directory: pathlib.Path | BucketPath, steps: Collection[int]) -> bool:
  """Returns whether checkpoints that could not be read are there to stay.

  A run that removes older ones takes a moment; all processes wait for it.

  Args:
    directory: folder of all checkpoints.
    steps: of those that could not be read.
  """
  for _ in range(_MOST_LOOKS if steps else 0):
    if agreement.any_process(
      any(not (directory / str(step)).exists() for step in steps)
    ):
      return False
    time.sleep(_LOOK_SECONDS)
  return True
