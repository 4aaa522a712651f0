"""Rows of a table as examples.

An example has `row` int32, its number in the table, from 0; for each input
`inputs/KEY`: the arrays of its sense, and `there` bool, whether the row has it;
and for each answer `answers/KEY`: its target arrays, and `there` likewise. Of
what is not there arrays are zeros. What is kept of a row has the same form,
with what senses keep of files.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import jax
import numpy as np

from experiments.answers.rows.value import Answered
from experiments.data.dataset import Example, array_spec
from experiments.files.features import array_feature
from experiments.table.cells import is_empty
from experiments.table.rows import Rows
from experiments.tasks.table.columns import Input, answer_cell, cell_of

_THERE = array_spec(dtype=np.bool_)


class Row(Protocol):
  """A row, to be read."""

  number: int

  def input(self, column: Input) -> Any:
    """Returns what the sense of a column reads; None of an empty cell.

    Raises:
      ValueError: the cell names a file that is not there.
    """

  def answer(self, column: Answered) -> Any:
    """Returns what the head of a column reads; None of an empty cell."""

  def place(self, name: str) -> str:
    """Returns where the cell of a column is, for messages."""


class TableRow:
  """A row of a table; its cells may name files.

  Args:
    rows: of the table.
    number: of the row, from 0.
  """

  def __init__(self, rows: Rows, number: int):
    self.number = number
    self._rows = rows

  def input(self, column: Input) -> Any:
    """See `Row`."""
    if not self._has(column.name):
      return None
    return cell_of(column.kind, self._rows, column.name, self.number)

  def answer(self, column: Answered) -> Any:
    """See `Row`."""
    if not self._has(column.name):
      return None
    return answer_cell(self._rows, column.name, self.number)

  def place(self, name: str) -> str:
    """See `Row`."""
    return f'{self._rows.place(self.number)}, column {name!r}'

  def _has(self, name: str) -> bool:
    cells = self._rows.columns.get(name)
    return cells is not None and not is_empty(cells[self.number])


class FormRow:
  """A row that a person filled in; a cell is a file only where it is a path.

  Args:
    cells: by the names of their columns.
  """

  number = 0

  def __init__(self, cells: Mapping[str, Any]):
    self._cells = cells

  def input(self, column: Input) -> Any:
    """See `Row`."""
    cell = self._cells.get(column.name)
    return None if is_empty(cell) else cell

  def answer(self, column: Answered) -> Any:
    """See `Row`."""
    del column

  def place(self, name: str) -> str:
    """See `Row`."""
    return f'column {name!r}'


class RowExamples:
  """Reads rows of a table, and makes examples of what is kept of them.

  Args:
    inputs: columns of inputs.
    answers: columns of answers.
    drop_rate: see `augment`.
  """

  def __init__(
    self,
    inputs: Sequence[Input],
    answers: Sequence[Answered],
    drop_rate: float,
  ):
    self._inputs, self._answers = inputs, answers
    self._drop_rate = drop_rate

  @property
  def spec(self) -> dict[str, Any]:
    """Shape and dtype of each array of an example."""
    return {
      'row': array_spec(dtype=np.int32),
      'inputs': {
        each.key: {**each.files.example, 'there': _THERE}
        for each in self._inputs
      },
      'answers': {
        each.key: {**each.head.target, 'there': _THERE}
        for each in self._answers
      },
    }

  @property
  def features(self) -> dict[str, Any]:
    """TFDS features of what is kept of a row."""
    there = array_feature((), np.bool_)
    return {
      'row': array_feature((), np.int32),
      'inputs': {
        each.key: {**each.files.features, 'there': there}
        for each in self._inputs
      },
      'answers': {
        each.key: {
          **{
            name: array_feature(spec.shape, spec.dtype)
            for name, spec in _kept_of(each).items()
          },
          'there': there,
        }
        for each in self._answers
      },
    }

  def keep(
    self, row: Row, unreadable: Callable[[str], None] | None = None
  ) -> Example:
    """Reads a row.

    Args:
      row: to read.
      unreadable: takes what is wrong with a cell that cannot be read, which
        then counts as empty; None raises it.

    Raises:
      ValueError: a cell cannot be read; it says which.
    """

    def read(
      name: str,
      cell: Callable[[], Any],
      reader: Callable[[Any], Example],
      blank: Callable[[], Example],
    ) -> Example:
      try:
        found = cell()
        if found is not None:
          return {**reader(found), 'there': np.bool_(True)}
      except (ValueError, OSError) as error:
        told = str(error)
        where = row.place(name)
        told = told if where in told else f'{where}: {told}'
        if unreadable is None:
          raise ValueError(told) from error
        unreadable(told)
      return {**blank(), 'there': np.bool_(False)}

    return {
      'row': np.int32(row.number),
      'inputs': {
        each.key: read(
          each.name,
          lambda each=each: row.input(each),
          each.files.read,
          lambda each=each: _blank_kept(each.files.features),
        )
        for each in self._inputs
      },
      'answers': {
        each.key: read(
          each.name,
          lambda each=each: row.answer(each),
          lambda cell, each=each: _target(each, cell),
          lambda each=each: _blank(_kept_of(each)),
        )
        for each in self._answers
      },
    }

  def augment(self, kept: Example, rng: np.random.Generator) -> Example:
    """Makes a training example.

    Each input that is there is left out at the rate `drop_rate`, but for one.

    Args:
      kept: of a row.
      rng: of all that is random.
    """
    keys = [x.key for x in self._inputs if kept['inputs'][x.key]['there']]
    if self._drop_rate and len(keys) > 1:
      stays = rng.integers(len(keys))
      leaves = rng.random(len(keys)) < self._drop_rate
      leaves[stays] = False
      keys = [key for key, out in zip(keys, leaves, strict=True) if not out]
    return self._example(kept, set(keys), rng)

  def prepare(self, kept: Example) -> Example:
    """Makes an evaluation example of what is kept of a row."""
    keys = {x.key for x in self._inputs if kept['inputs'][x.key]['there']}
    return self._example(kept, keys, None)

  def ask(self, kept: Example) -> Example:
    """Makes an example of a row whose answers are wanted: it has inputs."""
    inputs = {}
    for each in self._inputs:
      own = dict(kept['inputs'][each.key])
      has = bool(own.pop('there'))
      for answer in self._answers:
        if has and answer.asks == each.key and answer.head.whole is not None:
          own = answer.head.whole(own)
      inputs[each.key] = _input_example(each, own if has else None, None)
    return {'inputs': inputs}

  def _example(
    self, kept: Example, keys: set[str], rng: np.random.Generator | None
  ) -> Example:
    answers = {key: dict(x) for key, x in kept['answers'].items()}
    inputs = {}
    for each in self._inputs:
      own = dict(kept['inputs'][each.key])
      own.pop('there')
      about = [x for x in self._answers if x.asks == each.key]
      if each.key not in keys:
        # Nothing is asked about what is not there.
        answers |= {x.key: _no_answer(x) for x in about}
        inputs[each.key] = _input_example(each, None, None)
        continue
      seed = rng.integers(2**63) if rng is not None else None
      moved = None
      for answer in about:
        # Each begins with what is kept: what they make of it is the same.
        own_moved, answers[answer.key] = _with_target(
          answer, own, answers[answer.key], seed
        )
        moved = moved if own_moved is None else own_moved
      inputs[each.key] = (
        _input_example(each, own, rng)
        if moved is None
        else _input_example(each, moved, None)
      )
    return {'row': kept['row'], 'inputs': inputs, 'answers': answers}


def _with_target(
  answer: Answered, kept: Example, found: Example, seed: int | None
) -> tuple[Example | None, dict[str, Any]]:
  """Makes the target of an answer about an input.

  Args:
    answer: about the input.
    kept: of the input.
    found: what was read of the answer.
    seed: of what is random, the same for all answers; None in evaluation.

  Returns:
    What remains of the input, augmented in training, None where the answer
    leaves it as it is; and the target arrays with `there`.
  """
  head = answer.head
  rng = None if seed is None else np.random.default_rng(seed)
  if head.split is not None:
    try:
      kept, target = head.split(kept, rng)
    except ValueError:  # Too short to have an answer.
      return None, _no_answer(answer)
    return kept, {**target, 'there': np.bool_(True)}
  if head.align is None or not found['there']:
    return None, found if found['there'] else _no_answer(answer)
  arrays = {name: x for name, x in found.items() if name != 'there'}
  moved, target = head.align(kept, arrays, rng)
  return moved, {**target, 'there': np.bool_(True)}


def _target(answer: Answered, cell: Any) -> Example:
  if answer.head.split is not None:
    return _blank(answer.head.target)  # It is made with the input.
  return answer.head.read(cell)


def _no_answer(answer: Answered) -> dict[str, Any]:
  return {**_blank(answer.head.target), 'there': np.bool_(False)}


def _kept_of(answer: Answered) -> Mapping[str, jax.ShapeDtypeStruct]:
  """Shapes of what is kept of an answer's cell."""
  return answer.head.keeps or answer.head.target


def _input_example(
  column: Input, kept: Example | None, rng: np.random.Generator | None
) -> dict[str, Any]:
  """Arrays of an input, and whether it is there."""
  if kept is None:
    return {**_blank(column.files.example), 'there': np.bool_(False)}
  if rng is None:
    made = column.files.prepare(kept)
  else:
    made = column.files.augment(kept, rng)
  return {**made, 'there': np.bool_(True)}


def _blank(spec: Mapping[str, Any]) -> dict[str, Any]:
  return jax.tree.map(
    lambda x: np.zeros([size or 0 for size in x.shape], x.dtype), dict(spec)
  )


def _blank_kept(features: Mapping[str, Any]) -> dict[str, Any]:
  """What is kept of a file that is not there."""
  return {
    name: b''
    if feature.np_dtype == np.object_
    else np.zeros([size or 0 for size in feature.shape], feature.np_dtype)
    for name, feature in features.items()
  }
