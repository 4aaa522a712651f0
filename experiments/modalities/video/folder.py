"""Your own videos, their frames: how they are kept, and become examples."""

import pathlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from experiments.data.dataset import Example, array_spec
from experiments.data.modality import View
from experiments.files.features import array_feature
from experiments.files.kind import FileKind, Survey
from experiments.files.listing import check_patches, rounded, whole_patches
from experiments.files.media import decode_frames, read_header
from experiments.files.windows import window_starts
from experiments.modalities.images.augmentation import Box
from experiments.modalities.images.view import to_pixels
from experiments.modalities.video.augmentation import (
  colour_matrix,
  crop_frames,
  recolour,
)
from experiments.modalities.video.view import Video

# Along a side; frames go two and two into a patch.
_MOST_PATCHES = 8
_PATCH_FRAMES = 2
_LEAST_RATE, _MOST_RATE = 1.0, 25.0
# Of each file, for the statistics.
_SURVEYED_SECONDS = 4.0
_LEAST_STDDEV = 0.01


class _Video(NamedTuple):
  seconds: float
  short_side: int
  colours: np.ndarray  # [..., 3] in [0, 1], of the beginning.


def patch_side(image_size: int) -> int:
  """Returns the side of patches, of which there are at most 8 x 8 a frame."""
  return -(-image_size // _MOST_PATCHES)


def clip(frames: np.ndarray, start: int, num_frames: int) -> np.ndarray:
  """Cuts frames out; after the last one it is shown again."""
  numbers = np.minimum(start + np.arange(num_frames), len(frames) - 1)
  return frames[numbers]


def video_files(
  survey: Survey,
  *,
  num_frames: int,
  frame_rate: float | None,
  image_size: int | None,
  max_image_size: int,
  mean: Sequence[float] | None,
  stddev: Sequence[float] | None,
  min_crop: float,
  max_brightness: float,
  max_contrast: float,
  max_saturation: float,
  max_hue: float,
  mirror_probability: float,
) -> FileKind:
  """Videos, kept at their final rate and size.

  Args:
    survey: of the training files, for what is None.
    num_frames: of an example, an even number: of a longer video any part in
      training, the middle in evaluation.
    frame_rate: in Hz; None for the one at which `num_frames` take as long as
      half of the training files, from 1 to 25.
    image_size: side of the squares that are cut of the frames, in pixels; None
      for the median of the short sides, in whole patches.
    max_image_size: that is chosen at most.
    mean: of the colours in [0, 1]; None for that of the training files.
    stddev: of the colours in [0, 1]; None for that of the training files.
    min_crop: least side of the square cut of training frames, as a share of the
      short side; it is scaled to the full one.
    max_brightness: see `colour_matrix`, like those that follow.
    max_contrast: of training clips.
    max_saturation: of training clips.
    max_hue: of training clips.
    mirror_probability: of exchanging left and right in training clips.

  Returns:
    Examples with `video` float32 `[num_frames, image_size, image_size, 3]` of
    about zero mean and unit variance.
  """
  check_patches('num_frames', num_frames, _PATCH_FRAMES)
  if not 0.0 < min_crop <= 1.0:
    raise ValueError(f'data.min_crop must be in (0, 1], got {min_crop}.')
  if None in (frame_rate, image_size, mean, stddev):
    suited = _suited(survey, num_frames, max_image_size)
    frame_rate = frame_rate or suited.frame_rate
    image_size = image_size or suited.image_size
    mean, stddev = mean or suited.mean, stddev or suited.stddev
  kept = _Format(num_frames, frame_rate, image_size, mean, stddev)

  def train_example(example: Example, rng: np.random.Generator) -> Example:
    video = example['video']
    start = int(rng.integers(max(0, len(video) - num_frames) + 1))
    box = _random_square(video, min_crop, rng)
    frames = crop_frames(clip(video, start, num_frames), box, image_size)
    if rng.random() < mirror_probability:
      frames = np.ascontiguousarray(frames[:, :, ::-1])
    matrix = colour_matrix(
      rng,
      mean_luminance=float(frames.mean()),
      max_brightness=max_brightness,
      max_contrast=max_contrast,
      max_saturation=max_saturation,
      max_hue=max_hue,
    )
    return kept.normalise(recolour(frames, matrix))

  return FileKind(
    read=kept.read,
    features={'video': array_feature((None, None, None, 3), np.uint8)},
    options={
      'kind': 'videos',
      'frame_rate': frame_rate,
      'image_size': image_size,
    },
    example={'video': array_spec(num_frames, image_size, image_size, 3)},
    augment=train_example,
    prepare=kept.prepare,
    view=kept.view,
    parts=kept.parts,
    chosen=kept.chosen(),
    note=_note(num_frames, frame_rate, image_size),
  )


class _Format(NamedTuple):
  """What videos are kept as, and what becomes of them without any chance."""

  num_frames: int
  frame_rate: float
  image_size: int
  mean: Sequence[float]
  stddev: Sequence[float]

  def read(self, path: pathlib.Path) -> Example:
    frames = decode_frames(
      path, frame_rate=self.frame_rate, short_side=self.image_size
    )
    return {'video': frames}

  def normalise(self, frames: np.ndarray) -> Example:
    offset, scale = np.array([self.mean, self.stddev], np.float32)
    return {'video': ((frames - offset) / scale).astype(np.float32)}

  def part(self, video: np.ndarray, start: int) -> Example:
    frames, box = clip(video, start, self.num_frames), _middle_square(video)
    return self.normalise(crop_frames(frames, box, self.image_size))

  def prepare(self, example: Example) -> Example:
    video = example['video']
    return self.part(video, max(0, (len(video) - self.num_frames) // 2))

  def parts(self, example: Example) -> list[Example]:
    video = example['video']
    starts = window_starts(len(video), self.num_frames, self.num_frames)
    return [self.part(video, start) for start in starts]

  def view(self, example: Example) -> dict[str, View]:
    offset, scale = np.array([self.mean, self.stddev], np.float32)
    frames = to_pixels(example['video'] * scale + offset)
    return {'video': Video(frames, self.frame_rate)}

  def chosen(self) -> dict[str, Any]:
    side = patch_side(self.image_size)
    check_patches('image_size', self.image_size, side)
    frames, patches = self.num_frames // _PATCH_FRAMES, self.image_size // side
    return {
      'data.frame_rate': self.frame_rate,
      'data.image_size': self.image_size,
      'data.mean': self.mean,
      'data.stddev': self.stddev,
      'inputs.video.patch_shape': (_PATCH_FRAMES, side, side),
      'inputs.video.positions.max_resolution': tuple(
        max(2, size) for size in (frames, patches, patches)
      ),
    }


class _Suited(NamedTuple):
  frame_rate: float
  image_size: int
  mean: tuple[float, ...]
  stddev: tuple[float, ...]


def _suited(survey: Survey, num_frames: int, max_image_size: int) -> _Suited:
  """What suits the training videos."""
  videos = survey(lambda path: _measure(path, max_image_size))
  side = int(np.median([video.short_side for video in videos]))
  colours = np.concatenate([video.colours.reshape(-1, 3) for video in videos])
  return _Suited(
    _choose_rate(videos, num_frames),
    whole_patches(min(side, max_image_size), patch_side),
    rounded(colours.mean(axis=0)),
    rounded(np.maximum(colours.std(axis=0), _LEAST_STDDEV)),
  )


def _measure(path: pathlib.Path, max_image_size: int) -> _Video:
  header = read_header(path)
  if header.short_side is None:
    raise ValueError(f'{path} has no video.')
  frames = decode_frames(
    path,
    frame_rate=_LEAST_RATE,
    short_side=min(header.short_side, max_image_size),
    end=_SURVEYED_SECONDS,
  )
  # A file that does not state its length is taken for what was decoded.
  seconds = header.seconds or len(frames) / _LEAST_RATE
  return _Video(seconds, header.short_side, frames / np.float32(255.0))


def _choose_rate(videos: Sequence[_Video], num_frames: int) -> float:
  seconds = float(np.median([video.seconds for video in videos]))
  rate = min(max(num_frames / seconds, _LEAST_RATE), _MOST_RATE)
  return round(rate, 3)


def _middle_square(video: np.ndarray) -> Box:
  height, width = video.shape[1:3]
  short = min(height, width)
  return Box((height - short) // 2, (width - short) // 2, short, short)


def _random_square(
  video: np.ndarray, min_crop: float, rng: np.random.Generator
) -> Box:
  height, width = video.shape[1:3]
  side = max(1, round(rng.uniform(min_crop, 1.0) * min(height, width)))
  top = int(rng.integers(height - side + 1))
  left = int(rng.integers(width - side + 1))
  return Box(top, left, side, side)


def _note(num_frames: int, frame_rate: float, image_size: int) -> str:
  side = patch_side(image_size)
  patches = num_frames // _PATCH_FRAMES * (image_size // side) ** 2
  return (
    f'video: {num_frames} frames at {frame_rate:g} Hz of {image_size} x '
    f'{image_size} pixels, {patches} patches of {_PATCH_FRAMES} x {side} x '
    f'{side}, '
  )
