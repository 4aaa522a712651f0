"""How well classes are told apart: counts, and scores of each class.

Shapes: n held-out examples or recordings, C classes. `has` `[n, C]` says which
classes an example has, `says` which the model finds in it.
"""

from typing import NamedTuple

import numpy as np

from experiments.answers.classes.metrics import average_precision
from experiments.answers.correlations import ranks

# Where an example has any number of classes, a model finds those above it.
THRESHOLD = 0.5


class ClassScore(NamedTuple):
  """How well a class is found; NaN where no example has it.

  Attributes:
    name: of the class.
    precision: share of the examples that it was found in that have it; 0 where
      it was found in none.
    recall: share of the examples that have it that it was found in.
    f1: harmonic mean of the two.
    average_precision: by the order of the scores, whatever the threshold.
    positives: number of examples that have it.
  """

  name: str
  precision: float
  recall: float
  f1: float
  average_precision: float
  positives: int


class ConfusedPair(NamedTuple):
  """Examples of one class that were taken for another.

  Attributes:
    true: name of their class.
    predicted: name of the class that they were taken for.
    count: number of them.
    share: of all examples of their class.
  """

  true: str
  predicted: str
  count: int
  share: float


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


def found(
  scores: np.ndarray, labels: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
  """Returns `has` and `says`, bool `[n, C]`.

  Args:
    scores: `[n, C]`.
    labels: `[n]` int, for one class an example: the model says the likeliest;
      or `[n, C]`, 1 for each class that is there.
  """
  if labels.ndim == 2:
    return labels > 0.5, scores > THRESHOLD
  classes = np.arange(scores.shape[1])
  return (
    labels[:, None] == classes,
    scores.argmax(axis=1)[:, None] == classes,
  )


def class_scores(
  scores: np.ndarray, labels: np.ndarray, names: tuple[str, ...]
) -> list[ClassScore]:
  """Returns how well each class is found, in their order.

  Args:
    scores: `[n, C]`.
    labels: see `found`.
    names: of the classes.
  """
  has, says = found(scores, labels)
  hits, there, said = (x.sum(axis=0) for x in (has & says, has, says))
  return [
    ClassScore(
      name,
      precision=float(hits[i] / max(said[i], 1)),
      recall=float(hits[i] / there[i]),
      f1=float(2 * hits[i] / (there[i] + said[i])),
      average_precision=average_precision(scores[:, i], has[:, i]),
      positives=int(there[i]),
    )
    if there[i]
    else ClassScore(name, np.nan, np.nan, np.nan, np.nan, 0)
    for i, name in enumerate(names)
  ]


def balanced_accuracy(scores: np.ndarray, labels: np.ndarray) -> float:
  """Returns the mean recall of the classes that examples have.

  Args:
    scores: `[n, C]`.
    labels: `[n]` int.
  """
  counts = confusion_matrix(scores, labels)
  there = counts.sum(axis=1)
  recalls = np.diag(counts)[there > 0] / there[there > 0]
  return float(recalls.mean())


def area_under_roc(scores: np.ndarray, positive: np.ndarray) -> float:
  """Returns how often a positive scores above a negative; a tie is a half.

  That is the area under the curve of the receiver operating characteristic.

  Args:
    scores: `[n]`.
    positive: bool `[n]`.

  Returns:
    NaN where all are positive, or none.
  """
  above = int(positive.sum())
  below = len(positive) - above
  if not above or not below:
    return float('nan')
  beaten = ranks(scores)[positive].sum() - above * (above + 1) / 2
  return float(beaten / (above * below))


def f1_micro(scores: np.ndarray, labels: np.ndarray) -> float:
  """Returns F1 of all classes of all examples together; 0 where none is there.

  Args:
    scores: `[n, C]`.
    labels: see `found`.
  """
  has, says = found(scores, labels)
  named = int(has.sum() + says.sum())
  return float(2 * (has & says).sum() / named) if named else 0.0


def f1_macro(scores: np.ndarray, labels: np.ndarray) -> float:
  """Returns the mean F1 of the classes that examples have; NaN without any.

  Args:
    scores: `[n, C]`.
    labels: see `found`.
  """
  has, says = found(scores, labels)
  there = has.sum(axis=0)
  scored = (
    2 * (has & says).sum(axis=0) / np.maximum(there + says.sum(axis=0), 1)
  )
  return float(scored[there > 0].mean()) if there.any() else float('nan')


def mean_scores(classes: list[ClassScore]) -> ClassScore:
  """Returns the means over the classes that an example has.

  Args:
    classes: of which at least one is there.
  """
  there = [each for each in classes if each.positives]
  means = [
    float(np.mean([getattr(each, name) for each in there]))
    for name in ('precision', 'recall', 'f1', 'average_precision')
  ]
  return ClassScore('mean', *means, sum(each.positives for each in there))
