"""Triangle meshes: OFF and OBJ files, and points sampled of their surface.

Of a file of its kind only the surface is read: neither its materials nor its
pictures, which are other files.
"""

import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np


class Mesh(NamedTuple):
  """A surface of triangles.

  Attributes:
    vertices: `[V, 3]` float64.
    triangles: `[T, 3]` int64, numbers of vertices.
  """

  vertices: np.ndarray
  triangles: np.ndarray


# Of vertices, and of faces; more are no shape that a model is asked about.
MOST_ELEMENTS = 2**23
# Texture coordinates, colours and normals may stand behind those of a vertex.
_OFF = re.compile(rb'\s*((?:ST)?C?N?)OFF(?=\s|\d)')
_COUNTS = re.compile(rb'\s*(\d+)\s+(\d+)\s+-?\d+')


def parse_off(text: bytes, name: str) -> Mesh:
  """Reads the Object File Format; polygons become triangles.

  Some files of ModelNet40 have the counts on the line of the header, without a
  space between: `OFF490 518 0`. Colours of vertices and faces are not read.

  Args:
    text: of the file.
    name: of the file, for error messages.

  Raises:
    ValueError: it is no OFF file, ends too early, or has impossible numbers;
      the message names the file.
  """
  text = re.sub(rb'#[^\n]*', b'', text)
  header = _OFF.match(text)
  if not header:
    raise ValueError(
      f'{name} is no OFF file: it does not begin with OFF, of points in three '
      'dimensions.'
    )
  counts = _COUNTS.match(text, header.end())
  if not counts:
    words = text[header.end() :].split()[:3]
    raise ValueError(f'{name} has something that is no number in {words}.')
  num_vertices, num_faces = int(counts[1]), int(counts[2])
  check_counts(num_vertices, num_faces, name)
  body = text[counts.end() :]
  if header[1]:
    vertices, faces = _by_lines(body, num_vertices, num_faces, name)
  else:
    vertices, faces = _by_words(body, num_vertices, num_faces, name)
  if not np.isfinite(vertices).all():
    raise ValueError(f'{name} has a vertex that is not finite.')
  return Mesh(vertices, check_corners(faces, num_vertices, name))


def check_counts(num_vertices: int, num_faces: int, name: str) -> None:
  """Raises a ValueError where a file has very much, before it is read.

  Args:
    num_vertices: that it states, or has.
    num_faces: that it states, or has.
    name: of the file, for the message.
  """
  if max(num_vertices, num_faces) > MOST_ELEMENTS:
    raise ValueError(
      f'{name} is too large: it has {num_vertices:,} vertices and '
      f'{num_faces:,} faces, and up to {MOST_ELEMENTS:,} of each are read'
    )


def _numbers(words: Sequence[bytes], name: str) -> np.ndarray:
  try:
    return np.array(words, np.float64)
  except ValueError as error:
    raise ValueError(
      f'{name} has something that is no number: {error}.'
    ) from error


def check_corners(
  triangles: np.ndarray, num_vertices: int, name: str
) -> np.ndarray:
  """Returns triangles `[T, 3]`, whose corners are numbers of vertices.

  Raises:
    ValueError: one is of a vertex that is not there; the message names the
      file.
  """
  wrong = (triangles < 0) | (triangles >= num_vertices)
  if wrong.any():
    raise ValueError(
      f'{name} has {num_vertices} vertices, and a face of vertex '
      f'{triangles[wrong][0]}.'
    )
  return triangles


def _by_words(
  body: bytes, num_vertices: int, num_faces: int, name: str
) -> tuple[np.ndarray, np.ndarray]:
  """Reads numbers wherever lines end; if some are left over, by lines."""
  numbers = _numbers(body.split(), name)
  end = 3 * num_vertices
  if len(numbers) < end:
    raise ValueError(f'{name} ends before its last vertex; copy it again.')
  vertices = numbers[:end].reshape(num_vertices, 3)
  lines = [line for line in body.splitlines() if line.strip()]
  try:
    triangles, read = _triangles(numbers[end:], num_faces, name)
  except ValueError:
    if not _has_more(lines, num_vertices, num_faces):
      raise
    return _by_lines(body, num_vertices, num_faces, name)
  if end + read < len(numbers) and _has_more(lines, num_vertices, num_faces):
    return _by_lines(body, num_vertices, num_faces, name)
  return vertices, triangles


def _has_more(
  lines: Sequence[bytes], num_vertices: int, num_faces: int
) -> bool:
  """Whether there is a line for each vertex and face, some with colours."""
  return num_vertices > 0 and len(lines) >= num_vertices + num_faces


def _by_lines(
  body: bytes, num_vertices: int, num_faces: int, name: str
) -> tuple[np.ndarray, np.ndarray]:
  """Reads a line for each vertex and each face; what follows on it is not."""
  lines = [line.split() for line in body.splitlines() if line.strip()]
  if len(lines) < num_vertices + num_faces:
    raise ValueError(f'{name} ends before its last face; copy it again.')
  vertices = [line[:3] for line in lines[:num_vertices]]
  if any(len(vertex) < 3 for vertex in vertices):
    raise ValueError(f'{name} has a vertex of less than three numbers.')
  numbers: list[bytes] = []
  for line in lines[num_vertices : num_vertices + num_faces]:
    size = int(line[0]) if line[0].isdigit() else 0
    numbers += line[: 1 + size]
  triangles, _ = _triangles(_numbers(numbers, name), num_faces, name)
  return _numbers(vertices, name).reshape(-1, 3), triangles


def _triangles(
  numbers: np.ndarray, num_faces: int, name: str
) -> tuple[np.ndarray, int]:
  """Reads faces `n v1 ... vn`; a polygon is a fan of triangles.

  Returns:
    Triangles, and how many numbers were read.
  """
  if not np.isfinite(numbers).all():
    raise ValueError(f'{name} has a face that is not finite.')
  numbers = numbers.astype(np.int64)
  # Nearly all meshes have triangles alone: no loop then.
  if len(numbers) >= 4 * num_faces:
    faces = numbers[: 4 * num_faces].reshape(-1, 4)
    if (faces[:, 0] == 3).all():
      return faces[:, 1:], 4 * num_faces
  triangles, at = [], 0
  for _ in range(num_faces):
    size = int(numbers[at]) if at < len(numbers) else 0
    corners = numbers[at + 1 : at + 1 + size]
    if size < 1 or len(corners) < size:
      raise ValueError(f'{name} ends before its last face; copy it again.')
    triangles += fan(corners)
    at += 1 + size
  return np.array(triangles, np.int64).reshape(-1, 3), at


def fan(corners: Sequence[int]) -> list[tuple[int, int, int]]:
  """Returns the triangles of a polygon, all from its first corner."""
  return [
    (corners[0], corners[i], corners[i + 1]) for i in range(1, len(corners) - 1)
  ]


def parse_obj(text: bytes, name: str) -> Mesh:
  """Reads the vertices and faces of a Wavefront OBJ file.

  Args:
    text: of the file; polygons become triangles.
    name: of the file, for error messages.

  Raises:
    ValueError: it has impossible numbers; the message names the file.
  """
  check_counts(text.count(b'\nv '), text.count(b'\nf '), name)
  vertices: list[Sequence[bytes]] = []
  triangles: list[tuple[int, int, int]] = []
  for line in text.replace(b'\\\r\n', b' ').replace(b'\\\n', b' ').splitlines():
    kind, *words = line.partition(b'#')[0].split() or [b'']
    if kind == b'v':
      if len(words) < 3:
        raise ValueError(f'{name} has a vertex of less than three numbers.')
      vertices.append(words[:3])
    elif kind == b'f':
      triangles += fan([_corner(word, len(vertices), name) for word in words])
  return Mesh(
    _numbers(vertices, name).reshape(-1, 3),
    check_corners(
      np.array(triangles, np.int64).reshape(-1, 3), len(vertices), name
    ),
  )


def _corner(word: bytes, num_vertices: int, name: str) -> int:
  """Returns the place of `7`, `7/1/2` or, from the last vertex back, `-1`."""
  try:
    number = int(word.partition(b'/')[0])
  except ValueError:
    number = 0
  if not number:
    raise ValueError(f'{name} has a face of vertex {word.decode("latin-1")!r}.')
  return num_vertices + number if number < 0 else number - 1


def sample_surface(
  mesh: Mesh, num_points: int, rng: np.random.Generator
) -> np.ndarray:
  """Samples points uniformly over the area of a mesh.

  Args:
    mesh: of positive area.
    num_points: N.
    rng: source of randomness.

  Returns:
    `[N, 3]` float32.

  Raises:
    ValueError: the mesh has no area.
  """
  corners = mesh.vertices[mesh.triangles]  # [T, 3 corners, 3]
  sides = corners[:, 1:] - corners[:, :1]
  areas = 0.5 * np.linalg.norm(np.cross(sides[:, 0], sides[:, 1]), axis=-1)
  total = areas.sum()
  if not total > 0.0:
    raise ValueError('The mesh has no area: nothing can be sampled of it.')
  chosen = rng.choice(len(areas), size=num_points, p=areas / total)
  # Uniform in a parallelogram; its far half is folded onto the triangle.
  along = rng.random((num_points, 2, 1))
  along = np.where(along.sum(axis=1, keepdims=True) > 1.0, 1.0 - along, along)
  points = corners[chosen, 0] + (along * sides[chosen]).sum(axis=1)
  return points.astype(np.float32)
