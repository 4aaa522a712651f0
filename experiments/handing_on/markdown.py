"""Pieces of Markdown."""

import json
from collections.abc import Mapping
from typing import Any


def bullets(*lines: str) -> str:
  """Returns a list."""
  return '\n'.join(f'- {line}' for line in lines)


def items(lines: Mapping[str, str]) -> str:
  """Returns a list of names, with what each of them is."""
  return bullets(*(f'{name}: {text}' for name, text in lines.items()))


def block(language: str, *lines: str) -> str:
  """Returns lines that are shown as they are."""
  return '\n'.join([f'```{language}', *lines, '```'])


def options_of(values: Mapping[str, Any]) -> str:
  """Returns a section of a config, which has a `name`, in one line.

  Sections inside it, and lists of these, are left out.
  """
  options = {
    key: x
    for key, x in values.items()
    if key != 'name' and not _has_sections(x)
  }
  listed = ', '.join(f'{key} = {json.dumps(x)}' for key, x in options.items())
  return f'`{values["name"]}`' + (f' ({listed})' if listed else '')


def _has_sections(value: Any) -> bool:
  if isinstance(value, list | tuple):
    return any(map(_has_sections, value))
  return isinstance(value, Mapping)
