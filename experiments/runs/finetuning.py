"""What a run that starts from another one loads, and what it keeps fixed.

A config may have the section `finetuning`, see `Finetuning`. It speaks of
parameters and state by path, see `parameter_paths.py`.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import haiku as hk
import jax
import jax.numpy as jnp
import ml_collections
import optax

from experiments.host import addresses
from experiments.host.configuration import construct
from experiments.runs.parameter_paths import check_prefixes, is_below, paths
from experiments.tasks.task import Task


@dataclasses.dataclass(frozen=True, kw_only=True)
class Finetuning:
  """The section `finetuning` of a config.

  Attributes:
    workdir: of the run to start from.
    checkpoint: 'best', 'latest' or a step, of that run.
    skip: prefixes of what keeps its initialisation; what the source has there
      is not read.
    freeze: prefixes of parameters that are not updated. Haiku state, such as
      the averages of a batch norm, still follows the data.
    resample: prefixes of learned position tables to interpolate when their
      grid differs from the source's.
  """

  workdir: str
  checkpoint: str | int = 'best'
  skip: Sequence[str] = ()
  freeze: Sequence[str] = ()
  resample: Sequence[str] = ()

  def __post_init__(self):
    """Raises a ValueError where there can be no such workdir."""
    addresses.place(self.workdir, 'config.finetuning.workdir')


def freeze(
  config: ml_collections.ConfigDict,
  task: Task,
  optimizer: optax.GradientTransformation,
) -> tuple[Task, optax.GradientTransformation]:
  """Makes a task and an optimizer that leave `finetuning.freeze` as it is.

  Gradients of frozen parameters are zero and not computed, and the optimizer
  never sees them: no weight decay, no part in the clipped norm, no moments.

  Args:
    config: of a run, with the section `finetuning`.
    task: of the run.
    optimizer: of all parameters.

  Returns:
    Task and optimizer. The `init` of the optimizer raises a ValueError when a
    prefix stands for no parameter, or nothing is left to train.
  """
  prefixes = finetuning_of(config).freeze
  if not prefixes:
    return task, optimizer
  model = task.model

  def split(tree: Any) -> tuple[Any, Any]:
    return hk.data_structures.partition(
      lambda module, name, _: not is_below(prefixes, module, name), tree
    )

  def apply(params: hk.Params, *arguments: Any, **options: Any) -> Any:
    trained, frozen = split(params)
    params = hk.data_structures.merge(trained, jax.lax.stop_gradient(frozen))
    return model.apply(params, *arguments, **options)

  def init(params: hk.Params) -> optax.OptState:
    check_prefixes('finetuning.freeze', prefixes, paths(params))
    trained, _ = split(params)
    if not trained:
      raise ValueError(
        f'config.finetuning.freeze = {tuple(prefixes)} leaves nothing to train.'
      )
    return optimizer.init(trained)

  def update(
    gradients: hk.Params, state: optax.OptState, params: hk.Params
  ) -> tuple[hk.MutableParams, optax.OptState]:
    trained, frozen = split(gradients)
    updates, state = optimizer.update(trained, state, split(params)[0])
    # x + -0.0 is x to the bit, also where x is -0.0.
    still = jax.tree.map(lambda x: jnp.full_like(x, -0.0), frozen)
    return hk.data_structures.merge(updates, still), state

  task = task._replace(model=model._replace(apply=apply))
  return task, optax.GradientTransformation(init, update)


def finetuning_of(config: ml_collections.ConfigDict) -> Finetuning:
  """Returns the section `finetuning`, checked."""
  return construct('finetuning', Finetuning, config.finetuning)
