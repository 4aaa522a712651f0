"""What a person sees of a video."""

from typing import NamedTuple

import numpy as np

from experiments.pages.elements import fitting, picture
from experiments.pages.encodings import moving_data


class Video(NamedTuple):
  """Frames that follow each other.

  Attributes:
    frames: uint8 RGB `[T, H, W, 3]`.
    rate: frames a second.
  """

  frames: np.ndarray
  rate: float


def video_html(view: Video) -> str:
  """Returns a picture that moves, again and again."""
  frames = [fitting(frame) for frame in view.frames]
  return picture(moving_data(frames, view.rate), frames[0].shape)
