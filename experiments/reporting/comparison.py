"""Runs side by side: one page."""

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from experiments.pages.page import Section, page
from experiments.pages.tables import Html, metric_cell, table
from experiments.reporting import background, curves
from experiments.reporting.history import (
  best_evaluation,
  best_metric,
  evaluation_of,
)
from experiments.reporting.run_page import RunFiles, metric_name
from experiments.tasks import answer_of

_NONE = 'none'


def comparison_page(runs: Sequence[RunFiles]) -> str:
  """Returns the page as HTML.

  Args:
    runs: at least two.

  Raises:
    ValueError: one is named twice.
  """
  named = dict(zip(names_of(runs), runs, strict=True))
  histories = {name: run.history for name, run in named.items()}
  facts = {
    name: background.facts(run.starts[-1]) if run.starts else {}
    for name, run in named.items()
  }
  configs = {
    name: background.flat_config(run.config) for name, run in named.items()
  }
  sections = [
    Section(
      'Metrics',
      metrics_table(named),
      'Of the best evaluation of each run; the best run in bold.',
    ),
    Section('Curves', curves.overlaid_charts(histories)),
    Section(
      'Differences of the configs',
      differences(configs) or Html('<p>There are none.</p>'),
    ),
    Section('Environment', _side_by_side(facts, _keys(facts))),
  ]
  title = f'{len(runs)} runs compared'
  return page(title, ', '.join(named), Html(''), sections)


def names_of(runs: Sequence[RunFiles]) -> list[str]:
  """Returns names that tell runs apart: of their folders, or their paths.

  Raises:
    ValueError: a run is named twice.
  """
  paths = [run.workdir.resolve() for run in runs]
  for path in paths:
    if paths.count(path) > 1:
      raise ValueError(f'{path} is named twice.')
  names = [path.name for path in paths]
  if len(set(names)) == len(names):
    return names
  common = pathlib.Path(*_common(paths))
  return [str(path.relative_to(common)) for path in paths]


def metrics_table(runs: Mapping[str, RunFiles]) -> Html:
  """Returns the held-out metrics of each run, a row a metric."""
  rows = {
    name: best_evaluation(run.history, run.config) or _last(run)
    for name, run in runs.items()
  }
  metrics = dict.fromkeys(
    metric for row in rows.values() for metric in evaluation_of(row)
  )
  cells = [
    ('step', *(f'{row["step"]:,}' if row else '' for row in rows.values()))
  ]
  for metric in metrics:
    values = [row.get(metric) for row in rows.values()]
    best = _best(metric, values, list(runs.values()))
    cells.append(
      (
        metric_name(metric),
        *(
          metric_cell(each, is_best=each is not None and each == best)
          if metric in row
          else Html('')
          for each, row in zip(values, rows.values(), strict=True)
        ),
      )
    )
  seconds = [run.history.seconds() for run in runs.values()]
  if any(seconds):
    minutes = [None if each is None else each / 60 for each in seconds]
    cells.append(('minutes of training', *map(metric_cell, minutes)))
  return table(('metric', *runs), cells) if metrics else Html('')


def differences(trees: Mapping[str, Mapping[str, str]]) -> Html:
  """Returns the values that are not the same in all; '' where all are.

  Args:
    trees: values by their paths, by the names of the runs.
  """
  different = [
    key
    for key in _keys(trees)
    if len({tree.get(key, _NONE) for tree in trees.values()}) > 1
  ]
  return _side_by_side(trees, different)


def _side_by_side(
  trees: Mapping[str, Mapping[str, str]], keys: Sequence[str]
) -> Html:
  if not keys:
    return Html('')
  rows = [
    (key, *(tree.get(key, _NONE) for tree in trees.values())) for key in keys
  ]
  return table(('', *trees), rows, numbers=False)


def _keys(trees: Mapping[str, Mapping[str, str]]) -> list[str]:
  return list(dict.fromkeys(key for tree in trees.values() for key in tree))


def _last(run: RunFiles) -> Mapping[str, Any]:
  evaluations = run.history.evaluations()
  return evaluations[-1] if evaluations else {}


def _best(
  metric: str, values: Sequence[float | None], runs: Sequence[RunFiles]
) -> float | None:
  """The best value; None where it is not known what is better."""
  known = [value for value in values if value is not None]
  lower = None
  for run in runs:
    answer = answer_of(run.config)
    if answer is not None and lower is None:
      lower = answer.is_lower_better(metric)
  for run in runs:
    chosen, mode = best_metric(run.config)
    if chosen == metric:
      lower = mode == 'min'
  if not known or lower is None:
    return None
  return min(known) if lower else max(known)


def _common(paths: Sequence[pathlib.Path]) -> list[str]:
  """The folders that all paths begin with."""
  found = []
  for parts in zip(*(path.parts for path in paths), strict=False):
    if len(set(parts)) > 1:
      break
    found.append(parts[0])
  return found
