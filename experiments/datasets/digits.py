"""Digits: 5,000 handwritten digits of MNIST, embedded in this package.

5,000 digits, 500 a class; the first 4,000 train, the last 1,000 are held out.
Source and licence: NOTICE. 3-nearest-neighbours on the pixels reach 93.5 %.
"""

import functools
import pathlib
from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np
import tensorflow_datasets as tfds

from experiments.data.dataset import (
  Dataset,
  DataSpec,
  Example,
  Files,
  array_spec,
)
from experiments.data.modality import View
from experiments.datasets.embedded_builder import (
  FILES,
  EmbeddedBuilder,
  load_in_memory,
)
from experiments.files.features import array_feature
from experiments.modalities.images.augmentation import random_affine
from experiments.modalities.images.files import EXTENSIONS, read_image
from experiments.modalities.images.view import Image, to_pixels

_NUM_TRAIN = 4000
_SIDE = 28
# Of the box that the digits of MNIST are made to fit.
_INK_SIDE = 20
# Of a page with a digit somewhere, the short side that is looked at.
_SEEN_SIDE = 1024
# Of the training pixels, in [0, 1].
_MEAN, _STDDEV = 0.13, 0.31


class Digits(EmbeddedBuilder):
  """5,000 handwritten digits of MNIST."""

  VERSION = tfds.core.Version('1.1.0')

  def features(self) -> dict[str, Any]:
    """See `EmbeddedBuilder`."""
    return {
      'image': array_feature(shape=(_SIDE, _SIDE), dtype=np.uint8),
      'label': tfds.features.ClassLabel(num_classes=10),
    }

  def examples(self, split: str) -> Iterator[Example]:
    """See `EmbeddedBuilder`."""
    part = slice(_NUM_TRAIN) if split == 'train' else slice(_NUM_TRAIN, None)
    with np.load(FILES / 'digits.npz', allow_pickle=False) as arrays:
      images, labels = arrays['image'][part], arrays['label'][part]
    for image, label in zip(images, labels, strict=True):
      yield {'image': image, 'label': int(label)}


def digits(
  data_dir: str | None,
  *,
  max_rotation: float,
  max_shear: float,
  max_scale: float,
  max_shift: float,
  image_size: int = _SIDE,
) -> DataSpec:
  """Digits; prepared on first use and read into memory.

  Args:
    data_dir: where TFDS keeps prepared data; None for its own default.
    max_rotation: of training digits, in degrees.
    max_shear: of training digits, horizontal pixels a vertical pixel.
    max_scale: of training digits; 0.1 is from 0.9 to 1.1 times the size.
    max_shift: of training digits, in pixels.
    image_size: S, the side of the images in pixels, a divisor of 28. Below it,
      a pixel is the mean of several, and the variance falls with it.

  Returns:
    Examples with `image` float32 `[S, S, 1]` of about zero mean and, for 28,
    unit variance, and `label` int32.
  """
  if image_size < 1 or _SIDE % image_size:
    raise ValueError(
      f'data.image_size must be a divisor of {_SIDE}, got {image_size}.'
    )
  if not 0.0 <= max_scale < 1.0:
    raise ValueError(f'data.max_scale must be in [0, 1), got {max_scale}.')
  augment = functools.partial(
    random_affine,
    max_rotation=max_rotation,
    max_shear=max_shear,
    scale=(1.0 - max_scale, 1.0 + max_scale),
    max_shift=max_shift,
  )

  def train_example(example: Example, rng: np.random.Generator) -> Example:
    image = augment(example['image'], rng)
    return {
      **_example(image, image_size),
      'label': np.int32(example['label']),
    }

  def load() -> Dataset:
    train, test = load_in_memory(Digits, data_dir)
    return Dataset(
      train=train,
      augment=train_example,
      evaluation=test,
      prepare=lambda example: {
        **_example(example['image'], image_size),
        'label': np.int32(example['label']),
      },
    )

  example = {
    'image': array_spec(image_size, image_size, 1),
    'label': array_spec(dtype=np.int32),
  }
  return DataSpec(
    example=example,
    num_classes=10,
    load=load,
    class_names=[str(digit) for digit in range(10)],
    files=Files(
      EXTENSIONS, lambda path: [_example(read_digit(path), image_size)]
    ),
    view=_view,
  )


def read_digit(path: pathlib.Path) -> np.ndarray:
  """Reads an image of a digit: uint8 `[28, 28]`, light on dark.

  Dark digits on light paper are inverted. As in MNIST, the digit is made to
  fit 20 x 20 pixels, and its centre of mass put into the middle; an image of
  28 x 28 pixels, light on dark, is taken as it is.

  Raises:
    ValueError: it is no image.
  """
  grey = np.asarray(read_image(path, _SEEN_SIDE).convert('L'))
  edge = np.concatenate([grey[0], grey[-1], grey[:, 0], grey[:, -1]])
  if np.median(edge) > 127:
    grey = 255 - grey
  elif grey.shape == (_SIDE, _SIDE):
    return grey
  ink = grey > (int(grey.min()) + int(grey.max())) // 2
  if not ink.any():
    raise ValueError(f'{path} shows nothing: all of it has one brightness.')
  rows, columns = np.flatnonzero(ink.any(1)), np.flatnonzero(ink.any(0))
  grey = grey[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
  scale = _INK_SIDE / max(grey.shape)
  size = [max(1, round(side * scale)) for side in grey.shape[::-1]]
  small = cv2.resize(grey, size, interpolation=cv2.INTER_AREA)
  return _centred(small)


def _centred(small: np.ndarray) -> np.ndarray:
  """Puts the centre of mass into the middle of `[28, 28]`."""
  mass = small.astype(np.float64) / small.sum()
  y, x = (
    (mass.sum(1 - axis) * np.arange(small.shape[axis])).sum() for axis in (0, 1)
  )
  centre = (_SIDE - 1) / 2
  shift = np.float32([[1, 0, centre - x], [0, 1, centre - y]])
  return cv2.warpAffine(small, shift, (_SIDE, _SIDE))


def _view(example: Example) -> dict[str, View]:
  return {'image': Image(to_pixels(example['image'] * _STDDEV + _MEAN))}


def _example(image: np.ndarray, image_size: int) -> Example:
  """Normalises and shrinks a uint8 `[28, 28]` image."""
  image = (image.astype(np.float32) / 255.0 - _MEAN) / _STDDEV
  factor = _SIDE // image_size
  cells = image.reshape(image_size, factor, image_size, factor, 1)
  return {'image': cells.mean(axis=(1, 3))}
