"""An answer for each element of an input: `stage:sequence(ecg)`.

Of a series each step has a class or a number; of a text parts have a class, as
`[[0, 5, "person"], ...]`, and what lies in none is of the class `O`.
"""

import collections
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from experiments.answers.arguments import read_arguments
from experiments.answers.classes.names import check_count, in_order
from experiments.answers.head import Column, Head, HeadKind, Options
from experiments.answers.sequences.aligned import byte_classes
from experiments.answers.sequences.cells import (
  is_number,
  is_whole,
  to_name,
  to_spans,
  to_steps,
)
from experiments.answers.sequences.classes import head_of_bytes, head_of_steps
from experiments.answers.sequences.numbers import head_of_numbers
from experiments.files.listing import spread_evenly
from experiments.modalities.series.files import read_series
from experiments.table.cells import to_number

OUTSIDE = 'O'
_CLASSES, _NUMBERS = 'classes', 'numbers'
# Whole numbers are names of classes where there are at most so many.
_MOST_NUMBERED = 32


def suited(column: Column, arguments: Mapping[str, str]) -> dict[str, Any]:
  """Returns the classes, or where the numbers lie, of the training rows.

  Args:
    column: of series, lists or files as long as these, see `cells.to_steps`; of
      texts, lists of parts, see `cells.to_spans`.
    arguments: of series, `as`, which is `classes` or `numbers`; without it
      whole numbers are classes where there are at most 32.

  Raises:
    ValueError: a cell is nothing of the kind, or does not fit its input; there
      are too few classes, or numbers that are all the same; or an argument is
      wrong.
  """
  asked = f'{column.name}:sequence'
  if column.asks['kind'] == 'text':
    read_arguments(asked, arguments)
    return _suited_spans(asked, column)
  given = read_arguments(asked, arguments, values=('as',))
  cells = [to_steps(cell) for cell in column.cells]
  _check_lengths(asked, column, cells)
  steps = [step for cell in cells for step in cell if step is not None]
  if not steps:
    raise ValueError(f'{asked} has no step that is known in any training row.')
  if _kind(asked, given.get('as'), steps) == _NUMBERS:
    return _suited_numbers(asked, steps)
  counts = collections.Counter(map(to_name, steps))
  names = in_order(counts)
  check_count(asked, names, least=2)
  return _classes(names, [counts[name] for name in names])


def _kind(asked: str, argument: str | None, steps: Sequence[Any]) -> str:
  if argument is not None:
    if argument not in (_CLASSES, _NUMBERS):
      raise ValueError(
        f'{asked}: as must be {_CLASSES} or {_NUMBERS}, got {argument!r}.'
      )
    return argument
  if not all(map(is_number, steps)):
    return _CLASSES
  values = {to_number(step) for step in steps}
  few = len(values) <= _MOST_NUMBERED and all(map(is_whole, values))
  return _CLASSES if few else _NUMBERS


def _suited_numbers(asked: str, steps: Sequence[Any]) -> dict[str, Any]:
  numbers = np.array([to_number(step) for step in steps], np.float64)
  spread = float(numbers.std())
  if not np.ptp(numbers) or not np.isfinite(spread):
    raise ValueError(
      f'{asked} has the same number in all steps of the training rows, '
      f'{numbers[0]:g}: there is nothing to predict.'
    )
  return {'centre': float(numbers.mean()), 'spread': spread}


def _classes(names: Sequence[str], counts: Sequence[int]) -> dict[str, Any]:
  total = max(sum(counts), 1)
  shares = [round(count / total, 6) for count in counts]
  return {'classes': list(names), 'shares': shares}


def _check_lengths(
  asked: str, column: Column, cells: Sequence[Sequence[Any]]
) -> None:
  """Raises a ValueError where a series has another number of steps."""
  pairs = [
    (cell, path)
    for cell, path in zip(cells, column.inputs, strict=True)
    if path is not None
  ]
  for cell, path in spread_evenly(pairs):
    steps = len(read_series(path))
    if len(cell) != steps:
      raise ValueError(
        f'{asked} has {len(cell):,} answers for the {steps:,} steps of {path}: '
        'expected is one a step, and null where it is not known.'
      )


def _suited_spans(asked: str, column: Column) -> dict[str, Any]:
  cells = [to_spans(cell) for cell in column.cells]
  found = {name for spans in cells for *_, name in spans}
  names = [OUTSIDE, *in_order(found - {OUTSIDE})]
  check_count(asked, names, least=2)
  counts = np.zeros(len(names), np.int64)
  for text, spans in _texts(asked, column, cells):
    numbered = [(start, end, names.index(x)) for start, end, x in spans]
    classes = byte_classes(text, np.array(numbered).reshape(-1, 3))
    counts += np.bincount(classes, minlength=len(names))
  return _classes(names, counts.tolist())


def _texts(
  asked: str, column: Column, cells: Sequence[Any]
) -> Iterator[tuple[bytes, Any]]:
  """Yields the texts that are there, and their parts."""
  for spans, found in zip(cells, column.inputs, strict=True):
    if found is None:
      continue
    text = (
      found.read_text('utf-8') if isinstance(found, pathlib.Path) else found
    )
    if spans and text != text.lstrip():
      raise ValueError(
        f'{asked} counts characters of a text that begins with white space, '
        f'{text[:20]!r}: take it away, and count from what follows it.'
      )
    yield text.strip().encode(), spans


def make(options: Options, asks: Options) -> Head:
  """Returns the head of steps or bytes, which themselves ask.

  Args:
    options: see `suited`.
    asks: of the column of series or texts.
  """
  if asks['kind'] == 'text':
    return head_of_bytes(options, asks)
  if 'classes' in options:
    return head_of_steps(options, asks)
  return head_of_numbers(options, asks)


SEQUENCE = HeadKind(suited, make, asks_of=('series', 'text'))
