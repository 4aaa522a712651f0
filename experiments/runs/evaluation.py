"""The metrics of a task over all held-out examples."""

from collections.abc import Sequence

import haiku as hk
import numpy as np

from experiments.answers.answer import DatasetMetrics
from experiments.data.dataset import Example
from experiments.data.faults import DataFaults
from experiments.data.pipeline import evaluation_batches
from experiments.runs.experiment import Experiment
from experiments.stepping.steps import make_evaluation
from experiments.stepping.train_state import TrainState
from perceiver_jax import metrics


class Evaluation:
  """The metrics of a task over all held-out examples; compiled once."""

  def __init__(
    self,
    experiment: Experiment,
    batch_size: int,
    faults: DataFaults | None = None,
    *,
    microbatches: int = 1,
  ):
    """Compiles the evaluation for the devices.

    Args:
      experiment: whose metrics they are, on its held-out examples.
      batch_size: global, divisible by the devices and the microbatches.
      faults: what to do about examples that cannot be read; None stops.
      microbatches: see `make_evaluation`.
    """
    task, parallelism = experiment.task, experiment.parallelism
    self._parallelism = parallelism
    self._dataset = experiment.dataset
    self._batch_size = batch_size
    self._faults = faults
    self._dataset_metrics = task.dataset_metrics
    collect = task.dataset_metrics and task.dataset_metrics.collect
    self._evaluation = parallelism.evaluation(
      make_evaluation(
        task.model,
        task.loss_function,
        collect,
        collectives=parallelism.collectives,
        microbatches=microbatches,
      )
    )

  def __call__(self, train_state: TrainState) -> dict[str, float]:
    """Returns the metrics of a train state that is on the devices.

    Those of its parameters are named `eval/...`, those of their average, where
    one is kept, `eval_ema/...`.
    """
    results = self._metrics('eval', train_state.params, train_state.state)
    if train_state.ema is not None:
      results |= self._metrics('eval_ema', train_state.ema, train_state.state)
    return results

  def _metrics(
    self, prefix: str, params: hk.Params, state: hk.State
  ) -> dict[str, float]:
    means, kept = [], []
    for batch in evaluation_batches(
      self._dataset,
      self._batch_size,
      place=self._parallelism.place_batch,
      faults=self._faults,
    ):
      batch_means, examples = self._evaluation(params, state, batch)
      means.append(batch_means)
      if examples:
        kept.append(
          self._parallelism.gather_examples((examples, batch['weight'] > 0))
        )
    results = metrics.compute(means)
    if self._dataset_metrics is not None:
      results |= _compute(self._dataset_metrics, kept)
    return {f'{prefix}/{name}': value for name, value in results.items()}


def _compute(
  dataset_metrics: DatasetMetrics, kept: Sequence[tuple[Example, np.ndarray]]
) -> dict[str, float]:
  """Metrics of the kept examples; copies that fill up a batch are left out."""
  examples = {
    name: np.concatenate([arrays[name][counts] for arrays, counts in kept])
    for name in kept[0][0]
  }
  return dict(dataset_metrics.compute(examples))
