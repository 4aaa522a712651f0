"""What a cell of answers says: a number, or a list."""

import json
import math
from typing import Any

import numpy as np


def to_number(cell: Any) -> float:
  """Returns a finite number.

  Args:
    cell: a number, or a text of one.

  Raises:
    ValueError: it is none.
  """
  try:
    value = float(cell)
  except (TypeError, ValueError):
    value = math.nan
  if not math.isfinite(value):
    raise ValueError(f'{cell!r} is no number')
  return value


def to_list(cell: Any) -> list[Any]:
  """Returns the elements of a list.

  Args:
    cell: a list, a list of JSON, or texts between | or, without any |, between
      ;. Anything else is a list of one.

  Raises:
    ValueError: it begins with [ and is no list.
  """
  if isinstance(cell, list | tuple | np.ndarray):
    return list(cell)
  if not isinstance(cell, str):
    return [cell]
  text = cell.strip()
  if text.startswith('['):
    try:
      return json.loads(text)
    except ValueError:
      raise ValueError(f'{text!r} begins with [ and is no list') from None
  parts = text.split('|' if '|' in text else ';')
  return [part.strip() for part in parts if part.strip()]
