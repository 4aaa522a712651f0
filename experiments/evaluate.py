"""Evaluates a checkpoint of a run.

  python -m experiments.evaluate --config=experiments/configs/digits.py
  python -m experiments.evaluate --config=... --workdir=... --checkpoint=400

prints one JSON line: the step and the evaluation metrics.
"""

import json

from experiments.data.faults import DataFaults
from experiments.host import command_line, processes
from experiments.host.compilation_cache import start_keeping
from experiments.host.configuration import construct
from experiments.runs import chosen_run, untrusted
from experiments.runs.evaluation import Evaluation
from experiments.runs.experiment import build_experiment, restore_run
from experiments.stepping.parallelism import configure_backend


def main() -> None:
  """Evaluates the checkpoint that --checkpoint names."""
  configure_backend()
  start_keeping()
  config = command_line.config()
  with untrusted.reading():  # Files of a folder, when they are prepared.
    experiment = build_experiment(config, command_line.data_dir())
  step, train_state = restore_run(
    config,
    command_line.workdir(),
    experiment.template,
    chosen_run.CHECKPOINT.value,
  )
  evaluate = Evaluation(
    experiment,
    config.batch_size,
    construct('data_faults', DataFaults, config.data_faults),
    microbatches=config.microbatches,
  )
  results = evaluate(experiment.parallelism.place_state(train_state))
  processes.say(json.dumps({'step': step, **results}))


if __name__ == '__main__':
  command_line.run(main)
