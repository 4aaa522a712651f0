"""What a model says of a person's file, in words that fit the task."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from experiments.data.modality import View


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
  """What a model puts in the place of masked bytes that follow each other.

  Attributes:
    start: character of the filled text where it begins.
    end: character after its last.
    probabilities: float `[n, 256]`, of the values of each of its bytes.
  """

  start: int
  end: int
  probabilities: np.ndarray

  def top(self, k: int) -> list[list[tuple[int, float]]]:
    """Returns, for each byte, the k likeliest with their probabilities."""
    orders = np.argsort(-self.probabilities, axis=-1, kind='stable')[:, :k]
    return [
      [(int(value), float(each[value])) for value in order]
      for each, order in zip(self.probabilities, orders, strict=True)
    ]


class FilledText(NamedTuple):
  """A text whose masked bytes are filled in, each with its likeliest value.

  Attributes:
    text: as filled in; U+FFFD where the bytes of a blank are not UTF-8.
    blanks: that were filled in, in order.
  """

  text: str
  blanks: Sequence[Blank]


class Judgements(NamedTuple):
  """What a model says of a text, or of a pair of texts, task by task.

  Attributes:
    classes: of tasks that choose a class.
    values: of tasks that give a number.
  """

  classes: Mapping[str, Classes]
  values: Mapping[str, float]


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
    decibels: peak signal-to-noise ratio of each modality, see
      `autoencoding.reconstruction_psnr`.
    classes: of the whole, where the model tells them.
  """

  original: Mapping[str, View]
  reconstruction: Mapping[str, View]
  decibels: Mapping[str, float]
  classes: Classes | None = None


Answer = Classes | FilledText | Judgements | Flow | Reconstruction
