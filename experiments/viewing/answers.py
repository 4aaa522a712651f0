"""Answers of models as lines to read, as JSON, and as files."""

import functools
import pathlib
from typing import Any

from experiments.tasks.answers import Answer, Classes

_BAR_WIDTH = 30


@functools.singledispatch
def lines_of(answer: Answer, top: int) -> list[str]:
  """Returns lines to read.

  Args:
    answer: of a model.
    top: likeliest classes, or characters, to name.
  """
  raise TypeError(f'An answer of type {type(answer).__name__} has no lines.')


@functools.singledispatch
def json_of(answer: Answer, top: int) -> dict[str, Any]:
  """Returns what `json.dumps` takes; see `lines_of`."""
  raise TypeError(f'An answer of type {type(answer).__name__} has no JSON.')


@functools.singledispatch
def write_answer(
  answer: Answer, folder: pathlib.Path, name: str
) -> list[pathlib.Path]:
  """Writes what cannot be told in lines; returns the files.

  Args:
    answer: of a model.
    folder: to write to; made if need be.
    name: of the files, without their endings.
  """
  del answer, folder, name
  return []


@lines_of.register
def _(answer: Classes, top: int) -> list[str]:
  classes = answer.top(top)
  width = max(len(name) for name, _ in classes)
  return [
    f'{probability:6.1%}  {name:{width}}  {_bar(probability)}'.rstrip()
    for name, probability in classes
  ]


def _bar(probability: float) -> str:
  return '█' * round(_BAR_WIDTH * probability)


@json_of.register
def _(answer: Classes, top: int) -> dict[str, Any]:
  return {
    'classes': [
      {'name': name, 'probability': probability}
      for name, probability in answer.top(top)
    ]
  }
