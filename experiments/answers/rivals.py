"""How good cheap classical models are at an answer of rows."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from experiments.answers.head import Head
from experiments.data.classical import check_installed
from experiments.data.classical_rows import Rows, choose


class Rival(NamedTuple):
  """What the best of the classical models of an answer reaches.

  Attributes:
    name: of the model, in words.
    metrics: of held-out rows, those of the head.
  """

  name: str
  metrics: Mapping[str, float]


def best_rival(
  head: Head, rows: Rows, validation: np.ndarray, held_out: Rows
) -> Rival:
  """Trains the classical models of an answer and asks the best of them.

  Args:
    head: that has `rivals`.
    rows: to train on and to choose by, those that have the answer; their
      targets are the target array that `head.rivals` names, `[n, ...]`.
    validation: bool `[n]`, those to choose by, see `choose`.
    held_out: other such rows.

  Raises:
    ValueError: scikit-learn is not installed.
  """
  check_installed()
  candidates, _, kept = head.rivals
  is_lower_better = head.answer.is_lower_better(head.score)

  def score(predictions: np.ndarray, targets: np.ndarray) -> float:
    reached = head.metrics(kept(predictions, targets))[head.score]
    return -reached if is_lower_better else reached

  best = choose(candidates, rows, validation, score)
  predictions = best.predict(held_out.columns)
  return Rival(best.name, head.metrics(kept(predictions, held_out.targets)))
