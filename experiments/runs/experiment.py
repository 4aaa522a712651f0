"""From a config to an experiment: what all commands have in common."""

import contextlib
import pathlib
from typing import NamedTuple

import haiku as hk
import jax
import ml_collections
import optax

from experiments.checkpointing.checkpoints import Checkpoints
from experiments.data.dataset import Dataset, blank_batch, check_not_empty
from experiments.data.one_at_a_time import one_at_a_time
from experiments.host import processes
from experiments.host.configuration import choose, construct, fill_defaults
from experiments.runs.finetuning import freeze
from experiments.runs.learning_rates import apply_learning_rates
from experiments.stepping.early_stop import EarlyStop
from experiments.stepping.optimizers import OPTIMIZERS
from experiments.stepping.parallelism import (
  PARALLELISMS,
  Parallelism,
  check_batch_size,
)
from experiments.stepping.precision import computing_in
from experiments.stepping.schedules import SCHEDULES
from experiments.stepping.spikes import SpikeGuard
from experiments.stepping.steps import Collectives, Update, make_update
from experiments.stepping.train_state import (
  Batch,
  Metrics,
  TrainState,
  state_shapes,
)
from experiments.tasks import make_task
from experiments.tasks.task import Task


class Binding(NamedTuple):
  """A config turned into functions; its data is not opened.

  Attributes:
    task: model, loss and data.
    schedule: learning rate by step.
    optimizer: of the parameters.
  """

  task: Task
  schedule: optax.Schedule
  optimizer: optax.GradientTransformation


def bind(config: ml_collections.ConfigDict, data_dir: str | None) -> Binding:
  """Binds what a config names; its data need not be there.

  Args:
    config: of a run.
    data_dir: where TFDS keeps prepared data; None for its own default.

  Raises:
    ValueError: the config is wrong.
  """
  config = fill_defaults(config)
  task = make_task(config, data_dir)
  baseline = config.get('baseline', {}).get('name')
  if config.compute_dtype != 'float32' and baseline == 'resnet':
    raise ValueError(
      'The baseline ResNet computes in float32 only, got config.compute_dtype '
      f'= {config.compute_dtype!r}.'
    )
  task = task._replace(model=computing_in(config.compute_dtype, task.model))
  schedule = choose('schedule', SCHEDULES, config.schedule, config.train_steps)
  optimizer = choose('optimizer', OPTIMIZERS, config.optimizer, schedule)
  optimizer = apply_learning_rates(config, task, optimizer)
  if 'finetuning' in config:
    task, optimizer = freeze(config, task, optimizer)
  return Binding(task, schedule, optimizer)


class Experiment(NamedTuple):
  """A config turned into objects; nothing is computed or compiled yet.

  Attributes:
    task: model, loss and data.
    dataset: opened.
    schedule: learning rate by step.
    optimizer: of the parameters.
    parallelism: how steps run on the devices.
    batch: one blank example, for its shapes and dtypes.
    template: shapes and dtypes of the train state, as it is to be restored.
  """

  task: Task
  dataset: Dataset
  schedule: optax.Schedule
  optimizer: optax.GradientTransformation
  parallelism: Parallelism
  batch: Batch
  template: TrainState


def update_of(
  config: ml_collections.ConfigDict,
  binding: 'Binding | Experiment',
  collectives: Collectives,
) -> Update:
  """Returns the update of a run, to be compiled for devices.

  Args:
    config: of the run.
    binding: what the config names.
    collectives: of the devices.
  """
  return make_update(
    binding.task.model,
    binding.task.loss_function,
    binding.optimizer,
    binding.schedule,
    seed=config.seed,
    collectives=collectives,
    microbatches=config.microbatches,
    ema_decay=config.ema_decay,
    guard=spike_guard(config),
  )


def spike_guard(config: ml_collections.ConfigDict) -> SpikeGuard | None:
  """Returns what says which steps are spikes; None where none are left out."""
  guard = construct('spikes', SpikeGuard, config.spikes)
  return guard if guard.is_on else None


def build_experiment(
  config: ml_collections.ConfigDict, data_dir: str | None
) -> Experiment:
  """Builds everything that a config names, checking it on the way.

  All processes of a run build it, and wait for each other.

  Args:
    config: of a run.
    data_dir: where TFDS keeps prepared data; None for its own default.

  Raises:
    ValueError: the config is wrong.
    FileNotFoundError: the data set is not prepared.
  """
  config = fill_defaults(config)
  task, schedule, optimizer = bind(config, data_dir)
  check_run_options(config)
  parallelism = choose('parallelism', PARALLELISMS, config.parallelism)
  with one_at_a_time(config.data.name, data_dir):
    dataset = task.data.load()
  check_not_empty(dataset)
  processes.await_all()
  batch = blank_batch(task.data.example)
  template = state_shapes(
    task.model,
    optimizer,
    batch,
    has_ema=config.ema_decay > 0.0,
    has_spikes=spike_guard(config) is not None,
  )
  metrics = _metric_names(task, template, batch)
  _check_metric(
    'checkpoints.best_metric', config.checkpoints.get('best_metric'), metrics
  )
  early_stop = construct('early_stop', EarlyStop, config.early_stop)
  if early_stop.is_on:
    _check_metric('early_stop.metric', early_stop.metric, metrics)
  return Experiment(
    task,
    dataset,
    schedule,
    optimizer,
    parallelism,
    batch,
    parallelism.template(template),
  )


def check_run_options(
  config: ml_collections.ConfigDict, devices: int | None = None
) -> None:
  """Checks how steps are to be computed; what is not of a run's parts.

  Args:
    config: of a run.
    devices: their number; None for those here.

  Raises:
    ValueError: a value is out of its range, or does not go with another.
  """
  if config.microbatches < 1:
    raise ValueError(
      f'config.microbatches must be at least 1, got {config.microbatches}.'
    )
  if not 0.0 <= config.ema_decay < 1.0:
    raise ValueError(
      f'config.ema_decay must be in [0, 1), got {config.ema_decay}. A usual '
      'value is 0.9999; 0 keeps no average.'
    )
  check_batch_size(config.batch_size, config.microbatches, devices)
  rematerialize = config.get('encoder', {}).get('rematerialize')
  if config.parallelism.get('layer_by_layer') and rematerialize == 'none':
    raise ValueError(
      'config.parallelism.layer_by_layer needs config.encoder.rematerialize = '
      "'elementwise' or 'layers': with 'none' the gradient keeps what each "
      'layer has gathered, and no memory is saved.'
    )


def _metric_names(task: Task, template: TrainState, batch: Batch) -> list[str]:
  """What evaluations will be of, known before the first one."""

  def metrics_of(params: hk.Params, state: hk.State) -> Metrics:
    predictions, _ = task.model.apply(
      params, state, None, batch, is_training=False
    )
    return task.loss_function(predictions, batch)[1]

  metrics = jax.eval_shape(metrics_of, template.params, template.state)
  if task.dataset_metrics is not None:
    metrics |= dict.fromkeys(task.dataset_metrics.names)
  prefixes = ['eval'] if template.ema is None else ['eval', 'eval_ema']
  return sorted(f'{prefix}/{name}' for prefix in prefixes for name in metrics)


def _check_metric(key: str, metric: str | None, names: list[str]) -> None:
  if metric not in names:
    raise ValueError(
      f'config.{key} = {metric!r} is not a metric of this task. Choose one of '
      f'{names}.'
    )


def open_checkpoints(
  config: ml_collections.ConfigDict, workdir: pathlib.Path
) -> Checkpoints:
  """Opens the checkpoints of a run."""
  return construct('checkpoints', Checkpoints, config.checkpoints, workdir)


def restore_run(
  config: ml_collections.ConfigDict,
  workdir: pathlib.Path,
  template: TrainState,
  checkpoint: str,
) -> tuple[int, TrainState]:
  """Returns the step and the state of a checkpoint of a run.

  Args:
    config: of the run.
    workdir: of the run.
    template: shapes and dtypes of the state.
    checkpoint: 'best', 'latest' or a step.

  Raises:
    ValueError: there is no run, or no such checkpoint.
    OSError: it cannot be read.
  """
  if not (workdir / 'checkpoints').is_dir():
    raise ValueError(
      f'There is no run in {workdir}: it has no checkpoints. Train with '
      'python -m experiments.train, or name the run by --workdir.'
    )
  with contextlib.closing(open_checkpoints(config, workdir)) as checkpoints:
    return checkpoints.restore_chosen(checkpoint, template)
