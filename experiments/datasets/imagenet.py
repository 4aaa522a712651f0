"""ImageNet (ILSVRC 2012) from TFDS, read without TensorFlow.

The data set is prepared once, elsewhere if need be, as array_record; nothing
here downloads or prepares anything. Records hand over their JPEG bytes, so
that decoding, cropping and augmenting are one pass over the pixels that count
(Perceiver, section 4.1; Perceiver IO, appendix A.1).

An example, as stored: `image` JPEG bytes, `label` 0..999, `file_name` bytes.
An example, as trained on: `image` float32 `[S, S, 3]`, normalised; `label`
int32 scalar.
"""

import functools
import pathlib
import typing
from collections.abc import Sequence

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
from experiments.datasets import prepared
from experiments.modalities.images import augmentation
from experiments.modalities.images.files import EXTENSIONS, read_image
from experiments.modalities.images.mixing import mix_pair
from experiments.modalities.images.randaugment import randaugment
from experiments.modalities.images.view import Image, to_pixels

# Any 5.x holds the same images and labels; 5.1 adds the unlabelled test split.
# A person's image may be decoded smaller where it has so many times the pixels
# along a side that are asked for.
_SPARE = 8
NAME = 'imagenet2012:5.*.*'

Split = typing.Literal['train', 'validation']


def source(split: Split, data_dir: str | None) -> Sequence[Example]:
  """Opens ImageNet for random access.

  Args:
    split: 'train' (1,281,167 examples) or 'validation' (50,000).
    data_dir: the directory that holds `imagenet2012/`; None is TFDS's default,
      `$TFDS_DATA_DIR` or `~/tensorflow_datasets`.

  Returns:
    A sequence of examples as stored; it can be pickled.

  Raises:
    FileNotFoundError: not prepared there; the message says how to.
    ValueError: there is no such split.
  """
  if split not in typing.get_args(Split):
    raise ValueError(
      f'split is {split!r}; expected one of {typing.get_args(Split)}.'
    )
  return open_prepared(tfds.builder(NAME, data_dir=data_dir), split)


def train_example(
  example: Example,
  rng: np.random.Generator,
  *,
  image_size: int = 224,
  randaugment_layers: int = 4,
  randaugment_magnitude: float = 5,
) -> dict[str, np.ndarray]:
  """Makes a training example: random crop, flip, RandAugment, resize.

  Args:
    example: as stored.
    rng: source of all randomness.
    image_size: S, the side of the result in pixels.
    randaugment_layers: ops applied to each image; 0 for none.
    randaugment_magnitude: their strength, 0 to 10.

  Returns:
    An example as trained on.

  Raises:
    ValueError: the record does not decode; the message has its `file_name`.
  """
  encoded, name = example['image'], _name(example)
  height, width = augmentation.encoded_shape(encoded, name)
  box = augmentation.sample_crop(height, width, rng)
  image, reduction = augmentation.decode_crop(encoded, box, image_size, name)
  image = augmentation.random_flip(image, rng)
  image = randaugment(
    image,
    rng,
    num_layers=randaugment_layers,
    magnitude=randaugment_magnitude,
    pixel_scale=1 / reduction,
  )
  return {
    **_finish(image, image_size),
    'label': np.int32(example['label']),
  }


def eval_example(
  example: Example, *, image_size: int = 224
) -> dict[str, np.ndarray]:
  """Makes an evaluation example: one centre crop, 224/256 of the short side.

  The image is decoded at full scale, as for the published results.

  Args:
    example: as stored.
    image_size: S, the side of the result in pixels.

  Returns:
    An example as trained on.

  Raises:
    ValueError: the record does not decode; the message has its `file_name`.
  """
  image = augmentation.decode(example['image'], _name(example))
  return {
    **_centre(image, image_size),
    'label': np.int32(example['label']),
  }


def read_example(
  path: pathlib.Path, *, image_size: int = 224
) -> dict[str, np.ndarray]:
  """Makes what `eval_example` does of an image file, without the label.

  Raises:
    ValueError: it is no image; the message names it.
  """
  return _centre(np.asarray(read_image(path, _SPARE * image_size)), image_size)


def class_names() -> tuple[str, ...]:
  """Returns the WordNet ids of the 1,000 classes, which TFDS brings along."""
  names = tfds.core.tfds_path('datasets/imagenet2012/labels.txt').read_text(
    encoding='utf-8'
  )
  return tuple(names.split())


def open_prepared(
  builder: tfds.core.DatasetBuilder, split: str
) -> Sequence[Example]:
  """Opens a prepared data set of JPEG images and leaves them encoded.

  Args:
    builder: of a data set with an `image` feature.
    split: a split's name.

  Returns:
    A sequence of examples as stored.

  Raises:
    FileNotFoundError: see `prepared.open_prepared`.
  """
  decoders = {'image': tfds.decode.SkipDecoding()}
  return prepared.open_prepared(builder, split, _REMEDY, decoders)


def _how_to_prepare(root: pathlib.Path) -> str:
  manual = root / 'downloads' / 'manual'
  return (
    f'Register at https://image-net.org/download-images, put'
    f' ILSVRC2012_img_train.tar and ILSVRC2012_img_val.tar into {manual}, and'
    f' prepare it once (hours, about 150 GiB more; training needs no'
    f' TensorFlow):\n\n{prepared.INSTALL}'
    f'  tfds build imagenet2012 --file_format={prepared.FORMAT}'
    f' --data_dir={root} --manual_dir={manual}'
  )


_REMEDY = prepared.Remedy(_how_to_prepare, 'experiments/configs/digits.py')


def _name(example: Example) -> str:
  return example['file_name'].decode()


def _centre(image: np.ndarray, image_size: int) -> dict[str, np.ndarray]:
  top, left, height, width = augmentation.centre_crop(*image.shape[:2])
  return _finish(image[top : top + height, left : left + width], image_size)


def _finish(image: np.ndarray, image_size: int) -> dict[str, np.ndarray]:
  """Resizes and normalises a uint8 `[H, W, 3]` crop."""
  return {
    'image': augmentation.normalise(augmentation.resize(image, image_size))
  }


def view_image(example: Example) -> dict[str, View]:
  """Returns what is seen of a normalised image."""
  pixels = example['image'] * augmentation.STDDEV_RGB + augmentation.MEAN_RGB
  return {'image': Image(to_pixels(pixels / 255))}


def imagenet(
  data_dir: str | None,
  *,
  image_size: int,
  randaugment_layers: int,
  randaugment_magnitude: float,
  mixup_alpha: float,
  cutmix: bool,
) -> DataSpec:
  """ImageNet with the augmentation of the papers.

  Args:
    data_dir: the directory that holds `imagenet2012/`; None is TFDS's default.
    image_size: side of the images in pixels.
    randaugment_layers: ops applied to each training image; 0 for none.
    randaugment_magnitude: their strength, 0 to 10.
    mixup_alpha: see `mix_pair`; 0 for no MixUp.
    cutmix: whether training images are cut and pasted. With either, each
      training example is made of two images.

  Returns:
    What raises a FileNotFoundError, when it is loaded and not prepared there,
    that says how to prepare it.
  """

  if mixup_alpha < 0.0:
    raise ValueError(f'data.mixup_alpha must be at least 0, got {mixup_alpha}.')
  mix = None
  if mixup_alpha or cutmix:
    mix = functools.partial(mix_pair, mixup_alpha=mixup_alpha, cutmix=cutmix)

  def load() -> Dataset:
    return Dataset(
      train=source('train', data_dir),
      augment=functools.partial(
        train_example,
        image_size=image_size,
        randaugment_layers=randaugment_layers,
        randaugment_magnitude=randaugment_magnitude,
      ),
      evaluation=source('validation', data_dir),
      prepare=functools.partial(eval_example, image_size=image_size),
      mix=mix,
    )

  example = {
    'image': array_spec(image_size, image_size, 3),
    'label': array_spec(dtype=np.int32),
  }
  return DataSpec(
    example=example,
    num_classes=1000,
    load=load,
    class_names=class_names(),
    files=Files(
      EXTENSIONS, lambda path: [read_example(path, image_size=image_size)]
    ),
    view=view_image,
  )
