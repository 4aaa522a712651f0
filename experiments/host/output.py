"""What a command prints: lines to read or, with --json, one JSON object."""

import json
from collections.abc import Callable
from typing import Any

from absl import flags

_JSON = flags.DEFINE_bool('json', False, 'Print one JSON object.')


def as_json() -> bool:
  """Returns whether --json was given: standard output is for a program."""
  return _JSON.value


def print_result(
  result: dict[str, Any], render: Callable[[dict[str, Any]], str]
) -> None:
  """Prints a result as `render` writes it, or as JSON for a program."""
  print(json.dumps(result) if as_json() else render(result))
