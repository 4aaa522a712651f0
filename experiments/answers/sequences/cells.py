"""What cells say of the steps of a series, or of the characters of a text."""

import ast
import csv
import itertools
import json
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from experiments.answers.classes.names import class_name
from experiments.files.tables import decode
from experiments.modalities.series.files import one_array
from experiments.table.cells import (
  is_empty,
  is_number,
  shown,
  to_list,
  to_number,
)

# What may stand above the answers of a file of lines, besides its own name.
_HEADS = ('label', 'labels', 'class', 'value', 'values', 'target', 'y')
_ARRAYS = ('.npy', '.npz')


def to_steps(cell: Any) -> list[str | float | None]:
  """Returns what a cell says of each step, None where it is not known.

  Args:
    cell: a list, see `table.cells.to_list`, in which null may stand; or the
      path of a file: an .npy or .npz of one array `[steps]`, a .json of a list,
      else lines, of which the last column is read.

  Raises:
    ValueError: it is something else, or a file is damaged.
  """
  if isinstance(cell, pathlib.Path):
    return _of_file(cell)
  if isinstance(cell, str) and cell.lstrip().startswith('['):
    parsed = _parsed(cell)
    cell = cell if parsed is None else parsed
  if isinstance(cell, np.ndarray):
    cell = cell.tolist()
  if isinstance(cell, list):
    cell = ['' if each is None else each for each in cell]
  return [None if is_empty(each) else each for each in to_list(cell) or []]


def _of_file(path: pathlib.Path) -> list[str | float | None]:
  try:
    if path.suffix.lower() in _ARRAYS:
      steps = _array(path).tolist()
    elif path.suffix.lower() == '.json':
      steps = json.loads(path.read_text('utf-8'))
    else:
      steps = _lines(decode(path.read_bytes()), path.suffix.lower())
    if not isinstance(steps, list) or not steps:
      raise ValueError('it has no list of steps')
    return to_steps(steps)
  except MemoryError:
    raise
  # What numpy raises for a damaged file is not documented.
  except Exception as error:
    raise ValueError(
      f'{path} cannot be read as an answer a step ({error}). Get it again, or '
      'take it out.'
    ) from error


def _array(path: pathlib.Path) -> np.ndarray:
  loaded = one_array(path).squeeze()
  if loaded.ndim != 1:
    raise ValueError(f'an array {loaded.shape}, not [steps]')
  return loaded


def _lines(text: str, suffix: str) -> list[str]:
  """The last cell of each line, without a first line that names columns."""
  lines = text.splitlines()
  while lines and not lines[-1].strip():
    lines.pop()
  mark = '\t' if suffix == '.tsv' else ','
  steps = [
    row[-1].strip() if row else '' for row in csv.reader(lines, delimiter=mark)
  ]
  return steps[1:] if _has_head(steps) else steps


def _has_head(steps: Sequence[str]) -> bool:
  if not steps or steps[0].lower() in _HEADS:
    return bool(steps)
  # A name above numbers.
  others = [each for each in steps[1:] if not is_empty(each)]
  is_head = not is_empty(steps[0]) and not is_number(steps[0])
  return bool(others) and is_head and all(map(is_number, others))


def is_whole(step: Any) -> bool:
  """Returns whether a number has no fraction."""
  return float(to_number(step)).is_integer()


def to_name(step: Any) -> str:
  """Returns the name of the class of a step, the same of '3.0', 3 and '3'."""
  if isinstance(step, str) and is_number(step) and is_whole(step):
    return str(int(to_number(step)))
  return class_name(step)


Span = tuple[int, int, str]


def to_spans(cell: Any) -> list[Span]:
  """Returns parts of a text that have a class, in order.

  Args:
    cell: a list `[[start, end, class], ...]`, or the text of one, or the path
      of a .json file of it; `start` is the number of the first character, from
      0, `end` that of the one behind the last.

  Raises:
    ValueError: it is something else, or parts overlap.
  """
  spans = cell
  if isinstance(cell, pathlib.Path):
    spans = _parsed(cell.read_text('utf-8'))
  elif isinstance(cell, str):
    spans = _parsed(cell)
  if isinstance(spans, np.ndarray):
    spans = spans.tolist()
  if not isinstance(spans, list):
    raise _no_spans(cell)
  found = sorted(map(_to_span, spans))
  for (_, end, _), (start, *_) in itertools.pairwise(found):
    if start < end:
      raise ValueError(
        f'{shown(cell)} has two parts that overlap at character {start}: each '
        'character has one class.'
      )
  return found


def _to_span(span: Any) -> Span:
  span = list(span) if isinstance(span, list | tuple | np.ndarray) else []
  match span:
    case [start, end, name] if is_number(start) and is_number(end):
      start, end = to_number(start), to_number(end)
      if start.is_integer() and end.is_integer() and 0 <= start < end:
        return int(start), int(end), class_name(name)
  raise _no_spans(span)


def _no_spans(cell: Any) -> ValueError:
  return ValueError(
    f'{shown(cell)} is no list of parts of a text: expected is '
    '[[START, END, "CLASS"], ...] in characters from 0, START below END.'
  )


def _parsed(text: str) -> Any:
  """Returns what JSON or Python writes so; None of anything else."""
  for parse in (json.loads, ast.literal_eval):
    try:
      return parse(text)
    except (ValueError, SyntaxError, RecursionError, MemoryError):
      continue
  return None
