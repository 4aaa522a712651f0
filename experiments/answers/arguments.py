"""What a person writes behind a kind of answer, `KIND(FLAG, NAME=VALUE)`."""

import re
from collections.abc import Mapping, Sequence

from experiments.host.configuration import suggestion


def read_arguments(
  asked: str,
  arguments: Mapping[str, str],
  *,
  flags: Sequence[str] = (),
  values: Sequence[str] = (),
) -> dict[str, str]:
  """Returns arguments by name, flags among them.

  Args:
    asked: what they belong to, such as 'price:number', for messages.
    arguments: see `HeadKind.suited`; below '' there are flags, with commas
      between them where there are several.
    flags: names that stand alone, or have a value: whoever has the flag says
      which.
    values: names that must have a value.

  Raises:
    ValueError: an argument is not known, or lacks its value.
  """
  found = {name: value.strip() for name, value in arguments.items() if name}
  found |= dict.fromkeys(re.findall(r'[^,;\s]+', arguments.get('', '')), '')
  for name, value in found.items():
    if name not in (*flags, *values):
      known = ', '.join([*flags, *(f'{each}=...' for each in values)])
      raise ValueError(
        f'{asked} knows no {name!r}{suggestion(name, [*flags, *values])} It '
        f'knows {known or "no arguments"}.'
      )
    if name in values and not value:
      raise ValueError(f'{asked} needs a value: write {name}=VALUE.')
  return found


def number_argument(
  asked: str, name: str, text: str, low: float, high: float
) -> float:
  """Returns the number that an argument is, from low to below high.

  Args:
    asked: what it belongs to, for messages.
    name: of the argument.
    text: its value.
    low: the least that it may be.
    high: what it must stay below.

  Raises:
    ValueError: it is none, or out of range.
  """
  try:
    number = float(text)
  except ValueError:
    number = float('nan')
  if not low <= number < high:
    raise ValueError(
      f'{asked}: {name} must be a number from {low:g} to below {high:g}, got '
      f'{text!r}.'
    )
  return number
