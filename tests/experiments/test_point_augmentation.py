"""Point clouds: what changes, by how much, and what never does."""

import numpy as np
import pytest

from experiments.modalities.points.augmentation import (
  augment_points,
  mirror,
  mix_points,
  random_subset,
  rotate,
  scale_each_point,
  stretch,
  to_unit_cube,
)

STILL = dict(
  max_point_scale=0.0,
  max_rotation=0.0,
  max_stretch=0.0,
  max_jitter=0.0,
  mirror_probability=0.0,
)
MOVING = dict(
  max_point_scale=0.01,
  max_rotation=180.0,
  max_stretch=0.25,
  max_jitter=0.02,
  mirror_probability=0.5,
)


def rng(seed=0):
  return np.random.default_rng(seed)


def cloud(num_points=200, seed=0):
  """Points of a box that no symmetry maps to itself, at most 1 away."""
  points = rng(seed).uniform(
    (-0.2, -0.4, -0.6), (0.1, 0.5, 0.7), (num_points, 3)
  )
  return points.astype(np.float32)


def rows(points):
  return sorted(map(tuple, points.round(5).tolist()))


def test_unit_cube_in_numbers():
  points = np.array([[1, 2, 3], [3, 2, 3], [2, 8, 3]], np.float32)
  # The mean is (2, 4, 3), the farthest coordinate 4 from it.
  np.testing.assert_array_equal(
    to_unit_cube(points), [[-0.25, -0.5, 0], [0.25, -0.5, 0], [0, 1, 0]]
  )


@pytest.mark.parametrize('augment', [False, True])
def test_results_are_centred_and_touch_the_unit_cube(augment):
  points = 7.0 * cloud() + 3.0
  if augment:
    points = augment_points(points, rng(), num_points=100, **MOVING)
  points = to_unit_cube(points)
  assert points.dtype == np.float32
  np.testing.assert_allclose(points.mean(axis=0), 0, atol=1e-6)
  assert abs(points).max() == 1.0


def test_a_single_point_is_the_origin():
  points = to_unit_cube(np.array([[0.5, 0.25, 2.0]], np.float32))
  np.testing.assert_array_equal(points, [[0, 0, 0]])


def test_each_point_is_scaled_by_its_own_bounded_factor():
  points = cloud(5000)
  scaled = scale_each_point(points, 0.01, rng())
  factors = scaled / points
  np.testing.assert_allclose(factors, factors[:, :1].repeat(3, 1), rtol=1e-5)
  assert 0.99 <= factors.min() < 0.9901
  assert 1.0099 < factors.max() <= 1.01
  assert abs(factors.mean() - 1.0) < 5e-4
  # Uniform: the variance is width squared / 12.
  assert factors[:, 0].std() == pytest.approx(0.02 / 12**0.5, rel=0.03)


def test_rotation_in_numbers():
  # A quarter from z towards x, about y.
  points = np.array([[0, 0, 1], [1, 0, 0], [0, 1, 0]], np.float32)
  np.testing.assert_allclose(
    rotate(points, 90.0), [[1, 0, 0], [0, 0, -1], [0, 1, 0]], atol=1e-7
  )


@pytest.mark.parametrize('degrees', [-170.0, 10.0, 45.0])
def test_rotation_keeps_heights_norms_and_hands(degrees):
  points = cloud()
  turned = rotate(points, degrees)
  np.testing.assert_array_equal(turned[:, 1], points[:, 1])
  np.testing.assert_allclose(
    np.linalg.norm(turned, axis=1), np.linalg.norm(points, axis=1), rtol=1e-5
  )
  assert np.linalg.det(turned[:3]) == pytest.approx(
    np.linalg.det(points[:3]), rel=1e-4
  )
  np.testing.assert_allclose(rotate(turned, -degrees), points, atol=1e-6)


def test_stretch_has_one_factor_an_axis_within_its_bounds():
  points = cloud()
  drawn = []
  for seed in range(300):
    factors = stretch(points, 0.25, rng(seed)) / points
    assert np.ptp(factors, axis=0).max() < 1e-5
    drawn.append(factors[0])
  drawn = np.array(drawn)
  assert 0.8 <= drawn.min() < 0.805
  assert 1.24 < drawn.max() <= 1.25001
  # As often smaller as larger, and the axes differ.
  assert abs(np.log(drawn).mean()) < 0.02
  assert abs(np.corrcoef(drawn.T)[0, 1]) < 0.2


def test_mirror_exchanges_left_and_right_as_often_as_asked():
  points = cloud()
  mirrored = 0
  for seed in range(400):
    result = mirror(points, 0.25, rng(seed))
    np.testing.assert_array_equal(result[:, 1:], points[:, 1:])
    np.testing.assert_array_equal(abs(result[:, 0]), abs(points[:, 0]))
    mirrored += result[0, 0] != points[0, 0]
  assert 70 <= mirrored <= 130  # 100 expected, standard deviation 9


def test_subsets_have_no_point_twice_and_differ():
  points = cloud(50)
  one, two = (random_subset(points, 30, rng(seed)) for seed in (0, 1))
  for subset in (one, two):
    assert len(set(rows(subset))) == 30
    assert set(rows(subset)) <= set(rows(points))
  assert rows(one) != rows(two)
  assert rows(random_subset(points, 50, rng())) == rows(points)


def test_more_points_than_there_are_is_an_error():
  with pytest.raises(ValueError, match='at most 50'):
    random_subset(cloud(50), 51, rng())


def test_augmentation_depends_on_its_generator_alone():
  points = cloud()
  before = points.copy()
  one, again, other = (
    augment_points(points, rng(seed), num_points=100, **MOVING)
    for seed in (3, 3, 4)
  )
  np.testing.assert_array_equal(one, again)
  assert abs(one - other).max() > 0.1
  np.testing.assert_array_equal(points, before)
  assert one.shape == (100, 3)
  assert one.dtype == np.float32


def test_without_options_only_the_order_changes():
  points = cloud()
  result = augment_points(points, rng(), num_points=200, **STILL)
  expected = to_unit_cube(points)
  np.testing.assert_allclose(
    result[result[:, 0].argsort()],
    expected[expected[:, 0].argsort()],
    atol=1e-6,
  )


@pytest.mark.parametrize('option', list(STILL))
def test_every_option_is_read(option):
  value = {**MOVING, 'mirror_probability': 1.0}[option]
  still, changed = (
    augment_points(cloud(), rng(), num_points=200, **options)
    for options in (STILL, STILL | {option: value})
  )
  assert abs(still - changed).max() > 0.002


def test_jitter_is_bounded():
  # The corners of a cube keep their mean and size but for the jitter.
  corners = np.array(
    [[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], np.float32
  )
  for seed in range(50):
    moved = augment_points(
      corners, rng(seed), num_points=8, **STILL | {'max_jitter': 0.05}
    )
    # 0.05 of its own, 0.05 of the mean, and 0.1 of the size.
    assert abs(moved - np.sign(moved)).max() <= 0.2


def pair_of(first, second):
  return {
    'points': np.stack([first, second]),
    'label': np.array([3, 5], np.int32),
  }


def test_mixing_in_numbers():
  # On a line: near the place drawn, points of height 1 instead of 0.
  line = np.linspace(-1, 1, 101, dtype=np.float32)
  flat = np.stack([line, 0 * line, 0 * line], axis=-1)
  pair = pair_of(flat, flat + np.array([0, 1, 0], np.float32))
  for seed in range(20):
    mixed = mix_points(0, pair, rng(seed), probability=1.0)
    points = mixed['points']
    taken = points[:, 1] == 1
    # The same places as before, each once: what goes comes back, higher.
    np.testing.assert_array_equal(np.sort(points[:, 0]), line)
    assert mixed['mix_share'] == np.float32(taken.sum() / 101)
    places = np.sort(points[taken, 0])
    if len(places):  # Neighbours.
      assert places[-1] - places[0] <= 0.02 * (len(places) - 1) + 1e-5
    assert (mixed['label'], mixed['mix_label']) == (3, 5)


def test_mixed_points_are_those_of_either_cloud():
  first, second = cloud(80, seed=1), cloud(80, seed=2)
  shares = []
  for seed in range(200):
    mixed = mix_points(0, pair_of(first, second), rng(seed), probability=0.5)
    of_second = [row in rows(second) for row in rows(mixed['points'])]
    assert mixed['points'].shape == (80, 3)
    assert mixed['points'].dtype == np.float32
    assert mixed['mix_share'] == np.float32(np.mean(of_second))
    assert set(rows(mixed['points'])) <= set(rows(first) + rows(second))
    shares.append(mixed['mix_share'])
  shares = np.array(shares)
  assert 80 <= (shares > 0).sum() <= 120  # half of them
  assert shares[shares > 0].mean() == pytest.approx(0.5, abs=0.1)  # uniform


def test_clouds_that_are_not_mixed_keep_their_points():
  first, second = cloud(seed=1), cloud(seed=2)
  mixed = mix_points(0, pair_of(first, second), rng(), probability=0.0)
  assert rows(mixed['points']) == rows(first)
  assert mixed['mix_share'] == 0.0
