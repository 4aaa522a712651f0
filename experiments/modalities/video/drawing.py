"""Films and sounds beside what a model makes of them, as pictures and frames.

Small frames are enlarged without smoothing.
"""

from collections.abc import Mapping

import numpy as np

from experiments.data.modality import View
from experiments.modalities.sound.view import Sound
from experiments.modalities.video.view import Video
from experiments.pages.pictures import enlarged

_LEAST_FRAME = 128  # Pixels of a frame in a picture.
_LEAST_FILM_FRAME = 256  # Of a frame in a film.
_WAVE_HEIGHT = 64


def draw_clip(
  original: Mapping[str, View], reconstruction: Mapping[str, View]
) -> np.ndarray:
  """Returns the picture of a clip: each modality, and below it the model's.

  Args:
    original: views by modality; videos and sounds are drawn.
    reconstruction: the same as the model made them.

  Returns:
    uint8 RGB; waves are drawn to the scale of the original's loudest sample.
  """
  rows, width = [], 4 * _LEAST_FRAME
  for name, view in reconstruction.items():
    if isinstance(view, Video):
      rows += [_draw_frames(x.frames) for x in (original[name], view)]
      width = rows[0].shape[1]
  for name, view in reconstruction.items():
    if isinstance(view, Sound):
      loudest = max(np.abs(original[name].samples).max(), 1e-6)
      rows += [
        _draw_wave(x.samples / loudest, width) for x in (original[name], view)
      ]
  return np.concatenate(rows)


def film_frames(*videos: Video) -> np.ndarray:
  """Returns frames of videos of one size side by side, to be played.

  Args:
    *videos: at least one.

  Returns:
    uint8 `[T, h, w, 3]`.
  """
  frames = np.concatenate([video.frames for video in videos], axis=2)
  factor = max(1, -(-_LEAST_FILM_FRAME // frames.shape[1]))
  return frames.repeat(factor, axis=1).repeat(factor, axis=2)


def _draw_frames(frames: np.ndarray) -> np.ndarray:
  """Puts frames side by side."""
  factor = max(1, -(-_LEAST_FRAME // frames.shape[1]))
  return enlarged(np.concatenate(frames, axis=1), factor)


def _draw_wave(samples: np.ndarray, width: int) -> np.ndarray:
  """Draws samples in [-1, 1], dark on light: uint8 `[height, width, 3]`.

  Every column is a line from its least to its greatest sample.
  """
  rows = np.rint((1.0 - np.clip(samples, -1, 1)) / 2 * (_WAVE_HEIGHT - 1))
  starts = np.linspace(0, rows.size, width, endpoint=False).astype(int)
  top = np.minimum.reduceat(rows, starts)
  bottom = np.maximum.reduceat(rows, starts)
  height = np.arange(_WAVE_HEIGHT)[:, None]
  dark = (top <= height) & (height <= bottom)
  picture = np.where(dark, np.uint8(40), np.uint8(235))
  return np.repeat(picture[..., None], 3, axis=-1)
