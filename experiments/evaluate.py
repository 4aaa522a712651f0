"""Evaluates a checkpoint of a run.

  python -m experiments.evaluate --config=experiments/configs/digits.py
  python -m experiments.evaluate --config=... --workdir=... --checkpoint=400

prints one JSON line: the step and the metrics, `eval/...` of the examples that
chose the checkpoint, `test/...` of those that did not where these are others.
With --predictions it also writes `predictions.csv` into the run's folder, a row
for each held-out example, of the test split where there is one: its number, the
true and the predicted class, and the probability of each class; of models that
choose no class, its metrics. Several classes of one example are joined by '|';
where examples are clips, a row is a recording.

  python -m experiments.evaluate --workdir=... --training_examples=256

evaluates training examples instead, prepared like held-out ones: what is better
there was learned by heart.

  python -m experiments.evaluate --workdir=... --baseline

says besides how good a cheap classical model is on the same examples.
"""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from absl import flags

from experiments import baseline
from experiments.data.dataset import Chosen, Dataset
from experiments.data.faults import DataFaults
from experiments.host import command_line, processes
from experiments.host.buckets import write_whole
from experiments.host.compilation_cache import start_keeping
from experiments.host.configuration import construct
from experiments.host.error_text import one_line
from experiments.runs import chosen_run, untrusted
from experiments.runs.evaluation import EachExample, evaluation_of
from experiments.runs.experiment import (
  build_experiment,
  compared_parameters,
  restore_run,
)
from experiments.stepping.parallelism import configure_backend
from experiments.tasks.task import Task

_PREDICTIONS = flags.DEFINE_bool(
  'predictions',
  False,
  'Whether to write what is predicted of each example to --save_to, by default '
  'predictions.csv in --workdir.',
)
_TRAINING = flags.DEFINE_integer(
  'training_examples',
  0,
  'Training examples to evaluate in place of the held-out ones, evenly spread.',
  lower_bound=0,
)
_FILE = 'predictions.csv'


def training_instead(dataset: Dataset, most: int) -> Dataset:
  """Returns a data set whose held-out examples are training examples.

  Args:
    dataset: whose they are.
    most: of them, evenly spread; all where there are fewer.

  Raises:
    ValueError: they cannot be prepared like held-out ones.
  """
  total = len(dataset.train)
  numbers = np.linspace(0, total - 1, min(most, total)).round().astype(int)
  try:
    dataset.prepare(dataset.train[0])
  except Exception as error:
    raise ValueError(
      '--training_examples: the training examples of these data cannot be '
      f'prepared like held-out ones ({one_line(error)}).'
    ) from error
  return dataset._replace(
    evaluation=Chosen(dataset.train, numbers), validation=None
  )


def table_of(task: Task, each: EachExample) -> str:
  """Returns what an evaluation found of each example, as CSV.

  Args:
    task: of the run.
    each: of the examples.
  """
  held_out = task.answer.held_out
  if held_out is None or held_out.columns is None:
    columns = {'example': each.numbers, **each.metrics}
  else:
    columns = held_out.columns(each.numbers, each.kept)
  return _format_csv(columns)


def _format_csv(columns: Mapping[str, Sequence[Any]]) -> str:
  file = io.StringIO()
  writer = csv.writer(file, lineterminator='\n')
  writer.writerow(columns)
  for row in zip(*columns.values(), strict=True):
    # Seven figures tell all single-precision numbers that matter apart.
    writer.writerow(
      f'{cell:.7g}' if isinstance(cell, np.floating) else cell for cell in row
    )
  return file.getvalue()


def main() -> None:
  """Evaluates the checkpoint that --checkpoint names."""
  configure_backend()
  start_keeping()
  with_baseline = baseline.is_wanted()
  path = chosen_run.save_to(_FILE) if _PREDICTIONS.value else None
  config = command_line.config()
  with untrusted.reading():  # Files of a folder, when they are prepared.
    experiment = build_experiment(config, command_line.data_dir())
  dataset, split = experiment.dataset, 'eval'
  if _TRAINING.value:
    dataset = training_instead(dataset, _TRAINING.value)
    split = 'train'
  step, train_state = restore_run(
    config,
    command_line.workdir(),
    experiment.template,
    chosen_run.CHECKPOINT.value,
  )
  evaluate = evaluation_of(
    config,
    experiment._replace(dataset=dataset),
    construct('data_faults', DataFaults, config.data_faults),
  )
  train_state = experiment.parallelism.place_state(train_state)
  prefix = compared_parameters(config)
  results, look = evaluate.look(train_state, prefix if path else '')
  if dataset.validation is not None:
    tested, look = evaluate.test(train_state, prefix)
    results |= tested
  told = {
    'step': step,
    **{name.replace('eval', split, 1): x for name, x in results.items()},
    **(baseline.metrics_of(experiment) if with_baseline else {}),
  }
  if path:
    if processes.is_first():
      path.parent.mkdir(parents=True, exist_ok=True)
      write_whole(path, table_of(experiment.task, look.each))
    told['predictions'] = str(path)
  processes.say(json.dumps(told))


if __name__ == '__main__':
  command_line.run(main)
