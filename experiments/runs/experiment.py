"""From a config to an experiment: what all commands have in common."""

import contextlib
import pathlib
from typing import NamedTuple

import haiku as hk
import jax
import ml_collections
import optax

from experiments.checkpointing.checkpoints import Checkpoints, check_best_mode
from experiments.data.dataset import Dataset, blank_batch, check_not_empty
from experiments.data.one_at_a_time import one_at_a_time
from experiments.host import processes
from experiments.host.configuration import (
  ConfigError,
  check_arguments,
  choose,
  construct,
  fill_defaults,
)
from experiments.host.error_text import one_line
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
from experiments.tasks import check_config, make_task
from experiments.tasks.open_values import settle, stand_in
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


def settled(
  config: ml_collections.ConfigDict, data_dir: str | None
) -> tuple[ml_collections.ConfigDict, str]:
  """The door: fills in the defaults of a config and what it leaves open.

  All of it is checked as far as it can be before the data is looked at.

  Args:
    config: of a run; it is not changed.
    data_dir: where TFDS keeps prepared data; None for its own default.

  Returns:
    The config of a run, and what was chosen from the data, in words.

  Raises:
    ValueError: the config is wrong, or the data do not say what is open.
    FileNotFoundError: the data is not there.
  """
  config = fill_defaults(config)
  check_config(config)
  check_arguments('checkpoints', Checkpoints, config.checkpoints)
  check_best_mode(config.checkpoints.best_mode)
  guess = stand_in(config)
  if guess is not None:
    try:
      _trace(guess.config, data_dir)
    except ConfigError:
      raise
    except ValueError:
      if guess.fits:
        raise
  return settle(config, data_dir)


def bind(config: ml_collections.ConfigDict, data_dir: str | None) -> Binding:
  """Binds what a config names; its data need not be there.

  Args:
    config: of a run.
    data_dir: where TFDS keeps prepared data; None for its own default.

  Raises:
    ValueError: the config is wrong.
  """
  return _bind(settled(config, data_dir)[0], data_dir)


def _bind(config: ml_collections.ConfigDict, data_dir: str | None) -> Binding:
  """Like `bind`, of a config in which nothing is open."""
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
    dataset: opened; None as long as it is not, see `open_data`.
    schedule: learning rate by step.
    optimizer: of the parameters.
    parallelism: how steps run on the devices.
    batch: one blank example, for its shapes and dtypes.
    template: shapes and dtypes of the train state, as it is to be restored.
  """

  task: Task
  dataset: Dataset | None
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
  """Builds everything that a config names, then opens its data.

  All processes of a run build it, and wait for each other.

  Args:
    config: of a run.
    data_dir: where TFDS keeps prepared data; None for its own default.

  Raises:
    ValueError: the config is wrong.
    FileNotFoundError: the data set is not prepared.
  """
  return open_data(plan_experiment(config, data_dir), config, data_dir)


def plan_experiment(
  config: ml_collections.ConfigDict, data_dir: str | None
) -> Experiment:
  """Builds all but the data of an experiment, which is not looked at.

  Keys, types, shapes and names of metrics are checked on the way, by tracing
  the model once on shapes alone.

  Args:
    config: of a run.
    data_dir: where TFDS keeps prepared data; None for its own default.

  Raises:
    ValueError: the config is wrong.
  """
  config, _ = settled(config, data_dir)
  check_run_options(config)
  parallelism = choose('parallelism', PARALLELISMS, config.parallelism)
  binding, batch, template = _trace(config, data_dir)
  return Experiment(
    binding.task,
    None,
    binding.schedule,
    binding.optimizer,
    parallelism,
    batch,
    parallelism.template(template),
  )


def open_data(
  experiment: Experiment,
  config: ml_collections.ConfigDict,
  data_dir: str | None,
) -> Experiment:
  """Returns a planned experiment with its data, prepared if it was not yet.

  Args:
    experiment: from `plan_experiment`.
    config: of the run.
    data_dir: where TFDS keeps prepared data; None for its own default.

  Raises:
    FileNotFoundError: the data set is not prepared.
    ValueError: it cannot be read, or a split of it is empty.
  """
  with one_at_a_time(config.data.name, data_dir):
    dataset = experiment.task.data.load()
  check_not_empty(dataset)
  processes.await_all()
  return experiment._replace(dataset=dataset)


def _trace(
  config: ml_collections.ConfigDict, data_dir: str | None
) -> tuple[Binding, Batch, TrainState]:
  """Binds a config in which nothing is open, and checks shapes and metrics.

  Returns:
    What it names, one blank example, and shapes and dtypes of the train state.
  """
  binding = _bind(config, data_dir)
  task = binding.task
  early_stop = construct('early_stop', EarlyStop, config.early_stop)
  batch = blank_batch(task.data.example)
  try:
    template = state_shapes(
      task.model,
      binding.optimizer,
      batch,
      has_ema=config.ema_decay > 0.0,
      has_spikes=spike_guard(config) is not None,
    )
    metrics = None
    if task.loss_function is not None:
      metrics = _metric_names(task, template, batch)
  except (ArithmeticError, LookupError, TypeError) as error:
    # No data is in this: what the config says does not go together.
    raise ValueError(
      f'The model of this config cannot be built: {one_line(error)}. --debug '
      'shows where.'
    ) from error
  if metrics is None:
    raise ValueError(
      f'The task {config.task!r} has a model but no loss: it can be described '
      '(experiments.describe), but not trained or evaluated.'
    )
  _check_metric(
    'checkpoints.best_metric', config.checkpoints.get('best_metric'), metrics
  )
  if early_stop.is_on:
    _check_metric('early_stop.metric', early_stop.metric, metrics)
  return binding, batch, template


def check_run_options(
  config: ml_collections.ConfigDict, devices: int | None = None
) -> None:
  """Checks how steps are to be computed; what is not of a run's parts.

  Args:
    config: of a run.
    devices: their number; None for those here.

  Raises:
    ValueError: a value does not go with another.
  """
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


def compared_parameters(config: ml_collections.ConfigDict) -> str:
  """Returns whose metrics choose the best checkpoint.

  Args:
    config: of a run.

  Returns:
    'eval', of the parameters, or 'eval_ema', of their average.
  """
  return config.checkpoints.best_metric.partition('/')[0]


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
