"""TFDS features as we store them."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow_datasets as tfds


def array_feature(
  shape: Sequence[int | None], dtype: Any
) -> tfds.features.Tensor:
  """Returns the feature of an array, stored as its bytes.

  Otherwise TFDS writes a list of numbers: 5,000 digits take five times as long
  to prepare, and a video takes seconds.

  Args:
    shape: None where examples differ.
    dtype: of numpy.
  """
  return tfds.features.Tensor(
    shape=shape, dtype=dtype, encoding=tfds.features.Encoding.BYTES
  )


def bytes_feature() -> tfds.features.Tensor:
  """Returns the feature of bytes, of any number."""
  return tfds.features.Tensor(shape=(), dtype=np.object_)
