"""The columns that a person names: `xray:images,age,load:forecast(24)`."""

import re
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from experiments.host.configuration import suggestion

_QUOTED = r'"(?:[^"]|"")*"'
_ITEM = re.compile(
  rf'\s*(?P<name>{_QUOTED}|[^",:]+)'
  rf'(?:\s*:\s*(?P<kind>\w+)\s*(?:\((?P<arguments>(?:{_QUOTED}|[^()"])*)\))?)?'
  r'\s*(?:,|$)'
)
_ARGUMENT = re.compile(
  rf'\s*(?:(?P<key>\w+)\s*=)?\s*(?P<value>{_QUOTED}|[^",=]*)(?:,|$)'
)
_FORM = 'name, name:kind or name:kind(argument), with commas between'
# Its answer is the rest of what its input begins.
_CONTINUES = 'forecast'


class Asked(NamedTuple):
  """A column that a person names.

  Attributes:
    name: of the column.
    kind: what its cells are; None where that is to be found out.
    arguments: of the kind, by name; '' is that of bare ones, with commas
      between several: {'': '24,quantiles'} of `load:forecast(24, quantiles)`.
  """

  name: str
  kind: str | None
  arguments: Mapping[str, str]


def parse_columns(text: str, option: str = 'data.inputs') -> list[Asked]:
  """Takes a list of columns apart.

  Args:
    text: such as `xray:images, ecg:series, age, load:forecast(24)`. A name with
      a comma, a colon or a quote in it stands in quotes, a quote then twice.
    option: that has it, for messages.

  Raises:
    ValueError: it is no such list, or names a column twice.
  """
  columns: list[Asked] = []
  at = 0
  while text[at:].strip():
    found = _ITEM.match(text, at)
    if not found or not found['name'].strip():
      raise ValueError(
        f'{option}: {text[at:].strip()!r} should be {_FORM}. A name with a '
        'comma, a colon or a quote in it stands in double quotes.'
      )
    name = _unquoted(found['name'])
    if name in [column.name for column in columns]:
      raise ValueError(
        f'{option} names the column {name!r} twice: once will do.'
      )
    arguments = _arguments(found['arguments'] or '', option, name)
    columns.append(Asked(name, found['kind'], arguments))
    at = found.end()
  return columns


def _arguments(text: str, option: str, name: str) -> dict[str, str]:
  arguments: dict[str, str] = {}
  at = 0
  while text[at:].strip():
    found = _ARGUMENT.match(text, at)
    key = (found and found['key']) or ''
    if not found or not found['value'].strip() or (key and key in arguments):
      raise ValueError(
        f'{option}: the arguments ({text}) of {name!r} should be values, or '
        'key=value with commas between, each key once.'
      )
    value = _unquoted(found['value'])
    is_another = not key and key in arguments
    arguments[key] = f'{arguments[key]},{value}' if is_another else value
    at = found.end()
  return arguments


def _unquoted(text: str) -> str:
  text = text.strip()
  if text.startswith('"'):
    return text[1:-1].replace('""', '"')
  return text


def check_columns(
  inputs: Sequence[Asked], answers: Sequence[Asked], names: Collection[str]
) -> None:
  """Checks that a table has the columns that a person names.

  Args:
    inputs: named by data.inputs.
    answers: named by data.answers.
    names: of the columns of the table.

  Raises:
    ValueError: one is not there, or is both an input and an answer; only a
      forecast may be.
  """
  for option, columns in (('data.inputs', inputs), ('data.answers', answers)):
    for column in columns:
      check_column(column.name, option, names)
  given = {column.name for column in inputs}
  for column in answers:
    if column.name in given and column.kind != _CONTINUES:
      raise ValueError(
        f'{column.name!r} is both in data.inputs and in data.answers: the '
        'model would only copy it. Take it out of one; only a '
        f'{_CONTINUES} may be in both.'
      )


def check_column(name: str, option: str, names: Collection[str]) -> None:
  """Raises a ValueError unless a table has a column of this name.

  Args:
    name: of the column.
    option: that names it.
    names: of the columns of the table.
  """
  if name not in names:
    raise ValueError(
      f'{option}: the table has no column {name!r}'
      f'{suggestion(name, names)} It has {", ".join(map(repr, names))}.'
    )
