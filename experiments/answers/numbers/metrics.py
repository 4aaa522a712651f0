"""How far numbers are from those that are true.

Shapes: n examples, O numbers of each, in units of the column.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from experiments.answers.correlations import spearman


class Errors(NamedTuple):
  """Of one number, over all examples.

  Attributes:
    mae: mean absolute error.
    rmse: root of the mean squared error.
    r2: share of the variance that is predicted: 1 is all, 0 that of the mean
      of these examples; NaN where they all have the same number.
    spearman: correlation of the ranks; 0 where either is constant.
  """

  mae: float
  rmse: float
  r2: float
  spearman: float


def errors_of(numbers: np.ndarray, predicted: np.ndarray) -> Errors:
  """Returns what predictions `[n]` of numbers `[n]` come to."""
  errors = predicted - numbers
  squares = float(np.square(errors).sum())
  around = float(np.square(numbers - numbers.mean()).sum())
  return Errors(
    mae=float(np.abs(errors).mean()),
    rmse=float(np.sqrt(squares / len(errors))),
    r2=1.0 - squares / around if np.ptp(numbers) else float('nan'),
    spearman=spearman(predicted, numbers),
  )


def mean_errors(each: Sequence[Errors]) -> Errors:
  """Returns the means over numbers, of r2 over those that have one."""
  with_r2 = [errors.r2 for errors in each if not np.isnan(errors.r2)]
  means = Errors(*(float(np.mean(x)) for x in zip(*each, strict=True)))
  return means._replace(r2=float(np.mean(with_r2)) if with_r2 else np.nan)


def coverage(numbers: np.ndarray, low: np.ndarray, high: np.ndarray) -> float:
  """Returns the share of numbers `[n, O]` from `low` to `high`, both in it."""
  return float(np.mean((low <= numbers) & (numbers <= high)))
