"""The answers of rows as lines, JSON, panels and as a table."""

import csv
import html
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from experiments.answers.answer import Answer, Panel
from experiments.answers.rows.held_out import held_out_rows
from experiments.answers.rows.value import Answered, RowAnswers
from experiments.pages.tables import Html

# More are in the table that is written.
_MOST_LINES = 20
_NONE = 'no answer: the row lacks what it is about'

ROWS = Answer(
  purpose='rows of a table',
  outputs='For each column of answers what its kind says.',
  lines=lambda value, top: [f'{len(value.rows):,} rows'],
  json=lambda value, top: {'rows': len(value.rows)},
  panels=lambda value: [],
  higher=('score',),
)


def answer_of_rows(
  columns: Sequence[Answered], inputs: Sequence[str]
) -> Answer:
  """Returns the record of several answers to each row.

  Args:
    columns: of answers.
    inputs: keys of the inputs that a row may have or lack.
  """
  record = _Record(columns)
  kinds = [each.head.answer for each in columns]
  return ROWS._replace(
    outputs=' '.join(
      f'{each.name}: {each.head.answer.outputs}' for each in columns
    ),
    lines=record.lines,
    json=record.json,
    panels=record.panels,
    said=record.said,
    lower=tuple({name for kind in kinds for name in kind.lower}),
    higher=('score', *{name for kind in kinds for name in kind.higher}),
    write=record.write,
    held_out=held_out_rows(columns, inputs),
  )


class _Record:
  def __init__(self, columns: Sequence[Answered]):
    self._columns = columns

  def lines(self, value: RowAnswers, top: int) -> list[str]:
    if len(value.rows) == 1:
      return self._of_row(value.rows[0], top)
    told = []
    for number, row in enumerate(value.rows[:_MOST_LINES], start=1):
      said = '; '.join(self._of_row(row, 1))
      told.append(f'row {number}: {said}')
    more = len(value.rows) - _MOST_LINES
    return [*told, f'and {more:,} more rows'] if more > 0 else told

  def _of_row(self, row: Mapping[str, Any], top: int) -> list[str]:
    lines = []
    for column in self._columns:
      if row[column.name] is None:
        lines.append(f'{column.name}: {_NONE}')
        continue
      first, *others = column.head.answer.lines(row[column.name], top)
      indent = ' ' * (len(column.name) + 2)
      lines.append(f'{column.name}: {first.strip()}')
      lines += [f'{indent}{line}' for line in others]
    return lines

  def json(self, value: RowAnswers, top: int) -> dict[str, Any]:
    return {
      'rows': [
        {
          column.name: None
          if row[column.name] is None
          else column.head.answer.json(row[column.name], top)
          for column in self._columns
        }
        for row in value.rows
      ]
    }

  def panels(self, value: RowAnswers) -> list[Panel]:
    # A page shows one row at a time.
    row, panels = value.rows[0], []
    for column in self._columns:
      if row[column.name] is None:
        panels.append(Panel(column.name, Html(f'<p>{_NONE}</p>')))
        continue
      panels += [
        panel._replace(name=f'{column.name}: {panel.name}')
        for panel in column.head.answer.panels(row[column.name])
      ]
    return panels

  def said(self, value: RowAnswers, top: int) -> Html:
    del top
    return Html(
      ''.join(
        f'<div class="panel-name">{html.escape(panel.name)}</div>{panel.body}'
        for panel in self.panels(value)
      )
    )

  def write(
    self, value: RowAnswers, folder: pathlib.Path, name: str
  ) -> list[pathlib.Path]:
    """Writes a table of all rows, and the files of their answers."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f'{name}.csv'
    rows = [
      {
        f'{column.name}{suffix}': cell
        for column in self._columns
        if row[column.name] is not None
        for suffix, cell in column.head.cells(row[column.name]).items()
      }
      for row in value.rows
    ]
    names = dict.fromkeys(name for row in rows for name in row)
    with path.open('w', encoding='utf-8', newline='') as file:
      writer = csv.DictWriter(file, ['row', *names], restval='')
      writer.writeheader()
      for number, row in enumerate(rows, start=1):
        writer.writerow({'row': number, **row})
    files = [path]
    for number, row in enumerate(value.rows, start=1):
      for column in self._columns:
        if row[column.name] is None:
          continue
        files += column.head.answer.write(
          row[column.name], folder, f'{name}_{number}_{column.key}'
        )
    return files
