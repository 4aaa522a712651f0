"""Evaluates a checkpoint of a run.

  python -m experiments.evaluate --config=experiments/configs/digits.py
  python -m experiments.evaluate --config=... --workdir=... --checkpoint=400

prints one JSON line: the step and the evaluation metrics.
"""

import contextlib
import json
from collections.abc import Callable

import haiku as hk
from absl import flags

from experiments import command_line, parallelism
from experiments.data.pipeline import Dataset, evaluation_batches
from experiments.experiment import build_experiment, open_checkpoints
from experiments.tasks.task import Task
from experiments.train_state import Metrics, make_evaluation
from perceiver_jax import metrics

_CHECKPOINT = flags.DEFINE_string(
  'checkpoint', 'best', "'best', 'latest' or the step of a checkpoint."
)


def evaluate_dataset(
  evaluation: Callable[..., Metrics],
  params: hk.Params,
  state: hk.State,
  dataset: Dataset,
  batch_size: int,
) -> dict[str, float]:
  """Returns the metrics over all held-out examples, named `eval/...`.

  Args:
    evaluation: from `mapped_evaluation`.
    params: of the model.
    state: of the model.
    dataset: its held-out examples count once each.
    batch_size: global, divisible by the devices.
  """
  batches = [
    evaluation(params, state, batch)
    for batch in evaluation_batches(
      dataset, batch_size, place=parallelism.place_batch
    )
  ]
  return {
    f'eval/{name}': value for name, value in metrics.compute(batches).items()
  }


def mapped_evaluation(task: Task) -> Callable[..., Metrics]:
  """Returns the task's evaluation of a batch, mapped over devices."""
  return parallelism.pmap_evaluation(
    make_evaluation(task.model, task.loss_function, axis_name=parallelism.AXIS)
  )


def main() -> None:
  """Evaluates the checkpoint that --checkpoint names."""
  parallelism.configure_backend()
  config = command_line.config()
  experiment = build_experiment(config, command_line.DATA_DIR.value)
  workdir = command_line.workdir()
  if not (workdir / 'checkpoints').is_dir():
    raise ValueError(
      f'There is no run in {workdir}: it has no checkpoints. Train with '
      'python -m experiments.train, or name the run by --workdir.'
    )
  with contextlib.closing(open_checkpoints(config, workdir)) as checkpoints:
    step = checkpoints.chosen_step(_CHECKPOINT.value)
    train_state, _ = checkpoints.restore(step, experiment.template)
  results = evaluate_dataset(
    mapped_evaluation(experiment.task),
    train_state.params,
    train_state.state,
    experiment.dataset,
    config.batch_size,
  )
  print(json.dumps({'step': step, **results}))


if __name__ == '__main__':
  command_line.run(main)
