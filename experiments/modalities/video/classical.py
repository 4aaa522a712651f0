"""Classical features of a film: its mean frame, and how much changes where."""

import numpy as np

from experiments.data.classical import Classical, support_vectors
from experiments.modalities.images.classical import picture_features, shrunk
from experiments.modalities.video.view import Video


def film_features(view: Video) -> np.ndarray:
  """Returns features of the mean frame, and how much changes where.

  Args:
    view: of an example.
  """
  frames = np.asarray(view.frames, np.float32)
  changes = np.abs(np.diff(frames, axis=0)).mean(axis=0)
  return np.concatenate(
    [
      picture_features(frames.mean(axis=0)),
      shrunk(changes, 8).reshape(-1) / 255,
    ]
  )


CHANGES = Classical(
  'colours, oriented gradients and changes, support vectors',
  film_features,
  support_vectors,
)
