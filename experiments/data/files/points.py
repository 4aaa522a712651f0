"""Files of shapes: meshes, and clouds of points."""

import pathlib
import zlib

import numpy as np
import trimesh

from experiments.data.files.meshes import Mesh, parse_off, sample_surface

MESH_EXTENSIONS = ('.off', '.obj', '.ply', '.stl')
POINT_EXTENSIONS = ('.npy', '.xyz', '.pts', '.txt')
EXTENSIONS = (*MESH_EXTENSIONS, *POINT_EXTENSIONS)


def read_shape(path: pathlib.Path, num_points: int) -> np.ndarray:
  """Reads points of a file, or samples them of its surface.

  The same file has the same points each time, by its name. A file of points has
  x, y, z in its first columns; further ones are not read.

  Args:
    path: of the file.
    num_points: that are sampled of a surface; of a file of points at most so
      many are chosen at random.

  Returns:
    float32 `[N, 3]` in random order, N at most `num_points`: centred, the
    farthest is 1 from the origin. Axes stay as they are.

  Raises:
    ValueError: there is no shape in the file, or it is damaged; the message
      names it.
  """
  try:
    # By its content: a file has the same points whatever it is called.
    rng = np.random.default_rng(zlib.crc32(path.read_bytes()))
    if path.suffix.lower() in MESH_EXTENSIONS:
      mesh = _read_mesh(path)
    else:
      mesh = Mesh(_read_points(path), np.zeros((0, 3), np.int64))
    points = _points_of(mesh, num_points, rng)
  # What trimesh raises for a damaged file is not documented.
  except Exception as error:
    raise ValueError(
      f'{path} is no shape, or is damaged ({error}). Get it again, or take it '
      'out.'
    ) from error
  points = points - points.mean(axis=0)
  farthest = np.linalg.norm(points, axis=1).max()
  return points / max(farthest, np.finfo(np.float32).tiny)


def _points_of(
  mesh: Mesh, num_points: int, rng: np.random.Generator
) -> np.ndarray:
  """Points of a surface or, where there is none, some of the vertices."""
  points = mesh.vertices
  if points.ndim != 2 or points.shape[1] < 3 or not len(points):
    raise ValueError(f'an array {points.shape}, not [points, 3]')
  if len(mesh.triangles):
    points = sample_surface(mesh, num_points, rng)
  else:
    points = points[rng.permutation(len(points))[:num_points], :3]
  points = points.astype(np.float32)
  if not np.isfinite(points).all():
    raise ValueError('a coordinate that is not finite')
  return points


def _read_mesh(path: pathlib.Path) -> Mesh:
  """Reads a surface; of a file of points it has no triangles."""
  if path.suffix.lower() == '.off':
    # ModelNet's files have headers that other readers do not know.
    return parse_off(path.read_bytes(), path.name)
  loaded = trimesh.load(path, process=False)
  if isinstance(loaded, trimesh.Scene):
    if not loaded.geometry:
      raise ValueError('it has neither a surface nor points')
    loaded = loaded.to_geometry()
  triangles = np.asarray(getattr(loaded, 'faces', ()), np.int64)
  return Mesh(np.asarray(loaded.vertices, np.float64), triangles)


def _read_points(path: pathlib.Path) -> np.ndarray:
  if path.suffix.lower() == '.npy':
    return np.load(path, allow_pickle=False)
  text = path.read_text().replace(',', ' ').replace(';', ' ')
  return np.loadtxt(text.splitlines(), ndmin=2)
