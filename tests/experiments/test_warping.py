"""Pairs made from photographs: what they show, and where it moves, exactly."""

import numpy as np
import pytest

from experiments.data.pipeline import train_batches
from experiments.datasets.flow.motorcycle import motorcycle
from experiments.datasets.flow.photographs import photographs
from experiments.modalities.frames.warping import (
  pixel_grid,
  random_flow,
  random_placement,
  warped_pair,
)

SHAPE = (24, 32)
OPTIONS = dict(
  height=24,
  width=32,
  max_shift=4.0,
  max_linear=0.05,
  max_bend=1.0,
  held_out_pairs=40,
)
IDENTITY = np.array([[1.0, 0, 0], [0, 1, 0]])


def rng(seed):
  return np.random.default_rng(seed)


def noise(height, width):
  """Neighbours have nothing in common: any mistake of place shows."""
  return rng(0).integers(0, 256, (height, width, 3)).astype(np.uint8)


def look_up(image, x, y):
  """The image at one point, by the definition of linear interpolation."""
  height, width = image.shape[:2]
  x, y = (
    (size - 1) - abs(c % (2 * (size - 1)) - (size - 1))
    for c, size in ((x, width), (y, height))
  )
  total = np.zeros(3)
  for i in range(height):
    for j in range(width):
      weight = max(0.0, 1 - abs(x - j)) * max(0.0, 1 - abs(y - i))
      total += weight * image[i, j]
  return total


def test_frames_are_the_scene_at_the_places_of_the_definition():
  image = noise(7, 9)
  flow = rng(1).uniform(-3, 3, (4, 5, 2)).astype(np.float32)
  place = np.array([[0.9, -0.4, 2.3], [0.3, 1.1, -1.7]])
  frames = warped_pair(image, flow, place)
  assert frames.dtype == np.float32 and frames.shape == (2, 4, 5, 3)
  for y in range(4):
    for x in range(5):
      for frame, point in (
        (frames[0], np.array([x, y]) + flow[y, x]),
        (frames[1], np.array([x, y])),
      ):
        there = place @ [*point, 1.0]
        np.testing.assert_allclose(
          frame[y, x], look_up(image, *there), atol=2e-3
        )


def test_where_the_motion_ends_on_a_pixel_the_colours_are_the_same():
  image = noise(60, 80)
  flow = rng(2).integers(-4, 5, (*SHAPE, 2)).astype(np.float32)
  place = random_placement(
    SHAPE, (60, 80), rng(3), max_zoom=1.3, max_rotation=180.0
  )
  first, second = warped_pair(image, flow, place)
  targets = (pixel_grid(SHAPE) + flow).astype(int)
  inside = ((targets >= 0) & (targets < (32, 24))).all(axis=-1)
  assert inside.mean() > 0.6
  x, y = targets[inside].T
  np.testing.assert_array_equal(first[inside], second[y, x])
  assert not np.array_equal(first, second)


def test_without_motion_and_placement_both_are_the_photograph():
  image = noise(*SHAPE)
  first, second = warped_pair(image, np.zeros((*SHAPE, 2)), IDENTITY)
  np.testing.assert_array_equal(first, image)
  np.testing.assert_array_equal(second, image)


def test_beyond_the_border_the_photograph_is_mirrored():
  image = noise(5, 6)
  shift = np.broadcast_to(np.float32([-2, 3]), (5, 6, 2))
  first, _ = warped_pair(image, shift, IDENTITY)
  rows, columns = [3, 4, 3, 2, 1], [2, 1, 0, 1, 2, 3]
  np.testing.assert_array_equal(first, image[np.ix_(rows, columns)])


def test_shifts_fill_a_disc():
  shifts = np.array(
    [
      random_flow(
        (2, 2), rng(seed), max_shift=4.0, max_linear=0.0, max_bend=0.0
      )[0, 0]
      for seed in range(400)
    ]
  )
  distance = np.linalg.norm(shifts, axis=1)
  assert 3.9 < distance.max() <= 4.0 + 1e-6
  # Uniform over the area: a quarter within half the radius.
  assert 0.19 < (distance < 2.0).mean() < 0.31
  assert np.abs(shifts.mean(axis=0)).max() < 0.35


def test_linear_motion_is_a_matrix_about_the_centre():
  flow = random_flow(SHAPE, rng(0), max_shift=0.0, max_linear=0.1, max_bend=0.0)
  points = (pixel_grid(SHAPE) - [15.5, 11.5]).reshape(-1, 2)
  matrix, *_ = np.linalg.lstsq(points, flow.reshape(-1, 2), rcond=None)
  np.testing.assert_allclose(points @ matrix, flow.reshape(-1, 2), atol=1e-5)
  assert 0.02 < np.abs(matrix).max() <= 0.1


def test_bends_are_smooth_and_no_larger_than_said():
  largest = 0.0
  for seed in range(50):
    flow = random_flow(
      (32, 48), rng(seed), max_shift=0.0, max_linear=0.0, max_bend=1.0
    )
    largest = max(largest, np.abs(flow).max())
    for axis in (0, 1):  # Nodes are 8 pixels apart or more.
      assert np.abs(np.diff(flow, axis=axis)).max() < 0.45
  assert 0.8 < largest < 1.5  # A cubic may swing over its nodes a little.


def test_placements_turn_zoom_and_stay_inside():
  corners = np.array([[0, 0, 1], [31, 0, 1], [0, 23, 1], [31, 23, 1]])
  zooms, mirrored, angles = [], 0, []
  for seed in range(200):
    place = random_placement(
      SHAPE, (90, 100), rng(seed), max_zoom=1.3, max_rotation=30.0
    )
    at = corners @ place.T
    assert at.min() >= -1e-9 and (at <= np.array([99, 89]) + 1e-9).all()
    determinant = np.linalg.det(place[:, :2])
    zooms.append(np.sqrt(abs(determinant)))
    mirrored += determinant < 0
    angles.append(np.rad2deg(np.arctan2(-place[0, 1], place[1, 1])))
  assert 1 / 1.3 - 1e-9 <= min(zooms) < 0.8 and 1.25 < max(zooms) <= 1.3 + 1e-9
  assert 70 < mirrored < 130
  assert -30 - 1e-6 <= min(angles) < -27 and 27 < max(angles) <= 30 + 1e-6


# The photographs.


@pytest.fixture(scope='module')
def data_dir(tmp_path_factory):
  return str(tmp_path_factory.mktemp('data'))


@pytest.fixture(scope='module')
def dataset(data_dir):
  return photographs(data_dir, **OPTIONS).load()


def test_training_and_held_out_parts_have_no_pixel_in_common(dataset):
  train = {
    dataset.train[i]['name']: dataset.train[i]['image'].shape
    for i in range(len(dataset.train))
  }
  test = {
    dataset.evaluation[i]['name']: dataset.evaluation[i]['image'].shape
    for i in range(18)
  }
  assert len(train) == len(test) == 18
  whole = {b'china/1': 640, b'chelsea/1': 451, b'astronaut/1': 512}
  for name, width in whole.items():
    left, right = train[name][1], test[name][1]
    assert left + right == width - 16
    assert 0.66 < left / width < 0.7
  assert train[b'china/3'] == (142, 146, 3)


def test_held_out_pairs_are_the_same_each_time(data_dir, dataset):
  again = photographs(data_dir, **OPTIONS).load()
  assert len(dataset.evaluation) == 40
  flows = set()
  for index in range(40):
    one = dataset.prepare(dataset.evaluation[index])
    same = again.prepare(again.evaluation[index])
    for key in one:
      np.testing.assert_array_equal(one[key], same[key])
    flows.add(one['flow'].tobytes())
  assert len(flows) == 40


def test_examples_are_what_a_model_takes(dataset):
  batch = next(train_batches(dataset, 4, seed=0, position=0))
  assert {key: (value.shape, value.dtype) for key, value in batch.items()} == {
    'frames': ((4, 2, 24, 32, 3), np.float32),
    'flow': ((4, 24, 32, 2), np.float32),
    'valid': ((4, 24, 32), np.float32),
    'weight': ((4,), np.float32),
  }
  assert batch['valid'].all()
  assert batch['frames'].min() >= -1 and batch['frames'].max() <= 1
  assert batch['frames'].std() > 0.2
  assert 0.5 < np.linalg.norm(batch['flow'], axis=-1).mean() < 5.0


@pytest.mark.parametrize('option', ['max_shift', 'max_linear', 'max_bend'])
def test_every_motion_can_be_left_out_but_not_be_negative(data_dir, option):
  still = {**OPTIONS, 'max_shift': 0.0, 'max_linear': 0.0, 'max_bend': 0.0}
  rest = photographs(data_dir, **still).load()
  moving = photographs(data_dir, **{**still, option: OPTIONS[option]}).load()
  assert not rest.prepare(rest.evaluation[3])['flow'].any()
  assert moving.prepare(moving.evaluation[3])['flow'].any()
  with pytest.raises(ValueError, match=f'data.{option} must not be negative'):
    photographs(None, **{**OPTIONS, option: -1.0})


def test_there_must_be_something_to_evaluate_with():
  with pytest.raises(ValueError, match='held_out_pairs must be at least 1'):
    photographs(None, **{**OPTIONS, 'held_out_pairs': 0})


# The motorcycle.


def test_the_right_picture_is_the_left_one_moved_by_the_flow():
  pair = motorcycle(1)
  assert pair.valid.shape == (500, 741)
  assert pair.flow[pair.valid, 0].max() < 0
  assert not pair.flow[..., 1].any()
  left, right = pair.frames.astype(np.float64)
  targets = (pixel_grid((500, 741)) + pair.flow).round().astype(int)
  x, y = np.moveaxis(targets, -1, 0)
  known = pair.valid & (x >= 0)
  moved = np.abs(left - right[y, x.clip(0)])[known].mean()
  unmoved = np.abs(left - right)[known].mean()
  opposite = (2 * pixel_grid((500, 741)) - targets).astype(int)[..., 0]
  wrong = np.abs(left - right[y, opposite.clip(0, 740)])[known].mean()
  assert moved < 0.45 * unmoved and moved < 0.45 * wrong


def test_a_smaller_pair_moves_by_fewer_pixels():
  whole, small = motorcycle(1), motorcycle(15)
  assert small.frames.shape == (2, 33, 49, 3)
  assert small.frames.dtype == np.uint8 and small.flow.dtype == np.float32
  block = (slice(15, 30), slice(600, 615))
  known = whole.valid[block]
  assert 0.5 < known.mean() < 1
  np.testing.assert_allclose(
    small.flow[1, 40, 0], whole.flow[block][known, 0].mean() / 15, rtol=1e-4
  )
  np.testing.assert_allclose(
    small.frames[:, 1, 40],
    whole.frames[(slice(None), *block)].mean(axis=(1, 2)),
    atol=0.6,
  )
  assert 0.85 < small.valid.mean() < 1
  assert not small.flow[~small.valid].any()


def test_pictures_are_not_enlarged():
  with pytest.raises(ValueError, match='at least 1, got 0'):
    motorcycle(0)
