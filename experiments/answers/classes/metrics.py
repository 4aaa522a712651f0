"""Metrics of classification over all held-out examples, which are no means.

Shapes: n held-out examples, C classes. Where the examples are clips of
recordings, the predictions of a recording's clips are averaged first
(Perceiver, section 4.2: 16 clips of each).
"""

from collections.abc import Mapping

import jax
import numpy as np

from experiments.answers.answer import DatasetMetrics
from experiments.stepping.train_state import Batch, Collect

# Below so many classes nearly any answer is among the first five.
TOP_5_CLASSES = 6


def collect_classes(loss: str, *, has_recordings: bool) -> Collect:
  """Returns what keeps of logits `[B, C]` all that there is to say of classes.

  It keeps `scores` `[B, C]`, probabilities; `labels`, `[B]` int, or `[B, C]`
  bool of any number of classes; `recording` `[B]` of clips.

  Args:
    loss: 'softmax', one of the classes, or 'sigmoid', any number of them.
    has_recordings: see `DataSpec`.
  """

  def collect(logits: jax.Array, batch: Batch) -> Mapping[str, jax.Array]:
    if loss == 'sigmoid':
      kept = {'scores': jax.nn.sigmoid(logits), 'labels': batch['label'] > 0.5}
    else:
      kept = {'scores': jax.nn.softmax(logits), 'labels': batch['label']}
    return kept | ({'recording': batch['recording']} if has_recordings else {})

  return collect


def sigmoid_metrics(*, has_recordings: bool) -> DatasetMetrics:
  """Returns the mean average precision of any number of classes an example.

  Args:
    has_recordings: see `DataSpec`.
  """
  collect = collect_classes('sigmoid', has_recordings=has_recordings)

  def compute(kept: Mapping[str, np.ndarray]) -> dict[str, float]:
    kept = average_recordings(kept)
    precision = mean_average_precision(kept['scores'], kept['labels'])
    return {'mean_average_precision': precision}

  return DatasetMetrics(('mean_average_precision',), collect, compute)


def recording_accuracy(*, num_classes: int) -> DatasetMetrics:
  """Returns the accuracy of recordings, for one class each.

  It takes the place of the accuracy of their clips.

  Args:
    num_classes: with at least six, top-5 accuracy is added.
  """
  collect = collect_classes('softmax', has_recordings=True)
  tops = {'accuracy': 1}
  if num_classes >= TOP_5_CLASSES:
    tops['top_5_accuracy'] = 5

  def compute(kept: Mapping[str, np.ndarray]) -> dict[str, float]:
    kept = average_recordings(kept)
    return {
      name: float(np.mean(in_top(kept['scores'], kept['labels'], top)))
      for name, top in tops.items()
    }

  return DatasetMetrics(tuple(tops), collect, compute)


def in_top(
  scores: jax.Array | np.ndarray, labels: jax.Array | np.ndarray, top: int
) -> jax.Array | np.ndarray:
  """Returns whether fewer than `top` classes score higher than the label's.

  Of classes that score the same, those of smaller number come first.

  Args:
    scores: `[n, C]`.
    labels: `[n]` int.
    top: at least 1; 1 is whether the label is the argmax.

  Returns:
    `[n]` bool.
  """
  numbers = np.arange(scores.shape[-1])[None]
  labels = labels[:, None]
  own = (scores * (numbers == labels)).sum(axis=-1, keepdims=True)
  # Counted from below: a score that is no number is ahead of none.
  behind = (own > scores) | ((own == scores) & (numbers > labels))
  return scores.shape[-1] - 1 - behind.sum(axis=-1) < top


def average_recordings(
  kept: Mapping[str, np.ndarray],
) -> Mapping[str, np.ndarray]:
  """Averages the scores of the clips of each recording.

  Args:
    kept: arrays `[n, ...]` with `scores`, `labels` and, where examples are
      clips, `recording`.

  Returns:
    `scores`, in float64 where there are clips, and `labels` of each recording.
  """
  if 'recording' not in kept:
    return kept
  _, first, which, counts = np.unique(
    kept['recording'],
    return_index=True,
    return_inverse=True,
    return_counts=True,
  )
  scores = np.zeros((len(first), kept['scores'].shape[1]))
  np.add.at(scores, which, kept['scores'])
  return {'scores': scores / counts[:, None], 'labels': kept['labels'][first]}


def mean_average_precision(scores: np.ndarray, labels: np.ndarray) -> float:
  """Returns the mean over the classes of their average precisions.

  Classes that no example has do not count.

  Args:
    scores: `[n, C]`, higher is more likely.
    labels: `[n, C]` bool.

  Returns:
    NaN where no example has any class.
  """
  precisions = [
    average_precision(scores[:, i], labels[:, i])
    for i in np.flatnonzero(labels.any(axis=0))
  ]
  return float(np.mean(precisions)) if precisions else float('nan')


def average_precision(scores: np.ndarray, labels: np.ndarray) -> float:
  """Returns the mean precision at the positives, from the highest score down.

  Examples of the same score are taken in together.

  Args:
    scores: `[n]`.
    labels: `[n]` bool, at least one true.
  """
  order = np.argsort(-scores, kind='stable')
  hits = np.cumsum(labels[order])
  # The last of each run of equal scores.
  last = np.flatnonzero(np.diff(scores[order], append=-np.inf))
  precision = hits[last] / (last + 1)
  new_hits = np.diff(hits[last], prepend=0)
  return float(precision @ new_hits / hits[-1])
