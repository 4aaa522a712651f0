"""Trains the experiment of a config, or continues to train it.

  python -m experiments.train --config=experiments/configs/digits.py
  python -m experiments.train --config=... --config.seed=1 --workdir=runs/two

The same command run again resumes from the last checkpoint. Ctrl-C saves one
and stops; a second Ctrl-C stops at once.
"""

import contextlib
import pathlib

import jax
import ml_collections

from experiments import command_line, parallelism
from experiments.checkpoints import Checkpoints
from experiments.data.pipeline import train_batches
from experiments.evaluate import evaluate_dataset, mapped_evaluation
from experiments.interruption import Interruption
from experiments.setup import Setup, open_checkpoints, set_up
from experiments.summary import describe_config_changes, describe_run
from experiments.train_state import TrainState, init_state, make_update
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
  setup = set_up(config, data_dir)
  print(describe_run(config, setup, workdir), flush=True)
  _check_writable(workdir)
  with contextlib.closing(open_checkpoints(config, workdir)) as checkpoints:
    train_state, position = _start(config, setup, checkpoints)
    for change in describe_config_changes(config, workdir / 'config.json'):
      print(f'Changed since the run began: {change}')
    (workdir / 'config.json').write_text(config.to_json(indent=2) + '\n')
    results = _train(config, setup, train_state, position, checkpoints, workdir)
    best_step = checkpoints.best_step()
  _report(results, best_step, workdir)
  return results


def _train(
  config: ml_collections.ConfigDict,
  setup: Setup,
  train_state: TrainState,
  position: int,
  checkpoints: Checkpoints,
  workdir: pathlib.Path,
) -> dict[str, float]:
  """The loop. Returns the results of the last step, or nothing."""
  task, last_step = setup.task, config.train_steps
  first_step = int(train_state.step)
  update = parallelism.pmap_update(
    make_update(
      task.model,
      task.loss_function,
      setup.optimizer,
      setup.schedule,
      seed=config.seed,
      axis_name=parallelism.AXIS,
    )
  )
  evaluation = mapped_evaluation(task)
  batches = train_batches(
    task.dataset, config.batch_size, seed=config.seed, position=position
  )

  def evaluate() -> dict[str, float]:
    return evaluate_dataset(
      evaluation,
      train_state.params,
      train_state.state,
      task.dataset,
      config.batch_size,
    )

  if first_step >= last_step:
    print(f'Step {first_step} was the last: only evaluating.', flush=True)
    return evaluate()
  results = {}
  meter = Meter(config.batch_size)
  with (
    Interruption() as interruption,
    contextlib.closing(MetricsWriter(workdir, first_step)) as writer,
    contextlib.closing(Progress(first_step, last_step)) as progress,
  ):
    progress.say('Compiling the update; the first step takes a while.')
    for step in range(first_step + 1, last_step + 1):
      batch = parallelism.split_batch(next(batches))
      train_state, step_metrics = update(train_state, batch)
      position += config.batch_size
      meter.add(step_metrics)
      progress.advance()
      due = {
        name: step % every == 0 or step == last_step
        for name, every in (
          ('log', config.log_every),
          ('eval', config.eval_every),
          ('checkpoint', config.checkpoint_every),
        )
      }
      row = meter.read() if due['log'] else {}
      if row:
        progress.report(step, row)
      with meter.paused():
        results = evaluate() if due['eval'] else {}
        if row or results:
          writer.write(step, {**row, **results})
        if results:
          progress.say(f'step {step}: {_format(results)}')
        if due['checkpoint'] or results or interruption.requested:
          checkpoints.save(train_state, position, results)
      if interruption.requested and step < last_step:
        progress.say(
          f'{interruption.requested}: saving step {step}. Run the same command '
          'again to continue.'
        )
        return {}
  return results


def _start(
  config: ml_collections.ConfigDict, setup: Setup, checkpoints: Checkpoints
) -> tuple[TrainState, int]:
  """Returns the state and the position in the data to start from."""
  step = checkpoints.latest_step()
  if step is not None:
    restored = checkpoints.restore(step, setup.template)
    print(f'Resuming from the checkpoint of step {step}.', flush=True)
    return restored
  print('Starting from scratch.', flush=True)
  batch = jax.tree.map(jax.numpy.zeros_like, setup.batch)
  initialize = jax.jit(
    lambda: init_state(setup.task.model, setup.optimizer, config.seed, batch)
  )
  return initialize(), 0


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
    command_line.CONFIG.value,
    command_line.workdir(),
    command_line.DATA_DIR.value,
  )


if __name__ == '__main__':
  command_line.run(main)
