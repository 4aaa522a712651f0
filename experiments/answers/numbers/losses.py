"""Losses of numbers that are standardised.

Shapes: B examples, O numbers of each, Q quantiles of each.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments.answers.numbers.value import middle_of

# Up to so many standard deviations an error counts by its square, beyond by its
# size: a lone wild number does not rule a batch. Least squares predict means;
# with a knee at 1 or below, as is usual, skewed numbers would be predicted
# between median and mean. At 3, those with an exponential distribution are
# predicted 0.02 standard deviations below their mean, with 1 it is 0.16.
KNEE = 3.0


def robust_squares(outputs: jax.Array, numbers: jax.Array) -> jax.Array:
  """Returns the Huber loss `[B]`, the mean over numbers.

  Args:
    outputs: `[B, O, 1]`.
    numbers: `[B, O]`.
  """
  losses = optax.huber_loss(outputs[..., 0], numbers, delta=KNEE)
  return losses.mean(axis=-1)


def pinball(
  quantiles: jax.Array | np.ndarray,
  numbers: jax.Array | np.ndarray,
  levels: Sequence[float],
) -> jax.Array | np.ndarray:
  """Returns the pinball loss of each quantile, `[B, O, Q]`.

  Args:
    quantiles: `[B, O, Q]`.
    numbers: `[B, O]`.
    levels: of the quantiles.
  """
  errors = numbers[..., None] - quantiles
  shares = np.asarray(levels, errors.dtype)[None, None]
  return (shares - (errors < 0.0)) * errors


def in_order(outputs: jax.Array, levels: Sequence[float]) -> jax.Array:
  """Returns quantiles `[B, O, Q]`, of which none is below its neighbour.

  The channel of the median is the median. From there on each of the others is
  a step outwards, of the softplus of its channel.

  Args:
    outputs: `[B, O, Q]`.
    levels: of the quantiles, in order.
  """
  middle = middle_of(levels)
  median = outputs[..., middle : middle + 1]
  steps = jax.nn.softplus(outputs)
  above = median + jnp.cumsum(steps[..., middle + 1 :], axis=-1)
  inwards = jnp.flip(steps[..., :middle], axis=-1)
  below = median - jnp.flip(jnp.cumsum(inwards, axis=-1), axis=-1)
  return jnp.concatenate([below, median, above], axis=-1)
