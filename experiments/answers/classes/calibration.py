"""Whether a model is right as often as it says.

Shapes: m statements, each a probability and whether it came true. Where one
class of several is chosen, a statement is the likeliest class of an example;
where any number are, each class of each example.
"""

import html
from typing import NamedTuple

import numpy as np

from experiments.answers.classes.scores import found
from experiments.pages.axes import Axis, number
from experiments.pages.tables import Html

# Guo et al. (2017), On Calibration of Modern Neural Networks, take 15.
BINS = 15
_SIDE, _LEFT, _BOTTOM, _TOP = 240, 42, 24, 10


class Reliability(NamedTuple):
  """Statements in bins of equal width by their probability, `[BINS]` each.

  Attributes:
    said: mean probability; NaN of an empty bin.
    true: share that came true; likewise.
    counts: number of statements.
  """

  said: np.ndarray
  true: np.ndarray
  counts: np.ndarray

  def error(self) -> float:
    """Returns the expected calibration error, from 0 to 1."""
    kept = self.counts > 0
    gaps = np.abs(self.said - self.true)[kept]
    return float(gaps @ self.counts[kept] / self.counts.sum())


def statements(
  scores: np.ndarray, labels: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
  """Returns probabilities `[m]`, and whether each came true, bool `[m]`.

  Args:
    scores: `[n, C]`.
    labels: `[n]` int, or `[n, C]` of any number of classes.
  """
  has, says = found(scores, labels)
  if labels.ndim == 2:
    return scores.reshape(-1), has.reshape(-1)
  return scores.max(axis=1), (has & says).any(axis=1)


def reliability(
  probabilities: np.ndarray, came_true: np.ndarray
) -> Reliability:
  """Returns the statements in bins.

  Args:
    probabilities: `[m]`.
    came_true: bool `[m]`.
  """
  edges = np.linspace(0.0, 1.0, BINS + 1)
  which = np.searchsorted(edges[1:-1], probabilities)
  counts = np.bincount(which, minlength=BINS)
  with np.errstate(invalid='ignore'):
    said, true = (
      np.bincount(which, weights=values, minlength=BINS) / counts
      for values in (np.asarray(probabilities, np.float64), came_true)
    )
  return Reliability(said, true, counts)


def reliability_diagram(bins: Reliability) -> Html:
  """Returns a figure: how often what is said with a probability comes true.

  A bar is a bin, the stronger the more statements are in it; bars end at the
  diagonal where a model is right as often as it says.

  Args:
    bins: of all statements.
  """
  x = Axis(0.0, 1.0, _LEFT, _LEFT + _SIDE)
  y = Axis(0.0, 1.0, _TOP + _SIDE, _TOP)
  drawn = []
  for value in (0.0, 0.25, 0.5, 0.75, 1.0):
    at, up = f'{x.place(value):.1f}', f'{y.place(value):.1f}'
    drawn.append(
      f'<line class="grid" x1="{_LEFT}" x2="{_LEFT + _SIDE}" y1="{up}" '
      f'y2="{up}"/><text x="{_LEFT - 6}" y="{up}" dy="0.32em" '
      f'text-anchor="end">{number(value)}</text>'
      f'<text x="{at}" y="{_TOP + _SIDE + 18}" text-anchor="middle">'
      f'{number(value)}</text>'
    )
  drawn += [_bar(bins, i, x, y) for i in np.flatnonzero(bins.counts)]
  drawn.append(
    f'<path class="diagonal" d="M{x.place(0):.1f} {y.place(0):.1f}'
    f'L{x.place(1):.1f} {y.place(1):.1f}"/>'
  )
  size = f'{_LEFT + _SIDE + 12} {_TOP + _SIDE + _BOTTOM}'
  return Html(
    '<figure class="chart reliability"><figcaption><strong>Share that is true, '
    'by the probability given</strong></figcaption>'
    f'<svg viewBox="0 0 {size}" role="img" aria-label="Reliability diagram">'
    f'{"".join(drawn)}</svg></figure>'
  )


def _bar(bins: Reliability, i: int, x: Axis, y: Axis) -> str:
  left, right = x.place(i / BINS), x.place((i + 1) / BINS)
  top, count = y.place(bins.true[i]), int(bins.counts[i])
  # Of few statements little can be said, and yet they are to be seen.
  strength = 0.25 + 0.75 * (count / bins.counts.max()) ** 0.5
  told = html.escape(
    f'{count:,} said with {i / BINS:.0%} to {(i + 1) / BINS:.0%}, '
    f'{bins.said[i]:.1%} on average: {bins.true[i]:.1%} are true'
  )
  return (
    f'<rect class="c0" x="{left + 1:.1f}" y="{top:.1f}" '
    f'width="{right - left - 2:.1f}" height="{y.place(0) - top + 0.5:.1f}" '
    f'fill-opacity="{strength:.2f}"><title>{told}</title></rect>'
  )
