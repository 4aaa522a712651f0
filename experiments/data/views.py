"""What a person sees or hears of an example: plain arrays, not yet drawn.

Examples hold what a model takes, normalised; views undo that.
"""

from typing import NamedTuple

import numpy as np


class Image(NamedTuple):
  """A picture.

  Attributes:
    pixels: uint8 RGB `[H, W, 3]`.
  """

  pixels: np.ndarray


class Sound(NamedTuple):
  """A sound of one channel.

  Attributes:
    samples: float32 `[T]` in [-1, 1].
    rate: samples a second.
  """

  samples: np.ndarray
  rate: float


class Video(NamedTuple):
  """Frames that follow each other.

  Attributes:
    frames: uint8 RGB `[T, H, W, 3]`.
    rate: frames a second.
  """

  frames: np.ndarray
  rate: float


class Points(NamedTuple):
  """Points of a surface.

  Attributes:
    coordinates: float32 `[N, 3]`, in no unit.
  """

  coordinates: np.ndarray


class Text(NamedTuple):
  """A text.

  Attributes:
    data: UTF-8; a crop may begin and end inside a character.
  """

  data: bytes


class Series(NamedTuple):
  """Measurements over time.

  Attributes:
    values: float32 `[T, C]`, in the data's own units.
    rate: rows a second; None where it is not known.
  """

  values: np.ndarray
  rate: float | None


View = Image | Sound | Video | Points | Text | Series


def to_pixels(values: np.ndarray) -> np.ndarray:
  """Returns values in [0, 1], `[..., 1]` or `[..., 3]`, as uint8 RGB."""
  pixels = np.rint(np.clip(values, 0.0, 1.0) * 255).astype(np.uint8)
  return np.broadcast_to(pixels, (*pixels.shape[:-1], 3))


def to_samples(values: np.ndarray) -> np.ndarray:
  """Returns `[T]` sound of any size, its loudest sample at most 1."""
  values = np.asarray(values, np.float32).reshape(-1)
  return values / max(1.0, float(np.abs(values).max(initial=0.0)))
