"""Optimizers and learning rate schedules, built from optax.

Weight decay acts on matrices, latents and position tables, never on biases or
on scales and offsets of layer norm; LAMB adapts its step to the same tensors.
Which is which follows from parameter names, since layers are stacked: a bias
of a stack has two axes too.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax

from perceiver_jax.encoder import is_layer_stack

_UNDECAYED = ('b', 'scale', 'offset')


def decayed(params: Any) -> Any:
  """Returns a tree of bools: True for matrices, latents, position tables."""
  return _map_named(lambda module, name, _: name not in _UNDECAYED, params)


def adamw(
  learning_rate: optax.Schedule,
  *,
  weight_decay: float,
  b1: float = 0.9,
  b2: float = 0.999,
  epsilon: float = 1e-8,
  clip_norm: float | None = None,
) -> optax.GradientTransformation:
  """AdamW.

  Args:
    learning_rate: by step.
    weight_decay: relative to the learning rate.
    b1: decay of the first moment.
    b2: decay of the second moment.
    epsilon: added to the root of the second moment.
    clip_norm: largest global norm of the gradient; None for no clipping.
  """
  return optax.chain(
    _clip(clip_norm),
    optax.scale_by_adam(b1, b2, epsilon),
    optax.add_decayed_weights(weight_decay, mask=decayed),
    optax.scale_by_learning_rate(learning_rate),
  )


def lamb(
  learning_rate: optax.Schedule,
  *,
  weight_decay: float,
  b1: float = 0.9,
  b2: float = 0.999,
  epsilon: float = 1e-6,
  clip_norm: float | None = None,
) -> optax.GradientTransformation:
  """LAMB (arXiv 1904.00962): Adam with a trust ratio for each layer's tensor.

  Arguments as in `adamw`. Unlike `optax.lamb` the trust ratio is taken layer
  by layer in a layer stack, and biases and layer norms, which start at zero
  or one, follow plain Adam.
  """
  return optax.chain(
    _clip(clip_norm),
    optax.scale_by_adam(b1, b2, epsilon),
    optax.add_decayed_weights(weight_decay, mask=decayed),
    scale_by_trust_ratio(),
    optax.scale_by_learning_rate(learning_rate),
  )


def scale_by_trust_ratio() -> optax.GradientTransformation:
  """Scales each decayed tensor's update to the norm of the tensor.

  A tensor or update of norm zero keeps its update, as in `optax`.
  """

  def ratio(update: jax.Array, param: jax.Array) -> jax.Array:
    param_norm = jnp.sqrt(jnp.square(param).sum())
    update_norm = jnp.sqrt(jnp.square(update).sum())
    usable = (param_norm > 0.0) & (update_norm > 0.0)
    safe_norm = jnp.where(usable, update_norm, 1.0)
    return update * jnp.where(usable, param_norm / safe_norm, 1.0)

  def scale(module: str, name: str, update: jax.Array, param: jax.Array):
    if name in _UNDECAYED:
      return update
    each = jax.vmap(ratio) if is_layer_stack(module) else ratio
    return each(update, param)

  def update_function(updates, state, params=None):
    if params is None:
      raise ValueError('scale_by_trust_ratio needs params in update().')
    return _map_named(scale, updates, params), state

  return optax.GradientTransformation(
    lambda params: optax.EmptyState(), update_function
  )


def constant(
  train_steps: int, *, learning_rate: float, warmup_steps: int = 0
) -> optax.Schedule:
  """The same learning rate to the end."""
  del train_steps
  return _warmed_up(optax.constant_schedule(learning_rate), warmup_steps)


def step(
  train_steps: int,
  *,
  learning_rate: float,
  boundaries: Sequence[float],
  factor: float = 0.1,
  warmup_steps: int = 0,
) -> optax.Schedule:
  """Multiplies the learning rate by `factor` at each boundary.

  Args:
    train_steps: of the run.
    learning_rate: at the start.
    boundaries: shares of the run, between 0 and 1: 84 of 120 epochs are 0.7.
    factor: at each boundary.
    warmup_steps: until the full rate; rises by 1 / warmup_steps a step.
  """
  if not all(0.0 < boundary < 1.0 for boundary in boundaries):
    raise ValueError(
      'schedule.boundaries are shares of the run between 0 and 1, got '
      f'{tuple(boundaries)}. For epoch 84 of 120 write 84 / 120.'
    )
  steps = {}
  for boundary in boundaries:  # In a short run, two may fall on one step.
    at = round(boundary * train_steps)
    steps[at] = steps.get(at, 1.0) * factor
  return _warmed_up(
    optax.piecewise_constant_schedule(learning_rate, steps), warmup_steps
  )


def cosine(
  train_steps: int, *, learning_rate: float, warmup_steps: int = 0
) -> optax.Schedule:
  """Falls to zero along a half cosine."""
  return _warmed_up(
    optax.cosine_decay_schedule(learning_rate, train_steps), warmup_steps
  )


def flat_then_cosine(
  train_steps: int,
  *,
  learning_rate: float,
  flat: float = 0.5,
  warmup_steps: int = 0,
) -> optax.Schedule:
  """Constant for a share of the run, then a half cosine to zero.

  Perceiver IO on ImageNet (section A.1) is flat for 55 of 110 epochs.

  Args:
    train_steps: of the run.
    learning_rate: of the flat part.
    flat: its share of the run, from 0 to below 1.
    warmup_steps: until the full rate; rises by 1 / warmup_steps a step.
  """
  if not 0.0 <= flat < 1.0:
    raise ValueError(
      f'schedule.flat is a share of the run in [0, 1), got {flat}.'
    )
  flat_steps = round(flat * train_steps)
  decay_steps = max(1, train_steps - flat_steps)
  decay = optax.cosine_decay_schedule(learning_rate, decay_steps)
  return _warmed_up(
    lambda count: decay(jnp.maximum(count - flat_steps, 0)), warmup_steps
  )


OPTIMIZERS = {'adamw': adamw, 'lamb': lamb}
SCHEDULES = {
  'constant': constant,
  'step': step,
  'cosine': cosine,
  'flat_then_cosine': flat_then_cosine,
}


def _warmed_up(schedule: optax.Schedule, warmup_steps: int) -> optax.Schedule:
  """Multiplies the schedule by a ramp from 1 / warmup_steps to 1."""
  if warmup_steps < 0:
    raise ValueError(
      f'schedule.warmup_steps must not be negative, got {warmup_steps}.'
    )
  if warmup_steps == 0:
    return schedule
  return lambda count: (
    schedule(count) * jnp.minimum(1.0, (count + 1) / warmup_steps)
  )


def _clip(norm: float | None) -> optax.GradientTransformation:
  return optax.identity() if norm is None else optax.clip_by_global_norm(norm)


def _map_named(function: Callable, params: Any, *rest: Any) -> Any:
  """Maps `function(module_name, parameter_name, leaf, ...)` over a tree."""
  return {
    module: {
      name: function(module, name, leaf, *(tree[module][name] for tree in rest))
      for name, leaf in leaves.items()
    }
    for module, leaves in params.items()
  }
