"""Your own shapes, meshes or points: ROOT/{train,test}/CLASS/FILE."""

import functools
import pathlib
import zlib
from collections.abc import Sequence

import numpy as np
import trimesh

from experiments.data.augmentation.points import (
  augment_points,
  mix_points,
  to_unit_cube,
)
from experiments.data.dataset import Dataset, DataSpec, Example, array_spec
from experiments.data.features import array_feature
from experiments.data.files.meshes import Mesh, parse_off, sample_surface
from experiments.data.folders.builder import open_folder
from experiments.data.folders.listing import (
  files_note,
  list_folder,
  survey,
)

MESH_EXTENSIONS = ('.off', '.obj', '.ply', '.stl')
POINT_EXTENSIONS = ('.npy', '.xyz', '.pts', '.txt')
EXTENSIONS = (*MESH_EXTENSIONS, *POINT_EXTENSIONS)
# Kept of each shape: training takes another subset of them each time.
_POINTS_OF_A_SHAPE = 1024


def read_shape(path: pathlib.Path) -> np.ndarray:
  """Reads points of a file, or samples them of its surface.

  The same file has the same points each time, by its name. A file of points has
  x, y, z in its first columns; further ones are not read.

  Returns:
    float32 `[N, 3]` in random order, N at most 1,024: centred, the farthest is
    1 from the origin.

  Raises:
    ValueError: there is no shape in the file, or it is damaged; the message
      names it.
  """
  rng = np.random.default_rng(zlib.crc32(path.name.encode()))
  try:
    if path.suffix.lower() in MESH_EXTENSIONS:
      points = _read_mesh(path, rng)
    else:
      points = _read_points(path)
    if points.ndim != 2 or points.shape[1] < 3 or not len(points):
      raise ValueError(f'an array {points.shape}, not [points, 3]')
    points = points[:, :3].astype(np.float32)
    if not np.isfinite(points).all():
      raise ValueError('a coordinate that is not finite')
  # What trimesh raises for a damaged file is not documented.
  except Exception as error:
    raise ValueError(
      f'{path} is no shape, or is damaged ({error}). Get it again, or take it '
      'out.'
    ) from error
  points = points[rng.permutation(len(points))[:_POINTS_OF_A_SHAPE]]
  points = points - points.mean(axis=0)
  farthest = np.linalg.norm(points, axis=1).max()
  return points / max(farthest, np.finfo(np.float32).tiny)


def _read_mesh(path: pathlib.Path, rng: np.random.Generator) -> np.ndarray:
  if path.suffix.lower() == '.off':
    # ModelNet's files have headers that other readers do not know.
    mesh = parse_off(path.read_bytes(), path.name)
    if not len(mesh.triangles):
      return mesh.vertices
    return sample_surface(mesh, _POINTS_OF_A_SHAPE, rng)
  loaded = trimesh.load(path, process=False)
  if isinstance(loaded, trimesh.Scene):
    if not loaded.geometry:
      raise ValueError('it has neither a surface nor points')
    loaded = loaded.to_geometry()
  vertices = np.asarray(loaded.vertices, np.float64)
  triangles = np.asarray(getattr(loaded, 'faces', ()), np.int64)
  if not len(triangles):
    return vertices
  return sample_surface(Mesh(vertices, triangles), _POINTS_OF_A_SHAPE, rng)


def _read_points(path: pathlib.Path) -> np.ndarray:
  if path.suffix.lower() == '.npy':
    return np.load(path, allow_pickle=False)
  text = path.read_text().replace(',', ' ').replace(';', ' ')
  return np.loadtxt(text.splitlines(), ndmin=2)


def point_folder(
  data_dir: str | None,
  *,
  root: str,
  classes: Sequence[str] | None,
  num_points: int | None,
  max_num_points: int,
  max_point_scale: float,
  max_rotation: float,
  max_stretch: float,
  max_jitter: float,
  mirror_probability: float,
  mix_probability: float,
  skip_unreadable: bool,
) -> DataSpec:
  """Shapes of folders; prepared on first use, as points.

  Args:
    data_dir: where TFDS keeps prepared data; None for its own default.
    root: has train/CLASS/FILE and test/CLASS/FILE.
    classes: names; None for the folders in train/.
    num_points: of each shape; one that has fewer shows some again. None for the
      median of the files.
    max_num_points: that is chosen at most.
    max_point_scale: see `augment_points`, like those that follow; y is upwards.
    max_rotation: of training shapes.
    max_stretch: of training shapes.
    max_jitter: of training shapes, whose radius is 1.
    mirror_probability: of training shapes.
    mix_probability: see `mix_points`; above 0 each training example is made of
      two shapes.
    skip_unreadable: whether damaged files are left out.

  Returns:
    Examples with `points` float32 `[num_points, 3]`, centred, in the unit cube,
    and `label` int32.
  """
  note = ''
  if None in (classes, num_points):
    folder = list_folder(root, EXTENSIONS, classes)
    shapes = survey(
      folder.files['train'], read_shape, skip_unreadable=skip_unreadable
    )
    classes = folder.classes
    num_points = num_points or min(
      int(np.median([len(shape) for shape in shapes])), max_num_points
    )
    note = f'points: {num_points:,} of each shape, {files_note(folder)}'
  if not 1 <= num_points <= _POINTS_OF_A_SHAPE:
    raise ValueError(
      f'data.num_points must be from 1 to {_POINTS_OF_A_SHAPE}, got '
      f'{num_points}.'
    )
  augment = functools.partial(
    augment_points,
    num_points=num_points,
    max_point_scale=max_point_scale,
    max_rotation=max_rotation,
    max_stretch=max_stretch,
    max_jitter=max_jitter,
    mirror_probability=mirror_probability,
  )
  mix = None
  if mix_probability:
    mix = functools.partial(mix_points, probability=mix_probability)

  def train_example(example: Example, rng: np.random.Generator) -> Example:
    points = augment(_at_least(example['points'], num_points), rng)
    return {
      'points': points.astype(np.float32),
      'label': np.int32(example['label']),
    }

  def evaluation_example(example: Example) -> Example:
    points = _at_least(example['points'], num_points)[:num_points]
    return {
      'points': to_unit_cube(points),
      'label': np.int32(example['label']),
    }

  def load() -> Dataset:
    train, test = open_folder(
      list_folder(root, EXTENSIONS, classes),
      lambda path: {'points': read_shape(path)},
      {'points': array_feature((None, 3), np.float32)},
      options={'kind': 'points'},
      skip_unreadable=skip_unreadable,
      data_dir=data_dir,
    )
    return Dataset(
      train=train,
      augment=train_example,
      evaluation=test,
      prepare=evaluation_example,
      mix=mix,
    )

  return DataSpec(
    example={
      'points': array_spec(num_points, 3),
      'label': array_spec(dtype=np.int32),
    },
    num_classes=len(classes),
    load=load,
    chosen={'data.classes': tuple(classes), 'data.num_points': num_points},
    note=note,
  )


def _at_least(points: np.ndarray, num_points: int) -> np.ndarray:
  """Repeats points from the first on, until there are enough."""
  return points[np.arange(max(num_points, len(points))) % len(points)]
