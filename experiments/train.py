"""Trains the experiment of a config, or continues to train it.

  python -m experiments.train --config=experiments/configs/digits.py
  python -m experiments.train --config=... --config.seed=1 --workdir=runs/two

The same command run again resumes from the last checkpoint. Ctrl-C saves one
and stops; a second Ctrl-C stops at once.
"""

import contextlib
import pathlib
from collections.abc import Callable

import jax
import ml_collections

from experiments import command_line, parallelism
from experiments.checkpoints import Checkpoints
from experiments.configuration import write_config
from experiments.data.pipeline import train_batches
from experiments.evaluate import Evaluation
from experiments.experiment import (
  Experiment,
  build_experiment,
  open_checkpoints,
)
from experiments.interruption import Interruption
from experiments.summary import describe_config_changes, describe_run
from experiments.tasks.open_values import settle
from experiments.train_state import (
  Batch,
  Metrics,
  TrainState,
  init_state,
  make_update,
)
from experiments.transfer import load_source
from experiments.writers import Meter, MetricsWriter, Progress


def train_and_evaluate(
  config: ml_collections.ConfigDict,
  workdir: pathlib.Path,
  data_dir: str | None,
) -> dict[str, float]:
  """Runs an experiment from its last checkpoint, or from the start.

  Args:
    config: of the run.
    workdir: everything that the run writes is under it.
    data_dir: where TFDS keeps prepared data; None for its own default.

  Returns:
    The metrics of the last step's evaluation, `eval/...`; empty when the run
    was interrupted before.

  Raises:
    ValueError: the config is wrong, or the workdir is of another config.
    OSError: the data is not prepared, or the workdir cannot be written.
  """
  config, note = settle(config, data_dir)
  if note:
    print(f'Chosen from the data: {note}.', flush=True)
  experiment = build_experiment(config, data_dir)
  print(describe_run(config, experiment, workdir), flush=True)
  _check_writable(workdir)
  changes = describe_config_changes(config, workdir)
  with contextlib.closing(open_checkpoints(config, workdir)) as checkpoints:
    try:
      train_state, position = _start(config, experiment, checkpoints)
    except ValueError as error:
      raise ValueError('\n'.join([str(error), *changes])) from error
    for change in changes:
      print(f'Changed since the run began: {change}', flush=True)
    write_config(config, workdir)
    results = _train(
      config, experiment, train_state, position, checkpoints, workdir
    )
    best_step = checkpoints.best_step()
  _report(results, best_step, workdir)
  return results


def _train(
  config: ml_collections.ConfigDict,
  experiment: Experiment,
  train_state: TrainState,
  position: int,
  checkpoints: Checkpoints,
  workdir: pathlib.Path,
) -> dict[str, float]:
  """The loop. Returns the results of the last step, or nothing."""
  dataset = experiment.dataset
  first_step, last_step = int(train_state.step), config.train_steps
  update = _mapped_update(config, experiment)
  evaluate = Evaluation(experiment.task, dataset, config.batch_size)
  if first_step >= last_step:
    print(f'Step {first_step} was the last: only evaluating.', flush=True)
    return evaluate(train_state.params, train_state.state)
  batches = train_batches(
    dataset,
    config.batch_size,
    seed=config.seed,
    position=position,
    workers=config.data_workers,
    place=parallelism.place_batch,
  )
  meter = Meter(config.batch_size)
  with (
    Interruption() as interruption,
    contextlib.closing(MetricsWriter(workdir, first_step)) as writer,
    contextlib.closing(Progress(first_step, last_step)) as progress,
    contextlib.closing(batches),
  ):
    progress.say('Compiling the update; the first step takes a while.')
    for step in range(first_step + 1, last_step + 1):
      with meter.waiting_for_data():
        batch = next(batches)
      train_state, step_metrics = update(train_state, batch)
      position += config.batch_size
      meter.add(step_metrics)
      progress.advance()
      last, row, results = step == last_step, {}, {}
      if last or step % config.log_every == 0:
        row = meter.read()
        progress.report(step, row)
      with meter.paused():
        if last or step % config.eval_every == 0:
          results = evaluate(train_state.params, train_state.state)
          progress.say(f'step {step}: {_format(results)}')
        if row or results:
          writer.write(step, row | results)
        stop = interruption.requested and not last
        if results or stop or step % config.checkpoint_every == 0:
          checkpoints.save(train_state, position, results or None)
      if stop:
        progress.say(
          f'{interruption.requested}: saving step {step}. Run the same command '
          'again to continue.'
        )
        return {}
  return results


def _mapped_update(
  config: ml_collections.ConfigDict, experiment: Experiment
) -> Callable[[TrainState, Batch], tuple[TrainState, Metrics]]:
  return parallelism.pmap_update(
    make_update(
      experiment.task.model,
      experiment.task.loss_function,
      experiment.optimizer,
      experiment.schedule,
      seed=config.seed,
      axis_name=parallelism.AXIS,
    )
  )


def _start(
  config: ml_collections.ConfigDict,
  experiment: Experiment,
  checkpoints: Checkpoints,
) -> tuple[TrainState, int]:
  """Returns the state and the position in the data to start from."""
  step = checkpoints.latest_step()
  if step is not None:
    restored = checkpoints.restore(step, experiment.template)
    print(f'Resuming from the checkpoint of step {step}.', flush=True)
    return restored
  print('Starting from scratch.', flush=True)
  initialize = jax.jit(
    lambda batch: init_state(
      experiment.task.model, experiment.optimizer, config.seed, batch
    )
  )
  train_state = initialize(experiment.batch)
  if 'finetuning' in config:
    train_state = load_source(
      config, experiment.task, experiment.optimizer, train_state
    )
  return train_state, 0


def _check_writable(workdir: pathlib.Path) -> None:
  """Makes the workdir, or raises an OSError that says why it cannot."""
  try:
    workdir.mkdir(parents=True, exist_ok=True)
    probe = workdir / '.writable'
    probe.touch()
    probe.unlink()
  except OSError as error:
    raise OSError(
      f'The workdir {workdir.absolute()} cannot be written: {error.strerror}. '
      'Choose another with --workdir.'
    ) from error


def _report(
  results: dict[str, float], best_step: int | None, workdir: pathlib.Path
) -> None:
  if results:
    print(f'Final evaluation: {_format(results)}')
  print(
    f'In {workdir.absolute()}: checkpoints/ (best: step {best_step}), '
    'metrics.jsonl, config.json, tensorboard/.\n'
    f'Curves: tensorboard --logdir={workdir}',
    flush=True,
  )


def _format(results: dict[str, float]) -> str:
  return ', '.join(f'{name} {value:.4f}' for name, value in results.items())


def main() -> None:
  """Trains the experiment that --config names."""
  parallelism.configure_backend()
  train_and_evaluate(
    command_line.config(),
    command_line.workdir(),
    command_line.DATA_DIR.value,
  )


if __name__ == '__main__':
  command_line.run(main)
