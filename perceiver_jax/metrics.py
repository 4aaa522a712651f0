"""Metrics as (total, weight) pairs.

Such pairs add up over examples, batches, devices and hosts, so a mean is exact
whatever the batch sizes, and padding counts with weight zero.
"""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp


class Mean(NamedTuple):
  """A mean that is still being added up.

  Attributes:
    total: weighted sum of the values, scalar.
    weight: sum of the weights, scalar.
  """

  total: jax.Array
  weight: jax.Array


def weighted_mean(values: jax.Array, weights: jax.Array) -> Mean:
  """Returns the mean of values `[B]` with weights `[B]`."""
  weights = weights.astype(jnp.float32)
  return Mean((values * weights).sum(), weights.sum())


def sum_of_means(
  means: Sequence[Mean], weights: Sequence[jax.Array] | None = None
) -> jax.Array:
  """Returns the sum of means, scalar; a mean of nothing counts as zero.

  Args:
    means: to add.
    weights: to divide by in place of the means' own: those of a whole batch,
      when the means are of a part of it and the parts' results are added up.
  """
  if weights is None:
    weights = [mean.weight for mean in means]
  return sum(
    mean.total / jnp.where(weight > 0.0, weight, 1.0)
    for mean, weight in zip(means, weights, strict=True)
  )


def compute(batches: Sequence[Mapping[str, Mean]]) -> dict[str, float]:
  """Adds up batches and divides.

  Args:
    batches: metrics of each batch, with the same names.

  Returns:
    Names to plain floats; a mean of nothing is NaN.
  """
  batches = jax.device_get(list(batches))
  means = {}
  for name in batches[0]:
    total = sum(float(batch[name].total) for batch in batches)
    weight = sum(float(batch[name].weight) for batch in batches)
    means[name] = total / weight if weight else math.nan
  return means
