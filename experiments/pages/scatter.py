"""Charts of points: how two numbers of each example go together."""

import html

import numpy as np

from experiments.pages.axes import Axis, log_ticks, number, ticks
from experiments.pages.tables import Html

# More can neither be told apart nor be drawn quickly.
MOST_POINTS = 2000
_SIDE, _LEFT, _BOTTOM, _TOP = 240, 64, 38, 10


def same_scale_scatter(
  title: str,
  x: np.ndarray,
  y: np.ndarray,
  *,
  names: tuple[str, str],
  is_log: bool = False,
) -> Html:
  """Returns a figure of points with the same axis both ways, and its diagonal.

  Args:
    title: of the figure.
    x: `[n]`.
    y: `[n]`; points that are not finite, or cannot be on a logarithmic axis,
      are left out. Of more than `MOST_POINTS` a random choice is drawn.
    names: of the axes.
    is_log: whether they are logarithmic.

  Returns:
    '' where no point is left.
  """
  points = np.stack([x, y], axis=1).astype(np.float64)
  drawable = np.isfinite(points).all(axis=1)
  if is_log:
    drawable &= (points > 0.0).all(axis=1)
  points = points[drawable]
  if not len(points):
    return Html('')
  if len(points) > MOST_POINTS:
    chosen = np.random.default_rng(0).permutation(len(points))[:MOST_POINTS]
    points = points[chosen]
  low, high = _limits(points, is_log)
  across = Axis(low, high, _LEFT, _LEFT + _SIDE, is_log)
  up = Axis(low, high, _TOP + _SIDE, _TOP, is_log)
  drawn = [_grid(across, up, names)]
  drawn.append(
    f'<path class="diagonal" d="M{_LEFT} {_TOP + _SIDE}l{_SIDE} {-_SIDE}"/>'
  )
  drawn += [
    f'<circle class="point" r="2.2" cx="{across.place(a):.1f}" '
    f'cy="{up.place(b):.1f}"/>'
    for a, b in points.tolist()
  ]
  size = f'{_LEFT + _SIDE + 12} {_TOP + _SIDE + _BOTTOM}'
  title = html.escape(title)
  return Html(
    f'<figure class="chart scatter"><figcaption><strong>{title}</strong>'
    f'</figcaption><svg viewBox="0 0 {size}" role="img" aria-label="{title}">'
    f'{"".join(drawn)}</svg></figure>'
  )


def _limits(points: np.ndarray, is_log: bool) -> tuple[float, float]:
  low, high = float(points.min()), float(points.max())
  if is_log:
    return low / 1.1, high * 1.1
  margin = 0.03 * (high - low) or 0.05 * abs(high) or 1.0
  return low - margin, high + margin


def _grid(across: Axis, up: Axis, names: tuple[str, str]) -> str:
  low, high = across.low, across.high
  values = log_ticks(low, high) if across.is_log else ticks(low, high, 4)
  drawn = []
  for value in values:
    x, y = f'{across.place(value):.1f}', f'{up.place(value):.1f}'
    drawn.append(
      f'<line class="grid" x1="{_LEFT}" x2="{_LEFT + _SIDE}" y1="{y}" '
      f'y2="{y}"/><text x="{_LEFT - 6}" y="{y}" dy="0.32em" '
      f'text-anchor="end">{number(value)}</text>'
      f'<text x="{x}" y="{_TOP + _SIDE + 16}" text-anchor="middle">'
      f'{number(value)}</text>'
    )
  below, beside = map(html.escape, names)
  middle = _LEFT + _SIDE / 2
  drawn.append(
    f'<text x="{middle:.0f}" y="{_TOP + _SIDE + 32}" text-anchor="middle">'
    f'{below}</text><text transform="translate(10 {_TOP + _SIDE / 2:.0f}) '
    f'rotate(-90)" text-anchor="middle">{beside}</text>'
  )
  return ''.join(drawn)
