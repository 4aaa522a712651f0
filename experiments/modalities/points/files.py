"""Files of shapes: meshes, and clouds of points."""

import io
import pathlib
import zlib

import numpy as np
import trimesh

from experiments.files.tables import decode, parse_table
from experiments.host.helper import done_apart
from experiments.modalities.points.meshes import (
  Mesh,
  check_counts,
  parse_obj,
  parse_off,
  sample_surface,
)
from experiments.modalities.points.ply import parse_ply

MESH_EXTENSIONS = ('.off', '.obj', '.ply', '.stl')
POINT_EXTENSIONS = ('.npy', '.xyz', '.pts', '.txt')
# An array of 3 rows and more columns has its points in columns: three points
# are no shape.
_MOST_COLUMNS = 16
EXTENSIONS = (*MESH_EXTENSIONS, *POINT_EXTENSIONS)


@done_apart
def read_shape(path: pathlib.Path, num_points: int) -> np.ndarray:
  """Returns the points of `read_sized_shape`, without their size."""
  return read_sized_shape(path, num_points)[0]


def read_sized_shape(
  path: pathlib.Path, num_points: int
) -> tuple[np.ndarray, float]:
  """Reads points of a file, or samples them of its surface.

  The same file has the same points each time, by its name. A file of points has
  x, y, z in its first columns, or in those that it names so; further ones are
  not read.

  Args:
    path: of the file.
    num_points: that are sampled of a surface; of a file of points at most so
      many are chosen at random.

  Returns:
    float32 `[N, 3]` in random order, N at most `num_points`: centred, the
    farthest is 1 from the origin. Axes stay as they are. And how far that is
    in the file.

  Raises:
    ValueError: there is no shape in the file, or it is damaged; the message
      names it.
  """
  try:
    # By its content: a file has the same points whatever it is called.
    data = path.read_bytes()
    rng = np.random.default_rng(zlib.crc32(data))
    if path.suffix.lower() in MESH_EXTENSIONS:
      mesh = _read_mesh(path, data)
    else:
      mesh = Mesh(_read_points(path, data), np.zeros((0, 3), np.int64))
    points = _points_of(mesh, num_points, rng)
  except MemoryError:
    raise
  # What trimesh raises for a damaged file is not documented.
  except Exception as error:
    raise ValueError(
      f'{path} is no shape, or is damaged ({error}). Get it again, or take it '
      'out.'
    ) from error
  points = points - points.mean(axis=0)
  farthest = float(np.linalg.norm(points, axis=1).max())
  farthest = max(farthest, float(np.finfo(np.float32).tiny))
  return (points / farthest).astype(np.float32), farthest


def _points_of(
  mesh: Mesh, num_points: int, rng: np.random.Generator
) -> np.ndarray:
  """Points of a surface or, where there is none, some of the vertices."""
  points = mesh.vertices
  if points.ndim != 2 or points.shape[1] < 3 or not len(points):
    raise ValueError(f'an array {points.shape}, not [points, 3]')
  points = points[:, :3].astype(np.float64)
  if not np.isfinite(points).all():
    raise ValueError('a coordinate that is not finite')
  # In double precision: on a map a shape is small beside where it is.
  points = points - points.mean(axis=0)
  if len(mesh.triangles):
    return sample_surface(Mesh(points, mesh.triangles), num_points, rng)
  return points[rng.permutation(len(points))[:num_points]]


def _read_mesh(path: pathlib.Path, data: bytes) -> Mesh:
  """Reads a surface; of a file of points it has no triangles."""
  suffix = path.suffix.lower()
  if suffix == '.off':
    # ModelNet's files have headers that other readers do not know.
    return parse_off(data, path.name)
  if suffix == '.obj':
    # trimesh would read materials, of files that this one names.
    return parse_obj(data, path.name)
  if suffix == '.ply':
    # The same of pictures; and it knows no bytes of mixed polygons.
    return parse_ply(data, path.name)
  # As text each triangle has a line of its own, as bytes it has 50 of them.
  num_faces = max(data.count(b'outer loop'), len(data[84:]) // 50)
  check_counts(0, num_faces, path.name)
  surface = trimesh.load(io.BytesIO(data), file_type='stl', process=False)
  if isinstance(surface, trimesh.Scene):
    if not surface.geometry:
      raise ValueError('it has neither a surface nor points')
    surface = surface.to_geometry()
  return Mesh(
    np.asarray(surface.vertices, np.float64),
    np.asarray(surface.faces, np.int64),
  )


def _read_points(path: pathlib.Path, data: bytes) -> np.ndarray:
  if path.suffix.lower() == '.npy':
    array = np.load(io.BytesIO(data), allow_pickle=False)
    if array.dtype.kind not in 'biuf':
      raise ValueError(f'an array of {array.dtype}, not of numbers')
    if array.ndim == 2 and len(array) == 3 and array.shape[1] > _MOST_COLUMNS:
      return array.T
    return array
  first, _, rest = decode(data).strip().partition('\n')
  # Laser scanners write how many points follow.
  text = rest if first.strip().isdecimal() else f'{first}\n{rest}'
  table = parse_table(text)
  names = [name.lower() for name in table.names]
  columns = range(min(3, table.num_columns))
  if {'x', 'y', 'z'} <= set(names):
    columns = [names.index(axis) for axis in 'xyz']
  return np.stack([table.numbers(i) for i in columns], axis=1)
