"""What a person sees of an image."""

from typing import NamedTuple

import numpy as np

from experiments.pages.elements import fitting, picture
from experiments.pages.encodings import picture_data


class Image(NamedTuple):
  """A picture.

  Attributes:
    pixels: uint8 RGB `[H, W, 3]`.
  """

  pixels: np.ndarray


def to_pixels(values: np.ndarray) -> np.ndarray:
  """Returns values in [0, 1], `[..., 1]` or `[..., 3]`, as uint8 RGB."""
  pixels = np.rint(np.clip(values, 0.0, 1.0) * 255).astype(np.uint8)
  return np.broadcast_to(pixels, (*pixels.shape[:-1], 3))


def image_html(view: Image) -> str:
  """Returns an element that shows it."""
  pixels = fitting(view.pixels)
  return picture(picture_data(pixels), pixels.shape)
