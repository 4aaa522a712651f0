"""What a model says of the elements of a sequence."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np


class StepClasses(NamedTuple):
  """The class of each step of a series.

  Attributes:
    names: of the classes.
    classes: int32 `[T]`.
    series: float64 `[T, C]`, in the units of its file.
  """

  names: Sequence[str]
  classes: np.ndarray
  series: np.ndarray


class StepNumbers(NamedTuple):
  """A number for each step of a series.

  Attributes:
    numbers: float64 `[T]`.
    spread: what counts as much.
    series: float64 `[T, C]`, in the units of its file.
  """

  numbers: np.ndarray
  spread: float
  series: np.ndarray


class Span(NamedTuple):
  """A part of a text.

  Attributes:
    start: its first character.
    end: the character behind its last.
    which: number of its class.
  """

  start: int
  end: int
  which: int


class TextSpans(NamedTuple):
  """The parts of a text that have a class.

  Attributes:
    names: of the classes; the first is that of what lies in no part.
    text: as the model read it.
    spans: in order.
  """

  names: Sequence[str]
  text: str
  spans: Sequence[Span]
