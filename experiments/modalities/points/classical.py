"""Classical features of a shape: histograms of distances, and its size."""

from collections.abc import Sequence

import numpy as np

from experiments.data.classical import Classical, trees
from experiments.modalities.points.view import Points

_DISTANCES = 20_000
_BINS = 20


def shape_histograms(view: Points) -> np.ndarray:
  """Returns histograms of distances and heights, spreads and extents.

  Args:
    view: of an example.
  """
  points = np.asarray(view.coordinates, np.float64)
  points = points - points.mean(axis=0)
  rng = np.random.default_rng(0)
  first, second = rng.integers(len(points), size=(2, _DISTANCES))
  distances = np.linalg.norm(points[first] - points[second], axis=1)
  radii = np.linalg.norm(points, axis=1)
  around = np.hypot(points[:, 0], points[:, 2])
  spreads = np.linalg.eigvalsh(np.cov(points.T))
  extents = np.ptp(points, axis=0)
  height = points[:, 1] / max(np.abs(points[:, 1]).max(), 1e-9)
  return np.concatenate(
    [
      *(_shares(x / max(x.mean(), 1e-9), 0, 3) for x in (distances, radii)),
      _shares(around / max(around.mean(), 1e-9), 0, 3),
      _shares(height, -1, 1),
      *(extents, spreads, spreads / max(spreads.sum(), 1e-9)),
      *(np.log(view.scale * extents + 1e-9), [np.log(view.scale)]),
    ]
  )


def _shares(values: Sequence[float], low: float, high: float) -> np.ndarray:
  return np.histogram(values, _BINS, (low, high))[0] / len(values)


HISTOGRAMS = Classical('histograms of shape, trees', shape_histograms, trees)
