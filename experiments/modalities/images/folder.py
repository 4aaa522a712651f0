"""Your own images: how they are kept, and become examples."""

import functools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import PIL.Image

from experiments.data.dataset import Example, array_spec
from experiments.files.features import array_feature
from experiments.files.kind import FileKind, Survey
from experiments.files.listing import check_patches, rounded, whole_patches
from experiments.modalities.images.augmentation import random_affine
from experiments.modalities.images.files import read_image
from experiments.modalities.images.mixing import mix_pair
from experiments.modalities.images.view import Image, to_pixels

# Decoded are so many times the pixels along a side that resizing asks for.
_SPARE = 2
# Images of one colour have no deviation to divide by.
_LEAST_STDDEV = 0.01


def squash(image: PIL.Image.Image, side: int) -> np.ndarray:
  """Returns the whole image as a square, uint8 `[side, side, 3]`."""
  return np.asarray(image.resize((side, side), PIL.Image.Resampling.BICUBIC))


def patch_side(image_size: int, max_patches: int) -> int:
  """Returns the side of patches, of which so many lie along the image's."""
  return -(-image_size // max_patches)


def image_files(
  survey: Survey,
  *,
  image_size: int | None,
  max_image_size: int,
  mean: Sequence[float] | None,
  stddev: Sequence[float] | None,
  max_rotation: float,
  max_shear: float,
  max_scale: float,
  max_shift: float,
  mirror_probability: float,
  mixup_alpha: float = 0.0,
  cutmix: bool = False,
  max_patches: int = 16,
) -> FileKind:
  """Images, kept in their final size.

  Args:
    survey: of the training files, for what is None.
    image_size: side of the images in pixels, whatever their aspect was; None
      for the median of the short sides, in whole patches.
    max_image_size: that is chosen at most.
    mean: of the colours in [0, 1]; None for that of training images.
    stddev: of the colours in [0, 1]; None for that of training images.
    max_rotation: of training images, in degrees.
    max_shear: of training images, horizontal pixels a vertical pixel.
    max_scale: of training images; 0.1 is from 0.9 to 1.1 times the size.
    max_shift: of training images, as a share of the side.
    mirror_probability: of exchanging left and right in training images.
    mixup_alpha: see `mix_pair`.
    cutmix: see `mix_pair`; with neither, training images are whole.
    max_patches: along a side.

  Returns:
    Examples with `image` float32 `[image_size, image_size, 3]` of about zero
    mean and unit variance.
  """
  if not 0.0 <= max_scale < 1.0:
    raise ValueError(f'data.max_scale must be in [0, 1), got {max_scale}.')
  if None in (image_size, mean, stddev):
    suited = _suited(survey, max_image_size, max_patches)
    image_size = image_size or suited.image_size
    mean, stddev = mean or suited.mean, stddev or suited.stddev
  side = patch_side(image_size, max_patches)
  check_patches('image_size', image_size, side)
  offset, scale = (np.array(x, np.float32) for x in (mean, stddev))
  augment = functools.partial(
    random_affine,
    max_rotation=max_rotation,
    max_shear=max_shear,
    scale=(1.0 - max_scale, 1.0 + max_scale),
    max_shift=max_shift * image_size,
  )

  mix = None
  if mixup_alpha or cutmix:
    mix = functools.partial(mix_pair, mixup_alpha=mixup_alpha, cutmix=cutmix)

  def normalised(image: np.ndarray) -> Example:
    return {'image': (image.astype(np.float32) / 255.0 - offset) / scale}

  def train_example(example: Example, rng: np.random.Generator) -> Example:
    image = augment(example['image'], rng)
    if rng.random() < mirror_probability:
      image = image[:, ::-1]
    return normalised(image)

  shape = (image_size, image_size, 3)
  return FileKind(
    read=lambda path: {
      'image': squash(read_image(path, _SPARE * image_size), image_size)
    },
    features={'image': array_feature(shape, np.uint8)},
    options={'kind': 'images', 'image_size': image_size},
    example={'image': array_spec(*shape)},
    augment=train_example,
    prepare=lambda example: normalised(example['image']),
    view=lambda example: {
      'image': Image(to_pixels(example['image'] * scale + offset))
    },
    mix=mix,
    chosen={
      'data.image_size': image_size,
      'data.mean': mean,
      'data.stddev': stddev,
      'inputs.image.patch_shape': (side, side),
      'inputs.image.cell': side,
      'inputs.image.positions.max_resolution': (max(2, image_size // side),)
      * 2,
    },
    note=_note(image_size, side),
  )


class _Suited(NamedTuple):
  image_size: int
  mean: tuple[float, ...]
  stddev: tuple[float, ...]


def _suited(survey: Survey, max_image_size: int, max_patches: int) -> _Suited:
  """What suits the training images."""
  surveyed = survey(
    lambda path: _measure(
      read_image(path, _SPARE * max_image_size), max_image_size
    )
  )
  sides, pixels = zip(*surveyed, strict=True)
  colours = np.concatenate([each.reshape(-1, 3) for each in pixels]) / 255.0
  side = min(int(np.median(sides)), max_image_size)
  return _Suited(
    whole_patches(side, functools.partial(patch_side, max_patches=max_patches)),
    rounded(colours.mean(axis=0)),
    rounded(np.maximum(colours.std(axis=0), _LEAST_STDDEV)),
  )


def _measure(image: PIL.Image.Image, most: int) -> tuple[int, np.ndarray]:
  """The short side, and the image in a size that 200 of are kept in."""
  side = min(image.size)
  return side, squash(image, min(side, most))


def _note(image_size: int, side: int) -> str:
  patches = image_size // side
  return (
    f'image: {image_size} x {image_size} pixels, {patches**2} patches of '
    f'{side} x {side}, '
  )
