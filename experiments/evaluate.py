"""Evaluates a checkpoint of a run.

  python -m experiments.evaluate --config=experiments/configs/digits.py
  python -m experiments.evaluate --config=... --workdir=... --checkpoint=400

prints one JSON line: the step and the evaluation metrics.
"""

import json
from collections.abc import Sequence

import haiku as hk
import numpy as np
from absl import flags

from experiments import command_line, parallelism
from experiments.data.pipeline import Dataset, Example, evaluation_batches
from experiments.experiment import build_experiment, restore_run
from experiments.tasks.task import DatasetMetrics, Task
from experiments.train_state import make_evaluation
from perceiver_jax import metrics

_CHECKPOINT = flags.DEFINE_string(
  'checkpoint', 'best', "'best', 'latest' or the step of a checkpoint."
)


class Evaluation:
  """The metrics of a task over all held-out examples; compiled once."""

  def __init__(self, task: Task, dataset: Dataset, batch_size: int):
    """Maps the task's evaluation over the devices.

    Args:
      task: whose metrics they are.
      dataset: its held-out examples count once each.
      batch_size: global, divisible by the devices.
    """
    self._dataset = dataset
    self._batch_size = batch_size
    self._dataset_metrics = task.dataset_metrics
    collect = task.dataset_metrics and task.dataset_metrics.collect
    self._evaluation = parallelism.pmap_evaluation(
      make_evaluation(
        task.model, task.loss_function, collect, axis_name=parallelism.AXIS
      )
    )

  def __call__(self, params: hk.Params, state: hk.State) -> dict[str, float]:
    """Returns the metrics of these parameters, named `eval/...`."""
    means, kept = [], []
    for batch in evaluation_batches(
      self._dataset, self._batch_size, place=parallelism.place_batch
    ):
      batch_means, examples = self._evaluation(params, state, batch)
      means.append(batch_means)
      if examples:
        kept.append(parallelism.fetch_examples((examples, batch['weight'] > 0)))
    results = metrics.compute(means)
    if self._dataset_metrics is not None:
      results |= _compute(self._dataset_metrics, kept)
    return {f'eval/{name}': value for name, value in results.items()}


def _compute(
  dataset_metrics: DatasetMetrics, kept: Sequence[tuple[Example, np.ndarray]]
) -> dict[str, float]:
  """Metrics of the kept examples; copies that fill up a batch are left out."""
  examples = {
    name: np.concatenate([arrays[name][counts] for arrays, counts in kept])
    for name in kept[0][0]
  }
  return dict(dataset_metrics.compute(examples))


def main() -> None:
  """Evaluates the checkpoint that --checkpoint names."""
  parallelism.configure_backend()
  config = command_line.config()
  experiment = build_experiment(config, command_line.DATA_DIR.value)
  step, train_state = restore_run(
    config, command_line.workdir(), experiment.template, _CHECKPOINT.value
  )
  evaluate = Evaluation(experiment.task, experiment.dataset, config.batch_size)
  results = evaluate(train_state.params, train_state.state)
  print(json.dumps({'step': step, **results}))


if __name__ == '__main__':
  command_line.run(main)
