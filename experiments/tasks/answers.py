"""What a model says of a person's file, in words that fit the task."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from experiments.data.views import View


class Classes(NamedTuple):
  """Probabilities of classes.

  Attributes:
    names: of all classes, `n` of them.
    probabilities: float `[n]`; they sum to 1 where exactly one class is there.
  """

  names: tuple[str, ...]
  probabilities: np.ndarray

  def top(self, k: int) -> list[tuple[str, float]]:
    """Returns the k likeliest classes with their probabilities."""
    order = np.argsort(-self.probabilities, kind='stable')[:k]
    return [(self.names[i], float(self.probabilities[i])) for i in order]


class Blank(NamedTuple):
  """What a model puts in the place of a mask.

  Attributes:
    start: byte of the text where it begins.
    end: byte after its last.
    choices: for each byte, the likeliest characters with their probabilities.
  """

  start: int
  end: int
  choices: Sequence[Sequence[tuple[str, float]]]


class FilledText(NamedTuple):
  """A text whose masked bytes are filled in.

  Attributes:
    text: as filled in.
    blanks: that were filled in, in order.
  """

  text: str
  blanks: Sequence[Blank]


class Flow(NamedTuple):
  """The motion from one frame to the next.

  Attributes:
    frames: uint8 RGB `[2, H, W, 3]`.
    flow: float32 `[H, W, 2]`: how far each pixel of the first goes to the right
      and down, in pixels.
  """

  frames: np.ndarray
  flow: np.ndarray


class Reconstruction(NamedTuple):
  """What an autoencoder makes of its inputs.

  Attributes:
    original: views of the inputs, by modality.
    reconstruction: the same as the model made them.
    classes: of the whole, where the model tells them.
  """

  original: Mapping[str, View]
  reconstruction: Mapping[str, View]
  classes: Classes | None


Answer = Classes | FilledText | Flow | Reconstruction
