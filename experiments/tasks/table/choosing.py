"""Settles the columns of a table: what suits their training cells."""

import ast
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from experiments.answers.head import Column
from experiments.data.modality import ColumnKind
from experiments.files.kind import Survey
from experiments.files.listing import spread_evenly
from experiments.host.configuration import check_arguments
from experiments.modalities import senses
from experiments.table.asked import Asked
from experiments.table.cells import is_empty
from experiments.table.rows import Rows
from experiments.tasks.table.columns import (
  Settled,
  answer_cell,
  cell_of,
  options_of,
)
from experiments.tasks.table.heads import HEADS

_MOST_NAMED = 3


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
    needs = _needs(inputs, answers)
    columns = [
      self._choose_input(each, needs.get(each.name, ())) for each in inputs
    ]
    by_name = {each['name']: each for each in columns}
    columns += [self._choose_answer(each, by_name) for each in answers]
    return columns, '\n'.join(self._notes)

  def _choose_input(
    self, asked: Asked, needs: Sequence[Mapping[str, Any]]
  ) -> dict[str, Any]:
    kinds = senses.columns()
    if asked.kind not in kinds:
      raise ValueError(
        f'The input {asked.name!r} is of no kind {asked.kind!r}: choose one of '
        f'{sorted(kinds)}.'
      )
    kind, section = kinds[asked.kind], self._section(asked.kind)
    elements = section.pop('elements')
    for needed in needs:
      section |= {key: x for key, x in needed.items() if key != 'elements'}
      elements |= needed.get('elements', {})
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
    kinds = {name: each['kind'] for name, each in inputs.items()}
    asking = _asking(asked, kind.asks_of, arguments, kinds)
    asks = inputs[asking] if asking else None
    found = self._rows.columns[asked.name]
    chosen = [row for row in self._train if not is_empty(found[row])]
    if not chosen:
      raise ValueError(
        f'The column {asked.name!r} has no answer in any training row.'
      )
    column = Column(
      asked.name,
      [answer_cell(self._rows, asked.name, row) for row in chosen],
      options_of(asks),
      [self._cell_that_asks(asks, row) for row in chosen] if asks else (),
    )
    options = kind.suited(column, arguments)
    return {
      'name': asked.name,
      # An answer that goes on with an input has the name of that.
      'key': self._key(
        f'{asked.name} {asked.kind}' if asked.name in inputs else asked.name
      ),
      'role': 'answer',
      'kind': asked.kind,
      'options': options,
      'asks': asks['key'] if asks else '',
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
    is_short = not kind.extensions or kind.is_text
    some = cells if is_short else spread_evenly(cells)

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


def _needs(
  inputs: Sequence[Asked], answers: Sequence[Asked]
) -> dict[str, list[Mapping[str, Any]]]:
  """Returns what answers need of the inputs that they are about."""
  kinds = {each.name: each.kind for each in inputs}
  found: dict[str, list[Mapping[str, Any]]] = {}
  for asked in answers:
    head = HEADS.get(asked.kind)
    if head is None or not head.needs:
      continue
    name = _asking(asked, head.asks_of, dict(asked.arguments), kinds)
    if kinds[name] in head.needs:
      found.setdefault(name, []).append(head.needs[kinds[name]])
  return found


def _asking(
  asked: Asked,
  kinds: Sequence[str],
  arguments: dict[str, str],
  inputs: Mapping[str, str],
) -> str:
  """Returns the input that an answer is about, and takes it from the arguments.

  Args:
    asked: the answer.
    kinds: of inputs that it may be about; () for none.
    arguments: of the answer.
    inputs: kinds by name.
  """
  if not kinds:
    return ''
  fitting = [name for name, kind in inputs.items() if kind in kinds]
  own = arguments.get('', '')
  for name in fitting:
    if own == name or own.startswith(f'{name},'):
      arguments[''] = own.removeprefix(name).lstrip(', ')
      return name
  if asked.name in fitting:
    return asked.name
  if len(fitting) != 1:
    raise ValueError(
      f'The answer {asked.name!r} is about an input of the kind '
      f'{" or ".join(kinds)}, of which there are {len(fitting)}'
      f'{": " if fitting else ""}{", ".join(fitting[:_MOST_NAMED])}. Name it, '
      f'as in {asked.name}:{asked.kind}(INPUT).'
    )
  return fitting[0]


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
