"""What a command prints: lines to read or, with --json, one JSON object."""

import json
from collections.abc import Callable
from typing import Any

from absl import flags

_JSON = flags.DEFINE_bool('json', False, 'Print one JSON object.')


def print_result(
  result: dict[str, Any], render: Callable[[dict[str, Any]], str]
) -> None:
  """Prints a result as `render` writes it, or as JSON for a program."""
  print(json.dumps(result) if _JSON.value else render(result))
