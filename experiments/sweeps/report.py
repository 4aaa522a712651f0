"""The table of a sweep as Markdown, and its place in a file."""

import collections
import importlib.metadata
import os
import pathlib
from collections.abc import Mapping

from experiments.host.buckets import write_whole
from experiments.sweeps.rows import Result
from experiments.sweeps.tables import Row, Table


def render(
  table: Table, name: str, results: Mapping[str, Result | None]
) -> str:
  """Returns a section of Markdown.

  Args:
    table: its rows come in their order.
    name: of the table, for the command.
    results: by the name of the row; None for one that was not trained.
  """
  finished = _finished(table, results)
  columns = _columns(finished)
  head = ['run', 'changes', 'steps', 'parameters', *columns]
  head += ['time', 'CPU time', 'memory', 'date']
  lines = [
    f'## {table.title}',
    '',
    f'`python -m experiments.sweep --table={name}`. {table.note}',
    '',
    _line(head),
    _line(['---', '---', *['---:'] * (len(head) - 3), '---']),
  ]
  for row in table.rows:
    metrics = [cells.get(row.name, '') for cells in columns.values()]
    lines.append(_line(_cells(row.name, results.get(row.name), metrics)))
  return '\n'.join([*lines, '', _machine([each for _, each in finished])])


def missed_goals(
  table: Table, results: Mapping[str, Result | None]
) -> list[str]:
  """Returns what finished rows were to reach and did not, a line each."""
  return [
    f'{row.name}: {goal}, and it is '
    f'{result.metrics.get(goal.metric, "not there")}'
    for row, result in _finished(table, results)
    for goal in row.goals
    if not goal.is_met(result.metrics)
  ]


def write_section(path: pathlib.Path, name: str, section: str) -> None:
  """Writes a section into a file, in place of what it was before.

  Args:
    path: a Markdown file; made, or appended to, when it lacks the section.
    name: of the table; the section stands between two comments with it.
    section: from `render`.

  Raises:
    ValueError: the file has the first mark and not the last.
  """
  first, last = f'<!-- table {name} -->', f'<!-- end of table {name} -->'
  text = path.read_text(encoding='utf-8') if path.exists() else ''
  before, mark, rest = text.partition(first)
  _, end, after = rest.partition(last)
  if mark and not end:
    raise ValueError(f'{path} has {first!r} and no {last!r} after it.')
  if not mark and before:
    before = before.rstrip('\n') + '\n\n'
  write_whole(path, f'{before}{first}\n\n{section}\n\n{last}{after or chr(10)}')


def _finished(
  table: Table, results: Mapping[str, Result | None]
) -> list[tuple[Row, Result]]:
  """Returns the rows that were trained to their end, with what is known."""
  return [
    (row, result)
    for row in table.rows
    if (result := results.get(row.name)) and not result.error
  ]


def _columns(finished: list[tuple[Row, Result]]) -> dict[str, dict[str, str]]:
  """Returns cells of metrics and goals by column and name of the row.

  Rows of the same metrics have a column for each; rows of different tasks have
  one for all. Goals have one where there are any.
  """
  columns = collections.defaultdict(dict)
  is_mixed = len({frozenset(result.metrics) for _, result in finished}) > 1
  for row, result in finished:
    said = {key: f'{value:,.4f}' for key, value in result.metrics.items()}
    if is_mixed:
      said = {'metrics': ', '.join(f'{key} {x}' for key, x in said.items())}
    for key, value in said.items():
      columns[key][row.name] = value
  for row, result in finished:
    if row.goals:
      columns['goal'][row.name] = ', '.join(
        f'{goal}' if goal.is_met(result.metrics) else f'{goal} (missed)'
        for goal in row.goals
      )
  return columns


def _cells(name: str, result: Result | None, metrics: list[str]) -> list[str]:
  width = 8 + len(metrics)
  if result is None:
    return [name, 'not run', *[''] * (width - 2)]
  changes = f'`{" ".join(result.arguments).replace("--config.", "")}`'
  if result.error:
    return [name, f'{changes} failed: {result.error}', *[''] * (width - 2)]
  return [
    name,
    changes,
    f'{result.steps:,}',
    f'{result.parameters:,}',
    *metrics,
    _time(result.seconds) + (' (resumed)' if result.resumed else ''),
    _time(result.cpu_seconds),
    f'{result.peak_bytes / 2**20:,.0f} MiB',
    result.date,
  ]


def _line(cells: list[str]) -> str:
  return f'| {" | ".join(cell.replace("|", "/") for cell in cells)} |'


def _time(seconds: float) -> str:
  minutes, rest = divmod(round(seconds), 60)
  return f'{minutes} min {rest} s' if minutes else f'{rest} s'


def _machine(results: list[Result]) -> str:
  """Says what ran where, as far as results know."""
  devices = ', '.join(sorted({each.devices for each in results} - {''}))
  return (
    f'{devices or "Nothing ran"}; {os.cpu_count()} CPU cores; jax '
    f'{importlib.metadata.version("jax")}. One run a row; metrics are those of '
    'the last step, on held-out examples; time is that of the whole command.'
  )
