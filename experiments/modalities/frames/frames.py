"""Frames as models of flow take them: of a person's two images, and back."""

import functools
import pathlib
from collections.abc import Sequence

import numpy as np

from experiments.data.dataset import Example, Files
from experiments.modalities.images.files import EXTENSIONS, read_image
from experiments.modalities.video.view import Video

# A person's images may be so many times as high and as wide as the frames that
# the model was trained on. It takes them tile by tile: far larger ones would
# take hours, and their motion is farther than any that it knows.
MOST_TILES_ASIDE = 8
# Frames a second, to see the motion by eye.
_VIEW_RATE = 2.0


def normalized(frames: np.ndarray) -> np.ndarray:
  """Returns uint8 `[..., 3]` as float32 from -1 to 1."""
  return frames.astype(np.float32) / np.float32(127.5) - 1


def pixels(frames: np.ndarray) -> np.ndarray:
  """Returns what `normalized` was given; what is out of range is cut off."""
  return np.rint((np.clip(frames, -1, 1) + 1) * 127.5).astype(np.uint8)


def view_frames(example: Example) -> dict[str, Video]:
  """Returns the two frames of an example as a film."""
  return {'frames': Video(pixels(example['frames']), _VIEW_RATE)}


def two_images(tile_shape: tuple[int, int]) -> Files:
  """Returns how two images become an example.

  Args:
    tile_shape: `(height, width)` of the frames that the model was trained on.
  """
  read = functools.partial(read_two_images, tile_shape=tile_shape)
  return Files(EXTENSIONS, read, count=2)


def read_two_images(
  first: pathlib.Path, second: pathlib.Path, *, tile_shape: tuple[int, int]
) -> Sequence[Example]:
  """Reads two images of one size.

  Args:
    first: where motion begins.
    second: where it ends.
    tile_shape: `(height, width)` of the frames that the model was trained on.

  Returns:
    An example with `frames` float32 `[2, H, W, 3]` from -1 to 1.

  Raises:
    ValueError: one is no image, they are of two sizes, too small or too large.
  """
  images = [np.asarray(read_image(path)) for path in (first, second)]
  sizes = ['{1} x {0}'.format(*image.shape) for image in images]
  if sizes[0] != sizes[1]:
    raise ValueError(
      f'{first} has {sizes[0]} pixels and {second} {sizes[1]} (width x height);'
      ' the motion from one image to the other is told of two of one size.'
    )
  height, width = tile_shape
  times = [images[0].shape[0] / height, images[0].shape[1] / width]
  if min(times) < 1 or max(times) > MOST_TILES_ASIDE:
    raise ValueError(
      f'{first} and {second} have {sizes[0]} pixels (width x height); the '
      f'model takes from {width} x {height} to {MOST_TILES_ASIDE * width} x '
      f'{MOST_TILES_ASIDE * height}. Make both '
      f'{"larger" if min(times) < 1 else "smaller"}.'
    )
  return [{'frames': normalized(np.stack(images))}]
