"""Pictures of films beside what a model makes of them, pixel by pixel."""

import cv2
import numpy as np

from experiments.modalities.sound.view import Sound
from experiments.modalities.video.drawing import draw_clip
from experiments.modalities.video.view import Video
from experiments.pages.pictures import write_picture


def rng(seed=0):
  return np.random.default_rng(seed)


def clip(seed):
  frames = rng(seed).integers(0, 256, (2, 64, 64, 3)).astype(np.uint8)
  return {
    'image': Video(frames, 25),
    'audio': sound(rng(seed).uniform(-3, 3, 512)),
  }


def sound(samples):
  return Sound(np.asarray(samples, np.float32), 16_000)


def test_frames_stand_side_by_side_above_those_of_the_model():
  original, made = clip(0), clip(1)
  picture = draw_clip(original, made)
  assert picture.dtype == np.uint8
  assert picture.shape == (128 + 128 + 64 + 64, 256, 3)
  for row, frames in ((0, original['image']), (128, made['image'])):
    for i, frame in enumerate(frames.frames):
      part = picture[row : row + 128, 128 * i : 128 * (i + 1)]
      np.testing.assert_array_equal(part[::2, ::2], frame)
      np.testing.assert_array_equal(part[1::2, 1::2], frame)


def test_waves_are_drawn_to_the_scale_of_the_original():
  # Without frames 512 wide: a sample a column.
  wave = np.linspace(-2.0, 2.0, 512, dtype=np.float32)
  picture = draw_clip({'audio': sound(wave)}, {'audio': sound(wave / 2)})
  assert picture.shape == (128, 512, 3)
  original, made = picture[:64, :, 0] < 128, picture[64:, :, 0] < 128
  assert (original.sum(axis=0) == 1).all()  # One dark row in each column.
  rows = np.rint((1 - wave / 2) / 2 * 63)
  np.testing.assert_array_equal(original.argmax(axis=0), rows)
  rows = np.rint((1 - wave / 4) / 2 * 63)
  np.testing.assert_array_equal(made.argmax(axis=0), rows)


def test_a_column_of_many_samples_is_a_line_between_the_extremes():
  wave = np.tile(np.array([1.0, -1.0], np.float32), 512)
  picture = draw_clip({'audio': sound(wave)}, {'audio': sound(0 * wave)})
  assert (picture[:64] < 128).all()
  assert (picture[64:, :, 0] < 128).sum() == 512


def test_silence_is_drawn_too():
  silence = sound(np.zeros(600))
  picture = draw_clip({'audio': silence}, {'audio': silence})
  assert (picture[..., 0] < 128).sum() == 2 * 512


def test_pictures_are_written_without_loss(tmp_path):
  picture = rng().integers(0, 256, (20, 30, 3)).astype(np.uint8)
  write_picture(picture, tmp_path / 'a.png')
  read = cv2.imread(str(tmp_path / 'a.png'))
  np.testing.assert_array_equal(read[..., ::-1], picture)
