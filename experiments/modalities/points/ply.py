"""Meshes and points of PLY files, as text and as bytes of either order.

Read are the coordinates of vertices, and faces of any number of corners; what
else a vertex or a face has is passed over, and so are other files that are
named.
"""

import struct
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from experiments.modalities.points.meshes import (
  Mesh,
  check_corners,
  check_counts,
  fan,
)

_TYPES = {
  **{'char': 'i1', 'uchar': 'u1', 'short': 'i2', 'ushort': 'u2'},
  **{'int': 'i4', 'uint': 'u4', 'float': 'f4', 'double': 'f8'},
  **{'int8': 'i1', 'uint8': 'u1', 'int16': 'i2', 'uint16': 'u2'},
  **{'int32': 'i4', 'uint32': 'u4', 'float32': 'f4', 'float64': 'f8'},
}
_ORDERS = {'binary_little_endian': '<', 'binary_big_endian': '>'}
_LETTERS = {
  **{'i1': 'b', 'u1': 'B', 'i2': 'h', 'u2': 'H', 'i4': 'i', 'u4': 'I'},
  **{'f4': 'f', 'f8': 'd'},
}
_CORNERS = ('vertex_indices', 'vertex_index')


class _Property(NamedTuple):
  """A number of each row or, with the type of a length, a list of them."""

  name: str
  kind: str
  length: str | None


class _Element(NamedTuple):
  name: str
  count: int
  properties: list[_Property]

  @property
  def has_lists(self) -> bool:
    """Whether rows differ in length."""
    return any(each.length for each in self.properties)


_Columns = Mapping[str, Any]


def parse_ply(data: bytes, name: str) -> Mesh:
  """Reads a PLY file; without faces it is points.

  Args:
    data: of the file.
    name: of the file, for error messages.

  Raises:
    ValueError: it is no PLY file, is damaged or ends too early, or holds strips
      of triangles; the message names the file.
  """
  head, mark, body = data.partition(b'end_header')
  if not head.startswith(b'ply') or not mark:
    raise ValueError(f'{name} is no PLY file: it has no header of one.')
  body = body.partition(b'\n')[2]
  order, elements = _header(head.decode('latin-1'), name)
  counts = {each.name: each.count for each in elements}
  check_counts(counts.get('vertex', 0), counts.get('face', 0), name)
  # No row is shorter than a byte.
  if any(each.count > len(body) for each in elements):
    raise ValueError(f'{name} is cut short: it states more than there is.')
  try:
    columns = (
      _by_bytes(elements, body, order)
      if order
      else (_by_words(elements, body.split()))
    )
  except (ValueError, IndexError, struct.error) as error:
    raise ValueError(f'{name} is damaged or cut short ({error}).') from error
  if 'vertex' not in columns or not {'x', 'y', 'z'} <= set(columns['vertex']):
    raise ValueError(f'{name} has no vertices with x, y and z.')
  vertices = [columns['vertex'][axis] for axis in 'xyz']
  vertices = np.stack(vertices, axis=1).astype(np.float64)
  triangles = _triangles(columns.get('face', {}))
  return Mesh(vertices, check_corners(triangles, len(vertices), name))


def _header(text: str, name: str) -> tuple[str | None, list[_Element]]:
  """Returns the order of bytes, None of text, and what there is to read."""
  order, elements = None, []
  for words in map(str.split, text.splitlines()):
    match words:
      case ['format', kind, *_]:
        order = _ORDERS.get(kind)
      case ['element', element, count] if count.isdecimal():
        elements.append(_Element(element, int(count), []))
      case ['property', 'list', length, kind, own] if elements:
        elements[-1].properties.append(
          _Property(own, _type(kind, name), _type(length, name))
        )
      case ['property', kind, own] if elements:
        elements[-1].properties.append(_Property(own, _type(kind, name), None))
      case ['element' | 'property', *_]:
        raise ValueError(f'{name} has a header with {" ".join(words)!r}.')
  if any(each.name == 'tristrips' for each in elements):
    raise ValueError(f'{name} has strips of triangles: save it with faces.')
  return order, [each for each in elements if each.properties]


def _type(kind: str, name: str) -> str:
  if kind not in _TYPES:
    raise ValueError(f'{name} has a property of the type {kind!r}.')
  return _TYPES[kind]


def _by_words(
  elements: Sequence[_Element], words: Sequence[bytes]
) -> dict[str, _Columns]:
  columns, at = {}, 0
  for element in elements:
    if not element.has_lists:
      end = at + element.count * len(element.properties)
      if end > len(words):
        raise ValueError(f'it ends before its last {element.name}')
      rows = np.array(words[at:end], np.float64)
      rows = rows.reshape(element.count, len(element.properties))
      columns[element.name] = _named(element, rows.T)
      at = end
      continue
    values: list[list[Any]] = [[] for _ in element.properties]
    for _ in range(element.count):
      for own, column in zip(element.properties, values, strict=True):
        size = int(words[at]) if own.length else 1
        at += bool(own.length)
        found = list(map(float, words[at : at + size]))
        if not 0 <= size == len(found):
          raise ValueError(f'it ends before its last {element.name}')
        column.append(found if own.length else found[0])
        at += size
    columns[element.name] = _named(element, values)
  return columns


def _named(element: _Element, columns: Sequence[Any]) -> _Columns:
  names = [own.name for own in element.properties]
  return dict(zip(names, columns, strict=True))


def _by_bytes(
  elements: Sequence[_Element], data: bytes, order: str
) -> dict[str, _Columns]:
  columns, at = {}, 0
  for element in elements:
    # Nearly all lists are of one length, as of triangles: no loop then.
    dtype = _uniform(element, data, at, order)
    if dtype is not None:
      rows = np.frombuffer(data, dtype, element.count, at)
      columns[element.name] = {own: rows[own] for own in dtype.names}
      at += element.count * dtype.itemsize
    else:
      columns[element.name], at = _rows(element, data, at, order)
  return columns


def _uniform(
  element: _Element, data: bytes, at: int, order: str
) -> np.dtype | None:
  """Returns what a row is, if all are of the lengths of the first."""
  fields: list[tuple[Any, ...]] = []
  start = at
  for own in element.properties:
    size = 1
    if own.length:
      if not element.count:
        return None
      letter = order + _LETTERS[own.length]
      (size,) = struct.unpack_from(letter, data, at)
      fields.append((f'length of {own.name}', order + own.length))
      at += struct.calcsize(letter)
    at += size * int(own.kind[1])
    kind = order + own.kind
    fields.append((own.name, kind, (size,)) if own.length else (own.name, kind))
  dtype = np.dtype(fields)
  if element.has_lists:
    whole = (len(data) - start) // dtype.itemsize
    rows = np.frombuffer(data, dtype, min(element.count, whole), start)
    lengths = [rows[f] for f in dtype.names if f.startswith('length of ')]
    if whole < element.count or any((x != x[0]).any() for x in lengths):
      return None
  return dtype


def _rows(
  element: _Element, data: bytes, at: int, order: str
) -> tuple[_Columns, int]:
  values: list[list[Any]] = [[] for _ in element.properties]
  for _ in range(element.count):
    for own, column in zip(element.properties, values, strict=True):
      size = 1
      if own.length:
        letter = order + _LETTERS[own.length]
        (size,) = struct.unpack_from(letter, data, at)
        at += struct.calcsize(letter)
      if at + size * int(own.kind[1]) > len(data):
        raise ValueError(f'it ends before its last {element.name}')
      letters = f'{order}{size}{_LETTERS[own.kind]}'
      found = struct.unpack_from(letters, data, at)
      at += struct.calcsize(letters)
      column.append(found if own.length else found[0])
  return _named(element, values), at


def _triangles(faces: _Columns) -> np.ndarray:
  """Returns triangles of the corners of faces."""
  corners = next((faces[own] for own in _CORNERS if own in faces), ())
  if isinstance(corners, np.ndarray) and corners.shape[1:] == (3,):
    return corners.astype(np.int64)
  triangles = [each for face in corners for each in fan(face)]
  return np.array(triangles, np.int64).reshape(-1, 3)
