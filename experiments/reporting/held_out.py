"""The held-out examples of a run: an evaluation of them, and those to show."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from experiments.data.dataset import Chosen, Dataset, Example
from experiments.data.faults import DataFaults
from experiments.host.agreement import any_process
from experiments.runs.evaluation import EachExample, Evaluation, Look
from experiments.runs.trained import MOST_AT_ONCE, TrainedRun
from experiments.stepping.parallelism import Replicated
from experiments.stepping.train_state import TrainState
from experiments.tasks.task import Task

# Of examples that take little room, and of those that take a row.
_MANY, _FEW = 12, 4


class Shown(NamedTuple):
  """A held-out example that a page shows.

  Attributes:
    name: of it, such as 'no. 12'.
    metrics: of it alone, `loss` among them.
    example: as the model takes it, without a batch axis.
    kept: what was kept of it, see `HeldOut.collect`.
    prediction: of the model; None where what was kept says all.
  """

  name: str
  metrics: Mapping[str, float]
  example: Example
  kept: Mapping[str, Any]
  prediction: Any = None


class Gallery(NamedTuple):
  """The examples that a page shows.

  Attributes:
    worst: of the highest losses, the highest first; a loss that is no number
      is higher than all.
    typical: of losses about the median; none where what was kept says all.
    best: of the lowest losses, the lowest first. None is shown twice.
    besides: others than held-out ones, see `DataSpec.besides`.
  """

  worst: Sequence[Shown]
  typical: Sequence[Shown]
  best: Sequence[Shown]
  besides: Sequence[Shown] = ()


def look_at(
  run: TrainedRun, dataset: Dataset, most: int | None = None
) -> tuple[Evaluation, Look]:
  """Evaluates the held-out examples of a run, on all devices of this process.

  Those that cannot be read are left out.

  Args:
    run: that was trained.
    dataset: of the run, opened.
    most: examples to look at; a random choice, always the same, where there are
      more. None for all.

  Raises:
    ValueError: no example can be read.
  """
  total = len(dataset.evaluation)
  numbers = np.random.default_rng(0).permutation(total)[:most]
  numbers.sort()
  devices = jax.local_device_count()
  parallelism = Replicated()
  faults = DataFaults(lambda line: None, bad_examples=total)
  evaluate = Evaluation(
    run.task,
    # Nothing is chosen here: the look is at the held-out examples.
    dataset._replace(
      evaluation=Chosen(dataset.evaluation, numbers), validation=None
    ),
    parallelism,
    devices * min(MOST_AT_ONCE, -(-len(numbers) // devices)),
    faults,
  )
  train_state = TrainState(np.int32(run.step), run.params, run.state, ())
  _, look = evaluate.look(parallelism.place_state(train_state), 'eval')
  faults.close()
  each = look.each._replace(numbers=numbers[look.each.numbers])
  return evaluate, look._replace(each=each, total=total)


def gallery(
  evaluate: Evaluation, look: Look, task: Task, dataset: Dataset
) -> Gallery:
  """Returns the examples to show; only these are read again.

  What the model says of them is computed again where it would have been too
  much to keep of all. All processes of a run call this.

  Args:
    evaluate: that the look is by.
    look: at held-out examples.
    task: of the run.
    dataset: of the run, opened.

  Raises:
    OSError: an example cannot be read any more.
  """
  is_small = task.answer.held_out is not None
  worst, typical, best = extremes(look.each, _MANY if is_small else _FEW)
  groups, error = Gallery([], [], []), None
  try:
    groups = Gallery(
      *(
        [_shown(look.each, row, dataset) for row in rows]
        for rows in (worst, [] if is_small else typical, best)
      )
    )
  except (ValueError, OSError) as read_error:
    error = read_error
  if any_process(error is not None):
    raise OSError(f'An example to show cannot be read: {error}') from error
  if is_small:
    return groups
  besides = [
    Shown(name, {}, example, {})
    for name, example in task.data.besides().items()
  ]
  return _with_predictions(evaluate, look, groups._replace(besides=besides))


def extremes(
  each: EachExample, count: int
) -> tuple[list[int], list[int], list[int]]:
  """Returns the rows of the highest losses, of the middle, and of the lowest.

  Args:
    each: of the examples.
    count: of rows of each kind, at most; no row is of two.
  """
  losses = each.metrics['loss']
  finite = np.isfinite(losses)
  order = np.lexsort((np.where(finite, losses, 0.0), ~finite)).tolist()
  half = len(order) // 2
  best = order[: min(count, half)]
  worst = order[max(half, len(order) - count) :][::-1]
  rest = order[len(best) : len(order) - len(worst)]
  start = max(0, (len(rest) - count) // 2)
  return worst, rest[start : start + count], best


def _shown(each: EachExample, row: int, dataset: Dataset) -> Shown:
  number = int(each.numbers[row])
  return Shown(
    f'no. {number:,}',
    {name: float(values[row]) for name, values in each.metrics.items()},
    dataset.prepare(dataset.evaluation[number]),
    {name: values[row] for name, values in each.kept.items()},
  )


def _with_predictions(
  evaluate: Evaluation, look: Look, groups: Gallery
) -> Gallery:
  every = [shown for group in groups for shown in group]
  if not every:
    return groups
  predictions, metrics = evaluate.again(look, [x.example for x in every])
  made = iter(
    shown._replace(
      prediction=prediction,
      metrics={name: float(values[i]) for name, values in metrics.items()},
    )
    for i, (shown, prediction) in enumerate(
      zip(every, predictions, strict=True)
    )
  )
  return Gallery(*([next(made) for _ in group] for group in groups))
