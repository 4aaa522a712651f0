"""Classes of the steps of a sequence as a strip of colours."""

import itertools
from collections.abc import Sequence

import numpy as np

from experiments.pages.class_colours import hex_colour
from experiments.pages.elements import WIDTH, drawing
from experiments.pages.tables import Html

_HEIGHT = 14


def runs_of(classes: np.ndarray) -> list[tuple[int, int, int]]:
  """Returns the first step, the step behind the last, and the class of runs.

  Args:
    classes: int `[n]`.
  """
  starts = np.flatnonzero(np.diff(classes)) + 1 if len(classes) else []
  ends = [0, *starts, len(classes)]
  return [
    (int(start), int(end), int(classes[start]))
    for start, end in itertools.pairwise(ends)
    if end > start
  ]


def strip_html(
  classes: np.ndarray, names: Sequence[str], colours: np.ndarray
) -> Html:
  """Returns a strip as wide as drawings are; needs no style sheet.

  Args:
    classes: int `[n]`; steps below 0 are left out.
    names: of the classes.
    colours: of each, uint8 `[classes, 3]`.
  """
  scale = WIDTH / max(len(classes), 1)
  runs = runs_of(classes)
  drawn = ''.join(
    f'<rect x="{start * scale:.1f}" width="{(end - start) * scale:.1f}" '
    f'height="{_HEIGHT}" fill="{hex_colour(colours[which])}"/>'
    for start, end, which in runs
    if which >= 0
  )
  there = sorted({names[which] for _, _, which in runs if which >= 0})
  return Html(drawing(_HEIGHT, drawn, f'{len(classes):,}: {", ".join(there)}'))
