"""What the answers of all held-out rows come to: metrics, report, table.

Of each answer the rows that have it count. What is kept of an answer's rows is
named `KEY/...`, with `KEY/there`; `inputs:KEY` says which rows have an input,
`row` which these are.
"""

import html
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

from experiments.answers.answer import DatasetMetrics, HeldOut, Kept
from experiments.answers.rows.value import Answered
from experiments.pages.axes import number
from experiments.pages.page import Section
from experiments.pages.tables import Html, table
from experiments.stepping.train_state import Batch, Collect

# An answer that is far off on one column should not hide all others.
_LEAST_SCORE = -1.0
# Of so few rows a score says little.
_LEAST_ROWS = 5


def held_out_rows(
  columns: Sequence[Answered], inputs: Sequence[str]
) -> HeldOut:
  """Returns how held-out rows are told together.

  Args:
    columns: of answers.
    inputs: keys of the inputs that a row may have or lack.
  """
  return HeldOut(
    collect_rows(columns, inputs),
    caption=lambda kept: _caption(columns, kept),
    sections=lambda kept, note: _sections(columns, inputs, kept, note),
    columns=lambda numbers, kept: _columns(columns, kept),
  )


def collect_rows(columns: Sequence[Answered], inputs: Sequence[str]) -> Collect:
  """Returns what keeps all that there is to say of rows; see above."""

  def collect(predictions: Any, batch: Batch) -> dict[str, jax.Array]:
    kept = {f'inputs:{key}': batch['inputs'][key]['there'] for key in inputs}
    kept['row'] = batch['row']
    for column in columns:
      target = column.target(batch)
      found = column.head.collect(predictions['outputs'][column.key], target)
      kept |= {f'{column.key}/{name}': x for name, x in found.items()}
      kept[f'{column.key}/there'] = target['there']
    return kept

  return collect


def metrics_of_rows(
  columns: Sequence[Answered], inputs: Sequence[str]
) -> DatasetMetrics:
  """Returns the metrics of each answer, and `score`, the mean of their scores.

  Scores of which lower is better count as 1 less them; each is at most 1, and
  one below -1 counts as -1.

  Args:
    columns: of answers.
    inputs: see `held_out_rows`.
  """

  def compute(kept: Kept) -> dict[str, float]:
    found, scores = {}, []
    for column in columns:
      own = kept_of(column, kept)
      if own is None:
        continue
      metrics = column.head.metrics(own)
      found |= {f'{column.key}/{name}': x for name, x in metrics.items()}
      scores.append(_score(column, metrics))
    found['score'] = float(np.mean(scores)) if scores else float('nan')
    return found

  names = ('score', *(f'{x.key}/{x.head.score}' for x in columns))
  return DatasetMetrics(names, collect_rows(columns, inputs), compute)


def kept_of(column: Answered, kept: Kept, chosen: Any = True) -> Kept | None:
  """Returns what was kept of the rows that have an answer.

  Args:
    column: of the answer.
    kept: of all rows.
    chosen: bool `[n]`, which of them; True for all.

  Returns:
    None where no row has it.
  """
  there = kept[f'{column.key}/there'] & chosen
  if not there.any():
    return None
  return {name: x[there] for name, x in _own(column, kept).items()}


def _own(column: Answered, kept: Kept) -> Kept:
  """What was kept of an answer, as its head has it."""
  prefix = f'{column.key}/'
  return {
    name.removeprefix(prefix): x
    for name, x in kept.items()
    if name.startswith(prefix) and name != f'{prefix}there'
  }


def _score(column: Answered, metrics: Mapping[str, float]) -> float:
  name = column.head.score
  value = metrics[name]
  if column.head.answer.is_lower_better(name):
    value = 1.0 - value
  return max(value, _LEAST_SCORE)


def _caption(columns: Sequence[Answered], kept: Kept) -> Html:
  told = []
  for column in columns:
    if kept[f'{column.key}/there']:
      said = column.head.caption(_own(column, kept))
      told.append(f'<div>{html.escape(column.name)}: {said}</div>')
  return Html(''.join(told))


def _sections(
  columns: Sequence[Answered], inputs: Sequence[str], kept: Kept, note: str
) -> list[Section]:
  sections = [
    Section('Answers', _answers_table(columns, kept), f'{note}.'),
    Section(
      'By what a row has',
      _by_inputs(columns, inputs, kept),
      f'{note}: the score of each answer, of rows that have all inputs and of '
      f'those that lack one, whatever else they lack; none of fewer than '
      f'{_LEAST_ROWS} rows.',
    ),
  ]
  for column in columns:
    own = kept_of(column, kept)
    if own is None:
      continue
    rows = len(next(iter(own.values())))
    told = f'{note}, the {rows:,} that have {column.name}'
    sections += [
      section._replace(title=f'{column.name}: {section.title}')
      for section in column.head.sections(own, told)
    ]
  return sections


def _answers_table(columns: Sequence[Answered], kept: Kept) -> Html:
  """The metrics of each answer, beside those of trivial predictors."""
  rows = []
  for column in columns:
    own = kept_of(column, kept)
    if own is None:
      continue
    trivial: dict[str, list[str]] = {}
    for predictor, metric, value in column.head.baselines(own):
      trivial.setdefault(metric, []).append(f'{predictor} {number(value)}')
    rows += [
      (
        column.name,
        name.replace('_', ' '),
        number(value),
        ', '.join(trivial.get(name, [])),
      )
      for name, value in column.head.metrics(own).items()
    ]
  head = ('answer', 'metric', 'model', 'for comparison')
  return table(head, rows, numbers=False)


def _by_inputs(
  columns: Sequence[Answered], inputs: Sequence[str], kept: Kept
) -> Html:
  """The score of each answer, for rows that have or lack an input."""
  there = {key: kept[f'inputs:{key}'] for key in inputs}
  groups = {'all': np.logical_and.reduce(list(there.values()))}
  groups |= {f'without {key}': ~has for key, has in there.items()}
  if len(inputs) > 1:
    groups['none'] = ~np.logical_or.reduce(list(there.values()))
  rows = []
  for name, chosen in groups.items():
    if not chosen.any():
      continue
    scores = []
    for column in columns:
      own = kept_of(column, kept, chosen)
      few = own is None or len(next(iter(own.values()))) < _LEAST_ROWS
      scores.append(
        '' if few else number(column.head.metrics(own)[column.head.score])
      )
    rows.append((name, f'{chosen.sum():,}', *scores))
  head = [
    f'{each.name}: {each.head.score.replace("_", " ")}' for each in columns
  ]
  return table(('inputs', 'rows', *head), rows, numbers=False)


def _columns(
  columns: Sequence[Answered], kept: Kept
) -> Mapping[str, Sequence[Any]]:
  """True and predicted values of each answer; '' where a row has none.

  Rows are numbered from 1, without the names of the columns.
  """
  result: dict[str, Sequence[Any]] = {'row': kept['row'] + 1}
  for column in columns:
    own = kept_of(column, kept)
    if own is None:
      continue
    there = np.flatnonzero(kept[f'{column.key}/there'])
    for name, values in column.head.columns(own).items():
      cells: list[Any] = [''] * len(kept['row'])
      for row, value in zip(there, values, strict=True):
        cells[row] = value
      result[f'{column.name} {name}'] = cells
  return result
