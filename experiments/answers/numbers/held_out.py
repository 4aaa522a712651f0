"""What the numbers of all held-out examples come to: metrics and report.

Everything that is kept of examples is `numbers` `[n, O]` and `outputs`
`[n, O, Q]`, both standardised.
"""

import html
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from experiments.answers.answer import Kept
from experiments.answers.numbers.losses import pinball
from experiments.answers.numbers.metrics import (
  Errors,
  coverage,
  errors_of,
  mean_errors,
)
from experiments.answers.numbers.record import lines_of
from experiments.answers.numbers.value import (
  Scale,
  joined,
  level_name,
  middle_of,
  numbers_of,
  told,
)
from experiments.pages.axes import number
from experiments.pages.page import Section
from experiments.pages.scatter import MOST_POINTS, same_scale_scatter
from experiments.pages.tables import Html, table

# Of more numbers an example has, the table of errors alone tells.
_MOST_FIGURES = 6
_SHARES = (0.05, 0.5, 0.95)


class Kind(NamedTuple):
  """How the numbers of a column are predicted.

  Attributes:
    scale: that they are standardised by.
    levels: of the quantiles; () for a single number.
  """

  scale: Scale
  levels: tuple[float, ...]


class _Restored(NamedTuple):
  """In units of the column: true `[n, O]`, predicted and quantiles."""

  true: np.ndarray
  predicted: np.ndarray
  quantiles: np.ndarray

  def pairs(self) -> zip:
    """Yields true and predicted numbers `[n]`, of each of the O."""
    return zip(self.true.T, self.predicted.T, strict=True)


def _restored(kind: Kind, kept: Kept) -> _Restored:
  quantiles = kind.scale.restored(kept['outputs'])
  true = kind.scale.restored(kept['numbers'][..., None])[..., 0]
  return _Restored(true, quantiles[..., middle_of(kind.levels)], quantiles)


def metrics(kind: Kind, kept: Kept) -> dict[str, float]:
  """Returns the errors and, of quantiles, their loss and coverage.

  Args:
    kind: of the numbers.
    kept: of the examples.
  """
  each = _restored(kind, kept)
  found = mean_errors([errors_of(*pair) for pair in each.pairs()])._asdict()
  if kind.levels:
    losses = pinball(each.quantiles, each.true, kind.levels)
    found['mean_pinball_loss'] = float(losses.mean())
  if _has_interval(kind.levels):
    found['coverage'] = _coverage(each)
  return found


def _has_interval(levels: Sequence[float]) -> bool:
  return 0 < middle_of(levels) < len(levels) - 1


def _coverage(each: _Restored) -> float:
  return coverage(each.true, each.quantiles[..., 0], each.quantiles[..., -1])


def baselines(
  kind: Kind,
  constants: Mapping[str, Sequence[float]],
  quantiles: Sequence[Sequence[float]],
  kept: Kept,
) -> list[tuple[str, str, float]]:
  """Returns what the same answer for all examples reaches.

  Args:
    kind: of the numbers.
    constants: such answers `[O]`, by the names of what gives them.
    quantiles: those of training `[Q, O]`; () where none are asked for.
    kept: of the examples.
  """
  true = _restored(kind, kept).true
  found = []
  for name, constant in constants.items():
    errors = mean_errors(
      [
        errors_of(x, np.full(len(x), value))
        for x, value in zip(true.T, constant, strict=True)
      ]
    )
    found += [(name, each, getattr(errors, each)) for each in _OF_CONSTANTS]
  if quantiles:
    same = np.broadcast_to(
      np.transpose(quantiles), (*true.shape, len(quantiles))
    )
    losses = pinball(same, true, kind.levels)
    found.append(
      ('training quantiles', 'mean_pinball_loss', float(losses.mean()))
    )
  return found


_OF_CONSTANTS = ('mae', 'rmse', 'r2')


def caption(kind: Kind, kept: Kept) -> Html:
  """Returns what the model says of one example and what is true.

  What lies outside the interval is marked.
  """
  answer = numbers_of(kept['outputs'], kind.levels, kind.scale)
  true = kind.scale.restored(kept['numbers'][:, None])[:, 0]
  lines = []
  for i, line in enumerate(lines_of(answer, 1)):
    wrong = ''
    if (interval := answer.interval()) is not None:
      low, high = interval
      wrong = ' class="wrong"' * (not low[i] <= true[i] <= high[i])
    is_so = told(true[i], answer.spreads[i])
    lines.append(f'<b{wrong}>{html.escape(line)}</b>, is {html.escape(is_so)}')
  return Html('<br>'.join(lines))


def columns(kind: Kind, kept: Kept) -> dict[str, list[Any]]:
  """Returns true and predicted numbers, and quantiles as `predicted 10%`."""
  each = _restored(kind, kept)
  found = {'true': each.true, 'predicted': each.predicted}
  for i, level in enumerate(kind.levels):
    if i != middle_of(kind.levels):
      found[f'predicted {level_name(level)}'] = each.quantiles[..., i]
  return {
    name: [joined(row, kind.scale.spread_at(row)) for row in rows]
    for name, rows in found.items()
  }


def sections(kind: Kind, kept: Kept, note: str) -> list[Section]:
  """Returns predicted by true numbers, errors, and how quantiles fit.

  Args:
    kind: of the numbers.
    kept: of all examples, at least one.
    note: says which examples these are.
  """
  each = _restored(kind, kept)
  found = [_scatters(kind, each, note), _errors(kind, each, note)]
  return found + ([_quantiles(kind, each, note)] if kind.levels else [])


def _scatters(kind: Kind, each: _Restored, note: str) -> Section:
  figures = [
    same_scale_scatter(
      f'Number {i}' if each.true.shape[1] > 1 else 'Predicted by true',
      *pair,
      names=('true', 'predicted'),
      is_log=kind.scale.is_log,
    )
    for i, pair in enumerate(each.pairs(), start=1)
    if i <= _MOST_FIGURES
  ]
  some = f', of which {MOST_POINTS:,} are drawn' * (
    len(each.true) > MOST_POINTS
  )
  return Section(
    'Predicted and true numbers',
    Html(f'<div class="charts">{"".join(figures)}</div>'),
    f'{note}{some}. A point is an example; on the dashed line it is right.',
  )


def _errors(kind: Kind, each: _Restored, note: str) -> Section:
  """A row a number, below their means where there are several."""
  pairs = list(each.pairs())
  errors = [errors_of(*pair) for pair in pairs]
  rows = [
    _row(str(i), found, predicted - true)
    for i, (found, (true, predicted)) in enumerate(
      zip(errors, pairs, strict=True), start=1
    )
  ]
  if len(pairs) == 1:
    rows = [('number', *rows[0][1:])]
  else:
    rows.insert(0, ('mean', *map(number, mean_errors(errors)), *[''] * 4))
  head = ('', 'MAE', 'RMSE', 'R\N{SUPERSCRIPT TWO}', 'Spearman', 'mean error')
  shares = [f'{level_name(share)} of errors below' for share in _SHARES]
  logs = ' They are predicted by their logarithms.' * kind.scale.is_log
  return Section(
    'Errors of numbers',
    table((*head, *shares), rows),
    f'{note}. An error is what is predicted less what is true.{logs}',
  )


def _row(name: str, found: Errors, errors: np.ndarray) -> tuple[str, ...]:
  below = np.quantile(errors, _SHARES)
  return (name, *map(number, (*found, errors.mean(), *below)))


def _quantiles(kind: Kind, each: _Restored, note: str) -> Section:
  below = (each.true[..., None] <= each.quantiles).mean(axis=(0, 1))
  losses = pinball(each.quantiles, each.true, kind.levels).mean(axis=(0, 1))
  rows = [
    (level_name(level), f'{share:.1%}', number(loss))
    for level, share, loss in zip(kind.levels, below, losses, strict=True)
  ]
  within = ''
  if _has_interval(kind.levels):
    low, high = kind.levels[0], kind.levels[-1]
    within = (
      f' Between {level_name(low)} and {level_name(high)}, where '
      f'{level_name(high - low)} should be, are {_coverage(each):.1%}.'
    )
  head = ('quantile', 'true numbers not above', 'pinball loss')
  return Section('Quantiles', table(head, rows), f'{note}.{within}')
