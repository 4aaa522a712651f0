"""Clips of videos on the host: where in time, where in space, which colours.

What is drawn at random is drawn once for all frames of a clip, so that the
motion stays. Every random choice comes from the `np.random.Generator` that the
caller hands in. Frames are uint8 RGB `[T, H, W, 3]` before, float32 in [0, 1]
after.
"""

import math
from collections.abc import Sequence

import cv2
import numpy as np

from experiments.modalities.images.augmentation import (
  LUMINANCE,
  Box,
  centre_crop,
  resize,
  sample_crop,
)


def random_start(
  num_frames: int, clip_frames: int, rng: np.random.Generator
) -> int:
  """Returns the first frame of a clip anywhere in a video.

  Args:
    num_frames: of the video.
    clip_frames: of the clip.
    rng: source of randomness.

  Raises:
    ValueError: the video is shorter than the clip.
  """
  _check_length(num_frames, clip_frames)
  return int(rng.integers(num_frames - clip_frames + 1))


def middle_start(num_frames: int, clip_frames: int) -> int:
  """Returns the first frame of the clip in the middle of a video.

  Raises:
    ValueError: the video is shorter than the clip.
  """
  _check_length(num_frames, clip_frames)
  return (num_frames - clip_frames) // 2


def even_starts(
  num_frames: int, clip_frames: int, num_clips: int
) -> np.ndarray:
  """Returns the first frames of equally spaced clips, from start to end.

  Args:
    num_frames: of the video.
    clip_frames: of a clip; clips overlap where they must.
    num_clips: of the video.

  Returns:
    int64 `[num_clips]`.

  Raises:
    ValueError: the video is shorter than a clip.
  """
  _check_length(num_frames, clip_frames)
  return np.linspace(0, num_frames - clip_frames, num_clips).round().astype(int)


def augment_frames(
  frames: Sequence[np.ndarray],
  rng: np.random.Generator,
  *,
  image_size: int,
  max_brightness: float,
  max_contrast: float,
  max_saturation: float,
  max_hue: float,
) -> np.ndarray:
  """Makes training frames: Inception crop, flip, colours (Perceiver, 4.2).

  Args:
    frames: uint8 `[H, W, 3]` each.
    rng: source of randomness.
    image_size: side of the result, in pixels.
    max_brightness: see `colour_matrix`, like those that follow.
    max_contrast: of the clip about its mean luminance.
    max_saturation: of the clip.
    max_hue: of the clip.

  Returns:
    float32 `[T, image_size, image_size, 3]` in [0, 1].
  """
  box = sample_crop(*frames[0].shape[:2], rng)
  cropped = crop_frames(frames, box, image_size)
  if rng.random() < 0.5:
    cropped = np.ascontiguousarray(cropped[:, :, ::-1])
  matrix = colour_matrix(
    rng,
    mean_luminance=float(cropped.mean(axis=(0, 1, 2)) @ LUMINANCE),
    max_brightness=max_brightness,
    max_contrast=max_contrast,
    max_saturation=max_saturation,
    max_hue=max_hue,
  )
  return recolour(cropped, matrix)


def centre_frames(frames: Sequence[np.ndarray], image_size: int) -> np.ndarray:
  """Makes evaluation frames: the centre crop, nothing random."""
  box = centre_crop(*frames[0].shape[:2])
  return crop_frames(frames, box, image_size)


def crop_frames(
  frames: Sequence[np.ndarray], box: Box, image_size: int
) -> np.ndarray:
  """Cuts the same box out of every frame and resizes it (bicubic).

  Args:
    frames: uint8 `[H, W, 3]` each.
    box: in pixels of a frame.
    image_size: side of the result, in pixels.

  Returns:
    float32 `[T, image_size, image_size, 3]` in [0, 1].
  """
  top, left, height, width = box
  cropped = np.stack(
    [
      resize(frame[top : top + height, left : left + width], image_size)
      for frame in frames
    ]
  )
  cropped /= 255.0
  return np.clip(cropped, 0.0, 1.0, out=cropped)


def colour_matrix(
  rng: np.random.Generator,
  *,
  mean_luminance: float,
  max_brightness: float,
  max_contrast: float,
  max_saturation: float,
  max_hue: float,
) -> np.ndarray:
  """Draws a change of colours: all four are affine, so they are one.

  Args:
    rng: source of randomness.
    mean_luminance: that contrast leaves as it is, in [0, 1].
    max_brightness: 0.1 adds -0.1 to 0.1.
    max_contrast: 0.4 is from 0.6 to 1.4 times the distance from the mean.
    max_saturation: 0.4 is from 0.6 to 1.4 times the distance from grey.
    max_hue: turn of the colour circle to either side; 1 is the whole circle.

  Returns:
    float64 `[3, 4]`: new RGB from (R, G, B, 1), see `recolour`.
  """
  brightness, contrast, saturation, hue = rng.uniform(-1.0, 1.0, 4) * (
    max_brightness,
    max_contrast,
    max_saturation,
    max_hue,
  )
  contrast += 1.0
  to_grey = np.broadcast_to(LUMINANCE, (3, 3))
  saturate = to_grey + (1.0 + saturation) * (np.eye(3) - to_grey)
  linear = contrast * _turn_about_grey(2.0 * math.pi * hue) @ saturate
  offset = brightness + (1.0 - contrast) * mean_luminance
  return np.column_stack([linear, np.full(3, offset)])


def recolour(frames: np.ndarray, matrix: np.ndarray) -> np.ndarray:
  """Applies a colour matrix `[3, 4]` to float32 `[T, H, W, 3]`, in [0, 1]."""
  rows = frames.reshape(len(frames), -1, 3)
  coloured = cv2.transform(rows, matrix).reshape(frames.shape)
  return np.clip(coloured, 0.0, 1.0, out=coloured)


def _turn_about_grey(angle: float) -> np.ndarray:
  """Rotation of RGB by an angle about the axis of greys, float64 `[3, 3]`.

  A third of the circle turns red to green, green to blue, blue to red.
  """
  cross = np.array([[0, -1, 1], [1, 0, -1], [-1, 1, 0]]) / math.sqrt(3)
  return (
    math.cos(angle) * np.eye(3)
    + math.sin(angle) * cross
    + (1.0 - math.cos(angle)) / 3
  )


def blend_frames(
  first: np.ndarray,
  second: np.ndarray,
  rng: np.random.Generator,
  *,
  extrapolation: float,
  nodes: int,
) -> np.ndarray:
  """Makes the frames of one clip of those of two: x + s (y - x).

  A few seconds of film have few frames; on the lines through pairs of them lie
  endlessly many pictures. Where s differs from place to place, what moves in
  one place says little about the others, as in frames never seen.

  Args:
    first: x, `[T, H, W, 3]`.
    second: y, likewise.
    rng: of s, which is the same for all frames.
    extrapolation: s is uniform from minus this to one plus this at each node.
    nodes: along each side of a frame, of the cubic surface that s is; 1 for the
      same s everywhere.
  """
  height, width = first.shape[1:3]
  shares = rng.uniform(-extrapolation, 1.0 + extrapolation, (nodes, nodes))
  share = cv2.resize(
    shares.astype(np.float32), (width, height), interpolation=cv2.INTER_CUBIC
  )
  return first + share[..., None] * (second - first)


def _check_length(num_frames: int, clip_frames: int) -> None:
  if num_frames < clip_frames:
    raise ValueError(
      f'A clip of {clip_frames} frames does not fit into a video of '
      f'{num_frames}; set fewer data.num_frames, or leave the video out.'
    )
