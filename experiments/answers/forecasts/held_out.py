"""What the forecasts of all held-out series come to: metrics and report.

What is kept of examples, in standard deviations of the column: `true`, `base`
and `seasonal` `[n, K, C]`, `predicted` `[n, K, C, Q]`, `last` and `naive_error`
`[n, C]`; see `cutting.Cut`.
"""

import html
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from experiments.answers.answer import Kept
from experiments.answers.numbers.value import (
  level_name,
  middle_of,
  shortened,
)
from experiments.pages.axes import number
from experiments.pages.charts import Line, line_chart
from experiments.pages.curves import curves_html, predicted, true
from experiments.pages.page import Section
from experiments.pages.tables import Html, table

# Besides what is true and predicted.
COMPARED = ('base', 'last', 'seasonal', 'naive_error')
LAST, SEASONAL, MEAN = 'last value', 'seasonal naive', 'mean period'
_MODEL = 'model'
# What is divided by is not less, in standard deviations of the column.
_LEAST_ERROR = 1e-6
# Of the channels a caption draws.
_MOST_DRAWN = 3


class Kind(NamedTuple):
  """How a series is predicted.

  Attributes:
    levels: of the quantiles, the median among them.
    period: in steps; 1 for none.
    mean: of each channel `[C]`.
    stddev: of each channel `[C]`.
    channels: their names.
  """

  levels: tuple[float, ...]
  period: int
  mean: np.ndarray
  stddev: np.ndarray
  channels: tuple[str, ...]

  @property
  def is_plain(self) -> bool:
    """Whether errors are in units of the file: channels may have several."""
    return len(self.channels) == 1


class _Errors(NamedTuple):
  """Of a predictor, `[n, K, C]`; `scales` `[n, C]` of the history."""

  errors: np.ndarray
  scales: np.ndarray

  def metrics(self) -> dict[str, float]:
    return {
      'mae': float(np.abs(self.errors).mean()),
      'rmse': float(np.sqrt(np.square(self.errors).mean())),
      'mase': _mean_known(self.mase()),
    }

  def mase(self) -> np.ndarray:
    """Of each series and channel; NaN where the history never changes."""
    known = self.scales > _LEAST_ERROR
    scales = np.where(known, self.scales, 1.0)
    return np.where(known, np.abs(self.errors).mean(axis=1) / scales, np.nan)


def _mean_known(values: np.ndarray) -> float:
  known = values[~np.isnan(values)]
  return float(known.mean()) if known.size else float('nan')


def _predictors(kind: Kind, kept: Kept) -> dict[str, _Errors]:
  """The errors of the model and of those that it is compared with."""
  kept = {name: np.asarray(x, np.float64) for name, x in kept.items()}
  found = {
    _MODEL: kept['predicted'][..., middle_of(kind.levels)],
    LAST: kept['last'][:, None],
  }
  if kind.period > 1:
    found |= {SEASONAL: kept['seasonal'], MEAN: kept['base']}
  units = kind.stddev if kind.is_plain else np.ones_like(kind.stddev)
  # The scales of MASE are in the same units, which it does not depend on.
  return {
    name: _Errors(units * (x - kept['true']), units * kept['naive_error'])
    for name, x in found.items()
  }


def metrics(kind: Kind, kept: Kept) -> dict[str, float]:
  """Returns errors, and how much smaller they are than those of the naive.

  `mae` and `rmse` are in units of the file, those of several channels in
  standard deviations of each. `mase` is the mean absolute error of a series
  over that of saying, at each step of its history, what was a period before
  (Hyndman and Koehler, 2006). `skill` is 1 less the ratio of `mase` to that of
  the best of the naive forecasts, the last value, the last period and the mean
  period: 0 is as good as that, 1 is without error. Of quantiles, `coverage` is
  the share of steps between the outermost.

  Args:
    kind: of the forecasts.
    kept: of n examples.
  """
  found = {
    name: each.metrics() for name, each in _predictors(kind, kept).items()
  }
  own = found.pop(_MODEL)
  best = min(each['mase'] for each in found.values())
  result = {**own, 'skill': 1.0 - own['mase'] / best if best else float('nan')}
  if len(kind.levels) > 1:
    result['coverage'] = _coverage(kept)
  return result


def _coverage(kept: Kept) -> float:
  low, high = kept['predicted'][..., 0], kept['predicted'][..., -1]
  return float(np.mean((low <= kept['true']) & (kept['true'] <= high)))


def baselines(kind: Kind, kept: Kept) -> list[tuple[str, str, float]]:
  """Returns what the naive forecasts come to."""
  found = _predictors(kind, kept)
  return [
    (name, metric, value)
    for name, each in found.items()
    if name != _MODEL
    for metric, value in each.metrics().items()
  ]


def columns(kind: Kind, kept: Kept) -> dict[str, list[Any]]:
  """Returns true and predicted steps, of one channel, and errors."""
  each = _predictors(kind, kept)[_MODEL]
  found: dict[str, list[Any]] = {}
  if kind.is_plain:
    median = kept['predicted'][..., middle_of(kind.levels)]
    for name, values in (('true', kept['true']), ('predicted', median)):
      found[name] = [_joined(kind, x) for x in values[..., 0]]
  found['mae'] = np.abs(each.errors).mean(axis=(1, 2)).tolist()
  found['mase'] = [_mean_known(x) for x in each.mase()]
  return found


def _joined(kind: Kind, values: np.ndarray) -> str:
  steps = np.asarray(values, np.float64) * kind.stddev[0] + kind.mean[0]
  return '|'.join(str(shortened(x, kind.stddev[0])) for x in steps)


def caption(kind: Kind, kept: Kept) -> Html:
  """Returns what one forecast comes to, and draws it beside what came."""
  one = {name: np.asarray(x)[None] for name, x in kept.items()}
  told = ', '.join(
    f'{name} {number(each.metrics()["mase"])}'
    for name, each in _predictors(kind, one).items()
  )
  median = kept['predicted'][..., middle_of(kind.levels)]
  drawings = []
  for i, name in enumerate(kind.channels[:_MOST_DRAWN]):
    came, said = (
      np.asarray(x[:, i], np.float64) * kind.stddev[i] + kind.mean[i]
      for x in (kept['true'], median)
    )
    drawn = curves_html([true(came), predicted(said)])
    drawings.append(f'<div title="{html.escape(name)}">{drawn}</div>')
  return Html(f'MASE: <b>{told}</b>{"".join(drawings)}')


def sections(kind: Kind, kept: Kept, note: str) -> list[Section]:
  """Returns errors of the model and the naive ways, and those of each step.

  Args:
    kind: of the forecasts.
    kept: of n examples.
    note: says which examples these are.
  """
  found = _predictors(kind, kept)
  measured = {name: each.metrics() for name, each in found.items()}
  rows = [
    (name, *(number(each[metric]) for metric in ('mase', 'mae', 'rmse')))
    for name, each in measured.items()
  ]
  units = 'units of the files'
  if not kind.is_plain:
    units = 'standard deviations of each channel'
  period = f' The period is {kind.period} steps.' * (kind.period > 1)
  told = (
    f'{note}. MASE is the mean absolute error over that of saying, at each '
    'step of the history, what was a period before; the others are in '
    f'{units}.{period}'
  )
  steps = {
    name: np.abs(x.errors).mean(axis=(0, 2)) for name, x in found.items()
  }
  chart = Html(
    f'<div class="charts">{_chart("Mean absolute error by step", steps)}</div>'
  )
  result = [
    Section('Forecasts', table(('', 'MASE', 'MAE', 'RMSE'), rows), told),
    Section('Forecasts by how far ahead', chart, f'{note}.'),
  ]
  return result + (
    [_quantiles(kind, kept, note)] if len(kind.levels) > 1 else []
  )


def _chart(title: str, steps: Mapping[str, Sequence[float]]) -> str:
  lines = [
    Line(name, list(enumerate(map(float, values), start=1)), colour)
    for colour, (name, values) in enumerate(steps.items())
  ]
  return line_chart(title, lines, from_zero=True)


def _quantiles(kind: Kind, kept: Kept, note: str) -> Section:
  below = kept['true'][..., None] <= kept['predicted']
  rows = [
    (level_name(level), f'{share:.1%}')
    for level, share in zip(
      kind.levels, below.mean(axis=(0, 1, 2)), strict=True
    )
  ]
  low, high = kind.levels[0], kind.levels[-1]
  return Section(
    'Quantiles of forecasts',
    table(('quantile', 'true steps not above'), rows),
    f'{note}. Between {level_name(low)} and {level_name(high)}, where '
    f'{level_name(high - low)} should be, are {_coverage(kept):.1%}.',
  )
