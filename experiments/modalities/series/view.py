"""What a person sees of measurements over time."""

from typing import NamedTuple

import numpy as np

from experiments.pages.elements import WIDTH, drawing

_HEIGHT = 120
_MOST_COLUMNS = 400
# Colours that can be told apart on white and on black.
_COLOURS = ('#3b82f6', '#e08a1e', '#2aa876', '#c45fb4', '#d9534f')


class Series(NamedTuple):
  """Measurements over time.

  Attributes:
    values: float32 `[T, C]`, in the data's own units.
    rate: rows a second; None where it is not known.
  """

  values: np.ndarray
  rate: float | None


def series_html(view: Series) -> str:
  """Returns a line for each channel, on one scale."""
  values = np.asarray(view.values, np.float64)
  low, high = np.nanmin(values), np.nanmax(values)
  scale = (_HEIGHT - 4) / max(high - low, 1e-12)
  lines = []
  for i, channel in enumerate(_shortened(values).T):
    x = np.linspace(0, WIDTH, len(channel))
    points = ' '.join(
      f'{at:.1f},{_HEIGHT - 2 - (value - low) * scale:.1f}'
      for at, value in zip(x, channel, strict=True)
      if np.isfinite(value)
    )
    lines.append(
      f'<polyline points="{points}" fill="none" '
      f'stroke="{_COLOURS[i % len(_COLOURS)]}" stroke-width="1.2"/>'
    )
  seconds = f'{len(values) / view.rate:.3g} s, ' if view.rate else ''
  label = (
    f'{len(values):,} steps, {seconds}from {low:.4g} to {high:.4g}; '
    f'{values.shape[1]} channel(s)'
  )
  return drawing(_HEIGHT, ''.join(lines), label)


def _shortened(values: np.ndarray) -> np.ndarray:
  """Means of neighbouring rows, of a series longer than can be seen."""
  if len(values) <= _MOST_COLUMNS:
    return values
  starts = np.linspace(0, len(values), _MOST_COLUMNS, endpoint=False)
  starts = starts.astype(int)
  counts = np.diff(starts, append=len(values))
  return np.add.reduceat(values, starts, axis=0) / counts[:, None]
