"""What latents look at, as numbers that can be drawn: maps, entropy, coverage.

Shapes: D depths (cross-attends, in order), N latents, M inputs. A map is the
attention of one latent at one depth, shared out over cells of the input; it is
the mean over the heads.
"""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from experiments.data.modality import Attended

# The part of a latent's attention whose place `coverage` is about.
_COVERED = 0.9
# Full brightness, at least so many times the attention of an average place.
_LEAST_FULL = 4.0


class AttentionMaps(NamedTuple):
  """What all latents look at in one example.

  Attributes:
    modalities: those that can be seen, by name.
    shares: float32 `[D, N]` for every modality, the part of its attention that
      a latent gives to it; they sum to 1.
    entropy: float64 `[D, N]` in nats, of a latent's weights over single inputs,
      from 0 (it looks at one) to log M (at all alike).
    coverage: float64 `[D, N]`, the smallest part of the inputs that has 90 % of
      a latent's attention.
    entropy_together: float64 `[D]`, that of the mean of all latents.
    coverage_together: float64 `[D]`, likewise.
    num_inputs: M, without padding.
  """

  modalities: Mapping[str, Attended]
  shares: Mapping[str, np.ndarray]
  entropy: np.ndarray
  coverage: np.ndarray
  entropy_together: np.ndarray
  coverage_together: np.ndarray
  num_inputs: int

  @property
  def num_depths(self) -> int:
    """D."""
    return self.entropy.shape[0]

  @property
  def num_latents(self) -> int:
    """N."""
    return self.entropy.shape[1]

  @property
  def most_entropy(self) -> float:
    """log M: the entropy of looking at all inputs alike; 1 for a single one."""
    return math.log(self.num_inputs) or 1.0

  def lifts(self, latents: Sequence[int]) -> dict[str, np.ndarray]:
    """Returns how often the attention of an average place each cell gets.

    Unlike weights, these are alike for cells of one input and of many.

    Args:
      latents: numbers of the latents wanted, n of them.

    Returns:
      For each modality `[D, 1 + n, *cells]`, first the mean of all latents.
    """
    rows = {}
    for name, each in self.modalities.items():
      together = each.weights.mean(axis=1, keepdims=True)
      weights = np.concatenate([together, each.weights[:, latents]], axis=1)
      share = each.num_inputs / self.num_inputs
      rows[name] = weights * (math.prod(each.cells) / share)
    return rows

  def most_different(self, count: int) -> list[int]:
    """Returns the numbers of latents that look at different things.

    The first looks most closely (its entropy is lowest); each that follows is
    the one that is least like all before it, by the Hellinger distance of the
    maps at all depths.

    Args:
      count: latents wanted; all where there are fewer.
    """
    roots = np.concatenate(
      [
        np.sqrt(each.weights).swapaxes(0, 1).reshape(self.num_latents, -1)
        for each in self.modalities.values()
      ],
      axis=1,
    )
    chosen = [int(self.entropy.mean(axis=0).argmin())]
    distances = np.full(self.num_latents, np.inf)
    while len(chosen) < min(count, self.num_latents):
      apart = np.square(roots - roots[chosen[-1]]).sum(axis=1)
      distances = np.minimum(distances, apart)
      distances[chosen] = -1.0
      chosen.append(int(distances.argmax()))
    return chosen


def chosen_latents(
  maps: AttentionMaps, latents: Sequence[int] | None, most: int
) -> list[int]:
  """Returns the numbers of the latents to show, in order.

  Args:
    maps: of all latents.
    latents: that were asked for; None for the most different.
    most: of those, how many.

  Raises:
    ValueError: there are no such latents.
  """
  if latents is None:
    return sorted(maps.most_different(most))
  wrong = [i for i in latents if not 0 <= i < maps.num_latents]
  if wrong or not latents:
    raise ValueError(
      f'The latents of this model are 0 to {maps.num_latents - 1}, got '
      f'{list(latents)}.'
    )
  return list(dict.fromkeys(latents))


def levels(
  lifts: Mapping[str, np.ndarray],
) -> tuple[dict[str, np.ndarray], np.ndarray]:
  """Returns how bright cells are drawn: a root, to show little attention too.

  Args:
    lifts: see `AttentionMaps.lifts`.

  Returns:
    For each modality `[D, 1 + n, *cells]` in [0, 1], the square root of the
    part of the lift that is full brightness, and these lifts `[D, 1 + n]`: the
    highest of each map, over all modalities, but at least 4, so that a map that
    looks at all alike does not seem to look closely everywhere.
  """
  highest = np.maximum.reduce(
    [x.reshape(*x.shape[:2], -1).max(axis=-1) for x in lifts.values()]
  )
  highest = np.maximum(highest, _LEAST_FULL)
  bright = {
    name: np.sqrt(x / highest.reshape(*highest.shape, *[1] * (x.ndim - 2)))
    for name, x in lifts.items()
  }
  return bright, highest


def entropy(weights: np.ndarray) -> np.ndarray:
  """Returns the entropies of distributions `[..., M]`, in nats, float64."""
  logarithms = np.log(np.where(weights > 0.0, weights, 1.0), dtype=np.float64)
  return -(weights * logarithms).sum(axis=-1)


def coverage(weights: np.ndarray, num_inputs: int) -> np.ndarray:
  """Returns the smallest part of the inputs that has 90 % of the weight.

  Args:
    weights: `[..., M]`, distributions.
    num_inputs: inputs that are no padding.

  Returns:
    `[...]` float64, from 1 / num_inputs to 1.
  """
  falling = -np.sort(-weights, axis=-1)
  sums = np.cumsum(falling, axis=-1, dtype=np.float64)
  needed = (sums < _COVERED * sums[..., -1:]).sum(axis=-1) + 1
  return needed / num_inputs


def summed(weights: np.ndarray, starts: Sequence[Sequence[int]]) -> np.ndarray:
  """Adds up the weights of the points of each cell.

  Args:
    weights: `[..., *grid_shape]`.
    starts: for each axis, the first point of each cell, see `Cells`.

  Returns:
    `[..., *cells]` float32.
  """
  lead = weights.ndim - len(starts)
  for axis, firsts in enumerate(starts):
    if len(firsts) < weights.shape[lead + axis]:
      weights = np.add.reduceat(weights, firsts, axis=lead + axis)
  return np.asarray(weights, np.float32)
