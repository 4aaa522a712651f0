"""How far values go together, in themselves or in their order."""

import numpy as np


def pearson(predictions: np.ndarray, labels: np.ndarray) -> float:
  """Returns Pearson's correlation of values `[n]`; 0 where one is constant."""
  x, y = (
    np.asarray(values, np.float64) - np.mean(values, dtype=np.float64)
    for values in (predictions, labels)
  )
  scale = np.sqrt((x @ x) * (y @ y))
  return float(x @ y / scale) if scale else 0.0


def spearman(predictions: np.ndarray, labels: np.ndarray) -> float:
  """Returns Spearman's correlation of values `[n]`: Pearson's of ranks."""
  return pearson(ranks(predictions), ranks(labels))


def ranks(values: np.ndarray) -> np.ndarray:
  """Returns ranks `[n]`, from 1; equal values share the mean of theirs."""
  _, inverse, counts = np.unique(
    values, return_inverse=True, return_counts=True
  )
  return (counts.cumsum() - (counts - 1) / 2)[inverse]
