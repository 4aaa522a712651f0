"""Tiles of images: where they lie, and how predictions are joined."""

import itertools

import numpy as np
import pytest

from perceiver_jax.tiling import edge_distance, tile_starts, tiled


@pytest.mark.parametrize(
  ('size', 'tile', 'min_overlap', 'starts'),
  [
    (10, 10, 3, [0]),
    (10, 4, 0, [0, 4, 6]),
    (12, 4, 0, [0, 4, 8]),
    (12, 4, 1, [0, 3, 6, 8]),
    (436, 368, 20, [0, 68]),  # Sintel.
    (1024, 496, 20, [0, 476, 528]),
    (376, 368, 20, [0, 8]),  # KITTI, padded.
    (1242, 496, 20, [0, 476, 746]),
    (960, 496, 20, [0, 464]),  # Where the notebook leaves the image.
  ],
)
def test_starts_by_hand(size, tile, min_overlap, starts):
  assert tile_starts(size, tile, min_overlap) == starts


# All small cases: (size, tile, min_overlap).
ALL = [
  (size, tile, overlap)
  for tile in range(1, 8)
  for size in range(tile, 30)
  for overlap in range(tile)
]


def test_tiles_cover_the_axis_with_the_overlap_that_was_asked_for():
  for size, tile, overlap in ALL:
    starts = tile_starts(size, tile, overlap)
    assert starts[0] == 0 and starts[-1] == size - tile
    steps = np.diff(starts)
    assert (steps <= tile - overlap).all(), (size, tile, overlap)


def test_tiles_are_as_few_as_possible():
  for size, tile, overlap in ALL:
    starts = tile_starts(size, tile, overlap)
    # One tile less could not reach the end.
    assert (len(starts) - 2) * (tile - overlap) < size - tile or size == tile


def notebook_starts(size, tile, min_overlap):
  """The released notebook's; it repeats a tile, or leaves the image."""
  starts = list(range(0, size, tile - min_overlap))
  starts[-1] = size - tile
  return starts


def test_tiles_are_those_of_the_released_notebook_where_it_is_right():
  compared = 0
  for size, tile, overlap in ALL:
    theirs = notebook_starts(size, tile, overlap)
    if max(theirs) == size - tile:  # No tile hangs over the border.
      compared += 1
      assert tile_starts(size, tile, overlap) == sorted(set(theirs))
  assert compared > len(ALL) / 2


def test_weights_are_distances_to_the_edge():
  expected = [[1, 1, 1, 1], [1, 2, 2, 1], [1, 2, 2, 1], [1, 1, 1, 1]]
  np.testing.assert_array_equal(edge_distance((4, 4)), expected)
  wide = edge_distance((3, 7))
  np.testing.assert_array_equal(wide[1], [1, 2, 2, 2, 2, 2, 1])
  height, width = 5, 8
  naive = [
    [
      min(min(y, height - 1 - y), min(x, width - 1 - x)) + 1
      for x in range(width)
    ]
    for y in range(height)
  ]
  np.testing.assert_array_equal(edge_distance((height, width)), naive)
  assert edge_distance((3, 3)).dtype == np.float32


def coordinates(height, width):
  """An image of two frames whose first one says where each pixel is."""
  rows, columns = np.indices((height, width), np.float32)
  here = np.stack([rows, columns, 0 * rows], axis=-1)
  return np.stack([[here, -here], [here + 100, here]])  # [2, 2, H, W, 3]


@pytest.mark.parametrize('size', [(5, 6), (5, 7), (11, 6), (13, 17)])
def test_what_depends_on_the_pixel_alone_is_as_without_tiles(size):
  shapes = set()

  def predict(frames):
    shapes.add(frames.shape)
    return frames[:, 0, ..., :2] ** 2 - frames[:, 1, ..., :2]

  frames = coordinates(*size)
  predicted = tiled(predict, frames, tile_shape=(5, 6), min_overlap=2)
  assert shapes == {(2, 2, 5, 6, 3)} and predicted.dtype == np.float32
  expected = frames[:, 0, ..., :2] ** 2 - frames[:, 1, ..., :2]
  np.testing.assert_allclose(predicted, expected, rtol=1e-6)


def test_an_image_of_one_tile_is_predicted_once():
  calls = []

  def predict(images):
    calls.append(images)
    return images

  images = coordinates(5, 6)[:, 0]
  np.testing.assert_allclose(
    tiled(predict, images, tile_shape=(5, 6), min_overlap=4), images, rtol=1e-6
  )
  assert len(calls) == 1


def test_overlapping_predictions_are_means_weighted_by_edge_distance():
  numbers = itertools.count(1)

  def predict(images):
    return np.full((*images.shape[:-1], 1), next(numbers), np.float32)

  # Tiles 1 and 2 begin in columns 0 and 2 of 7, 3 pixels in common.
  blended = tiled(
    predict, np.zeros((1, 5, 7, 3)), tile_shape=(5, 5), min_overlap=3
  )[0, ..., 0]
  np.testing.assert_allclose(blended[:, :2], 1.0)
  np.testing.assert_allclose(blended[:, 5:], 2.0)
  # In the middle row tile 1 weighs 3, 2, 1 there and tile 2 weighs 1, 2, 3.
  np.testing.assert_allclose(
    blended[2, 2:5], [(3 + 2) / 4, (2 + 4) / 4, (1 + 6) / 4], rtol=1e-6
  )
  np.testing.assert_allclose(blended[0, 2:5], 1.5, rtol=1e-6)


@pytest.mark.parametrize(
  ('size', 'tile', 'min_overlap', 'message'),
  [
    (9, 10, 0, 'The image has 9 pixels where a tile has 10'),
    (20, 10, 10, 'from 0 to 9'),
    (20, 10, -1, 'got -1'),
  ],
)
def test_tiles_that_do_not_fit(size, tile, min_overlap, message):
  with pytest.raises(ValueError, match=message):
    tile_starts(size, tile, min_overlap)
  with pytest.raises(ValueError, match=message):
    tiled(
      lambda x: x,
      np.zeros((1, 10, size, 3)),
      tile_shape=(10, tile),
      min_overlap=min_overlap,
    )
