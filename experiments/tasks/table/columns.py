"""The columns of a table that a run reads: settled once, then made from that.

A settled column is a dict of plain values, in the config's `data.columns`:

  name: of the column.
  key: what its arrays, parameters and metrics are called.
  role: 'input' or 'answer'.
  kind: see `senses.columns` and `HEADS`.

An input has `files`, options of its `FileKind`, and `elements`, the section of
its preprocessor; an answer has `options`, `weight`, and `asks`, the key of the
input that its queries are made of, or ''.
"""

import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from experiments.answers.head import Options
from experiments.answers.rows.value import Answered
from experiments.data.modality import ColumnKind
from experiments.files.kind import FileKind
from experiments.modalities import senses
from experiments.table.kinds import file_path, is_file
from experiments.table.rows import Rows
from experiments.tasks.table.heads import HEADS

Settled = Mapping[str, Any]
# Of a small table; a config is checked with them before its own is looked at.
TYPICAL: Sequence[Settled] = (
  {
    'name': 'x',
    'key': 'x',
    'role': 'input',
    'kind': 'number',
    'files': {
      'bins': 1,
      'center': (0.0,),
      'spread': (1.0,),
      'edges': ((0.0, 1.0),),
    },
    'elements': {'name': 'cell_features', 'num_channels': 64},
  },
  {
    'name': 'y',
    'key': 'y',
    'role': 'answer',
    'kind': 'class',
    'options': {
      'classes': ('a', 'b'),
      'most_frequent': 'a',
      'smoothing': 0.1,
    },
    'asks': '',
    'weight': 1.0,
  },
)


class Input(NamedTuple):
  """A column of inputs.

  Attributes:
    name: of the column.
    key: what arrays of it are called.
    kind: how a sense reads it.
    files: what its cells come to.
    elements: section of its preprocessor.
  """

  name: str
  key: str
  kind: ColumnKind
  files: FileKind
  elements: Mapping[str, Any]


class Columns(NamedTuple):
  """What a run reads of a table.

  Attributes:
    inputs: columns that the model sees.
    answers: columns that it is asked for.
  """

  inputs: Sequence[Input]
  answers: Sequence[Answered]


def made(columns: Sequence[Settled]) -> Columns:
  """Returns inputs and answers of settled columns.

  Args:
    columns: see the head of this file.

  Raises:
    ConfigError: a kind has no such option.
    ValueError: a kind is unknown, an option is out of its range, or two answers
      about one input do not go together.
  """
  inputs, answers = [], []
  by_key = {each['key']: each for each in columns}
  for each in columns:
    if each['role'] == 'input':
      inputs.append(_input(each))
      continue
    asks = options_of(by_key.get(each['asks']))
    head = HEADS[each['kind']].make(each['options'], asks)
    answers.append(
      Answered(each['name'], each['key'], head, each['asks'], each['weight'])
    )
  _check_together(answers)
  return Columns(inputs, answers)


def options_of(asks: Settled | None) -> Options:
  """Returns what a head is told of the input that it is about.

  Args:
    asks: the settled input; None where it is about none.
  """
  if asks is None:
    return {}
  return {**asks['files'], **asks['elements'], 'kind': asks['kind']}


def _check_together(answers: Sequence[Answered]) -> None:
  """Raises a ValueError where an input is cut for one answer of several."""
  for cuts in answers:
    for other in answers:
      is_about = other is not cuts and other.asks == cuts.asks
      is_moved = other.head.split is not None or other.head.align is not None
      if cuts.head.split is not None and is_about and is_moved:
        raise ValueError(
          f'{cuts.name!r} and {other.name!r} are both about the same input, '
          'which is cut anywhere for the forecast: leave out one of them, or '
          'name its file in a second column.'
        )


def _input(column: Settled) -> Input:
  kind = senses.columns()[column['kind']]

  def closed(read: Callable[[Any], Any]) -> list[Any]:
    raise AssertionError(f'{column["name"]} is settled, and surveys nothing.')

  files = kind.files(closed, **_as_tuples(column['files']))
  return Input(
    column['name'],
    column['key'],
    kind,
    files,
    _as_tuples(column['elements']),
  )


def _as_tuples(value: Any) -> Any:
  """Returns values that were JSON with tuples for lists, as configs have."""
  if isinstance(value, Mapping):
    return {key: _as_tuples(each) for key, each in value.items()}
  if isinstance(value, list | tuple):
    return tuple(_as_tuples(each) for each in value)
  return value


def cell_of(kind: ColumnKind, rows: Rows, name: str, row: int) -> Any:
  """Returns what a sense reads: the path of a file, or the cell itself.

  Args:
    kind: of the column.
    rows: of the table.
    name: of the column.
    row: number of a row in which it is not empty.

  Raises:
    ValueError: there is no such file, or it is of another kind.
  """
  cell = rows.columns[name][row]
  if not kind.extensions:
    return cell
  path = _path(rows, cell)
  has_ending = path is not None and path.suffix.lower() in kind.extensions
  if kind.is_text and not (has_ending and is_file(path)):
    return str(cell)
  if path is None or not is_file(path):
    raise ValueError(
      f'{rows.place(row)}, column {name!r}: there is no file {cell!r}. Names '
      f'of files are told from the folder of the table, {rows.path.parent}.'
    )
  if not has_ending:
    raise ValueError(
      f'{rows.place(row)}, column {name!r}: {path} is no file of its kind, '
      f'whose names end in {", ".join(kind.extensions)}.'
    )
  return path


def answer_cell(rows: Rows, name: str, row: int) -> Any:
  """Returns what a head reads: the path of a file, or the cell itself."""
  cell = rows.columns[name][row]
  path = _path(rows, cell)
  return path if path is not None and is_file(path) else cell


def _path(rows: Rows, cell: Any) -> pathlib.Path | None:
  if not isinstance(cell, str):
    return None
  return file_path(cell.strip(), rows.path.parent)
