"""Probabilities of classes, and how they come of logits."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from experiments.data.dataset import DataSpec, Example


class Classes(NamedTuple):
  """Probabilities of classes.

  Attributes:
    names: names of all `n` classes.
    probabilities: float `[n]`; they sum to 1 where exactly one class is there.
  """

  names: tuple[str, ...]
  probabilities: np.ndarray

  def top(self, k: int) -> list[tuple[str, float]]:
    """Returns the k likeliest classes with their probabilities."""
    order = np.argsort(-self.probabilities, kind='stable')[:k]
    return [(self.names[i], float(self.probabilities[i])) for i in order]


def chances(value: Classes) -> dict[str, float]:
  """Returns cells of a table with the probability of each class."""
  probabilities = value.probabilities.tolist()
  return {
    f' p({name})': chance
    for name, chance in zip(value.names, probabilities, strict=True)
  }


def class_names(data: DataSpec) -> tuple[str, ...]:
  """Returns the names of the classes; their numbers where they have none."""
  return tuple(data.class_names) or tuple(map(str, range(data.num_classes)))


def tell_classes(
  names: tuple[str, ...], probabilities: Callable[[Any], Any]
) -> Callable[[Sequence[np.ndarray], Sequence[Example]], Classes]:
  """Returns what tells logits `[classes]` of one input as probabilities.

  Those of its parts are averaged.

  Args:
    names: names of the classes.
    probabilities: maps logits to probabilities, such as `jax.nn.softmax`.
  """

  def tell(
    predictions: Sequence[np.ndarray], examples: Sequence[Example]
  ) -> Classes:
    del examples
    parts = [np.asarray(probabilities(each)) for each in predictions]
    return Classes(names, np.mean(parts, axis=0))

  return tell
