"""Learning rates by step, built from optax."""

from collections.abc import Sequence

import jax.numpy as jnp
import optax


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
