"""The senses: everything else asks here, and has no list of its own."""

from collections.abc import Callable
from typing import Any

from experiments.data.modality import ColumnKind, Modality, View
from experiments.modalities.cells.record import CELLS
from experiments.modalities.events.record import EVENTS
from experiments.modalities.images.record import IMAGES
from experiments.modalities.points.record import POINTS
from experiments.modalities.series.record import SERIES
from experiments.modalities.sound.record import SOUNDS
from experiments.modalities.text.record import TEXTS
from experiments.modalities.video.record import VIDEOS

_senses: list[Modality] = [
  *(IMAGES, SOUNDS, VIDEOS, POINTS, TEXTS, SERIES, EVENTS, CELLS)
]


def register(sense: Modality) -> None:
  """Adds a sense of somebody's own, before a command runs.

  Args:
    sense: its record.

  Raises:
    ValueError: a view, a preprocessor, a folder or a kind of columns of that
      name is there.
  """
  if any(sense.view is each.view for each in _senses):
    raise ValueError(f'There is a sense of {sense.view.__name__} already.')
  for kind, known in (
    ('preprocessors', preprocessors()),
    ('folders', folders()),
    ('columns', columns()),
  ):
    taken = sorted(getattr(sense, kind).keys() & known.keys())
    if taken:
      raise ValueError(f'The names {taken} of {kind} are taken: choose others.')
  _senses.append(sense)


def sense_of(view: View) -> Modality:
  """Returns the sense of a view.

  Args:
    view: of an example.

  Raises:
    TypeError: it belongs to none.
  """
  for sense in _senses:
    if isinstance(view, sense.view):
      return sense
  raise TypeError(
    f'A view of type {type(view).__name__} belongs to no sense; see `register`.'
  )


def html_of(view: View) -> str:
  """Returns an element of a page that shows a view, or plays it."""
  return sense_of(view).html(view)


def preprocessors() -> dict[str, Callable[..., Any]]:
  """Returns constructors of preprocessors by the names that configs give."""
  return {
    name: each
    for sense in _senses
    for name, each in sense.preprocessors.items()
  }


def folders() -> dict[str, Callable[..., Any]]:
  """Returns data sets of people's own files by the names that configs give."""
  return {
    name: each for sense in _senses for name, each in sense.folders.items()
  }


def columns() -> dict[str, ColumnKind]:
  """Returns kinds of columns of a table by the names that people give them."""
  return {
    name: each for sense in _senses for name, each in sense.columns.items()
  }
