"""What a trained run makes of held-out examples, one by one."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.answers.kinds import Classes
from experiments.data.dataset import Dataset, Example
from experiments.host.error_text import one_line
from experiments.runs.trained import MOST_AT_ONCE, TrainedRun
from experiments.stepping.train_state import LossFunction
from perceiver_jax.metrics import sum_of_means


class Judged(NamedTuple):
  """A held-out example that the model has seen.

  Attributes:
    index: of the example among the held-out ones.
    loss: of it alone.
    scores: float `[C]`, probabilities of the classes; None where the model
      chooses no class.
    label: number of its class, or `[C]`, 1 for each that is there; None as for
      `scores`.
    recording: that it is a clip of; None where examples are no clips.
  """

  index: int
  loss: float
  scores: np.ndarray | None = None
  label: np.ndarray | None = None
  recording: int | None = None


class Judgement(NamedTuple):
  """What the model makes of held-out examples.

  Attributes:
    judged: in order of their losses, the least first, and last those whose
      loss is not finite.
    total: all held-out examples, judged or not.
    class_names: of the classes; () where the model chooses none.
    unreadable: the first error of examples that could not be read; '' for none.
  """

  judged: Sequence[Judged]
  total: int
  class_names: Sequence[str]
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
  judged, names, unreadable = [], (), ''
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
      classes = _classes(run, prediction, example)
      if classes is None:
        judged.append(Judged(index, loss))
        continue
      names = classes.names
      recording = example.get('recording')
      judged.append(
        Judged(
          index,
          loss,
          np.asarray(classes.probabilities),
          np.asarray(example['label']),
          None if recording is None else int(recording),
        )
      )
  judged.sort(key=lambda x: (not np.isfinite(x.loss), x.loss, x.index))
  return Judgement(judged, total, names, unreadable)


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


def _classes(
  run: TrainedRun, prediction: Any, example: Example
) -> Classes | None:
  """The classes of an example whose label is one or several of them."""
  label = np.asarray(example.get('label', np.nan))
  if run.task.answer is None or not (
    np.issubdtype(label.dtype, np.integer) or label.ndim == 1
  ):
    return None
  answer = run.task.answer([prediction], [example])
  return answer if isinstance(answer, Classes) else None


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
