"""Clips of videos: starts, crops, flips and colours by closed forms."""

import colorsys

import numpy as np
import pytest

from experiments.modalities.images.augmentation import Box
from experiments.modalities.video.augmentation import (
  augment_frames,
  blend_frames,
  centre_frames,
  colour_matrix,
  crop_frames,
  middle_start,
  random_start,
  recolour,
)

SAME_COLOURS = dict(
  max_brightness=0.0, max_contrast=0.0, max_saturation=0.0, max_hue=0.0
)
LUMINANCE = np.array([0.299, 0.587, 0.114])


class Fixed:
  """A generator whose uniform draws, in [-1, 1], are given."""

  def __init__(self, *draws):
    self.draws = draws

  def uniform(self, low, high, size):
    assert (low, high, size) == (-1.0, 1.0, len(self.draws))
    return np.array(self.draws)


def rng(seed=0):
  return np.random.default_rng(seed)


def frames(count=3, height=40, width=60):
  return rng().integers(0, 256, (count, height, width, 3)).astype(np.uint8)


def matrix_of(*, mean_luminance=0.5, **strengths):
  """The strongest change of these kinds."""
  return colour_matrix(
    Fixed(1, 1, 1, 1), mean_luminance=mean_luminance, **SAME_COLOURS | strengths
  )


def test_starts_are_uniform_over_all_that_fit():
  starts = [random_start(7, 4, rng(seed)) for seed in range(400)]
  counts = np.bincount(starts, minlength=5)
  assert counts[4] == 0
  assert (abs(counts[:4] - 100) < 45).all()
  assert random_start(4, 4, rng()) == 0
  assert [middle_start(n, 4) for n in (4, 5, 6, 250)] == [0, 0, 1, 123]


@pytest.mark.parametrize(
  'start', [lambda: random_start(3, 4, rng()), lambda: middle_start(3, 4)]
)
def test_a_clip_longer_than_the_video(start):
  with pytest.raises(ValueError, match=r'4 frames does not fit .* of 3'):
    start()


def test_a_box_is_the_same_for_all_frames():
  video = frames()
  cropped = crop_frames(video, Box(5, 10, 32, 32), 32)
  assert cropped.dtype == np.float32
  np.testing.assert_allclose(cropped, video[:, 5:37, 10:42] / 255, atol=1e-6)
  # Bicubic interpolation overshoots; the values stay in range.
  larger = crop_frames(video, Box(5, 10, 32, 32), 50)
  assert larger.shape == (3, 50, 50, 3)
  assert larger.min() == 0.0 and larger.max() == 1.0


def test_evaluation_takes_the_centre():
  video = frames(2, 32, 48)
  np.testing.assert_allclose(
    centre_frames(video, 28), video[:, 2:30, 10:38] / 255, atol=1e-6
  )


def test_training_frames_get_the_same_crop_flip_and_colours():
  still = np.broadcast_to(frames(1), (4, 40, 60, 3))
  strengths = dict(
    max_brightness=0.1, max_contrast=0.4, max_saturation=0.4, max_hue=0.2
  )
  made = [
    augment_frames(still, rng(seed), image_size=24, **strengths)
    for seed in (0, 0, 1)
  ]
  assert made[0].shape == (4, 24, 24, 3) and made[0].dtype == np.float32
  for each in made:
    np.testing.assert_allclose(each, each[:1].repeat(4, axis=0), atol=1e-6)
    assert each.min() >= 0.0 and each.max() <= 1.0
  np.testing.assert_array_equal(made[0], made[1])
  assert abs(made[0] - made[2]).max() > 0.2


def test_half_of_the_clips_are_mirrored():
  # Red rises to the right, so the sign of its slope tells.
  ramp = np.zeros((1, 40, 60, 3), np.uint8)
  ramp[..., 0] = np.arange(60) * 4
  slopes = [
    np.sign(
      np.diff(
        augment_frames(ramp, rng(seed), image_size=16, **SAME_COLOURS)[
          0, 8, :, 0
        ]
      ).mean()
    )
    for seed in range(200)
  ]
  assert set(slopes) == {-1.0, 1.0}
  assert abs(sum(slopes)) < 45


def test_without_changes_colours_stay():
  np.testing.assert_allclose(matrix_of(), np.eye(3, 4), atol=1e-12)


def test_brightness_adds():
  expected = np.column_stack([np.eye(3), np.full(3, 0.1)])
  np.testing.assert_allclose(
    matrix_of(max_brightness=0.1), expected, atol=1e-12
  )


def test_contrast_keeps_the_mean():
  matrix = matrix_of(max_contrast=0.4, mean_luminance=0.3)
  np.testing.assert_allclose(matrix @ [0.3, 0.3, 0.3, 1], [0.3] * 3)
  np.testing.assert_allclose(matrix @ [0.4, 0.3, 0.2, 1], [0.44, 0.3, 0.16])


def test_saturation_keeps_grey_and_luminance():
  matrix = matrix_of(max_saturation=0.4)
  np.testing.assert_allclose(matrix @ [0.3, 0.3, 0.3, 1], [0.3] * 3)
  colour = np.array([0.2, 0.5, 0.7])
  changed = matrix @ [*colour, 1]
  grey = LUMINANCE @ colour
  np.testing.assert_allclose(changed - grey, 1.4 * (colour - grey))
  # Down by as much as it can go: grey.
  none = colour_matrix(
    Fixed(0, 0, -1, 0),
    mean_luminance=0.5,
    **SAME_COLOURS | {'max_saturation': 1.0},
  )
  np.testing.assert_allclose(none @ [*colour, 1], [grey] * 3)


@pytest.mark.parametrize('turn', [0.05, 1 / 6, 1 / 3, 0.5])
def test_hue_turns_the_colour_circle(turn):
  matrix = matrix_of(max_hue=turn)
  np.testing.assert_allclose(matrix @ [0.3, 0.3, 0.3, 1], [0.3] * 3)
  np.testing.assert_allclose(
    matrix[:, :3] @ matrix[:, :3].T, np.eye(3), atol=1e-12
  )
  # Along the hexagon of HSV the turn is the same at its corners and edges.
  changed = matrix @ [0.6, 0.3, 0.3, 1]
  hue, _, _ = colorsys.rgb_to_hsv(*changed)
  assert hue == pytest.approx(turn, abs=0.012)


def test_a_third_of_the_circle_exchanges_the_channels():
  np.testing.assert_allclose(
    matrix_of(max_hue=1 / 3) @ [0.1, 0.2, 0.3, 1], [0.3, 0.1, 0.2]
  )


def test_recolour_applies_the_matrix_to_every_pixel():
  clip = (frames() / 255).astype(np.float32)
  matrix = colour_matrix(
    rng(3),
    mean_luminance=0.5,
    max_brightness=0.1,
    max_contrast=0.4,
    max_saturation=0.4,
    max_hue=0.2,
  )
  expected = np.clip(clip @ matrix[:, :3].T + matrix[:, 3], 0.0, 1.0)
  np.testing.assert_allclose(recolour(clip, matrix), expected, atol=1e-6)


@pytest.mark.parametrize('option', list(SAME_COLOURS))
def test_every_strength_is_read(option):
  plain, changed = (
    augment_frames(frames(), rng(), image_size=16, **SAME_COLOURS | more)
    for more in ({}, {option: 0.3})
  )
  assert abs(plain - changed).max() > 0.01


# Blends.


def test_blended_frames_lie_on_the_line_through_two_clips():
  first, second = np.full((4, 2, 2, 3), 0.2), np.full((4, 2, 2, 3), 0.6)
  source, shares = rng(), []
  for _ in range(300):
    image = blend_frames(first, second, source, extrapolation=0.5, nodes=1)
    assert np.ptp(image) < 1e-6
    shares.append((image[0, 0, 0, 0] - 0.2) / 0.4)
  assert -0.5 <= min(shares) < -0.4 and 1.4 < max(shares) <= 1.5


def test_places_of_a_blended_frame_lie_on_lines_of_their_own():
  first, second = np.zeros((2, 64, 64, 3)), np.ones((2, 64, 64, 3))
  source, corners = rng(), []
  for _ in range(200):
    image = blend_frames(first, second, source, extrapolation=0.5, nodes=3)
    share = image[0, ..., 0]
    assert (image == share[..., None]).all()  # Of all frames and colours.
    assert np.abs(np.diff(share, axis=0)).max() < 0.2  # Smooth.
    corners.append([share[0, 0], share[0, -1], share[-1, -1]])
  corners = np.array(corners)
  assert (corners.std(axis=0) > 0.4).all()
  between = np.corrcoef(corners.T) - np.eye(3)
  assert np.abs(between).max() < 0.25
