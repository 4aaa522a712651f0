"""Augmentation of flow: what a pixel shows is still where its flow says."""

import colorsys

import numpy as np
import pytest

from experiments.modalities.frames.augmentation import (
  FramePair,
  augment_pair,
  erase,
  jitter_colours,
  random_crop,
  random_flip,
  random_scale,
  resize_pair,
  reverse_and_crop,
  reverse_pair,
)

HEIGHT, WIDTH = 60, 80
MOTION = np.float32([3.0, -2.0])


def rng(seed):
  return np.random.default_rng(seed)


def second_frame(x, y):
  """Colours that are linear in the place, so interpolation is exact."""
  return np.stack([2 * x + 40, 3 * y + 30, x + y + 50], axis=-1)


def moving_pair():
  """All pixels move by `MOTION`; a known colour tells each place."""
  y, x = np.indices((HEIGHT, WIDTH))
  frames = np.stack([second_frame(x + 3, y - 2), second_frame(x, y)])
  flow = np.broadcast_to(MOTION, (HEIGHT, WIDTH, 2)).copy()
  return FramePair(
    frames.astype(np.uint8), flow, np.ones((HEIGHT, WIDTH), np.bool_)
  )


def look_up(image, points):
  """Linear interpolation, in float64; points `[n, 2]` lie inside."""
  x, y = points.T
  left, top = np.floor(x).astype(int), np.floor(y).astype(int)
  dx, dy = (x - left)[:, None], (y - top)[:, None]
  image = np.pad(image.astype(np.float64), ((0, 1), (0, 1), (0, 0)), 'edge')
  return (
    image[top, left] * (1 - dx) * (1 - dy)
    + image[top, left + 1] * dx * (1 - dy)
    + image[top + 1, left] * (1 - dx) * dy
    + image[top + 1, left + 1] * dx * dy
  )


def assert_frames_agree(pair, tolerance):
  """Frame 1 at x looks like frame 2 at x + flow(x), except at borders."""
  frames, flow, valid = pair
  height, width = flow.shape[:2]
  y, x = np.mgrid[2 : height - 2, 2 : width - 2]
  points = np.stack([x, y], axis=-1) + flow[2:-2, 2:-2]
  inside = ((points >= 2) & (points <= (width - 3, height - 3))).all(axis=-1)
  inside &= valid[2:-2, 2:-2]
  assert inside.mean() > 0.5
  expected = look_up(frames[1], points[inside])
  actual = frames[0][2:-2, 2:-2][inside]
  assert np.abs(actual - expected).max() <= tolerance


def test_the_pair_itself_agrees_and_another_flow_would_not():
  pair = moving_pair()
  assert_frames_agree(pair, 0)
  with pytest.raises(AssertionError):
    assert_frames_agree(pair._replace(flow=-pair.flow), 2)


@pytest.mark.parametrize('shape', [(90, 80), (60, 120), (45, 64), (75, 101)])
def test_resized_flow_is_in_the_new_pixels(shape):
  pair = resize_pair(moving_pair(), shape)
  assert pair.frames.shape == (2, *shape, 3)
  factors = np.array([shape[1] / WIDTH, shape[0] / HEIGHT])
  np.testing.assert_allclose(
    pair.flow, np.broadcast_to(MOTION * factors, (*shape, 2)), rtol=1e-5
  )
  assert pair.valid.all()
  assert_frames_agree(pair, 1.5)  # Both were rounded to whole colours.


def test_what_touches_unknown_flow_is_unknown():
  pair = moving_pair()
  pair.valid[20, 30] = False
  resized = resize_pair(pair, (2 * HEIGHT, 2 * WIDTH))
  unknown = np.argwhere(~resized.valid)
  # Pixels 2 i - 1 to 2 i + 2 lie less than one old pixel from pixel i.
  assert unknown.min(axis=0).tolist() == [39, 59]
  assert unknown.max(axis=0).tolist() == [42, 62]
  assert len(unknown) == 16


def test_flips_turn_the_flow():
  seen = set()
  for seed in range(40):
    pair = random_flip(moving_pair(), rng(seed))
    assert_frames_agree(pair, 0)
    seen.add(tuple(pair.flow[0, 0]))
  assert seen == {(3.0, -2.0), (-3.0, -2.0), (3.0, 2.0), (-3.0, 2.0)}


def test_a_reversed_pair_moves_back():
  pair = reverse_pair(moving_pair())
  assert_frames_agree(pair, 0)
  # All move by (3, -2): nothing comes to 3 columns on the left, and to 2 rows
  # at the bottom.
  expected = np.zeros((HEIGHT, WIDTH), np.bool_)
  expected[:-2, 3:] = True
  np.testing.assert_array_equal(pair.valid, expected)
  np.testing.assert_array_equal(
    pair.flow[pair.valid], np.broadcast_to(-MOTION, (expected.sum(), 2))
  )
  assert not pair.flow[~pair.valid].any()


def test_of_two_that_come_to_one_pixel_the_faster_is_in_front():
  flow = np.zeros((1, 5, 2), np.float32)
  flow[0, :, 0] = (2, 0.4, 0, -1, 7)
  valid = np.array([[True, True, True, True, True]])
  back = reverse_pair(FramePair(np.zeros((2, 1, 5, 3), np.uint8), flow, valid))
  np.testing.assert_array_equal(back.valid, [[False, True, True, False, False]])
  np.testing.assert_allclose(back.flow[0, :, 0], [0, -0.4, -2, 0, 0])
  unknown = FramePair(back.frames, flow, np.zeros((1, 5), np.bool_))
  assert not reverse_pair(unknown).valid.any()


def test_half_of_the_plain_pairs_are_reversed():
  flows = [
    reverse_and_crop(moving_pair(), rng(seed), shape=(40, 50)).flow[20, 25, 0]
    for seed in range(100)
  ]
  assert set(flows) == {3.0, -3.0}
  assert 35 < flows.count(3.0) < 65


def test_crops_are_everywhere():
  pair = moving_pair()
  corners = set()
  for seed in range(300):
    crop = random_crop(pair, rng(seed), (HEIGHT - 2, WIDTH - 1))
    assert crop.frames.shape == (2, HEIGHT - 2, WIDTH - 1, 3)
    assert_frames_agree(crop, 0)
    corners.add(tuple(crop.frames[1, 0, 0]))
  first = pair.frames[1]
  assert corners == {tuple(first[i, j]) for i in range(3) for j in range(2)}


def test_scales_are_within_their_powers_of_two():
  sizes = np.array(
    [
      random_scale(
        moving_pair(),
        rng(seed),
        least_shape=(10, 10),
        min_scale=-0.2,
        max_scale=0.5,
      ).valid.shape
      for seed in range(200)
    ]
  )
  powers = np.log2(sizes / [HEIGHT, WIDTH])
  assert -0.42 < powers.min() < -0.2
  assert 0.5 < powers.max() < 0.72
  stretches = powers[:, 0] - powers[:, 1]
  assert np.abs(stretches).max() < 0.43
  # A fifth is not scaled, and a fifth of the rest is not stretched.
  assert 0.1 < (powers == 0).all(axis=1).mean() < 0.3
  assert 0.26 < (np.abs(stretches) < 0.012).mean() < 0.5


def test_a_scaled_pair_is_never_smaller_than_the_crop():
  scaled = random_scale(
    moving_pair(), rng(0), least_shape=(58, 79), min_scale=-3.0, max_scale=-3.0
  )
  assert scaled.valid.shape[0] >= 58 and scaled.valid.shape[1] >= 79


def test_all_steps_keep_the_flow_true():
  # Colours change alike in most pairs, so the erased part apart they agree.
  agreeing = 0
  for seed in range(20):
    pair = augment_pair(
      moving_pair(), rng(seed), shape=(48, 64), min_scale=-0.1, max_scale=0.3
    )
    assert pair.frames.shape == (2, 48, 64, 3)
    assert pair.frames.dtype == np.uint8 and pair.flow.dtype == np.float32
    try:
      assert_frames_agree(pair, 12)
      agreeing += 1
    except AssertionError:
      pass
  assert agreeing >= 5


def test_the_generator_alone_decides():
  one, same, other = (
    augment_pair(
      moving_pair(), rng(seed), shape=(48, 64), min_scale=0.0, max_scale=0.3
    )
    for seed in (1, 1, 2)
  )
  for a, b in zip(one, same, strict=True):
    np.testing.assert_array_equal(a, b)
  assert not np.array_equal(one.frames, other.frames)


def test_colours_of_both_frames_change_alike_four_times_in_five():
  frames = np.random.default_rng(0).integers(60, 190, (1, 8, 8, 3))
  frames = np.repeat(frames, 2, axis=0).astype(np.uint8)
  alike = 0
  for seed in range(200):
    first, second = jitter_colours(frames, rng(seed))
    alike += np.array_equal(first, second)
    assert not np.array_equal(first, frames[0])
  assert 0.7 < alike / 200 < 0.9


def test_jitter_has_the_sizes_of_raft():
  # On one colour, contrast and brightness scale it, saturation and hue turn it.
  grey = np.full((2, 4, 4, 3), 100, np.uint8)
  values = [jitter_colours(grey, rng(seed))[0, 0, 0, 0] for seed in range(300)]
  assert 60 <= min(values) < 65 and 135 < max(values) <= 140
  colour = np.array([120, 60, 60], np.uint8)
  image = np.broadcast_to(colour, (2, 4, 4, 3)).copy()
  hues = []
  for seed in range(300):
    changed = jitter_colours(image, rng(seed))[0, 0, 0] / 255
    hues.append(colorsys.rgb_to_hsv(*changed)[0])
  turns = (np.array(hues) + 0.5) % 1.0 - 0.5
  largest = 0.5 / np.pi
  assert -largest - 0.02 < turns.min() < -0.12
  assert 0.12 < turns.max() < largest + 0.02


def test_one_or_two_parts_of_the_second_frame_are_erased():
  frames = np.random.default_rng(0).integers(0, 256, (2, 300, 400, 3))
  frames = frames.astype(np.uint8)
  mean = frames[1].mean(axis=(0, 1)).round()
  shares = []
  for seed in range(100):
    erased = erase(frames, rng(seed))
    np.testing.assert_array_equal(erased[0], frames[0])
    changed = (erased[1] != frames[1]).any(axis=-1)
    np.testing.assert_array_equal(
      erased[1][changed], np.broadcast_to(mean, (changed.sum(), 3))
    )
    shares.append(changed.sum())
  assert 30 < sum(share > 0 for share in shares) < 70
  assert 100 * 100 < max(shares) <= 2 * 99 * 99
