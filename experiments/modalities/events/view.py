"""What a person sees of events."""

from typing import NamedTuple

import numpy as np

from experiments.pages.elements import WIDTH, drawing

_LANE, _LEAST_HEIGHT = 24, 120
_MOST_LANES = 12
# Colours that can be told apart on white and on black.
_COLOURS = ('#3b82f6', '#e08a1e', '#2aa876', '#c45fb4', '#d9534f')
# The longest unit of which there are two is taken.
_UNITS = (
  ('years', 365.25 * 86_400.0),
  ('days', 86_400.0),
  ('hours', 3600.0),
  ('minutes', 60.0),
  ('seconds', 1.0),
  ('ms', 1e-3),
  ('µs', 1e-6),
)


class Events(NamedTuple):
  """Values of channels at any times.

  Attributes:
    time: float64 `[E]`, seconds, rising.
    channel: int32 `[E]`, numbers of names.
    value: float64 `[E]`, in the data's own units.
    names: of the channels.
  """

  time: np.ndarray
  channel: np.ndarray
  value: np.ndarray
  names: tuple[str, ...]


def in_words(seconds: float) -> str:
  """Returns a time as people say it, such as '36 hours'."""
  for name, size in _UNITS:
    if abs(seconds) >= 2.0 * size:
      return f'{seconds / size:.3g} {name}'
  return f'{seconds:.3g} seconds'


def lanes(view: Events) -> list[tuple[str, np.ndarray, np.ndarray]]:
  """Returns name, times and values of each channel that has events.

  Times and values are shares, from 0 to 1, of what all events span and of what
  those of the channel do; a single one lies in the middle.
  """
  found = []
  times = shares(view.time)
  for number, name in enumerate(view.names):
    chosen = view.channel == number
    if chosen.any():
      found.append((name, times[chosen], shares(view.value[chosen])))
  return found


def shares(values: np.ndarray) -> np.ndarray:
  """Returns where numbers `[n]` lie from the least, 0, to the greatest, 1."""
  low, high = values.min(), values.max()
  if high == low:
    return np.full(len(values), 0.5)
  return (values - low) / (high - low)


def events_html(view: Events) -> str:
  """Returns a lane for each channel, on a scale of its own, with its points."""
  found = lanes(view) if len(view.time) else []
  shown = found[:_MOST_LANES]
  lane = max(_LANE, _LEAST_HEIGHT / max(1, len(shown)))
  drawn = []
  for i, (_, times, values) in enumerate(shown):
    colour = _COLOURS[i % len(_COLOURS)]
    x = 3 + times * (WIDTH - 6)
    y = i * lane + 3 + (1 - values) * (lane - 6)
    points = [f'{at:.1f},{up:.1f}' for at, up in zip(x, y, strict=True)]
    drawn.append(
      f'<polyline points="{" ".join(points)}" fill="none" '
      f'stroke="{colour}" stroke-width=".6" opacity=".6"/>'
    )
    # Points are lines of no length: far shorter than so many circles.
    dots = ''.join(f'M{point}h0' for point in points)
    drawn.append(
      f'<path d="{dots}" stroke="{colour}" stroke-width="3" '
      'stroke-linecap="round"/>'
    )
  span = np.ptp(view.time) if len(view.time) else 0.0
  names = ', '.join(name for name, _, _ in shown)
  more = len(found) - len(shown)
  label = (
    f'{len(view.time):,} events in {in_words(span)}; from above: {names}'
    + (f', and {more} more' if more else '')
  )
  return drawing(round(lane * max(1, len(shown))), ''.join(drawn), label)
