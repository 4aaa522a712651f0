"""Dates of a table as features: where they lie, and what they come back to.

Shapes: n training cells, F features.
"""

import datetime
from collections.abc import Sequence
from typing import Any

import numpy as np

from experiments.data.dataset import Example, array_spec
from experiments.data.modality import View
from experiments.files.features import array_feature
from experiments.files.kind import FileKind, Survey
from experiments.modalities.cells.numbers import Scale, fit_scale
from experiments.modalities.cells.view import Cell
from experiments.table.cells import date_order, is_empty, to_date

_EPOCH = datetime.date(1970, 1, 1)  # A Thursday.
_WEEKDAY_OF_EPOCH = 3
_SECONDS = 86_400


def date_cells(
  survey: Survey,
  *,
  day_first: bool | None = None,
  has_times: bool | None = None,
  bins: int = 16,
  center: float | None = None,
  spread: float | None = None,
  edges: Sequence[float] | None = None,
) -> FileKind:
  """Cells of a date, with a time of day or without.

  Args:
    survey: of the training cells, for what is None.
    day_first: whether 03/04/2024 is in April; None for what fits the training
      cells.
    has_times: whether times of day are features; None where the training cells
      have different ones.
    bins: of the piecewise linear encoding of days, at most; 0 is without.
    center: days since 1970 that features are told from; None for the median of
      the training cells.
    spread: in days; None for the distance of the quartiles.
    edges: of the bins, in days; None for quantiles.

  Returns:
    Examples with `cell` float32 `[F]`: the features of days, see `Scale`, then
    cosine and sine of the place in the week and in the year and, with times, in
    the day; and `date` int32 `[2]`, days since 1970 and seconds of the day.

  Raises:
    ValueError: cells are no dates, or their orders contradict each other.
  """
  if bins < 0:
    raise ValueError(f'bins must not be negative, got {bins}.')
  remark = ''
  if day_first is None:
    order = date_order(survey(lambda cell: cell))
    day_first, remark = order
  is_first = bool(day_first)

  def parts(cell: Any) -> np.ndarray:
    if is_empty(cell):
      raise ValueError('a cell without a date is no date')
    return _parts(to_date(cell, is_first))

  if None in (has_times, center, spread, edges):
    dates = np.stack(survey(parts))
    fitted = fit_scale(_days(dates), bins)
    if has_times is None:
      has_times = len(np.unique(dates[:, 1])) > 1
    center = fitted.center if center is None else center
    spread = fitted.spread if spread is None else spread
    edges = fitted.edges if edges is None else edges
  scale = Scale(float(center), float(spread), tuple(map(float, edges)))
  has_times = bool(has_times)
  num_features = scale.num_features + 4 + 2 * has_times

  def read(cell: Any) -> Example:
    date = parts(cell)
    features = date_features(date, scale, has_times=has_times)
    return {'cell': features, 'date': date}

  return FileKind(
    read=read,
    features={
      'cell': array_feature((num_features,), np.float32),
      'date': array_feature((2,), np.int32),
    },
    options={'kind': 'date', 'day_first': is_first},
    example={
      'cell': array_spec(num_features),
      'date': array_spec(2, dtype=np.int32),
    },
    augment=lambda kept, rng: kept,
    prepare=lambda kept: kept,
    view=_view,
    chosen={
      'data.day_first': is_first,
      'data.has_times': has_times,
      'data.center': scale.center,
      'data.spread': scale.spread,
      'data.edges': scale.edges,
    },
    note=_note(scale, has_times) + (f'{remark}, ' if remark else ''),
    classical=lambda example: example['cell'],
  )


def date_features(
  date: np.ndarray, scale: Scale, *, has_times: bool
) -> np.ndarray:
  """Returns the features of a date.

  Args:
    date: int32 `[2]`, days since 1970 and seconds of the day.
    scale: of the days.
    has_times: whether the time of day is among them.

  Returns:
    float32 `[F]`, see `date_cells`.
  """
  days, seconds = map(int, date)
  day = _EPOCH + datetime.timedelta(days=days)
  share = seconds / _SECONDS
  begin = datetime.date(day.year, 1, 1)
  length = 366 if _is_leap(day.year) else 365
  places = [
    ((days + _WEEKDAY_OF_EPOCH) % 7 + share) / 7,
    ((day - begin).days + share) / length,
    *([share] if has_times else []),
  ]
  turns = 2 * np.pi * np.array(places)
  circles = np.stack([np.cos(turns), np.sin(turns)], axis=-1).reshape(-1)
  return np.concatenate(
    [scale.features(_days(date)), circles.astype(np.float32)]
  )


def _is_leap(year: int) -> bool:
  return year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)


def _parts(days: float) -> np.ndarray:
  """Whole days and seconds of a date."""
  total = round(days * _SECONDS)
  return np.array(divmod(total, _SECONDS), np.int32)


def _days(date: np.ndarray) -> np.ndarray:
  """float64 `[...]` of dates `[..., 2]`."""
  return date[..., 0] + date[..., 1] / _SECONDS


def _shown(date: np.ndarray) -> str:
  days, seconds = map(int, date)
  moment = datetime.datetime.combine(
    _EPOCH + datetime.timedelta(days=days), datetime.time()
  ) + datetime.timedelta(seconds=seconds)
  return moment.isoformat(' ') if seconds else moment.date().isoformat()


def _view(example: Example) -> dict[str, View]:
  return {'cell': Cell(_shown(example['date']), 'date')}


def _note(scale: Scale, has_times: bool) -> str:
  middle = _shown(_parts(round(scale.center)))
  kind = 'times' if has_times else 'dates'
  return f'date: {kind} around {middle}, {scale.num_features - 1} bins, '
