"""Augmentation of frames with known flow, as for RAFT and AutoFlow.

The steps and their sizes are those of RAFT (arXiv 2003.12039), with which
AutoFlow (arXiv 2104.14544) and Perceiver IO (appendix H) train: colours of both
frames or of each, parts of the second frame erased, scale and stretch, flips,
a crop. Flow is moved, scaled and mirrored with the pixels. Every random choice
comes from the `np.random.Generator` that the caller hands in.
"""

from typing import NamedTuple

import cv2
import numpy as np

from experiments.modalities.images.augmentation import LUMINANCE

# Shares of change of brightness, contrast and saturation; turns of hue.
_BRIGHTNESS = _CONTRAST = _SATURATION = 0.4
_HUE = 0.5 / np.pi
_ASYMMETRIC_PROBABILITY = 0.2
_ERASE_PROBABILITY = 0.5
_MAX_ERASED = 2
_ERASED_SIDE = (50, 100)
_SCALE_PROBABILITY = _STRETCH_PROBABILITY = 0.8
_MAX_STRETCH = 0.2
_MIRROR_PROBABILITY = _REVERSAL_PROBABILITY = 0.5
_UPSIDE_DOWN_PROBABILITY = 0.1
_GREY = LUMINANCE.astype(np.float32)


class FramePair(NamedTuple):
  """Two frames and the motion of each pixel of the first.

  Attributes:
    frames: uint8 `[2, H, W, 3]`.
    flow: float32 `[H, W, 2]`, right and down, in pixels.
    valid: bool `[H, W]`, where it is known.
  """

  frames: np.ndarray
  flow: np.ndarray
  valid: np.ndarray


def augment_pair(
  pair: FramePair,
  rng: np.random.Generator,
  *,
  shape: tuple[int, int],
  min_scale: float,
  max_scale: float,
) -> FramePair:
  """Does all steps.

  Args:
    pair: at least as large as the crop, or it is enlarged.
    rng: of all choices.
    shape: `(height, width)` of the crop.
    min_scale: power of two by which a pair is scaled, at least; -0.2 is 0.87.
    max_scale: at most.
  """
  frames = jitter_colours(pair.frames, rng)
  frames = erase(frames, rng)
  pair = random_scale(
    pair._replace(frames=frames),
    rng,
    least_shape=shape,
    min_scale=min_scale,
    max_scale=max_scale,
  )
  return random_crop(random_flip(pair, rng), rng, shape)


def reverse_and_crop(
  pair: FramePair, rng: np.random.Generator, *, shape: tuple[int, int]
) -> FramePair:
  """Does what Perceiver IO's first phase of training does instead.

  Nothing changes but the order of the frames, half of the time.

  Args:
    pair: at least as large as the crop.
    rng: of all choices.
    shape: `(height, width)` of the crop.
  """
  if rng.random() < _REVERSAL_PROBABILITY:
    pair = reverse_pair(pair)
  return random_crop(pair, rng, shape)


def jitter_colours(frames: np.ndarray, rng: np.random.Generator) -> np.ndarray:
  """Changes brightness, contrast, saturation and hue in a random order.

  Mostly of both frames alike, sometimes (1 in 5) of each on its own.

  Args:
    frames: uint8 `[2, H, W, 3]`.
    rng: of all choices.
  """
  if rng.random() < _ASYMMETRIC_PROBABILITY:
    return np.stack([_jitter(frame, rng) for frame in frames])
  # One tall image, so that both have the same mean of contrast.
  shape = frames.shape
  return _jitter(frames.reshape(-1, *shape[2:]), rng).reshape(shape)


def _jitter(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
  for step in rng.permutation(4):
    if step == 0:
      image = _blend(image, np.float32(0), _factor(rng, _BRIGHTNESS))
    elif step == 1:
      mean = np.float32((image.mean(axis=(0, 1)) @ _GREY).round())
      image = _blend(image, mean, _factor(rng, _CONTRAST))
    elif step == 2:
      grey = (image.astype(np.float32) @ _GREY)[..., None]
      image = _blend(image, grey, _factor(rng, _SATURATION))
    else:
      image = _turn_hue(image, rng.uniform(-_HUE, _HUE))
  return image


def _factor(rng: np.random.Generator, change: float) -> np.float32:
  return np.float32(rng.uniform(1 - change, 1 + change))


def _blend(
  image: np.ndarray, other: np.ndarray | np.float32, factor: np.float32
) -> np.ndarray:
  """The image at factor 1, the other at 0, beyond the image above 1."""
  blended = other + factor * (image.astype(np.float32) - other)
  return blended.round().clip(0, 255).astype(np.uint8)


def _turn_hue(image: np.ndarray, turn: float) -> np.ndarray:
  """Moves all hues by a share of the circle."""
  hsv = cv2.cvtColor(image, cv2.COLOR_RGB2HSV_FULL)
  # 256 values a circle: the sum of bytes goes around by itself.
  hsv[..., 0] += np.uint8(round(256 * turn) % 256)
  return cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB_FULL)


def erase(frames: np.ndarray, rng: np.random.Generator) -> np.ndarray:
  """Puts the mean colour over one or two rectangles of the second frame.

  So something is hidden there; its flow is still known, and asked for.

  Args:
    frames: uint8 `[2, H, W, 3]`.
    rng: of all choices.
  """
  if rng.random() >= _ERASE_PROBABILITY:
    return frames
  frames = frames.copy()
  second = frames[1]
  mean = second.mean(axis=(0, 1)).round().astype(np.uint8)
  height, width = second.shape[:2]
  for _ in range(rng.integers(1, _MAX_ERASED + 1)):
    top, left = rng.integers(height), rng.integers(width)
    tall, wide = rng.integers(*_ERASED_SIDE, size=2)
    second[top : top + tall, left : left + wide] = mean
  return frames


def random_scale(
  pair: FramePair,
  rng: np.random.Generator,
  *,
  least_shape: tuple[int, int],
  min_scale: float,
  max_scale: float,
) -> FramePair:
  """Scales a pair, usually a little more on one axis than on the other.

  Args:
    pair: of any size.
    rng: of all choices.
    least_shape: `(height, width)`; the result is at least as large.
    min_scale: see `augment_pair`.
    max_scale: see `augment_pair`.
  """
  factors = np.ones(2)
  if rng.random() < _SCALE_PROBABILITY:
    factors *= 2 ** rng.uniform(min_scale, max_scale)
    if rng.random() < _STRETCH_PROBABILITY:
      factors *= 2 ** rng.uniform(-_MAX_STRETCH, _MAX_STRETCH, size=2)
  shape = np.maximum(np.rint(factors * pair.valid.shape), least_shape)
  return resize_pair(pair, tuple(shape.astype(int)))


def resize_pair(pair: FramePair, shape: tuple[int, int]) -> FramePair:
  """Resizes frames and flow, linearly; flow is in the new pixels.

  What is interpolated with an unknown neighbour is unknown.

  Args:
    pair: of any size.
    shape: `(height, width)` of the result.
  """
  height, width = pair.valid.shape
  if shape == (height, width):
    return pair

  def resize(image: np.ndarray) -> np.ndarray:
    return cv2.resize(image, shape[::-1], interpolation=cv2.INTER_LINEAR)

  factors = np.array([shape[1] / width, shape[0] / height], np.float32)
  return FramePair(
    frames=np.stack([resize(frame) for frame in pair.frames]),
    flow=resize(pair.flow) * factors,
    valid=resize(pair.valid.astype(np.float32)) > 1 - 1e-6,
  )


def random_flip(pair: FramePair, rng: np.random.Generator) -> FramePair:
  """Mirrors left and right, and seldom also up and down."""
  frames, flow, valid = pair
  if rng.random() < _MIRROR_PROBABILITY:
    frames, valid = frames[:, :, ::-1], valid[:, ::-1]
    flow = flow[:, ::-1] * np.array([-1, 1], np.float32)
  if rng.random() < _UPSIDE_DOWN_PROBABILITY:
    frames, valid = frames[:, ::-1], valid[::-1]
    flow = flow[::-1] * np.array([1, -1], np.float32)
  return FramePair(frames, flow, valid)


def reverse_pair(pair: FramePair) -> FramePair:
  """Puts the second frame first, with about the inverse flow (appendix H).

  What moves from x by f moves back by -f from the pixel nearest to x + f. Where
  two things come to the same pixel, the faster is taken to be in front; where
  nothing comes, the flow is unknown.

  Args:
    pair: of any size.
  """
  height, width = pair.valid.shape
  rows, columns = np.nonzero(pair.valid)
  motion = pair.flow[rows, columns]
  order = np.argsort(np.square(motion).sum(axis=-1), kind='stable')
  motion, rows, columns = motion[order], rows[order], columns[order]
  x, y = np.rint(np.stack([columns, rows]) + motion.T).astype(int)
  inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
  flow, valid = np.zeros_like(pair.flow), np.zeros_like(pair.valid)
  flow[y[inside], x[inside]] = -motion[inside]  # The last one stays.
  valid[y[inside], x[inside]] = True
  return FramePair(pair.frames[::-1], flow, valid)


def random_crop(
  pair: FramePair, rng: np.random.Generator, shape: tuple[int, int]
) -> FramePair:
  """Cuts the same part out of both frames.

  Args:
    pair: at least as large as the crop.
    rng: of all choices.
    shape: `(height, width)` of the crop.
  """
  height, width = pair.valid.shape
  top = rng.integers(height - shape[0] + 1)
  left = rng.integers(width - shape[1] + 1)
  rows, columns = slice(top, top + shape[0]), slice(left, left + shape[1])
  return FramePair(
    pair.frames[:, rows, columns],
    pair.flow[rows, columns],
    pair.valid[rows, columns],
  )
