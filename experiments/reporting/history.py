"""The numbers that a run left in metrics.jsonl."""

import json
import math
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import ml_collections

_FILE = 'metrics.jsonl'

Points = list[tuple[float, float | None]]


class History(NamedTuple):
  """Metrics by step.

  Attributes:
    rows: `step` and metrics of each line, in order of the steps.
    broken: lines that are none of a run, and were left out.
  """

  rows: Sequence[Mapping[str, Any]]
  broken: int

  def names(self) -> list[str]:
    """Returns the names of all metrics, in order of their first line."""
    names = dict.fromkeys(name for row in self.rows for name in row)
    return [name for name in names if name != 'step']

  def points(self, name: str) -> Points:
    """Returns steps and values of a metric; None is one that is not finite."""
    return [(row['step'], row[name]) for row in self.rows if name in row]

  def evaluations(self) -> list[Mapping[str, Any]]:
    """Returns the rows with held-out metrics, see `evaluation_of`."""
    return [row for row in self.rows if evaluation_of(row)]

  def seconds(self) -> float | None:
    """Returns how long the steps and evaluations took; None if not kept.

    The evaluation after the last step is not among them.
    """
    total, before = 0.0, 0
    for row in self.rows:
      if row.get('train/seconds_per_step') is not None:
        steps = row['step'] - before
        total += row['train/seconds_per_step'] * steps
        total += row.get('train/seconds_evaluating') or 0.0
        before = row['step']
    return total or None


def read_history(workdir: pathlib.Path) -> History:
  """Reads the metrics of a run; there are none where it has no file."""
  try:
    text = (workdir / _FILE).read_text(errors='replace', encoding='utf-8')
  except FileNotFoundError:
    return History([], 0)
  rows, broken = {}, 0
  for line in text.splitlines():
    row = _row(line)
    if row is None:
      broken += bool(line.strip())
    else:
      # Two lines of a step come of a run that was killed and went on; what was
      # tested at the end has a line of its own.
      rows[row['step']] = {**rows.get(row['step'], {}), **row}
  return History([rows[step] for step in sorted(rows)], broken)


def evaluation_of(row: Mapping[str, Any]) -> dict[str, float | None]:
  """Returns the held-out metrics of a row, `eval/...` and `eval_ema/...`."""
  return {
    name: value
    for name, value in row.items()
    if name.startswith(('eval/', 'eval_ema/'))
  }


def tested(history: History) -> dict[str, float | None]:
  """Returns what was found at the end, `test/...` and `classical/...`."""
  return {
    name: value
    for row in history.rows
    for name, value in row.items()
    if name.startswith(('test/', 'classical/'))
  }


def best_evaluation(
  history: History, config: ml_collections.ConfigDict
) -> Mapping[str, Any] | None:
  """Returns the row whose metric is the best by `config.checkpoints`."""
  name, mode = best_metric(config)
  rows = [row for row in history.rows if row.get(name) is not None]
  sign = 1.0 if mode == 'max' else -1.0
  # Of several as good, checkpoints keep the last.
  return max(
    rows, key=lambda row: (sign * row[name], row['step']), default=None
  )


def best_metric(config: ml_collections.ConfigDict) -> tuple[str, str]:
  """Returns the metric that checkpoints are chosen by; 'max' or 'min'."""
  checkpoints = config.get('checkpoints', {})
  return checkpoints.get('best_metric', ''), checkpoints.get('best_mode', 'max')


def _row(line: str) -> dict[str, Any] | None:
  """A line as a row; None where it is none."""
  try:
    row = json.loads(line)
  except (ValueError, RecursionError):
    return None
  if not isinstance(row, dict) or not isinstance(row.get('step'), int):
    return None
  return {
    name: value if name == 'step' else _finite(value)
    for name, value in row.items()
    if name == 'step' or value is None or isinstance(value, int | float)
  }


def _finite(value: float | None) -> float | None:
  try:
    return float(value) if value is not None and math.isfinite(value) else None
  except OverflowError:  # Of a whole number of very many digits.
    return None
