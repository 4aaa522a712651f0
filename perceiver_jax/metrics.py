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
