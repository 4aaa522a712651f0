"""Data of models that others trained on their own: files are read, no more.

A person's file becomes an example as those models were fed; there is nothing to
train or to evaluate on.
"""

import pathlib
from collections.abc import Sequence

import numpy as np

from experiments.data.dataset import DataSpec, Example, Files, array_spec
from experiments.datasets.imagenet import read_example, view_image
from experiments.datasets.without_pipeline import without_pipeline
from experiments.modalities.images.files import EXTENSIONS as IMAGE_EXTENSIONS
from experiments.modalities.text.examples import crop, pad
from experiments.modalities.text.files import EXTENSIONS as TEXT_EXTENSIONS
from experiments.modalities.text.files import clean_text, read_text
from experiments.modalities.text.typed import view_text
from perceiver_jax.tokenizer import CLS, SEP, ByteTokenizer


def labelled_images(
  data_dir: str | None, *, image_size: int, classes: Sequence[str]
) -> DataSpec:
  """Images, cropped and normalised as those of ImageNet.

  Args:
    data_dir: not read.
    image_size: side in pixels.
    classes: their names.

  Returns:
    Examples with `image` float32 `[image_size, image_size, 3]` and `label`.
  """
  del data_dir
  return without_pipeline(
    'labelled_images',
    {
      'image': array_spec(image_size, image_size, 3),
      'label': array_spec(dtype=np.int32),
    },
  )._replace(
    num_classes=len(classes),
    class_names=tuple(classes),
    files=Files(
      IMAGE_EXTENSIONS, lambda path: [read_example(path, image_size=image_size)]
    ),
    view=view_image,
  )


def labelled_texts(
  data_dir: str | None, *, length: int, vocab_size: int, classes: Sequence[str]
) -> DataSpec:
  """Texts of bytes between [CLS] and [SEP], as transformers' tokenizer writes.

  Args:
    data_dir: not read.
    length: tokens of an example; longer texts are cut.
    vocab_size: texts can be read when it is that of bytes, 262.
    classes: their names.

  Returns:
    Examples with `tokens` int32 `[length]`, `input_mask` bool `[length]`, False
    for padding, and `label`.
  """
  del data_dir
  spec = without_pipeline(
    'labelled_texts',
    {
      'tokens': array_spec(length, dtype=np.int32),
      'input_mask': array_spec(length, dtype=np.bool_),
      'label': array_spec(dtype=np.int32),
    },
  )._replace(num_classes=len(classes), class_names=tuple(classes))
  if vocab_size != ByteTokenizer().vocab_size or length < 3:
    return spec

  def example(text: bytes) -> Example:
    text = crop(text, 0, length - 2)
    tokens = np.array([CLS, *ByteTokenizer().encode(text), SEP], np.int32)
    return {
      'tokens': pad(tokens, length),
      'input_mask': np.arange(length) < len(tokens),
    }

  def read(path: pathlib.Path) -> Sequence[Example]:
    return [example(read_text(path))]

  files = Files(
    TEXT_EXTENSIONS,
    read,
    from_text=lambda text: [example(clean_text(text, 'The text'))],
  )
  return spec._replace(files=files, view=view_text)


def clips(
  data_dir: str | None,
  *,
  num_frames: int,
  height: int,
  width: int,
  num_samples: int,
  num_classes: int,
) -> DataSpec:
  """Videos with sound and a label, of any shape.

  Args:
    data_dir: not read.
    num_frames: of a clip.
    height: of a frame, in pixels.
    width: of a frame, in pixels.
    num_samples: of sound.
    num_classes: of the label.

  Returns:
    Examples with `image` float32 `[num_frames, height, width, 3]`, `audio`
    float32 `[num_samples]` and `label`.
  """
  del data_dir
  return without_pipeline(
    'clips',
    {
      'audio': array_spec(num_samples),
      'image': array_spec(num_frames, height, width, 3),
      'label': array_spec(dtype=np.int32),
    },
  )._replace(num_classes=num_classes)
