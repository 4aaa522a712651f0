"""Trains the rows of a table, each in a process of its own, and prints it.

  python -m experiments.sweep --table=digits
  python -m experiments.sweep --table=digits --rows=resnet,vit
  python -m experiments.sweep --table=ablation --output=docs/results.md
  python -m experiments.sweep --table=digits --override=seed=1 --workdir=runs/b

The same command run again trains only what is not finished; a row that was
interrupted, or failed, goes on from its last checkpoint. A row that fails, or
misses its goal, is reported and does not stop the others; the exit code is then
1. With --output the table is written between two marks into that file, in place
of an earlier one.
"""

import pathlib
import sys

from absl import flags

from experiments.host import addresses, command_line
from experiments.sweeps.report import missed_goals, render, write_section
from experiments.sweeps.rows import Result, read_result, run_row
from experiments.sweeps.tables import TABLES, Row, Table

_TABLE = flags.DEFINE_enum('table', None, list(TABLES), 'Which table to make.')
_ROWS = flags.DEFINE_list(
  'rows', None, 'Names of rows, to train only these. Default: all.'
)
_OVERRIDES = flags.DEFINE_multi_string(
  'override',
  [],
  'KEY=VALUE of the configs of all rows, such as seed=1; several times for '
  'several.',
)
_OUTPUT = flags.DEFINE_string(
  'output', None, 'Markdown file that gets the table, beside what is printed.'
)


def run_table(
  table: Table,
  workdir: pathlib.Path,
  data_dir: str | None,
  *,
  names: list[str] | None = None,
  overrides: list[str] | None = None,
) -> dict[str, Result | None]:
  """Trains the rows of a table that are not finished.

  Args:
    table: of which.
    workdir: each row has a folder in it.
    data_dir: where TFDS keeps prepared data; None for its own default.
    names: of the rows to train; None for all.
    overrides: 'KEY=VALUE' for the configs of all rows.

  Returns:
    What is known of each row of the table, None of those never trained.

  Raises:
    ValueError: there is no such row, or a folder is of another command.
  """
  for row in _chosen(table, names):
    run_row(row, workdir / row.name, data_dir, overrides or [])
  return {row.name: read_result(workdir / row.name) for row in table.rows}


def _chosen(table: Table, names: list[str] | None) -> list[Row]:
  known = [row.name for row in table.rows]
  for name in names or []:
    if name not in known:
      raise ValueError(f'--rows: there is no row {name!r}, choose of {known}.')
  return [row for row in table.rows if names is None or row.name in names]


def main() -> None:
  """Makes the table that --table names."""
  if command_line.CONFIG.value is not None:
    raise ValueError(
      'The rows of a table name their configs: use --table instead of --config.'
    )
  name = _TABLE.value
  if name is None:
    raise ValueError(f'Name a table by --table, one of {list(TABLES)}.')
  workdir = addresses.local(
    command_line.WORKDIR.value or pathlib.Path('runs') / f'sweep-{name}',
    '--workdir',
    'what each row prints is written as it comes',
  )
  output = None
  if _OUTPUT.value:
    output = addresses.local(
      _OUTPUT.value, '--output', 'the file is changed in place'
    )
  results = run_table(
    TABLES[name],
    workdir,
    command_line.data_dir(),
    names=_ROWS.value,
    overrides=_OVERRIDES.value,
  )
  section = render(TABLES[name], name, results)
  print(section)
  if output is not None:
    write_section(output, name, section)
  missed = missed_goals(TABLES[name], results)
  for line in missed:
    print(f'Missed: {line}')
  if missed or any(result and result.error for result in results.values()):
    sys.exit(1)


if __name__ == '__main__':
  command_line.run(main)
