"""Forecasts as lines, as JSON, as drawings; the record of such answers."""

import csv
import pathlib
from typing import Any

import numpy as np

from experiments.answers.answer import Answer, Panel
from experiments.answers.forecasts.value import Forecast
from experiments.answers.numbers.value import level_name, shortened, told
from experiments.pages.curves import before, curves_html, predicted
from experiments.pages.tables import Html

# Steps that a line has.
_FIRST, _MOST_IN_LINE = 4, 8
# Of the history as many times the steps of the forecast are drawn, and more.
_DRAWN, _LEAST_DRAWN = 3, 48


def lines_of(answer: Forecast, top: int) -> list[str]:
  """Returns a line for each channel, with its first steps and its last."""
  del top
  return [_line(answer, channel) for channel in range(len(answer.channels))]


def _line(answer: Forecast, channel: int) -> str:
  values, spread = answer.values[:, channel], answer.spreads[channel]
  shown = [told(value, spread) for value in values]
  if len(shown) > _MOST_IN_LINE:
    shown = [*shown[:_FIRST], '...', shown[-1]]
  steps = 'the next step' if len(values) == 1 else f'{len(values)} steps'
  name = answer.channels[channel]
  line = f'{name + ", " if name else ""}{steps}: {", ".join(shown)}'
  interval = answer.interval()
  if interval is not None:
    low, high = (told(each[-1, channel], spread) for each in interval)
    line += f' ({low} to {high})'
  return line


def json_of(answer: Forecast, top: int) -> dict[str, Any]:
  """Returns the values of each step, of several channels lists of them."""
  del top
  said = {'forecast': _plain(answer, answer.values)}
  if len(answer.channels) > 1:
    said['channels'] = list(answer.channels)
  if answer.quantiles:
    said['quantiles'] = {
      level_name(level): _plain(answer, values)
      for level, values in answer.quantiles.items()
    }
  return said


def _plain(answer: Forecast, values: np.ndarray) -> list[Any]:
  rows = [
    [shortened(x, s) for x, s in zip(row, answer.spreads, strict=True)]
    for row in values
  ]
  return [row[0] for row in rows] if len(answer.channels) == 1 else rows


def cells_of(answer: Forecast) -> dict[str, str]:
  """Returns the steps with | between them, of each channel and quantile."""
  told_by = {'': answer.values}
  told_by |= {f' {level_name(q)}': x for q, x in answer.quantiles.items()}
  cells = {}
  for suffix, values in told_by.items():
    for channel, name in enumerate(answer.channels):
      column = f' {name}{suffix}' if name else suffix
      steps = [
        shortened(x, answer.spreads[channel]) for x in values[:, channel]
      ]
      cells[column] = '|'.join(map(str, steps))
  return cells


def panels_of(answer: Forecast) -> list[Panel]:
  """Returns a drawing of each channel, with what was before."""
  return [
    Panel(f'Forecast, {name}' if name else 'Forecast', _drawn(answer, channel))
    for channel, name in enumerate(answer.channels)
  ]


def _drawn(answer: Forecast, channel: int) -> Html:
  most = max(_LEAST_DRAWN, _DRAWN * len(answer.values))
  history = answer.history[-most:, channel]
  # From the last step of the history on, so that the lines meet.
  start = len(history) - 1

  def joined(values: np.ndarray) -> np.ndarray:
    return np.concatenate([history[-1:], values[:, channel]])

  band, interval = None, answer.interval()
  if interval is not None:
    band = (*map(joined, interval), start)
  return curves_html(
    [before(history), predicted(joined(answer.values), start)], band
  )


def write(
  answer: Forecast, folder: pathlib.Path, name: str
) -> list[pathlib.Path]:
  """Writes a table with a row for each step."""
  folder.mkdir(parents=True, exist_ok=True)
  path = folder / f'{name}.csv'
  names = [each or 'value' for each in answer.channels]
  columns = dict(zip(names, answer.values.T, strict=True))
  for level, values in answer.quantiles.items():
    columns |= {
      f'{each} {level_name(level)}': column
      for each, column in zip(names, values.T, strict=True)
    }
  with path.open('w', encoding='utf-8', newline='') as file:
    writer = csv.writer(file)
    writer.writerow(['step', *columns])
    for step, row in enumerate(zip(*columns.values(), strict=True), start=1):
      spreads = np.resize(answer.spreads, len(row))
      cells = [shortened(x, s) for x, s in zip(row, spreads, strict=True)]
      writer.writerow([step, *cells])
  return [path]


FORECASTS = Answer(
  purpose='forecasts of series',
  outputs='For each step the difference to the mean period of what was shown, '
  'or to its last step, in standard deviations of what was shown: of each '
  'channel the median and, where there are quantiles, the softplus of each '
  'neighbour is the distance to the next, outwards.',
  lines=lines_of,
  json=json_of,
  panels=panels_of,
  lower=('loss', 'mae', 'rmse', 'mase'),
  higher=('skill',),
  write=write,
)
