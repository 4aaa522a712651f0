"""Answers of models as elements of a page, each with a name."""

import functools
import html
from typing import NamedTuple

import numpy as np

from experiments.answers.kinds import (
  Answer,
  Classes,
  FilledText,
  Flow,
  Judgements,
  Reconstruction,
)
from experiments.modalities.frames.colours import flow_colours
from experiments.modalities.images.view import Image
from experiments.modalities.senses import html_of
from experiments.pages.axes import number
from experiments.pages.tables import Html, bar, table

_TOP = 3
_TOP_BYTES = 3


class Panel(NamedTuple):
  """A part of what is shown of an example.

  Attributes:
    name: such as 'Second frame'.
    body: of the element.
  """

  name: str
  body: Html


@functools.singledispatch
def panels_of(answer: Answer) -> list[Panel]:
  """Returns what shows an answer.

  Args:
    answer: of a model.
  """
  raise TypeError(f'An answer of type {type(answer).__name__} has no panels.')


@panels_of.register
def _(answer: Classes) -> list[Panel]:
  rows = [
    (name, bar(probability, f'{probability:.1%}'))
    for name, probability in answer.top(_TOP)
  ]
  return [Panel('Model', table(('class', 'probability'), rows, numbers=False))]


@panels_of.register
def _(answer: Judgements) -> list[Panel]:
  panels = [
    panel._replace(name=task)
    for task, classes in answer.classes.items()
    for panel in panels_of(classes)
  ]
  values = [
    Panel(task, Html(html.escape(number(value))))
    for task, value in answer.values.items()
  ]
  return panels + values


@panels_of.register
def _(answer: FilledText) -> list[Panel]:
  pieces, at = [], 0
  for blank in answer.blanks:
    pieces.append(html.escape(answer.text[at : blank.start]))
    told = html.escape(_choices(blank.top(_TOP_BYTES)))
    filled = html.escape(answer.text[blank.start : blank.end])
    pieces.append(f'<mark title="{told}">{filled}</mark>')
    at = blank.end
  pieces.append(html.escape(answer.text[at:]))
  text = ''.join(pieces).replace('\0', '\ufffd')
  return [Panel('Filled in', Html(f'<pre class="text">{text}</pre>'))]


@panels_of.register
def _(answer: Flow) -> list[Panel]:
  first, second = answer.frames
  return [
    Panel('First frame', Html(html_of(Image(first)))),
    Panel('Second frame', Html(html_of(Image(second)))),
    motion_panel('Estimated motion', answer.flow),
  ]


@panels_of.register
def _(answer: Reconstruction) -> list[Panel]:
  panels = []
  for name, original in answer.original.items():
    title = name.capitalize()
    panels.append(Panel(f'{title}: original', Html(html_of(original))))
    if name in answer.reconstruction:
      decibels = answer.decibels.get(name)
      told = '' if decibels is None else f', {decibels:.1f} dB'
      made = Html(html_of(answer.reconstruction[name]))
      panels.append(Panel(f'{title}: reconstruction{told}', made))
  if answer.classes is not None:
    panels += panels_of(answer.classes)
  return panels


def motion_panel(
  name: str,
  flow: np.ndarray,
  *,
  max_motion: float | None = None,
  valid: np.ndarray | None = None,
) -> Panel:
  """Returns flow as colours; see `flow_colours`.

  Args:
    name: of the panel.
    flow: `[H, W, 2]` in pixels.
    max_motion: of full colour, in pixels; None for the fastest that there is.
    valid: bool `[H, W]`, where flow is known; None for everywhere.
  """
  if max_motion is None:
    max_motion = float(np.linalg.norm(flow, axis=-1).max())
  colours = flow_colours(flow, max_motion=max(max_motion, 1e-6), valid=valid)
  return Panel(name, Html(html_of(Image(colours))))


def _choices(top: list[list[tuple[int, float]]]) -> str:
  """The likeliest values of each byte, in words."""
  return '; '.join(
    ', '.join(f'{_character(value)} {share:.0%}' for value, share in choices)
    for choices in top
  )


def _character(value: int) -> str:
  is_seen = 0x20 < value < 0x7F
  return chr(value) if is_seen else f'0x{value:02x}'
