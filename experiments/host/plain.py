"""Plain trees of arrays as bytes: JSON, and the arrays behind it.

What comes out of a process that nobody trusts is read so: nothing in it can be
more than numbers, texts, arrays, lists and dictionaries.
"""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np

# Where an array begins, so that it can be used where it lies.
_ALIGNMENT = 64


def pack(tree: Any) -> tuple[bytes, list[memoryview | bytes]]:
  """Returns a tree as JSON, and the bytes of its arrays, to be joined.

  Args:
    tree: of dictionaries, lists, tuples, arrays and what JSON has. An array
      that occurs several times is stored once.

  Raises:
    TypeError: there is something else in it.
  """
  arrays: list[np.ndarray] = []
  places: dict[int, int] = {}

  def plain(node: Any) -> Any:
    if isinstance(node, dict):
      return {
        'keys': [plain(key) for key in node],
        'values': [plain(value) for value in node.values()],
      }
    if isinstance(node, list | tuple):
      kind = 'tuple' if isinstance(node, tuple) else 'list'
      return {kind: [plain(each) for each in node]}
    if not isinstance(node, np.ndarray):
      return node
    if id(node) not in places:
      places[id(node)] = len(arrays)
      arrays.append(node)
    return {'array': places[id(node)]}

  text = plain(tree)
  kinds, parts, at = [], [], 0
  for array in arrays:
    array = np.asarray(array, array.dtype.newbyteorder('='), order='C')
    padding = -at % _ALIGNMENT
    at += padding
    kinds.append([_name(array.dtype), array.shape, at])
    parts += [bytes(padding), memoryview(array.reshape(-1).view(np.uint8))]
    at += array.nbytes
  return json.dumps({'tree': text, 'arrays': kinds}).encode(), parts


def unpack(text: bytes, data: bytearray) -> Any:
  """Returns what `pack` was given; its arrays lie in `data`.

  Raises:
    ValueError: it is nothing that `pack` returns.
  """
  try:
    found = json.loads(text)
    arrays = [_array(kind, data) for kind in found['arrays']]
    return _tree(found['tree'], arrays)
  except (KeyError, IndexError, TypeError, RecursionError) as error:
    raise ValueError(f'no plain tree: {error!r}') from error


def _name(dtype: np.dtype) -> str:
  # Those of ml_dtypes, such as bfloat16, have a name alone.
  return dtype.name if dtype.kind == 'V' else dtype.str


def _array(kind: Sequence[Any], data: bytearray) -> np.ndarray:
  name, shape, at = kind
  dtype = np.dtype(name)
  if dtype.hasobject or min(shape, default=0) < 0 or at < 0:
    raise ValueError(f'no plain array: {kind}')
  count = int(np.prod(shape, dtype=object))
  if not count:
    return np.zeros(shape, dtype)
  return np.frombuffer(data, dtype, count, at).reshape(shape)


def _tree(node: Any, arrays: Sequence[np.ndarray]) -> Any:
  def tree(each: Any) -> Any:
    return _tree(each, arrays)

  match node:
    case {'keys': keys, 'values': values}:
      return dict(zip(map(tree, keys), map(tree, values), strict=True))
    case {'tuple': items}:
      return tuple(map(tree, items))
    case {'list': items}:
      return list(map(tree, items))
    case {'array': number}:
      return arrays[number]
    case _:
      return node
