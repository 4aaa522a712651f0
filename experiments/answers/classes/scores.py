"""How well classes are told apart: counts, and precision of each.

Shapes: n held-out examples or recordings, C classes.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from experiments.answers.classes.metrics import (
  average_precision,
  average_recordings,
)


class ClassPrecision(NamedTuple):
  """How well a class is found.

  Attributes:
    name: name of the class.
    precision: average precision.
    positives: examples that have it.
  """

  name: str
  precision: float
  positives: int


class ConfusedPair(NamedTuple):
  """Examples of one class that were taken for another.

  Attributes:
    true: name of their class.
    predicted: name of the class that they were taken for.
    count: of them.
    share: of all examples of their class.
  """

  true: str
  predicted: str
  count: int
  share: float


def scores_and_labels(
  scores: np.ndarray, labels: np.ndarray, recordings: Sequence[int | None]
) -> tuple[np.ndarray, np.ndarray]:
  """Returns scores `[n, C]`, and labels `[n]` or `[n, C]`.

  Clips of a recording are averaged, as in its evaluation.

  Args:
    scores: `[m, C]`, a row an example.
    labels: `[m]` or `[m, C]`.
    recordings: the recording of each; None where examples are no clips.
  """
  kept = {'scores': scores, 'labels': labels}
  if recordings[0] is not None:
    kept['recording'] = np.array(recordings)
  kept = average_recordings(kept)
  return kept['scores'], kept['labels']


def confusion_matrix(scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
  """Returns counts int `[C, C]`: a row a true class, a column a predicted one.

  Args:
    scores: `[n, C]`.
    labels: `[n]` int.
  """
  counts = np.zeros((scores.shape[1],) * 2, int)
  np.add.at(counts, (labels, scores.argmax(axis=1)), 1)
  return counts


def most_confused(
  counts: np.ndarray, names: tuple[str, ...], most: int
) -> list[ConfusedPair]:
  """Returns the pairs of classes with the most mistakes, those first.

  Args:
    counts: see `confusion_matrix`.
    names: of the classes.
    most: pairs.
  """
  wrong = counts * (1 - np.eye(len(counts), dtype=int))
  order = np.argsort(-wrong, axis=None, kind='stable')[:most]
  pairs = zip(*np.unravel_index(order, wrong.shape), strict=True)
  return [
    ConfusedPair(
      names[i], names[j], int(wrong[i, j]), float(wrong[i, j] / counts[i].sum())
    )
    for i, j in pairs
    if wrong[i, j]
  ]


def class_precisions(
  scores: np.ndarray, labels: np.ndarray, names: tuple[str, ...]
) -> list[ClassPrecision]:
  """Returns the average precision of each class that an example has.

  Args:
    scores: `[n, C]`.
    labels: `[n, C]`, 1 for each class that is there.
    names: of the classes.

  Returns:
    The best first.
  """
  has = labels > 0.5
  found = [
    ClassPrecision(
      names[i], average_precision(scores[:, i], has[:, i]), int(has[:, i].sum())
    )
    for i in np.flatnonzero(has.any(axis=0))
  ]
  return sorted(found, key=lambda each: -each.precision)
