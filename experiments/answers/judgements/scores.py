"""The metrics of GLUE, of all held-out examples of a task together.

Perceiver IO, appendix F.4: Matthews' correlation for CoLA, Pearson's for STS-B,
accuracy for the others; the score is the mean over tasks, that of MNLI being
the mean of its two parts. The metrics that GLUE prints besides are here too.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from experiments.answers.correlations import pearson, spearman
from experiments.datasets.glue import PARTS, task_of

Metric = Callable[[np.ndarray, np.ndarray], float]


def accuracy(predictions: np.ndarray, labels: np.ndarray) -> float:
  """Returns the share of classes `[n]` that are right."""
  return float((predictions == labels).mean())


def f1(predictions: np.ndarray, labels: np.ndarray) -> float:
  """Returns F1 of the class 1, of classes `[n]`; 0 where nothing is found."""
  hits = float(((predictions == 1) & (labels == 1)).sum())
  named = float((predictions == 1).sum() + (labels == 1).sum())
  return 2.0 * hits / named if named else 0.0


def matthews(predictions: np.ndarray, labels: np.ndarray) -> float:
  """Returns Matthews' correlation of two classes `[n]`.

  It is Pearson's of the classes as numbers.
  """
  return pearson(predictions, labels)


# The metrics of each part; the first counts for the score.
_METRICS: dict[str, dict[str, Metric]] = {
  **{part: {'accuracy': accuracy} for part in PARTS},
  'cola': {'matthews': matthews},
  'mrpc': {'accuracy': accuracy, 'f1': f1},
  'qqp': {'accuracy': accuracy, 'f1': f1},
  'stsb': {'pearson': pearson, 'spearman': spearman},
}


def score_names(tasks: Sequence[str]) -> tuple[str, ...]:
  """Returns the names of what `glue_scores` gives for these tasks."""
  parts = [part for part in PARTS if task_of(part) in tasks]
  return (
    'score',
    *(f'{part}_{name}' for part in parts for name in _METRICS[part]),
  )


def glue_scores(examples: Mapping[str, np.ndarray]) -> dict[str, float]:
  """Computes the metrics of all parts that there are, and their mean.

  Args:
    examples: `part` `[n]`, numbers of `PARTS`; `label` and `prediction` `[n]`,
      classes or values.

  Returns:
    `PART_METRIC` of each, such as `mrpc_f1`, and `score`, from -1 to 1.
  """
  scores, of_tasks = {}, {}
  for number in np.unique(examples['part']):
    part, chosen = PARTS[number], examples['part'] == number
    predictions = examples['prediction'][chosen]
    values = [
      (name, metric(predictions, examples['label'][chosen]))
      for name, metric in _METRICS[part].items()
    ]
    scores |= {f'{part}_{name}': value for name, value in values}
    of_tasks.setdefault(task_of(part), []).append(values[0][1])
  means = [np.mean(values) for values in of_tasks.values()]
  return {'score': float(np.mean(means)), **scores}
