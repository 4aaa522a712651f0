"""Charts as SVG, which a browser draws sharply at any size, light or dark.

Colours are those of the page around a chart: `currentColor`, and the variables
`--line-0` to `--line-5`; see `page.py`.
"""

import html
from collections.abc import Sequence
from typing import NamedTuple

from experiments.pages.axes import Axis, log_ticks, number, ticks

_WIDTH, _HEIGHT = 360, 210
_LEFT, _RIGHT, _TOP, _BOTTOM = 42, 18, 10, 24
_COLOURS = 6
# More points than pixels are of no use; neighbours are averaged.
_MOST_POINTS = 400
_MOST_DOTS = 120
_LEAST = 1e-12


class Line(NamedTuple):
  """A line of a chart.

  Attributes:
    name: for the legend; '' for an only line.
    points: pairs of x and y, in order of x; y is None where it is not finite.
    colour: number of the colour, from 0.
    has_dots: whether each point is marked.
  """

  name: str
  points: Sequence[tuple[float, float | None]]
  colour: int = 0
  has_dots: bool = False


def line_chart(
  title: str,
  lines: Sequence[Line],
  *,
  is_log: bool = False,
  from_zero: bool = False,
) -> str:
  """Returns a figure with a title and a legend; '' where there is nothing.

  Args:
    title: of the chart.
    lines: those without any finite value are left out.
    is_log: whether y is logarithmic, where all values are positive.
    from_zero: whether y begins at 0.
  """
  lines = [line._replace(points=_thinned(line.points)) for line in lines]
  lines = [line for line in lines if _finite(line)]
  if not lines:
    return ''
  values = [y for line in lines for y in _finite(line)]
  is_log = is_log and min(values) > 0.0
  low, high = _limits(values, is_log, from_zero)
  x = _x_axis(lines)
  y = Axis(low, high, _HEIGHT - _BOTTOM, _TOP, is_log)
  drawn = [_grid(x, y)]
  drawn += [_path(line, x, y) for line in lines]
  drawn += [_dots(line, x, y) for line in lines]
  legend = [
    (line.name, line.colour, number(_finite(line)[-1])) for line in lines
  ]
  return _figure(title, legend, ''.join(drawn))


def stacked_chart(title: str, lines: Sequence[Line]) -> str:
  """Returns a figure of lines that add up, each an area above the others.

  The legend has the share of each in all.

  Args:
    title: of the chart.
    lines: of the same x, without gaps.
  """
  lines = [line._replace(points=_thinned(line.points)) for line in lines]
  if not lines or not lines[0].points:
    return ''
  tops = [0.0] * len(lines[0].points)
  areas, totals = [], []
  for line in lines:
    bottoms = tops
    values = [max(y or 0.0, 0.0) for _, y in line.points]
    tops = [a + b for a, b in zip(tops, values, strict=True)]
    areas.append((line, bottoms, tops))
    totals.append(sum(values))
  x = _x_axis(lines)
  y = Axis(0.0, 1.04 * max(max(tops), _LEAST), _HEIGHT - _BOTTOM, _TOP)
  drawn = [_grid(x, y), *(_area(*area, x, y) for area in areas)]
  whole = max(sum(totals), _LEAST)
  legend = [
    (line.name, line.colour, f'{total / whole:.0%}')
    for line, total in zip(lines, totals, strict=True)
  ]
  return _figure(title, legend, ''.join(drawn))


def _finite(line: Line) -> list[float]:
  return [y for _, y in line.points if y is not None]


def _thinned(
  points: Sequence[tuple[float, float | None]],
) -> list[tuple[float, float | None]]:
  """Averages neighbours; the last point stays as it is."""
  size = -(-len(points) // _MOST_POINTS)
  if size <= 1:
    return list(points)
  thinned = []
  for start in range(0, len(points) - 1, size):
    some = points[start : min(start + size, len(points) - 1)]
    known = [y for _, y in some if y is not None]
    mean = sum(known) / len(known) if known else None
    thinned.append((some[-1][0], mean))
  return [*thinned, points[-1]]


def _limits(
  values: Sequence[float], is_log: bool, from_zero: bool
) -> tuple[float, float]:
  """The ends of y: somewhat beyond the values."""
  low, high = min(values), max(values)
  if is_log:
    return low / 1.1, high * 1.1
  if from_zero:
    return min(low, 0.0), max(high * 1.05, _LEAST)
  margin = 0.05 * (high - low) or 0.05 * abs(high) or 1.0
  # What never is negative, and comes near zero, is seen from zero.
  floor = 0.0 if 0.0 <= low < 0.4 * high else low - margin
  # Shares, such as accuracies, end at one.
  return floor, 1.0 if 0.5 < high <= 1.0 and low >= 0.0 else high + margin


def _x_axis(lines: Sequence[Line]) -> Axis:
  places = [x for line in lines for x, _ in line.points]
  low = min(0.0, *places) if len(places) > 1 else min(0.0, places[0])
  return Axis(low, max(places), _LEFT, _WIDTH - _RIGHT)


def _grid(x: Axis, y: Axis) -> str:
  """The lines of y with their numbers, and the numbers of x."""
  values = log_ticks(y.low, y.high) if y.is_log else ticks(y.low, y.high, 4)
  drawn = []
  for value in values:
    at = f'{y.place(value):.1f}'
    drawn.append(
      f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{at}" '
      f'y2="{at}"/><text x="{_LEFT - 6}" y="{at}" dy="0.32em" '
      f'text-anchor="end">{number(value)}</text>'
    )
  for value in ticks(x.low, x.high, 4):
    drawn.append(
      f'<text x="{x.place(value):.1f}" y="{_HEIGHT - 6}" '
      f'text-anchor="middle">{number(value)}</text>'
    )
  return ''.join(drawn)


def _path(line: Line, x: Axis, y: Axis) -> str:
  commands, pen = [], 'M'
  for at, value in line.points:
    if value is None:
      pen = 'M'
      continue
    commands.append(f'{pen}{x.place(at):.1f} {y.place(value):.1f}')
    pen = 'L'
  colour = line.colour % _COLOURS
  return f'<path class="line c{colour}" d="{"".join(commands)}"/>'


def _dots(line: Line, x: Axis, y: Axis) -> str:
  """A mark a point, which tells its numbers; a lone point has one always."""
  known = [(at, value) for at, value in line.points if value is not None]
  if len(known) > 1 and (not line.has_dots or len(known) > _MOST_DOTS):
    return ''
  name, colour = html.escape(line.name), line.colour % _COLOURS
  return ''.join(
    f'<circle class="dot c{colour}" r="3" cx="{x.place(at):.1f}" '
    f'cy="{y.place(value):.1f}"><title>{name}, step {number(at)}: '
    f'{number(value)}</title></circle>'
    for at, value in known
  )


def _area(
  line: Line,
  bottoms: Sequence[float],
  tops: Sequence[float],
  x: Axis,
  y: Axis,
) -> str:
  places = [at for at, _ in line.points]
  there = [
    f'{x.place(at):.1f} {y.place(top):.1f}'
    for at, top in zip(places, tops, strict=True)
  ]
  back = [
    f'{x.place(at):.1f} {y.place(bottom):.1f}'
    for at, bottom in zip(places, bottoms, strict=True)
  ]
  outline = 'L'.join([*there, *reversed(back)])
  return f'<path class="area c{line.colour % _COLOURS}" d="M{outline}Z"/>'


def _figure(
  title: str, legend: Sequence[tuple[str, int, str]], drawn: str
) -> str:
  names = ''.join(
    f'<span class="key">{_swatch(name, colour)}<b>{html.escape(told)}</b>'
    '</span>'
    for name, colour, told in legend
  )
  title = html.escape(title)
  return (
    f'<figure class="chart"><figcaption><strong>{title}</strong>'
    f'<span class="keys">{names}</span></figcaption>'
    f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" '
    f'aria-label="{title}">{drawn}</svg></figure>'
  )


def _swatch(name: str, colour: int) -> str:
  """The colour of a line and its name; an only line needs neither."""
  if not name:
    return 'last '
  return f'<i class="c{colour % _COLOURS}"></i>{html.escape(name)} '
