"""What a person sees of a thermal picture."""

from typing import NamedTuple

import numpy as np

from experiments.pages.elements import fitting, picture
from experiments.pages.encodings import picture_data


class Thermal(NamedTuple):
  """A thermal picture.

  Attributes:
    kelvin: float32 `[H, W]`.
  """

  kelvin: np.ndarray


def greys(view: Thermal) -> np.ndarray:
  """Returns the coldest as black, the hottest as white: uint8 `[H, W, 3]`."""
  coldest, hottest = view.kelvin.min(), view.kelvin.max()
  levels = (view.kelvin - coldest) / max(hottest - coldest, 1e-6)
  return np.repeat(np.rint(255 * levels).astype(np.uint8)[..., None], 3, -1)


def thermal_html(view: Thermal) -> str:
  """Returns the picture and its temperatures."""
  pixels = fitting(greys(view))
  celsius = view.kelvin - 273.15
  shown = picture(picture_data(pixels), pixels.shape)
  return f'{shown}<p>{celsius.min():.1f} to {celsius.max():.1f} °C</p>'
