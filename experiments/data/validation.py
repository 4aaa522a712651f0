"""A share of the training examples that chooses the best checkpoint."""

from collections.abc import Sequence

import numpy as np


def hold_out(
  labels: Sequence[int], share: float, seed: int
) -> tuple[np.ndarray, np.ndarray]:
  """Draws a share of each class.

  Args:
    labels: of the training examples.
    share: of each class, to the nearest whole number of examples: a class of
      few examples gives none, and none gives its last one.
    seed: of the choice.

  Returns:
    Numbers of the examples that are kept for training, and of those that are
    held out, in order.

  Raises:
    ValueError: the share is out of its range.
  """
  if not 0.0 <= share < 1.0:
    raise ValueError(
      f'data.validation_share must be in [0, 1), got {share}. 0 draws none.'
    )
  labels = np.asarray(labels)
  order = np.random.default_rng(seed).permutation(len(labels))
  is_held_out = np.zeros(len(labels), bool)
  for label in np.unique(labels):
    of_class = order[labels[order] == label]
    count = min(round(share * len(of_class)), len(of_class) - 1)
    is_held_out[of_class[:count]] = True
  return np.flatnonzero(~is_held_out), np.flatnonzero(is_held_out)
