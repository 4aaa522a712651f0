"""Curves that were predicted, as drawings that need no style sheet."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from experiments.pages.axes import number
from experiments.pages.class_colours import class_colours, hex_colour, legend
from experiments.pages.elements import WIDTH, drawing
from experiments.pages.tables import Html

_HEIGHT = 130
_EDGE = 4
_COLOURS = class_colours(2)
_GREY = np.array([128, 128, 128], np.uint8)


class Curve(NamedTuple):
  """A part of a drawing.

  Attributes:
    name: for the legend.
    values: float `[n]`.
    start: step of the first, from 0.
    colour: uint8 RGB `[3]`.
  """

  name: str
  values: np.ndarray
  start: int
  colour: np.ndarray


def before(values: np.ndarray) -> Curve:
  """Returns what was before, float `[n]`, in grey."""
  return Curve('before', values, 0, _GREY)


def predicted(values: np.ndarray, start: int = 0) -> Curve:
  """Returns what a model says, float `[n]`, from a step on."""
  return Curve('model', values, start, _COLOURS[0])


def true(values: np.ndarray, start: int = 0) -> Curve:
  """Returns what is so, float `[n]`, from a step on; not known where NaN."""
  return Curve('true', values, start, _COLOURS[1])


def curves_html(
  curves: Sequence[Curve],
  band: tuple[np.ndarray, np.ndarray, int] | None = None,
) -> Html:
  """Returns curves on common axes, with a legend.

  Args:
    curves: at least one.
    band: lower and upper ends `[n]` of an interval about what is predicted, and
      the step where it begins; None for none.
  """
  ends = [] if band is None else list(band[:2])
  values = np.concatenate([*(curve.values for curve in curves), *ends])
  low, high = float(np.nanmin(values)), float(np.nanmax(values))
  last = max(1, *(curve.start + len(curve.values) - 1 for curve in curves))

  def places(values: np.ndarray, start: int) -> list[str]:
    scale = (_HEIGHT - 2 * _EDGE) / max(high - low, 1e-12)
    return [
      f'{(start + i) * WIDTH / last:.1f},'
      f'{_HEIGHT - _EDGE - (value - low) * scale:.1f}'
      for i, value in enumerate(values)
      if np.isfinite(value)
    ]

  drawn = ''
  if band is not None:
    below, above, start = band
    outline = [*places(below, start), *reversed(places(above, start))]
    drawn += (
      f'<polygon points="{" ".join(outline)}" '
      f'fill="{hex_colour(_COLOURS[0])}" fill-opacity="0.2"/>'
    )
  drawn += ''.join(
    f'<polyline points="{" ".join(places(curve.values, curve.start))}" '
    f'fill="none" stroke="{hex_colour(curve.colour)}" stroke-width="1.5"/>'
    for curve in curves
  )
  label = f'{last + 1:,} steps, from {number(low)} to {number(high)}'
  names = [curve.name for curve in curves]
  colours = np.stack([curve.colour for curve in curves])
  return Html(drawing(_HEIGHT, drawn, label) + legend(names, colours))
