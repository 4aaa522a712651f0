"""OFF files as they are found, and points of known surfaces."""

import numpy as np
import pytest

from experiments.modalities.points.meshes import Mesh, parse_off, sample_surface

SQUARE = '4 1 0\n0 0 0\n2 0 0\n2 2 0\n0 2 0\n4 0 1 2 3\n'
TRIANGLES = '4 2 0\n0 0 0\n2 0 0\n2 2 0\n0 2 0\n3 0 1 2\n3 0 2 3\n'


def read(text):
  return parse_off(text.encode(), 'chair_0001.off')


@pytest.mark.parametrize('header', ['OFF\n', 'OFF ', 'OFF'])
@pytest.mark.parametrize('body', [SQUARE, TRIANGLES])
def test_both_headers_and_polygons(header, body):
  mesh = read(header + body)
  np.testing.assert_array_equal(
    mesh.vertices, [[0, 0, 0], [2, 0, 0], [2, 2, 0], [0, 2, 0]]
  )
  np.testing.assert_array_equal(mesh.triangles, [[0, 1, 2], [0, 2, 3]])


def test_faces_of_one_or_two_corners_have_no_area():
  # Some writers add a point or a line: faces of fewer than 3 corners.
  mesh = read('OFF\n3 3 0\n0 0 0\n1 0 0\n0 1 0\n1 0\n2 0 1\n3 0 1 2')
  np.testing.assert_array_equal(mesh.triangles, [[0, 1, 2]])


@pytest.mark.parametrize(
  ('text', 'message'),
  [
    ('', 'is no OFF file'),
    ('PLY\n' + SQUARE, 'is no OFF file'),
    ('OFF\n4 x 0\n', 'is no number'),
    ('OFF\n4 1 0\n0 0 0\n1 0 0\n', 'ends before its last vertex'),
    ('OFF\n' + TRIANGLES[:-4], 'ends before its last face'),
    ('OFF\n' + SQUARE[:-3], 'ends before its last face'),
    ('OFF\n' + TRIANGLES.replace('3 0 2 3', '3 0 2 9'), 'a face of vertex 9'),
    ('OFF\n' + TRIANGLES.replace('2 2 0', 'nan 2 0'), 'not finite'),
  ],
)
def test_broken_files_are_named(text, message):
  with pytest.raises(ValueError, match=rf'chair_0001\.off.* {message}'):
    read(text)


def test_points_are_uniform_over_the_area():
  # A triangle of area 4.5 in the plane z = 0, one of area 0.5 in z = 1.
  mesh = Mesh(
    np.array(
      [[0, 0, 0], [3, 0, 0], [0, 3, 0], [0, 0, 1], [1, 0, 1], [0, 1, 1.0]]
    ),
    np.array([[0, 1, 2], [3, 4, 5]]),
  )
  points = sample_surface(mesh, 20_000, np.random.default_rng(0))
  assert points.shape == (20_000, 3) and points.dtype == np.float32
  below = points[points[:, 2] == 0.0]
  # 90 % of the area; 5 standard errors of 20,000 draws are 1.1 %.
  assert abs(len(below) / 20_000 - 0.9) < 0.011
  assert (below[:, :2] >= 0.0).all() and (below.sum(axis=1) <= 3.0 + 1e-6).all()
  # The centroid, and the share of the corner [0, 1]^2 without its far half.
  np.testing.assert_allclose(below[:, :2].mean(axis=0), [1.0, 1.0], atol=0.03)
  corner = (below[:, :2].sum(axis=1) < 1.0).mean()
  assert abs(corner - 1 / 9) < 0.012


def test_the_same_generator_gives_the_same_points():
  mesh = Mesh(np.eye(3), np.array([[0, 1, 2]]))
  one, two = (
    sample_surface(mesh, 5, np.random.default_rng(seed)) for seed in (1, 1)
  )
  np.testing.assert_array_equal(one, two)
  np.testing.assert_allclose(one.sum(axis=1), 1.0, rtol=1e-6)  # On the plane.


def test_a_mesh_without_area():
  mesh = Mesh(np.zeros((3, 3)), np.array([[0, 1, 2]]))
  with pytest.raises(ValueError, match='no area'):
    sample_surface(mesh, 5, np.random.default_rng(0))
