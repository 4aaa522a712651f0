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

import ast
import copy
import pathlib
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from experiments.answers.head import Column
from experiments.answers.rows.value import Answered
from experiments.data.modality import ColumnKind
from experiments.files.kind import FileKind, Survey
from experiments.host.configuration import check_arguments
from experiments.modalities import senses
from experiments.table.asked import Asked
from experiments.table.cells import is_empty
from experiments.table.rows import Rows
from experiments.tasks.table.heads import HEADS

Settled = Mapping[str, Any]
# Of a column, read to learn what files are.
_SURVEYED = 200
_MOST_NAMED = 3


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
    ValueError: a kind is unknown, or an option is out of its range.
  """
  inputs, answers = [], []
  by_key = {each['key']: each for each in columns}
  for each in columns:
    if each['role'] == 'input':
      inputs.append(_input(each))
      continue
    asks = by_key.get(each['asks'], {})
    options = {**asks.get('files', {}), **asks.get('elements', {})}
    head = HEADS[each['kind']].make(
      each['options'], {**options, 'kind': asks['kind']} if asks else {}
    )
    answers.append(
      Answered(each['name'], each['key'], head, each['asks'], each['weight'])
    )
  return Columns(inputs, answers)


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


class Chooser:
  """Settles the columns of a table.

  Args:
    rows: of the table.
    train: int `[n]`, numbers of the training rows.
    sections: by kind of inputs, options of its files, None where they are to be
      chosen from the cells, and below `elements` those of its preprocessor.
    skip_unreadable: whether cells that cannot be read are left out.
  """

  def __init__(
    self,
    rows: Rows,
    train: np.ndarray,
    sections: Mapping[str, Mapping[str, Any]],
    *,
    skip_unreadable: bool,
  ):
    self._rows, self._train, self._sections = rows, train, sections
    self._skips = skip_unreadable
    self._keys: set[str] = set()
    self._notes: list[str] = []

  def choose(
    self, inputs: Sequence[Asked], answers: Sequence[Asked]
  ) -> tuple[list[dict[str, Any]], str]:
    """Returns settled columns, and what was chosen, in words.

    Args:
      inputs: with their kinds.
      answers: with their kinds.

    Raises:
      ValueError: a kind or an option is unknown, or cells do not fit their
        kind.
    """
    columns = [self._choose_input(each) for each in inputs]
    by_name = {each['name']: each for each in columns}
    columns += [self._choose_answer(each, by_name) for each in answers]
    return columns, '\n'.join(self._notes)

  def _choose_input(self, asked: Asked) -> dict[str, Any]:
    kinds = senses.columns()
    if asked.kind not in kinds:
      raise ValueError(
        f'The input {asked.name!r} is of no kind {asked.kind!r}: choose one of '
        f'{sorted(kinds)}.'
      )
    kind, section = kinds[asked.kind], copy.deepcopy(self._section(asked.kind))
    elements = section.pop('elements')
    options = {**section, **_literals(asked.arguments)}
    where = f'data.senses.{asked.kind}'
    check_arguments(where, kind.files, options)
    cells = [
      cell_of(kind, self._rows, asked.name, row)
      for row in self._train
      if not is_empty(self._rows.columns[asked.name][row])
    ]
    if not cells:
      raise ValueError(
        f'The column {asked.name!r} has nothing in any training row: leave it '
        'out of --config.data.inputs.'
      )
    try:
      files = kind.files(self._survey(kind, cells), **options)
    except (ValueError, OSError) as error:
      raise ValueError(f'Column {asked.name!r}: {error}') from error
    self._notes.append(f'{asked.name}: {files.note.rstrip(", ")}')
    for path, value in files.chosen.items():
      _take(options, elements, path, value)
    return {
      'name': asked.name,
      'key': self._key(asked.name),
      'role': 'input',
      'kind': asked.kind,
      'files': options,
      'elements': elements,
    }

  def _choose_answer(
    self, asked: Asked, inputs: Mapping[str, Settled]
  ) -> dict[str, Any]:
    if asked.kind not in HEADS:
      raise ValueError(
        f'The answer {asked.name!r} is of no kind {asked.kind!r}: choose one '
        f'of {sorted(HEADS)}.'
      )
    kind, arguments = HEADS[asked.kind], dict(asked.arguments)
    weight = arguments.pop('weight', '1')
    asks = _asking(asked, kind.asks_of, arguments, inputs)
    found = self._rows.columns[asked.name]
    chosen = [row for row in self._train if not is_empty(found[row])]
    if not chosen:
      raise ValueError(
        f'The column {asked.name!r} has no answer in any training row.'
      )
    column = Column(
      asked.name,
      [answer_cell(self._rows, asked.name, row) for row in chosen],
      {**asks.get('files', {}), **asks.get('elements', {})}
      | ({'kind': asks['kind']} if asks else {}),
      [self._cell_that_asks(asks, row) for row in chosen] if asks else (),
    )
    options = kind.suited(column, arguments)
    return {
      'name': asked.name,
      'key': self._key(asked.name),
      'role': 'answer',
      'kind': asked.kind,
      'options': options,
      'asks': asks.get('key', ''),
      'weight': _weight(asked.name, weight),
    }

  def _cell_that_asks(self, asks: Settled, row: int) -> Any:
    if is_empty(self._rows.columns[asks['name']][row]):
      return None
    kind = senses.columns()[asks['kind']]
    return cell_of(kind, self._rows, asks['name'], row)

  def _section(self, kind: str) -> dict[str, Any]:
    if kind not in self._sections:
      raise ValueError(
        f'config.data.senses has no section for inputs of the kind {kind!r}, '
        f'only for {sorted(self._sections)}.'
      )
    return _plain(self._sections[kind])

  def _survey(self, kind: ColumnKind, cells: Sequence[Any]) -> Survey:
    """Files take long to read; of texts and numbers all are looked at."""
    step = -(-len(cells) // _SURVEYED)
    some = cells[::step] if kind.extensions and not kind.is_text else cells

    def survey(read: Callable[[Any], Any]) -> list[Any]:
      found = []
      for cell in some:
        try:
          found.append(read(cell))
        except (ValueError, OSError) as error:
          if not self._skips:
            raise ValueError(
              f'{error} Such cells count as empty with '
              '--config.data.skip_unreadable=True.'
            ) from error
      if not found:
        raise ValueError(f'none of {len(some):,} cells can be read')
      return found

    return survey

  def _key(self, name: str) -> str:
    stem = re.sub(r'[^a-z0-9]+', '_', name.lower()).strip('_') or 'column'
    stem = stem if stem[0].isalpha() else f'column_{stem}'
    key, number = stem, 2
    while key in self._keys:
      key, number = f'{stem}_{number}', number + 1
    self._keys.add(key)
    return key


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
  if kind.is_text and not (has_ending and path.is_file()):
    return str(cell)
  if path is None or not path.is_file():
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
  return path if path is not None and path.is_file() else cell


def _path(rows: Rows, cell: Any) -> pathlib.Path | None:
  # What is longer than names of files can be is none.
  if not isinstance(cell, str) or len(cell) > 1000 or '\0' in cell:
    return None
  try:
    path = rows.path.parent.joinpath(cell.strip())
    path.is_file()
  except (OSError, ValueError):
    return None
  return path


def _asking(
  asked: Asked,
  kinds: Sequence[str],
  arguments: dict[str, str],
  inputs: Mapping[str, Settled],
) -> Settled:
  """Returns the input whose elements ask, and takes it from the arguments."""
  if not kinds:
    return {}
  fitting = [name for name, each in inputs.items() if each['kind'] in kinds]
  own = arguments.get('', '')
  for name in fitting:
    if own == name or own.startswith(f'{name},'):
      arguments[''] = own.removeprefix(name).lstrip(', ')
      return inputs[name]
  if asked.name in fitting:
    return inputs[asked.name]
  if len(fitting) != 1:
    raise ValueError(
      f'The answer {asked.name!r} is about an input of the kind '
      f'{" or ".join(kinds)}, of which there are {len(fitting)}'
      f'{": " if fitting else ""}{", ".join(fitting[:_MOST_NAMED])}. Name it, '
      f'as in {asked.name}:{asked.kind}(INPUT).'
    )
  return inputs[fitting[0]]


def _weight(name: str, text: str) -> float:
  try:
    weight = float(text)
  except ValueError:
    weight = -1.0
  if not 0.0 < weight < float('inf'):
    raise ValueError(
      f'The weight of {name!r} must be a number above 0, got {text!r}.'
    )
  return weight


def _literals(arguments: Mapping[str, str]) -> dict[str, Any]:
  """Returns the values that a person wrote, as Python has them."""
  values: dict[str, Any] = {}
  for name, text in arguments.items():
    try:
      values[name] = ast.literal_eval(text)
    except (ValueError, SyntaxError):
      values[name] = text
  return values


def _take(
  options: dict[str, Any], elements: dict[str, Any], path: str, value: Any
) -> None:
  """Sets a value that was chosen, where it is open.

  Args:
    options: of the files: paths begin with 'data.'.
    elements: section of the preprocessor: others, such as 'inputs.image.cell'.
    path: see `DataSpec.chosen`.
    value: to set.
  """
  first, *parts = path.split('.')
  if first == 'inputs':
    parts = parts[1:]
  if first == 'data':
    (option,) = parts
    if options.get(option) is None:
      options[option] = value
    return
  section = elements
  for part in parts[:-1]:
    section = section.get(part, {})
  if section.get(parts[-1], 0) is None:
    section[parts[-1]] = value


def _plain(section: Any) -> Any:
  """Returns a section as dicts."""
  if hasattr(section, 'items'):
    return {key: _plain(value) for key, value in section.items()}
  return section
