"""Attention drawn over events: behind them, from each time to the next."""

import importlib.resources
from collections.abc import Mapping
from typing import Any

import numpy as np

from experiments.data.modality import (
  Attended,
  AttentionDrawing,
  Cells,
  Panel,
  cannot_draw,
)
from experiments.modalities.events.view import in_words, lanes, shares
from experiments.pages.attention_colours import overlay

_SIZE = 4.2, 1.6  # In inches.
_MOST_CELLS = 256
_POINT = (0.92, 0.92, 0.96)


def _cells(
  grid_shape: tuple[int, ...], example: Mapping[str, Any], num_inputs: int
) -> Cells:
  """Returns a cell for each time, or for several times in a row.

  Its label is where it begins, as a share of what all events span; padding
  belongs to the last.
  """
  time = np.asarray(example['events']['time'], np.float64)[:num_inputs]
  starts = np.flatnonzero(np.diff(time, prepend=-np.inf) > 0)
  if len(starts) > _MOST_CELLS:
    chosen = np.linspace(0, len(starts), _MOST_CELLS, endpoint=False)
    starts = starts[chosen.astype(int)]
  at = shares(time)
  # Halfway from the time before.
  begins = [0.0, *((at[starts[1:]] + at[starts[1:] - 1]) / 2.0)]
  return Cells(grid_shape, (tuple(starts.tolist()),), begins)


def _page(attended: Attended) -> dict[str, Any]:
  view = _checked(attended)
  return {
    'kind': 'events',
    'begins': [round(float(begin), 5) for begin in attended.labels],
    'places': [
      in_words(float(time - view.time[-1]))
      for time in view.time[0] + np.array(attended.labels) * np.ptp(view.time)
    ],
    'lanes': [
      {
        'name': name,
        'x': np.round(times, 4).tolist(),
        'y': np.round(values, 3).tolist(),
      }
      for name, times, values in lanes(view)
    ],
  }


def _panel(attended: Attended) -> tuple[Panel, tuple[float, float]]:
  view = _checked(attended)
  edges = np.array([*attended.labels, 1.0])

  def draw(axes: Any, levels: np.ndarray) -> None:
    found = lanes(view)
    axes.set_facecolor('black')
    colours = overlay(levels)
    axes.bar(
      edges[:-1],
      len(found),
      width=np.diff(edges),
      align='edge',
      color=np.asarray(colours),
      linewidth=0,
    )
    for i, (_, times, values) in enumerate(found):
      height = len(found) - i - 0.95 + 0.9 * values
      axes.plot(times, height, '.', color=_POINT, markersize=2.5)
    axes.set(xlim=(0, 1), ylim=(0, len(found)))

  return draw, _SIZE


def _checked(attended: Attended) -> Any:
  if len(attended.cells) != 1 or attended.labels is None:
    raise cannot_draw(attended)
  return attended.view


OVER_EVENTS = AttentionDrawing(
  _page,
  (
    importlib.resources.files('experiments.modalities.events') / 'attention.js',
  ),
  _panel,
  _cells,
)
