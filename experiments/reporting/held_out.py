"""What a trained run makes of held-out examples, one by one."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.data.dataset import Dataset, Example
from experiments.host.error_text import one_line
from experiments.runs.trained import MOST_AT_ONCE, TrainedRun
from experiments.stepping.train_state import LossFunction
from experiments.tasks.task import Task
from perceiver_jax.metrics import sum_of_means


class Judged(NamedTuple):
  """A held-out example that the model has seen.

  Attributes:
    index: number of the example among the held-out ones.
    loss: the loss of it alone.
    kept: what is remembered of it, see `HeldOut.keep`; None where the kind of
      answer keeps nothing.
  """

  index: int
  loss: float
  kept: Any = None


class Judgement(NamedTuple):
  """What the model makes of held-out examples.

  Attributes:
    judged: in order of their losses, the least first, and last those whose
      loss is not finite.
    total: all held-out examples, judged or not.
    unreadable: the first error of examples that could not be read; '' for none.
  """

  judged: Sequence[Judged]
  total: int
  unreadable: str = ''


def judge(
  run: TrainedRun,
  dataset: Dataset,
  most: int,
  *,
  seconds: float = float('inf'),
) -> Judgement:
  """Evaluates held-out examples one by one.

  Args:
    run: that was trained.
    dataset: of the run, opened.
    most: examples to evaluate; a random choice, always the same, where there
      are more.
    seconds: after which no more are evaluated.
  """
  total = len(dataset.evaluation)
  order = np.arange(total)
  if total > most or np.isfinite(seconds):
    # Wherever time is up, classes that stand together are all among them.
    order = np.random.default_rng(0).permutation(total)[:most]
  loss_of = _loss_of(run.task.loss_function)
  judged, unreadable = [], ''
  end = time.monotonic() + seconds
  for start in range(0, len(order), MOST_AT_ONCE):
    if start and time.monotonic() > end:
      break
    examples = {}
    for index in order[start : start + MOST_AT_ONCE]:
      try:
        examples[int(index)] = held_out(dataset, int(index))
      except (ValueError, OSError) as error:
        unreadable = unreadable or one_line(error)
    made = predictions_of(run, list(examples.values()), total)
    for (index, example), prediction in zip(
      examples.items(), made, strict=True
    ):
      loss = loss_of(prediction, example)
      judged.append(Judged(index, loss, _kept(run.task, prediction, example)))
  judged.sort(key=lambda x: (not np.isfinite(x.loss), x.loss, x.index))
  return Judgement(judged, total, unreadable)


def held_out(dataset: Dataset, index: int) -> Example:
  """Returns a held-out example as the model takes it, without a batch axis."""
  return dataset.prepare(dataset.evaluation[index])


def predictions_of(
  run: TrainedRun, examples: Sequence[Example], total: int
) -> list[Any]:
  """Returns the predictions of at most `MOST_AT_ONCE` examples.

  Args:
    run: that was trained.
    examples: of one shape or of several.
    total: examples that go through the model in all; fewer at a time are filled
      up, so that one shape is compiled.
  """
  if not examples:
    return []
  size = min(MOST_AT_ONCE, total)
  filled = [*examples, *[examples[-1]] * (size - len(examples))]
  return run.apply_all(filled)[: len(examples)]


def extremes(
  judgement: Judgement, count: int
) -> tuple[Sequence[Judged], Sequence[Judged]]:
  """Returns the examples of the highest and of the lowest loss.

  Each begins with the most extreme; none is in both.

  Args:
    judgement: of examples.
    count: of each, at most.
  """
  ordered = judgement.judged
  worst = list(
    reversed(ordered[max(len(ordered) // 2, len(ordered) - count) :])
  )
  return worst, ordered[: min(count, len(ordered) // 2)]


def _kept(task: Task, prediction: Any, example: Example) -> Any:
  """What the kind of answer remembers of an example."""
  if task.answer.held_out is None:
    return None
  return task.answer.held_out.keep(task.tell([prediction], [example]), example)


def _loss_of(
  loss_function: LossFunction,
) -> Callable[[Any, Mapping[str, Any]], float]:
  """The loss of a batch of one; compiled once for each shape."""

  @jax.jit
  def loss(prediction: Any, example: Example) -> jax.Array:
    prediction, example = jax.tree.map(
      lambda x: jnp.asarray(x)[None], (prediction, example)
    )
    prediction = jax.tree.map(_at_least_float32, prediction)
    batch = {**example, 'weight': jnp.ones(1)}
    return sum_of_means(loss_function(prediction, batch)[0])

  return lambda prediction, example: float(loss(prediction, dict(example)))


def _at_least_float32(values: jax.Array) -> jax.Array:
  if not jnp.issubdtype(values.dtype, jnp.floating):
    return values
  return values.astype(jnp.promote_types(values.dtype, jnp.float32))
