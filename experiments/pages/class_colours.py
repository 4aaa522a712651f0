"""Colours of classes, which can be told apart on white and on black."""

import colorsys
import html
from collections.abc import Sequence

import numpy as np

from experiments.pages.tables import Html

# Of neighbours, so that they lie far apart however many there are.
_TURN = (5**0.5 - 1) / 2
_FIRST = 0.6
# The second ring of colours is darker, the third lighter.
_LIGHTNESS = (0.55, 0.4, 0.7)
_RING = 8


def class_colours(count: int, plain: int | None = None) -> np.ndarray:
  """Returns a colour for each class, uint8 `[count, 3]`.

  Args:
    count: of classes.
    plain: number of the class that is grey, such as the background.
  """
  colours = []
  for number in range(count):
    lightness = _LIGHTNESS[number // _RING % len(_LIGHTNESS)]
    hue = (_FIRST + number * _TURN) % 1.0
    colours.append(colorsys.hls_to_rgb(hue, lightness, 0.65))
  colours = np.rint(255 * np.array(colours)).astype(np.uint8).reshape(-1, 3)
  if plain is not None:
    colours[plain] = 128
  return colours


def hex_colour(colour: np.ndarray) -> str:
  """Returns RGB `[3]` as a page has it, such as #80ff00."""
  return '#' + bytes(colour.tolist()).hex()


def legend(names: Sequence[str], colours: np.ndarray) -> Html:
  """Returns the names of classes beside their colours; needs no style sheet.

  Args:
    names: of the classes.
    colours: of each, uint8 `[classes, 3]`.
  """
  return Html(
    '<div style="display:flex;flex-wrap:wrap;gap:0 14px;font-size:13px">'
    + ''.join(
      '<span><i style="display:inline-block;width:10px;height:10px;'
      f'margin-right:5px;border-radius:3px;background:{hex_colour(colour)}">'
      f'</i>{html.escape(name)}</span>'
      for name, colour in zip(names, colours, strict=True)
    )
    + '</div>'
  )
