"""The class of each pixel of an image."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np


class Mask(NamedTuple):
  """The class of each pixel of an image.

  Attributes:
    names: of the classes.
    numbers: that masks in files have for them, in the same order.
    classes: int32 `[S, S]`, which of them each pixel is.
    plain: the class that is not drawn, such as the background.
    image: uint8 RGB `[S, S, 3]`.
  """

  names: Sequence[str]
  numbers: Sequence[int]
  classes: np.ndarray
  plain: int
  image: np.ndarray

  def shares(self) -> np.ndarray:
    """Returns the share of each class in the pixels, float64 `[C]`."""
    counts = np.bincount(self.classes.ravel(), minlength=len(self.names))
    return counts / self.classes.size
