"""Learning rates that differ between parameters.

A config may have the section `learning_rates`, see `LearningRates`. What it
says multiplies the last of what an optimizer does, weight decay included.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import haiku as hk
import jax
import ml_collections
import numpy as np
import optax

from experiments.data.dataset import batch_spec
from experiments.host.configuration import construct
from experiments.runs.parameter_paths import check_prefixes, is_below, paths
from experiments.stepping.train_state import init_shapes
from experiments.tasks.task import Task
from perceiver_jax.encoder import Encoder, stages
from perceiver_jax.stacking import is_layer_stack

_ENCODER = 'encoder'  # Its name in every model.


@dataclasses.dataclass(frozen=True, kw_only=True)
class LearningRates:
  """The section `learning_rates` of a config.

  Attributes:
    multipliers: pairs of a prefix of parameters and a factor; of several that
      stand for a parameter, the longest prefix counts.
    layer_decay: factor from a layer of the encoder to the one before it, see
      `encoder_depths`; 1 for none.

  Raises:
    ValueError: a value is out of its range.
  """

  multipliers: Sequence[Any] = ()
  layer_decay: float = 1.0

  def __post_init__(self):
    for pair in self.multipliers:
      if (
        not isinstance(pair, Sequence)
        or len(pair) != 2
        or not isinstance(pair[0], str)
        or isinstance(pair[1], str | bool)
        or not 0.0 <= pair[1] < math.inf
      ):
        raise ValueError(
          'config.learning_rates.multipliers are pairs of a prefix of '
          "parameters and a factor of at least 0, such as (('decoder', 10.0),"
          f" ('encoder/latents', 0.1)); got {pair!r}."
        )
    if not 0.0 < self.layer_decay <= 1.0:
      raise ValueError(
        'config.learning_rates.layer_decay must be in (0, 1], got '
        f'{self.layer_decay}. A usual value is 0.75; 1 changes nothing.'
      )


def apply_learning_rates(
  config: ml_collections.ConfigDict,
  task: Task,
  optimizer: optax.GradientTransformation,
) -> optax.GradientTransformation:
  """Multiplies the updates of an optimizer by what a config says.

  Args:
    config: of a run.
    task: of the run.
    optimizer: of its parameters.

  Returns:
    The optimizer, whose `init` raises a ValueError when a prefix stands for no
    parameter. Its state is that of the one that was given.

  Raises:
    ValueError: a value is wrong, or there is no encoder to have layers.
  """
  options = construct('learning_rates', LearningRates, config.learning_rates)
  factors = dict(options.multipliers)
  depths: Mapping[str, Any] = {}
  if options.layer_decay < 1.0:
    depths = encoder_depths(config, task)
  if not factors and not depths:
    return optimizer

  def init(params: hk.Params) -> optax.OptState:
    check_prefixes('learning_rates.multipliers', [*factors], paths(params))
    return optimizer.init(params)

  def update(
    gradients: hk.Params, state: optax.OptState, params: hk.Params
  ) -> tuple[hk.MutableParams, optax.OptState]:
    updates, state = optimizer.update(gradients, state, params)
    scaled = {
      module: {
        name: _scaled(
          update,
          _multiplier(factors, module, name)
          * options.layer_decay ** np.float64(depths.get(module, 0)),
        )
        for name, update in leaves.items()
      }
      for module, leaves in updates.items()
    }
    return scaled, state

  return optax.GradientTransformation(init, update)


def encoder_depths(
  config: ml_collections.ConfigDict, task: Task
) -> dict[str, np.ndarray]:
  """Returns how many layers lie between modules and the outputs.

  Layers are the cross-attends and the self-attends of the encoder that have
  parameters of their own, in the order in which latents pass through them for
  the last time: the last of all is 1. What comes before the encoder, and its
  latents, are one more than the first; what comes after it is 0.

  Args:
    config: of a run.
    task: of the run; its model is traced.

  Returns:
    A number by module; `[layers]` for a stack of layers.

  Raises:
    ValueError: the config has no encoder.
  """
  if 'encoder' not in config:
    raise ValueError(
      'config.learning_rates.layer_decay counts the layers of an encoder, and '
      "this config has none. Use 'multipliers' instead."
    )
  layers = _encoder_layers(config)
  depths = {name: [] for name, _ in layers}
  for depth, (name, _) in enumerate(reversed(layers), 1):
    depths[name].insert(0, depth)
  before, modules = _modules_before_encoder(task)
  found = {}
  for module in modules:
    own = [name for name in depths if f'{module}/'.startswith(f'{name}/')]
    if own:
      depth = depths[own[0]]
      found[module] = np.asarray(depth if is_layer_stack(module) else depth[0])
    elif module in before or module == _ENCODER:
      found[module] = np.asarray(len(layers) + 1)
  return found


def _encoder_layers(
  config: ml_collections.ConfigDict,
) -> list[tuple[str, int]]:
  """Modules of the encoder and layers of their stack, by their last use."""
  options = {
    key: config.encoder[key]
    for key in ('share_cross_attends', 'share_latent_blocks')
    if key in config.encoder
  }
  order: dict[tuple[str, int], None] = {}
  for cross_attends, block in stages(config.encoder.cross_attends, **options):
    used = [(f'{_ENCODER}/cross_attend_{i}', 0) for i in cross_attends]
    used += [
      (f'{_ENCODER}/latent_block_{block}', layer)
      for layer in range(config.encoder.self_attends_per_block)
    ]
    for layer in used:
      order.pop(layer, None)
      order[layer] = None
  return list(order)


def _modules_before_encoder(task: Task) -> tuple[set[str], list[str]]:
  """Modules called before the encoder, and all that have parameters."""
  called: list[str] = []
  before: list[set[str]] = []

  def record(next_method, arguments, options, context):
    if context.method_name != '__init__':
      if isinstance(context.module, Encoder):
        before.append(set(called))
      called.append(context.module.module_name)
    return next_method(*arguments, **options)

  with hk.intercept_methods(record):
    params, _ = init_shapes(task.model, batch_spec(task.data.example, 1))
  return before[0], list(params)


def _multiplier(factors: Mapping[str, float], module: str, name: str) -> float:
  found = [prefix for prefix in factors if is_below([prefix], module, name)]
  return float(factors[max(found, key=len)]) if found else 1.0


def _scaled(update: jax.Array, factor: np.ndarray) -> jax.Array:
  """Multiplies, each layer of a stack by its own factor."""
  factor = np.asarray(factor, update.dtype)
  missing = (1,) * (update.ndim - factor.ndim)
  return update * factor.reshape(factor.shape + missing)
