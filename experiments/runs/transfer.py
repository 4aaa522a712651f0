"""Loads the weights of another run: by path, all of them or an error."""

import contextlib
import pathlib
from collections.abc import Callable, Sequence

import haiku as hk
import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
import optax

from experiments.data.dataset import batch_spec
from experiments.host import addresses, processes
from experiments.host.configuration import read_config
from experiments.runs.experiment import open_checkpoints
from experiments.runs.finetuning import finetuning_of
from experiments.runs.parameter_paths import check_prefixes, is_below, paths
from experiments.stepping.train_state import TrainState, init_shapes
from experiments.tasks import make_task
from experiments.tasks.task import Task
from perceiver_jax.position_encoding import LearnedPositions
from perceiver_jax.resample import resample_positions

# Fits an array of the source: module, name, array and the shape that is wanted
# to an array of that shape, or to a str that says why there is none.
Fit = Callable[[str, str, np.ndarray, tuple[int, ...]], np.ndarray | str]


def load_source(
  config: ml_collections.ConfigDict,
  task: Task,
  optimizer: optax.GradientTransformation,
  train_state: TrainState,
) -> TrainState:
  """Puts parameters and state of the source run in place of initial ones.

  Args:
    config: of this run, with the section `finetuning`.
    task: of this run.
    optimizer: of this run; it starts afresh.
    train_state: before the first step.

  Returns:
    The train state to start from; its step is the given one's.

  Raises:
    ValueError: there is no such checkpoint, or it does not fit; the message
      lists everything that does not.
  """
  options = finetuning_of(config)
  workdir = addresses.place(options.workdir, 'config.finetuning.workdir')
  source_config = _read_source_config(workdir)
  with contextlib.closing(
    open_checkpoints(source_config, workdir)
  ) as checkpoints:
    step = checkpoints.chosen_step(str(options.checkpoint))
    source_params, source_state = checkpoints.restore_model(step)
  ours = paths(train_state.params, train_state.state)
  theirs = paths(source_params, source_state)
  check_prefixes('finetuning.skip', options.skip, ours | theirs)
  check_prefixes('finetuning.resample', options.resample, ours)
  fit = _fitting(options.resample, source_config, task)
  params, problems = transfer(
    source_params, train_state.params, options.skip, fit
  )
  state, state_problems = transfer(
    source_state, train_state.state, options.skip, fit
  )
  problems += state_problems
  if problems:
    raise ValueError(
      f'The checkpoint of step {step} in {workdir} does not fit this config:\n'
      + '\n'.join(f'  {problem}' for problem in problems)
      + '\nconfig.finetuning.skip takes prefixes of what is not to be loaded, '
      'such as a head of other classes; config.finetuning.resample those of '
      'learned position tables to interpolate to another grid.'
    )
  processes.say(f'Weights: from the checkpoint of step {step} in {workdir}.')
  opt_state, ema = jax.jit(
    lambda params: (optimizer.init(params), jax.tree.map(jnp.copy, params))
  )(params)
  if train_state.ema is None:
    ema = None
  return train_state._replace(
    params=params, state=state, opt_state=opt_state, ema=ema
  )


def transfer(
  source: hk.Params,
  initial: hk.Params,
  skip: Sequence[str],
  fit: Fit,
) -> tuple[hk.MutableParams, list[str]]:
  """Replaces arrays by those of the same path in a source.

  Args:
    source: arrays to take.
    initial: arrays to replace; shapes and dtypes stay.
    skip: prefixes of what stays.
    fit: makes the shapes equal where it can.

  Returns:
    Arrays of the paths of `initial`, and a line for each thing that does not
    fit: missing, of another shape, or left over.
  """
  result, problems = {}, []
  for module, name, ours in hk.data_structures.traverse(initial):
    leaves = result.setdefault(module, {})
    leaves[name] = ours
    if is_below(skip, module, name):
      continue
    path = f'{module}/{name}'
    array = source.get(module, {}).get(name)
    if array is None:
      problems.append(f'{path}: missing in the source')
      continue
    fitted = fit(module, name, array, ours.shape)
    if isinstance(fitted, str):
      problems.append(
        f'{path}: {array.shape} in the source, {ours.shape} here{fitted}'
      )
      continue
    leaves[name] = np.asarray(fitted, ours.dtype)
  for module, name, array in hk.data_structures.traverse(source):
    if not (is_below(skip, module, name) or name in initial.get(module, {})):
      problems.append(
        f'{module}/{name}: left over, {array.shape} in the source'
      )
  return result, problems


def exact(
  module: str, name: str, array: np.ndarray, shape: tuple[int, ...]
) -> np.ndarray | str:
  """The `Fit` that changes nothing."""
  del module, name
  return array if array.shape == shape else ''


def learned_grids(task: Task) -> dict[str, tuple[int, ...]]:
  """Returns the grid of each module of learned positions, by module name."""
  grids = {}

  def record(next_method, arguments, options, context):
    module = context.module
    if (
      isinstance(module, LearnedPositions) and context.method_name != '__init__'
    ):
      grid_shape = arguments[0] if arguments else options['grid_shape']
      grids[module.module_name] = tuple(grid_shape)
    return next_method(*arguments, **options)

  with hk.intercept_methods(record):
    init_shapes(task.model, batch_spec(task.data.example, 1))
  return grids


def _fitting(
  resample: Sequence[str], source_config: ml_collections.ConfigDict, task: Task
) -> Fit:
  """Returns a `Fit` that interpolates the position tables to resample."""
  if not resample:
    return exact
  try:
    old_grids = learned_grids(make_task(source_config, None))
  except ValueError as error:
    raise ValueError(
      'config.finetuning.resample needs the grids of the source, but its '
      f'config.json is not understood: {error}'
    ) from error
  new_grids = learned_grids(task)

  def fit(
    module: str, name: str, array: np.ndarray, shape: tuple[int, ...]
  ) -> np.ndarray | str:
    if not is_below(resample, module, name):
      return exact(module, name, array, shape)
    # Also of equal shapes: 4 x 6 points are not those of 6 x 4.
    old, new = old_grids.get(module), new_grids.get(module)
    if old is None or new is None:
      if array.shape == shape:
        return array
      return '; only learned position tables can be resampled'
    if len(old) != len(new) or array.shape[1:] != shape[1:]:
      return f'; cannot be resampled from a grid {old} to {new}'
    return resample_positions(array, old, new)

  return fit


def _read_source_config(workdir: pathlib.Path) -> ml_collections.ConfigDict:
  try:
    if not (workdir / 'checkpoints').is_dir():
      raise FileNotFoundError(f'{workdir} has no checkpoints.')
    return read_config(workdir)
  except FileNotFoundError as error:
    raise ValueError(
      f'config.finetuning.workdir = {str(workdir)!r} is not the workdir of a '
      'run: it lacks config.json or checkpoints. Give the folder that '
      'python -m experiments.train wrote.'
    ) from error
