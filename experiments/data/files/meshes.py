"""Triangle meshes: OFF files, and points sampled of their surface."""

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


def parse_off(text: bytes, name: str) -> Mesh:
  """Reads the Object File Format; polygons become triangles.

  Some files of ModelNet40 have the counts on the line of the header, without a
  space between: `OFF490 518 0`.

  Args:
    text: of the file.
    name: of the file, for error messages.

  Raises:
    ValueError: it is no OFF file, ends too early, or has impossible numbers;
      the message names the file.
  """
  words = text.split()
  if not words or not words[0].startswith(b'OFF'):
    raise ValueError(f'{name} is no OFF file: it does not begin with OFF.')
  words[:1] = [words[0][3:]] if words[0] != b'OFF' else []
  try:
    numbers = np.array(words, np.float64)
  except ValueError as error:
    raise ValueError(f'{name} has something that is no number: {error}.') from (
      error
    )
  num_vertices, num_faces = _counts(numbers, name)
  end = 3 + 3 * num_vertices
  vertices = numbers[3:end].reshape(num_vertices, 3)
  if not np.isfinite(vertices).all():
    raise ValueError(f'{name} has a vertex that is not finite.')
  triangles = _triangles(numbers[end:], num_faces, name)
  wrong = (triangles < 0) | (triangles >= num_vertices)
  if wrong.any():
    raise ValueError(
      f'{name} has {num_vertices} vertices, and a face of vertex '
      f'{triangles[wrong][0]}.'
    )
  return Mesh(vertices, triangles)


def _counts(numbers: np.ndarray, name: str) -> tuple[int, int]:
  if len(numbers) < 3 or len(numbers) < 3 + 3 * numbers[0]:
    raise ValueError(f'{name} ends before its last vertex; copy it again.')
  return int(numbers[0]), int(numbers[1])


def _triangles(numbers: np.ndarray, num_faces: int, name: str) -> np.ndarray:
  """Reads faces `n v1 ... vn`; a polygon is a fan of triangles."""
  numbers = numbers.astype(np.int64)
  # Nearly all meshes have triangles alone: no loop then.
  if len(numbers) >= 4 * num_faces:
    faces = numbers[: 4 * num_faces].reshape(-1, 4)
    if (faces[:, 0] == 3).all():
      return faces[:, 1:]
  triangles, at = [], 0
  for _ in range(num_faces):
    size = int(numbers[at]) if at < len(numbers) else 0
    corners = numbers[at + 1 : at + 1 + size]
    if size < 1 or len(corners) < size:
      raise ValueError(f'{name} ends before its last face; copy it again.')
    triangles += [
      (corners[0], corners[i], corners[i + 1]) for i in range(1, size - 1)
    ]
    at += 1 + size
  return np.array(triangles, np.int64).reshape(-1, 3)


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
