"""Trains the experiment of a config, or continues to train it.

  python -m experiments.train --config=experiments/configs/digits.py
  python -m experiments.train --config=... --config.seed=1 --workdir=runs/two

--baseline also trains a cheap classical model, to know what a run is worth.

The same command run again resumes from the last checkpoint. Ctrl-C saves one
and stops; a second Ctrl-C stops at once.
"""

import contextlib
import itertools
import pathlib
from typing import NamedTuple

import haiku as hk
import ml_collections

from experiments import baseline
from experiments.checkpointing.checkpoints import Checkpoints
from experiments.checkpointing.files import Restored
from experiments.checkpointing.local_copies import check_processes
from experiments.data.faults import TRAINING, DataFaults
from experiments.data.pipeline import count_unreadable, train_batches
from experiments.host import command_line, processes
from experiments.host.compilation_cache import start_keeping
from experiments.host.configuration import construct, write_config
from experiments.host.interruption import Interruption
from experiments.host.progress import Progress
from experiments.host.run_lock import owned
from experiments.host.shared_folders import check_shared
from experiments.reporting.writing import FinalReport
from experiments.runs import untrusted
from experiments.runs.evaluation import Evaluation, Look, evaluation_of
from experiments.runs.experiment import (
  Experiment,
  compared_parameters,
  open_checkpoints,
  open_data,
  plan_experiment,
  settled,
  update_of,
)
from experiments.runs.summary import describe_config_changes, describe_run
from experiments.runs.transfer import load_source
from experiments.stepping.early_stop import EarlyStop
from experiments.stepping.health import Debug, HealthWatch
from experiments.stepping.parallelism import ALONE, configure_backend
from experiments.stepping.train_state import init_state
from experiments.watching.compiled_step import describe_step, estimate_step
from experiments.watching.meter import Meter
from experiments.watching.profiling import Profiler
from experiments.watching.speed import speed_of
from experiments.watching.starts import record_start
from experiments.watching.statistics import Interval, Statistics
from experiments.watching.weights_and_biases import WeightsAndBiases
from experiments.watching.writers import MetricsWriter


def train_and_evaluate(
  config: ml_collections.ConfigDict,
  workdir: pathlib.Path,
  data_dir: str | None,
  *,
  with_baseline: bool = False,
) -> dict[str, float]:
  """Runs an experiment from its last checkpoint, or from the start.

  Args:
    config: of the run.
    workdir: everything that the run writes is under it.
    data_dir: where TFDS keeps prepared data; None for its own default.
    with_baseline: whether to train a cheap classical model, too.

  Returns:
    The metrics of the last step's evaluation, `eval/...`; empty when the run
    was interrupted before.

  Raises:
    ValueError: the config is wrong, or the workdir is of another config.
    OSError: the data is not prepared, or the workdir or checkpoints cannot be
      written.
  """
  check_processes(workdir)
  config, note = settled(config, data_dir)
  experiment = plan_experiment(config, data_dir)
  watchers = _make_watchers(config, experiment, workdir)
  if note:
    processes.say(f'Chosen from the data: {note}.')
  experiment = open_data(experiment, config, data_dir)
  count_unreadable(experiment.dataset, watchers.faults)
  processes.say(describe_run(config, experiment, workdir))
  with contextlib.ExitStack() as stack:
    stack.enter_context(processes.only_first(owned(workdir)))
    check_shared(workdir)
    stack.enter_context(contextlib.closing(watchers.faults))
    watchers.tracking.start(config.to_dict(), workdir)
    changes = describe_config_changes(config, workdir)
    checkpoints = open_checkpoints(config, workdir)
    with contextlib.closing(checkpoints):
      try:
        start = _start(config, experiment, checkpoints)
      except ValueError as error:
        raise ValueError('\n'.join([str(error), *changes])) from error
      for change in changes:
        processes.say(f'Changed since the run began: {change}')
      if processes.is_first():
        write_config(config, workdir)
        record_start(
          workdir,
          int(start.train_state.step),
          hk.data_structures.tree_size(start.train_state.params),
        )
      evaluate = evaluation_of(config, experiment, watchers.faults)
      results, look = _train(
        config, experiment, start, checkpoints, watchers, evaluate
      )
      checkpoints.finish()
      best_step = checkpoints.best_step()
      if results:
        tested, test_look = _test(config, experiment, checkpoints, evaluate)
        if with_baseline:
          tested |= baseline.metrics_of(experiment)
        _add_results(workdir, checkpoints.latest_step(), tested)
        results, look = results | tested, test_look or look
  _report(results, best_step, workdir)
  watchers.report.write(config, experiment, evaluate, look)
  return results


class _Watchers(NamedTuple):
  """What looks on while the loop runs.

  Attributes:
    workdir: of the run.
    faults: of the data.
    health: of the numbers.
    profiler: of some steps.
    tracking: beside the workdir.
    report: at the end.
    interval: of statistics by module.
  """

  workdir: pathlib.Path
  faults: DataFaults
  health: HealthWatch
  profiler: Profiler
  tracking: WeightsAndBiases
  report: FinalReport
  interval: Interval


def _make_watchers(
  config: ml_collections.ConfigDict,
  experiment: Experiment,
  workdir: pathlib.Path,
) -> _Watchers:
  """Checks their sections of the config; nothing is written yet."""
  first = {'active': processes.is_first()}
  nans = construct('debug', Debug, config.debug).nans
  return _Watchers(
    workdir=workdir,
    faults=construct('data_faults', DataFaults, config.data_faults),
    health=construct(
      'numbers',
      HealthWatch,
      config.numbers,
      workdir,
      experiment.parallelism,
      processes.say,
      update_of(config, experiment, ALONE) if nans else None,
    ),
    profiler=construct(
      'profile', Profiler, config.profile, workdir, given=first
    ),
    tracking=construct('wandb', WeightsAndBiases, config.wandb, given=first),
    report=construct('report', FinalReport, config.report, workdir),
    interval=construct('statistics', Interval, config.statistics),
  )


def _train(
  config: ml_collections.ConfigDict,
  experiment: Experiment,
  start: Restored,
  checkpoints: Checkpoints,
  watchers: _Watchers,
  evaluate: Evaluation,
) -> tuple[dict[str, float], Look | None]:
  """The loop. Returns the last step's results and a look, or {} and None."""
  parallelism, health = experiment.parallelism, watchers.health
  train_state, position, seen = start
  early_stop = construct('early_stop', EarlyStop, config.early_stop)
  first_step, last_step = int(train_state.step), config.train_steps
  prefix = compared_parameters(config)
  if first_step >= last_step:
    processes.say(f'Step {first_step} was the last: only evaluating.')
    return evaluate.look(train_state, prefix)
  if reason := early_stop.reason(seen):
    processes.say(f'Stopped early at step {first_step}: {reason}.')
    return evaluate.look(train_state, prefix)
  update = parallelism.update(
    update_of(config, experiment, parallelism.collectives)
  )
  batches = train_batches(
    experiment.dataset,
    config.batch_size,
    seed=config.seed,
    position=position,
    workers=config.data_workers,
    place=parallelism.place_batch,
    faults=watchers.faults,
  )
  active = processes.is_first()
  with (
    Interruption() as interruption,
    contextlib.closing(
      MetricsWriter(
        watchers.workdir, first_step, active=active, also=[watchers.tracking]
      )
    ) as writer,
    contextlib.closing(
      Progress(first_step, last_step, active=active)
    ) as progress,
    contextlib.closing(watchers.profiler),
    contextlib.closing(batches),
  ):
    progress.say('Compiling the update; this takes a while.')
    batch = next(batches)
    progress.say(describe_step(estimate_step(update, train_state, batch)))
    batches_again = itertools.chain([batch], batches)
    speed = speed_of(experiment.task, config.batch_size)
    progress.say(speed.describe())
    meter = Meter(config.batch_size, speed)
    statistics = Statistics(
      experiment.task.model,
      parallelism,
      watchers.interval.depth,
      microbatches=config.microbatches,
    )
    for step in range(first_step + 1, last_step + 1):
      with meter.waiting_for_data():
        batch = next(batches_again)
      train_state, report = watchers.profiler.run(
        step, update, train_state, batch
      )
      position += config.batch_size
      meter.add(report.metrics)
      health.check(step, train_state, batch, report.health)
      progress.advance()
      last, row, results, look = step == last_step, {}, {}, None
      if last or step % config.log_every == 0:
        row = meter.read(position) | _counts(watchers)
        progress.report(step, row)
      if watchers.interval.includes(step):
        with meter.evaluating():
          row = row | statistics(
            train_state, batch, report.health.gradient_norms
          )
      if last or step % config.eval_every == 0:
        # Any evaluation can be the last one where a run may stop early.
        looks = last or early_stop.is_on
        with meter.evaluating():
          results, look = evaluate.look(train_state, prefix if looks else '')
        progress.say(f'step {step}: {_format(results)}')
        seen = early_stop.after(seen, results)
      if row or results:
        writer.write(step, row | results)
      stop = None if last else interruption.requested(step)
      if results or stop or step % config.checkpoint_every == 0:
        health.settle(train_state)
        with meter.saving():
          writer.flush()
          checkpoints.save(
            parallelism.snapshot(train_state), position, results or None, seen
          )
      if stop:
        progress.say(
          f'{stop}: saving step {step}. Run the same command again to continue.'
        )
        return {}, None
      if results and (reason := early_stop.reason(seen)):
        progress.say(f'Stopped early at step {step}: {reason}.')
        break
  return results, look


def _test(
  config: ml_collections.ConfigDict,
  experiment: Experiment,
  checkpoints: Checkpoints,
  evaluate: Evaluation,
) -> tuple[dict[str, float], Look | None]:
  """The best checkpoint on what had no part in choosing it, if there is any."""
  if experiment.dataset.validation is None:
    return {}, None
  _, best = checkpoints.restore_chosen('best', experiment.template)
  return evaluate.test(
    experiment.parallelism.place_state(best), compared_parameters(config)
  )


def _add_results(
  workdir: pathlib.Path, step: int | None, results: dict[str, float]
) -> None:
  """Writes what was found after the last step."""
  if not results:
    return
  with contextlib.closing(
    MetricsWriter(workdir, step, active=processes.is_first())
  ) as writer:
    writer.write(step, results)


def _counts(watchers: _Watchers) -> dict[str, float]:
  """What this process left out so far."""
  counts = {
    'train/skipped_examples': float(watchers.faults.skipped(TRAINING)),
    'train/bad_steps': float(watchers.health.bad_steps),
  }
  if watchers.health.spikes is not None:
    counts['train/spikes'] = float(watchers.health.spikes)
  return counts


def _start(
  config: ml_collections.ConfigDict,
  experiment: Experiment,
  checkpoints: Checkpoints,
) -> Restored:
  """Returns the state and the position in the data to start from."""
  parallelism = experiment.parallelism
  restored = checkpoints.restore_newest(experiment.template)
  if restored is not None:
    step = int(restored.train_state.step)
    processes.say(f'Resuming from the checkpoint of step {step}.')
    return restored._replace(
      train_state=parallelism.place_state(restored.train_state)
    )
  processes.say('Starting from scratch.')
  train_state = parallelism.initialize(
    lambda batch: init_state(
      experiment.task.model,
      experiment.optimizer,
      config.seed,
      batch,
      has_ema=config.ema_decay > 0.0,
      has_spikes=experiment.template.spikes is not None,
    ),
    experiment.batch,
  )
  if 'finetuning' in config:
    train_state = load_source(
      config, experiment.task, experiment.optimizer, train_state
    )
  return Restored(parallelism.place_state(train_state), 0)


def _report(
  results: dict[str, float], best_step: int | None, workdir: pathlib.Path
) -> None:
  if results:
    processes.say(f'Final evaluation: {_format(results)}')
  best = (
    'none evaluated yet' if best_step is None else f'best: step {best_step}'
  )
  processes.say(
    f'In {workdir.absolute()}: checkpoints/ ({best}), '
    'report.html, metrics.jsonl, config.json, tensorboard/.\n'
    f'Curves: tensorboard --logdir={workdir}'
  )


def _format(results: dict[str, float]) -> str:
  return ', '.join(f'{name} {value:.4f}' for name, value in results.items())


def main() -> None:
  """Trains the experiment that --config names."""
  configure_backend()
  start_keeping()
  with_baseline = baseline.is_wanted()
  with untrusted.reading():  # Files of a folder, when they are prepared.
    train_and_evaluate(
      command_line.config(),
      command_line.workdir(),
      command_line.data_dir(),
      with_baseline=with_baseline,
    )


if __name__ == '__main__':
  command_line.run(main)
