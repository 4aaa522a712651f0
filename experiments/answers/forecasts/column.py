"""The next steps of a series in a column of a table: `load:forecast(24)`.

The answer is part of the column itself: nobody has to write it down.

Shapes: B examples, K steps to predict, C channels, Q quantiles of each. A
learned query asks for each step; its F = C Q channels are differences to what
`cutting.projected` says, in standard deviations of what is shown.
"""

import re
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from experiments.answers.arguments import read_arguments
from experiments.answers.forecasts import held_out
from experiments.answers.forecasts.cutting import (
  LEAST_HISTORY,
  cut,
  newest,
  projected,
)
from experiments.answers.forecasts.period import find_period
from experiments.answers.forecasts.record import FORECASTS, cells_of
from experiments.answers.forecasts.value import Forecast, channel_names
from experiments.answers.head import Column, Head, HeadKind, Options
from experiments.answers.numbers.column import levels_of
from experiments.answers.numbers.losses import in_order, pinball
from experiments.answers.numbers.value import MEDIAN, middle_of
from experiments.data.dataset import Example, array_spec
from experiments.files.listing import spread_evenly
from experiments.modalities.series.files import read_series
from perceiver_jax.series_windows import relative_series

MOST_STEPS = 1000


def suited(column: Column, arguments: Mapping[str, str]) -> dict[str, Any]:
  """Returns how far ahead to predict, and the period of the training series.

  Args:
    column: of files of series.
    arguments: the number of steps, K; `quantiles`, for an interval, with the
      levels of `levels_of` as its value; `period`, in steps, where that is
      known: 1 for none.

  Raises:
    ValueError: K is missing or too large for the shortest series, or an
      argument is wrong.
  """
  asked = f'{column.name}:forecast'
  steps, others = _steps(asked, arguments)
  given = read_arguments(
    asked, others, flags=('quantiles',), values=('period',)
  )
  levels = [MEDIAN]
  if 'quantiles' in given:
    levels = levels_of(asked, given['quantiles'])
  cells = [cell for cell in column.inputs if cell is not None]
  series = [
    read_series(cell, column.asks['channels']) for cell in spread_evenly(cells)
  ]
  shortest = min(map(len, series), default=0)
  if shortest < steps + LEAST_HISTORY:
    raise ValueError(
      f'{asked}({steps}) has a series of {shortest} steps in its training '
      f'rows: at least {steps + LEAST_HISTORY} are needed. Ask for fewer '
      'steps, or take short series away.'
    )
  period = _period(asked, given['period']) if 'period' in given else None
  return {
    'steps': steps,
    'levels': levels,
    'period': period or find_period(series),
  }


def _steps(
  asked: str, arguments: Mapping[str, str]
) -> tuple[int, dict[str, str]]:
  """Returns K and the other arguments."""
  words = re.findall(r'[^,;\s]+', arguments.get('', ''))
  numbers = [word for word in words if word.isdecimal()]
  if len(numbers) != 1 or not 1 <= int(numbers[0]) <= MOST_STEPS:
    raise ValueError(
      f'{asked} needs the number of steps to predict, 1 to {MOST_STEPS:,}, as '
      f'in {asked}(24); got {arguments.get("", "")!r}.'
    )
  words.remove(numbers[0])
  return int(numbers[0]), {**arguments, '': ','.join(words)}


def _period(asked: str, text: str) -> int:
  if not text.isdecimal() or int(text) < 1:
    raise ValueError(
      f'{asked}: period must be a whole number of steps, at least 1, got '
      f'{text!r}.'
    )
  return int(text)


def make(options: Options, asks: Options) -> Head:
  """Returns the head of the next steps of a series.

  What is kept of examples is told in `held_out.py`.

  Args:
    options: see `suited`.
    asks: of the column, see `series_files`.
  """
  steps, levels = options['steps'], tuple(options['levels'])
  channels = channel_names(asks)
  kind = held_out.Kind(
    levels,
    options['period'],
    np.array(asks['mean'], np.float64),
    np.array(asks['stddev'], np.float64),
    channels,
  )

  def quantiles(outputs: jax.Array) -> jax.Array:
    """`[B, K, C, Q]`, differences to the base in spreads."""
    shape = (len(outputs), steps, len(channels), len(levels))
    numbers = outputs.reshape(len(outputs), -1, len(levels))
    return in_order(numbers, levels).reshape(shape)

  def loss(outputs: jax.Array, target: Mapping[str, jax.Array]) -> jax.Array:
    said, true = quantiles(outputs), target['future']
    shape = (len(true), -1)
    losses = pinball(
      said.reshape(*shape, len(levels)), true.reshape(shape), levels
    )
    # Twice: of the median alone it is the mean absolute error.
    return 2.0 * losses.mean(axis=(1, 2))

  def split(
    kept: Example, rng: np.random.Generator | None
  ) -> tuple[Example, Example]:
    shown, *target = cut(
      kept['series'], steps, asks['num_steps'], options['period'], rng
    )
    return {**kept, 'series': shown}, dict(zip(_TARGET, target, strict=True))

  channel, step = (len(channels),), (steps, len(channels))
  shapes = (channel, step, step, channel, step, channel)
  return Head(
    answer=FORECASTS,
    target={
      name: array_spec(*shape)
      for name, shape in zip(_TARGET, shapes, strict=True)
    },
    read=lambda cell: {},
    num_queries=steps,
    channels=len(channels) * len(levels),
    loss=loss,
    collect=lambda outputs, target: _collect(quantiles(outputs), target),
    metrics=lambda kept: held_out.metrics(kind, kept),
    score='skill',
    tell=lambda outputs, example: _told(
      kind, np.asarray(quantiles(outputs[None]))[0], example['series']
    ),
    cells=cells_of,
    caption=lambda kept: held_out.caption(kind, kept),
    sections=lambda kept, note: held_out.sections(kind, kept, note),
    columns=lambda kept: held_out.columns(kind, kept),
    baselines=lambda kept: held_out.baselines(kind, kept),
    split=split,
    whole=lambda kept: {
      **kept,
      'series': newest(kept['series'], asks['num_steps']),
    },
  )


# As in `Cut`.
_TARGET = ('spread', 'base', 'future', 'last', 'seasonal', 'naive_error')


def _collect(
  quantiles: jax.Array, target: Mapping[str, jax.Array]
) -> dict[str, jax.Array]:
  spread, base = target['spread'][:, None], target['base']
  return {
    'true': base + spread * target['future'],
    'predicted': base[..., None] + spread[..., None] * quantiles,
    **{name: target[name] for name in held_out.COMPARED},
  }


def _told(
  kind: held_out.Kind, quantiles: np.ndarray, series: np.ndarray
) -> Forecast:
  """Returns the forecast in units of the file.

  Args:
    kind: of the forecasts.
    quantiles: `[K, C, Q]`, differences to the base in spreads.
    series: `[W, C]`, what was shown.
  """
  series = np.asarray(series)
  _, _, spread = relative_series(series)
  base = projected(series, len(quantiles), kind.period)

  def restored(values: np.ndarray) -> np.ndarray:
    return np.asarray(values, np.float64) * kind.stddev + kind.mean

  found = {
    level: restored(base + spread * quantiles[..., i])
    for i, level in enumerate(kind.levels)
  }
  middle = kind.levels[middle_of(kind.levels)]
  return Forecast(
    history=restored(series),
    values=found.pop(middle),
    quantiles=found,
    spreads=kind.stddev,
    channels=kind.channels,
  )


# As it is answered, a series is seen: from its last step.
_RELATIVE = {'elements': {'name': 'relative_windows'}}
FORECAST = HeadKind(
  suited, make, asks_of=('series',), needs={'series': _RELATIVE}
)
