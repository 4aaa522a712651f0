"""Masks as lines, as JSON, as pictures; the record of such answers."""

import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from experiments.answers.answer import Answer, Panel
from experiments.answers.elements import UNKNOWN
from experiments.answers.masks.value import Mask
from experiments.modalities.images.view import Image
from experiments.modalities.senses import html_of
from experiments.pages.class_colours import class_colours, legend
from experiments.pages.pictures import enlarged, write_numbers, write_picture
from experiments.pages.tables import Html

_BAR_WIDTH = 30
_OPACITY = 0.5
# Pictures that are written have at least so many pixels a side.
_LEAST_SIDE = 256
_UNKNOWN_COLOUR = 255


def lines_of(answer: Mask, top: int) -> list[str]:
  """Returns a line for each of the classes with the largest shares."""
  shares = _largest(answer, top)
  width = max(len(name) for name, _ in shares)
  return [
    f'{share:6.1%}  {name:{width}}  {"█" * round(_BAR_WIDTH * share)}'.rstrip()
    for name, share in shares
  ]


def json_of(answer: Mask, top: int) -> dict[str, Any]:
  """Returns shares of classes, and the mask as runs.

  Runs are pairs of a number, as masks in files have them, and of how many
  pixels follow each other with it, row by row.
  """
  flat = np.asarray(answer.numbers)[answer.classes].ravel()
  starts = np.flatnonzero(np.diff(flat, prepend=-1))
  lengths = np.diff(starts, append=flat.size)
  return {
    'shares': dict(_largest(answer, top)),
    'size': list(answer.classes.shape),
    'runs': np.stack([flat[starts], lengths], axis=1).tolist(),
  }


def _largest(answer: Mask, top: int) -> list[tuple[str, float]]:
  """The classes with the largest shares, of those that are there."""
  shares = answer.shares()
  order = np.argsort(-shares, kind='stable')[:top]
  return [(answer.names[i], float(shares[i])) for i in order if shares[i]]


def panels_of(answer: Mask) -> list[Panel]:
  """Returns the mask in colours, and drawn over the image."""
  return [
    Panel('Mask', coloured(answer.names, answer.plain, answer.classes)),
    Panel('Over the image', Html(html_of(Image(overlay(answer))))),
  ]


def overlay(answer: Mask) -> np.ndarray:
  """Returns the image with its classes in colours, uint8 `[S, S, 3]`."""
  colours = class_colours(len(answer.names), answer.plain)[answer.classes]
  mixed = _OPACITY * colours + (1 - _OPACITY) * answer.image
  shown = (answer.classes != answer.plain)[..., None]
  return np.where(shown, np.rint(mixed), answer.image).astype(np.uint8)


def coloured(names: Sequence[str], plain: int, classes: np.ndarray) -> Html:
  """Returns classes in colours, and which they are; white for unknown ones.

  Args:
    names: of all classes.
    plain: see `Mask`.
    classes: int `[H, W]`.
  """
  colours = class_colours(len(names), plain)
  known = classes != UNKNOWN
  pixels = np.where(known[..., None], colours[classes], _UNKNOWN_COLOUR)
  there = np.unique(classes[known])
  body = html_of(Image(pixels.astype(np.uint8)))
  return Html(body + legend([names[i] for i in there], colours[there]))


def write(answer: Mask, folder: pathlib.Path, name: str) -> list[pathlib.Path]:
  """Writes the numbers of the classes, and the mask over the image."""
  folder.mkdir(parents=True, exist_ok=True)
  numbers, over = folder / f'{name}.png', folder / f'{name}_overlay.png'
  write_numbers(np.asarray(answer.numbers)[answer.classes], numbers)
  factor = -(-_LEAST_SIDE // len(answer.classes))
  write_picture(enlarged(overlay(answer), factor), over)
  return [numbers, over]


MASKS = Answer(
  purpose='segmentation',
  outputs='Logits of the classes of pixels, for each cell of the image in '
  'row-major order those of its pixels, in row-major order, one after the '
  'other: softmax makes probabilities of them.',
  lines=lines_of,
  json=json_of,
  panels=panels_of,
  higher=('iou', 'accuracy'),
  write=write,
)
