"""Updates that are left out because a loss or a gradient leaps.

A step is compared with running means of the loss and of the norm of the
gradient. They are part of the train state, the same on all devices, so that a
run that goes on decides as one that was never interrupted.
"""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp


class Spikes(NamedTuple):
  """What is known of the steps before, scalars.

  Attributes:
    steps: int32, how many the means are of.
    loss: float32 mean.
    gradient_norm: float32 mean.
    skipped: int32, updates that were left out.
  """

  steps: jax.Array
  loss: jax.Array
  gradient_norm: jax.Array
  skipped: jax.Array


@dataclasses.dataclass(frozen=True, kw_only=True)
class SpikeGuard:
  """The section `spikes` of a config.

  Attributes:
    factor: a step is left out when its loss, or the norm of its gradient, is
      more than so many times the mean of the steps before; 0 never.
    window: steps that the means are about; before so many none is left out.

  Raises:
    ValueError: a value is out of its range.
  """

  factor: float = 0.0
  window: int = 100

  def __post_init__(self):
    if self.factor != 0.0 and not self.factor > 1.0:
      raise ValueError(
        f'config.spikes.factor must be above 1, got {self.factor}. A usual '
        'value is 5; 0 leaves no step out.'
      )
    if self.window < 1:
      raise ValueError(
        f'config.spikes.window must be at least 1, got {self.window}.'
      )

  @property
  def is_on(self) -> bool:
    """Whether steps are compared at all."""
    return self.factor > 0.0

  def judge(
    self, before: Spikes, loss: jax.Array, gradient_norm: jax.Array
  ) -> tuple[jax.Array, Spikes]:
    """Returns whether a step is a spike, and what is known after it.

    A spike enters the means as the most that is none: where losses stay high,
    they are soon taken for usual.

    Args:
      before: what is known.
      loss: of the step, finite.
      gradient_norm: of the step, finite.
    """
    is_known = before.steps >= self.window
    weight = 1.0 / jnp.minimum(before.steps + 1, self.window)
    spikes, means = [], []
    for value, mean in (
      (loss, before.loss),
      (gradient_norm, before.gradient_norm),
    ):
      most = self.factor * mean
      # Of a loss that falls below zero nothing can be said.
      is_spike = is_known & (mean > 0.0) & (value > most)
      seen = jnp.where(is_spike, most, value)
      spikes.append(is_spike)
      means.append(mean + weight * (seen - mean))
    is_spike = spikes[0] | spikes[1]
    return is_spike, Spikes(
      before.steps + 1, *means, before.skipped + is_spike.astype(jnp.int32)
    )


def no_spikes() -> Spikes:
  """Returns what is known before the first step."""
  count, mean = jnp.zeros((), jnp.int32), jnp.zeros((), jnp.float32)
  return Spikes(steps=count, loss=mean, gradient_norm=mean, skipped=count)
