"""The metrics of a task over all examples of a held-out split, and of each.

One compiled function computes everything. A report, or a table of predictions,
is made of what an evaluation has seen, not of a second look at the data.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import haiku as hk
import jax
import ml_collections
import numpy as np

from experiments.data.dataset import Dataset, Example
from experiments.data.faults import HELD_OUT, DataFaults
from experiments.data.pipeline import evaluation_batches
from experiments.runs.experiment import Experiment
from experiments.stepping.parallelism import Parallelism
from experiments.stepping.steps import OfExamples, make_evaluation
from experiments.stepping.train_state import Collect, Metrics, TrainState
from experiments.tasks.task import Task
from perceiver_jax import metrics

# What an evaluation keeps of examples: for metrics, and for a report.
_METRICS, _REPORT = 'metrics', 'report'


class EachExample(NamedTuple):
  """What an evaluation found of each example, in the order of their numbers.

  Attributes:
    numbers: int `[n]`, of the examples in their split, without those that could
      not be read.
    metrics: float32 `[n]` each, `loss` among them; NaN where one does not count
      the example.
    kept: arrays `[n, ...]`, see `HeldOut.collect`; {} where the task has none.
  """

  numbers: np.ndarray
  metrics: Mapping[str, np.ndarray]
  kept: Mapping[str, np.ndarray]


class Look(NamedTuple):
  """An evaluation that kept what it found of each example.

  Attributes:
    step: of the train state.
    each: what it found.
    params: of the model, on the devices.
    state: likewise.
    total: number of held-out examples, those that cannot be read among them.
    unreadable: the first error of these; '' where there are none.
  """

  step: int
  each: EachExample
  params: hk.Params
  state: hk.State
  total: int
  unreadable: str = ''


class Evaluation:
  """The metrics of a task over all examples of a split; compiled once."""

  def __init__(
    self,
    task: Task,
    dataset: Dataset,
    parallelism: Parallelism,
    batch_size: int,
    faults: DataFaults | None = None,
    *,
    microbatches: int = 1,
  ):
    """Compiles the evaluation for the devices.

    Args:
      task: model and loss, whose metrics they are.
      dataset: with the held-out examples.
      parallelism: how steps run on the devices.
      batch_size: global, divisible by the devices and the microbatches.
      faults: what to do about examples that cannot be read; None stops.
      microbatches: see `make_evaluation`.
    """
    self._dataset, self._parallelism = dataset, parallelism
    self._batch_size, self._faults = batch_size, faults
    self._dataset_metrics = task.dataset_metrics
    self._evaluation = parallelism.evaluation(
      make_evaluation(
        task.model,
        task.loss_function,
        collect_of(task),
        collectives=parallelism.collectives,
        microbatches=microbatches,
      )
    )

  def __call__(self, train_state: TrainState) -> dict[str, float]:
    """Returns the metrics of a train state that is on the devices.

    They are of the validation split, where there is one. Those of its
    parameters are named `eval/...`, those of their average, where one is kept,
    `eval_ema/...`.
    """
    results, _ = self.look(train_state, '')
    return results

  def look(
    self, train_state: TrainState, prefix: str
  ) -> tuple[dict[str, float], Look | None]:
    """Returns the metrics, as a call does, and what is of each example.

    Args:
      train_state: on the devices.
      prefix: 'eval' or 'eval_ema', for whose examples these are; '' keeps none,
        and there is no look. Nor is there one where a validation split chooses
        the checkpoint: `test` looks at the others.
    """
    dataset = self._dataset
    if dataset.validation is not None:
      dataset, prefix = dataset._replace(evaluation=dataset.validation), ''
    results, look = {}, None
    for name in ('eval', 'eval_ema'):
      if _parameters(train_state, name) is None:
        continue
      found, seen = self._look(train_state, name, dataset, name == prefix)
      results |= {f'{name}/{metric}': value for metric, value in found.items()}
      look = seen or look
    return results, look

  def test(
    self, train_state: TrainState, prefix: str
  ) -> tuple[dict[str, float], Look]:
    """Returns the metrics `test/...`, and what is of each example.

    Where there is a validation split, these are of examples that had no part in
    choosing the checkpoint.

    Args:
      train_state: on the devices.
      prefix: 'eval' for its parameters, 'eval_ema' for their average.
    """
    found, look = self._look(train_state, prefix, self._dataset, True)
    return {f'test/{metric}': value for metric, value in found.items()}, look

  def again(
    self, look: Look, examples: Sequence[Example]
  ) -> tuple[list[Any], Mapping[str, np.ndarray]]:
    """Returns predictions of a few examples, by the same compiled function.

    All processes of a run ask for the same ones.

    Args:
      look: whose parameters are used.
      examples: prepared, at least one, of the shapes of held-out ones.

    Returns:
      The prediction of each, without a batch axis, and its metrics, `[n]` each.
    """
    _, _, (made, predictions) = self._pass(
      look.params,
      look.state,
      self._dataset._replace(evaluation=examples, prepare=lambda x: x),
      lambda found: (found.metrics, found.predictions),
    )
    return [
      jax.tree.map(lambda x, i=i: x[i], predictions)
      for i in range(len(examples))
    ], made

  def _look(
    self, train_state: TrainState, prefix: str, dataset: Dataset, keeps: bool
  ) -> tuple[dict[str, float], Look | None]:
    """Evaluates a split; there is a look where what is of each is kept."""

    def wanted(found: OfExamples) -> Any:
      return (found.metrics, found.kept) if keeps else found.kept[_METRICS]

    params, state = _parameters(train_state, prefix), train_state.state
    means, numbers, kept = self._pass(params, state, dataset, wanted)
    results, look = metrics.compute(means), None
    if keeps:
      look = Look(
        int(train_state.step),
        EachExample(numbers, kept[0], kept[1][_REPORT]),
        params,
        state,
        len(dataset.evaluation),
        self._first_error(),
      )
      kept = kept[1][_METRICS]
    if self._dataset_metrics is not None:
      results |= dict(self._dataset_metrics.compute(kept))
    return results, look

  def _pass(
    self,
    params: hk.Params,
    state: hk.State,
    dataset: Dataset,
    wanted: Callable[[OfExamples], Any],
  ) -> tuple[list[Metrics], np.ndarray, Any]:
    """Evaluates all held-out examples of a data set.

    Returns:
      The metrics of batches; the numbers of the examples, in order, and what is
      wanted of them, `[n, ...]`. Copies that fill up a batch are left out.
    """
    means, rows = [], []
    for batch in evaluation_batches(
      dataset,
      self._batch_size,
      place=self._parallelism.place_batch,
      faults=self._faults,
    ):
      batch_means, found = self._evaluation(params, state, batch)
      means.append(batch_means)
      kept = wanted(found)
      if jax.tree.leaves(kept):
        row = (batch['held_out_number'], kept, batch['weight'] > 0)
        *row, counts = self._parallelism.gather_examples(row)
        rows.append(jax.tree.map(lambda x, counts=counts: x[counts], row))
    if not rows:
      return means, np.zeros(0, int), {}
    numbers, kept = jax.tree.map(lambda *xs: np.concatenate(xs), *rows)
    order = np.argsort(numbers, kind='stable')
    return means, numbers[order], jax.tree.map(lambda x: x[order], kept)

  def _first_error(self) -> str:
    errors = self._faults.errors(HELD_OUT) if self._faults else {}
    return next(iter(errors.values()), '')


def collect_of(task: Task) -> Collect:
  """Returns what is kept of examples, in all that the task has.

  Args:
    task: of a run.
  """
  parts = {_METRICS: task.dataset_metrics, _REPORT: task.answer.held_out}

  def collect(predictions: Any, batch: Mapping[str, Any]) -> dict[str, Any]:
    return {
      name: {} if part is None else part.collect(predictions, batch)
      for name, part in parts.items()
    }

  return collect


def evaluation_of(
  config: ml_collections.ConfigDict,
  experiment: Experiment,
  faults: DataFaults | None = None,
) -> Evaluation:
  """Returns the evaluation that a config asks for.

  Args:
    config: the config of the experiment.
    experiment: with its data.
    faults: see `Evaluation`.
  """
  return Evaluation(
    experiment.task,
    experiment.dataset,
    experiment.parallelism,
    config.batch_size,
    faults,
    microbatches=config.microbatches,
  )


def _parameters(train_state: TrainState, prefix: str) -> hk.Params | None:
  """The parameters that metrics of a prefix are of."""
  return train_state.ema if prefix == 'eval_ema' else train_state.params
