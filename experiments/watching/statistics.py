"""Statistics of gradients and activations by module, at some steps.

Gradients are those that a step has summed anyway. Activations are what modules
return in one more forward pass, a program of its own: the update is the same
whether statistics are taken or not. Layers of a stack run in a loop, out of
which only the last result comes: their block stands for them.
"""

import collections
import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np

from experiments.stepping.parallelism import Parallelism
from experiments.stepping.steps import Collectives
from experiments.stepping.train_state import Batch, Metrics, TrainState
from perceiver_jax.metrics import Mean, compute
from perceiver_jax.stacking import LAYER_STACK, is_layer_stack, unrolled_stages

_PREFIX = 'modules'


@dataclasses.dataclass(frozen=True, kw_only=True)
class Interval:
  """The section `statistics` of a config.

  Attributes:
    every: steps from one look to the next; 0 never looks.
    depth: leading names of a module's path that tell modules apart.

  Raises:
    ValueError: a value is out of its range.
  """

  every: int = 0
  depth: int = 2

  def __post_init__(self):
    if self.every < 0:
      raise ValueError(
        f'config.statistics.every must not be negative, got {self.every}.'
      )
    if self.depth < 1:
      raise ValueError(
        f'config.statistics.depth must be at least 1, got {self.depth}.'
      )

  def includes(self, step: int) -> bool:
    """Whether statistics are taken of a step."""
    return self.every > 0 and step % self.every == 0


class Statistics:
  """Takes statistics of a run's steps; compiled at the first."""

  def __init__(
    self,
    model: hk.TransformedWithState,
    parallelism: Parallelism,
    depth: int,
    *,
    microbatches: int,
  ):
    """Compiles nothing yet.

    Args:
      model: takes a batch and `is_training`.
      parallelism: of the run.
      depth: see `Interval`.
      microbatches: of a device's batch; activations are those of the first.
    """
    self._depth = depth
    self._activations = parallelism.evaluation(
      activations_of(model, parallelism.collectives, depth, microbatches)
    )

  def __call__(
    self, train_state: TrainState, batch: Batch, gradient_norms: Any
  ) -> dict[str, float]:
    """Returns `modules/STATISTIC/MODULE` of a step.

    Args:
      train_state: after the step, on the devices.
      batch: of the step, on the devices.
      gradient_norms: of each tensor, as in `Health`.
    """
    means, _ = self._activations(train_state.params, train_state.state, batch)
    found = gradients_by_module(gradient_norms, self._depth) | compute([means])
    return {f'{_PREFIX}/{name}': value for name, value in found.items()}


def gradients_by_module(
  gradient_norms: Mapping[str, Mapping[str, jax.Array]], depth: int
) -> dict[str, float]:
  """Returns `gradient_norm/MODULE`, the norm over all tensors of a module."""
  squares = collections.defaultdict(float)
  for module, norms in gradient_norms.items():
    for norm in norms.values():
      squares[_short(module, depth)] += float(np.square(np.float64(norm)))
  return {
    f'gradient_norm/{name}': float(np.sqrt(square))
    for name, square in squares.items()
  }


def activations_of(
  model: hk.TransformedWithState,
  collectives: Collectives,
  depth: int,
  microbatches: int = 1,
) -> Callable[[hk.Params, hk.State, Batch], tuple[Metrics, dict]]:
  """Returns a function of a batch, to be compiled for the devices.

  It returns, by module, means over all numbers that it returns: of their
  magnitudes, `activation/MODULE`; shares that are zero,
  `activation_zeros/MODULE`, and not finite, `activation_not_finite/MODULE`.

  Args:
    model: takes a batch and `is_training`.
    collectives: of the devices that it will run on.
    depth: see `Interval`; of modules below, nothing is told.
    microbatches: of a device's batch; the first one is looked at.
  """

  def activations(
    params: hk.Params, state: hk.State, batch: Batch
  ) -> tuple[Metrics, dict]:
    found: Metrics = {}
    loops, entered = _loops(params), []
    nothing = Mean(jnp.zeros(()), jnp.zeros(()))

    def look(next_method, arguments, options, context):
      if context.method_name != '__call__' or entered:
        return next_method(*arguments, **options)
      name = context.module.module_name
      if name in loops:
        entered.append(name)
      result = next_method(*arguments, **options)
      entered.clear()
      if _short(name, depth) == name:
        for kind, mean in _statistics(result).items():
          key = f'{kind}/{name}'
          # A module that is called several times tells of all its calls.
          found[key] = jax.tree.map(jnp.add, found.get(key, nothing), mean)
      return result

    part = jax.tree.map(lambda x: x[: x.shape[0] // microbatches], batch)
    with unrolled_stages(), hk.intercept_methods(look):
      model.apply(params, state, None, part, is_training=False)
    return collectives.sum(found), {}

  return activations


def _statistics(result: Any) -> dict[str, Mean]:
  """Of all floating-point numbers that a module returns."""
  arrays = [
    x.astype(jnp.float32)
    for x in jax.tree.leaves(result)
    if isinstance(x, jax.Array) and jnp.issubdtype(x.dtype, jnp.floating)
  ]
  if not arrays:
    return {}
  count = jnp.float32(sum(x.size for x in arrays))
  looks = {
    'activation': jnp.abs,
    'activation_zeros': lambda x: x == 0.0,
    'activation_not_finite': lambda x: ~jnp.isfinite(x),
  }
  return {
    kind: Mean(sum(look(x).astype(jnp.float32).sum() for x in arrays), count)
    for kind, look in looks.items()
  }


def _loops(params: hk.Params) -> set[str]:
  """Modules that run a stack of layers."""
  return {
    module.partition(f'/{LAYER_STACK}/')[0]
    for module in params
    if is_layer_stack(module)
  }


def _short(module: str, depth: int) -> str:
  return '/'.join(module.split('/')[:depth])
