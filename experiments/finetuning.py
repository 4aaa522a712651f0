"""What a run that starts from another one loads, and what it keeps fixed.

A config may have the section `finetuning`, see `Finetuning`. It speaks of
parameters and state by path, such as `encoder/cross_attend_1/attention/key/w`;
a prefix stands for all that lies below it: `encoder/cross_attend_1` for its
attention and its MLP, but not for `encoder/cross_attend_10`.
"""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import haiku as hk
import jax
import jax.numpy as jnp
import ml_collections
import optax

from experiments import addresses
from experiments.configuration import construct, suggestion
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
    check_prefixes('freeze', prefixes, paths(params))
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


def is_below(prefixes: Iterable[str], module: str, name: str) -> bool:
  """Whether one of the prefixes stands for this parameter."""
  path = f'{module}/{name}/'
  return any(path.startswith(f'{prefix}/') for prefix in prefixes)


def paths(*trees: Mapping[str, Mapping[str, Any]]) -> set[str]:
  """Returns `module/name` of everything in some parameters or states."""
  return {
    f'{module}/{name}'
    for tree in trees
    for module, name, _ in hk.data_structures.traverse(tree)
  }


def check_prefixes(
  key: str, prefixes: Sequence[str], known_paths: Iterable[str]
) -> None:
  """Raises a ValueError when a prefix stands for none of the paths.

  Args:
    key: of the section, for the message.
    prefixes: the value of that key.
    known_paths: as from `paths`.
  """
  known = set()
  for path in known_paths:
    parts = path.split('/')
    known.update('/'.join(parts[:i]) for i in range(1, len(parts) + 1))
  for prefix in prefixes:
    if prefix not in known:
      raise ValueError(
        f'config.finetuning.{key} has {prefix!r}, but nothing is called so'
        f'{suggestion(prefix, known)} At the top are '
        f'{sorted(name for name in known if "/" not in name)}.'
      )
