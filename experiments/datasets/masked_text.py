"""C4 and Wikipedia, for the masked language model on bytes.

Perceiver IO, section 4.1 and appendix F.3: 70 % of the bytes are of C4, 30 % of
the English Wikipedia; ten documents are concatenated before an example is cut
from them, so that little of it is padding; 15 % of the words are masked.

Both are TFDS data sets, prepared elsewhere as array_record. C4 has a held-out
split; of Wikipedia, the last documents are held out.
"""

import functools
import math
import pathlib
import zlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from experiments.data.dataset import (
  Dataset,
  DataSpec,
  Example,
  Source,
)
from experiments.datasets import prepared
from experiments.modalities.text.examples import (
  masked_example,
  masked_spec,
  random_crop,
)
from experiments.modalities.text.typed import masked_files, view_text


class Concatenated:
  """Neighbouring documents as one text: a source of `text`.

  TFDS shuffles what it prepares, so neighbours have nothing in common.
  """

  def __init__(
    self, documents: Sequence[Example], first: int, stop: int, size: int
  ):
    """Takes a part of a corpus; the few documents left over are not used.

    Args:
      documents: of the corpus, each with a `text`.
      first: document.
      stop: one after the last document.
      size: documents of a text.
    """
    self._documents = documents
    self._first = first
    self._size = size
    self._length = (stop - first) // size

  def __len__(self) -> int:
    return self._length

  def __getitem__(self, index: int) -> Example:
    start = self._first + index * self._size
    documents = self._documents.__getitems__(range(start, start + self._size))
    return {'text': b'\n'.join(each['text'] for each in documents)}


class Mixture(NamedTuple):
  """Two sources as one, in fixed shares wherever it is cut.

  It is as long as it takes to have all of the first; the second begins again
  as often as that needs.

  Attributes:
    first: the larger.
    second: the smaller.
    share: of the second among all, from 0 to below 1.
    length: examples in all.
  """

  first: Source
  second: Source
  share: float
  length: int

  def __len__(self) -> int:
    return self.length

  def __getitem__(self, index: int) -> Example:
    before = math.floor(index * self.share)  # Of the second.
    if math.floor((index + 1) * self.share) > before:
      return self.second[before % len(self.second)]
    return self.first[(index - before) % len(self.first)]


def masked_text(
  data_dir: str | None,
  *,
  length: int,
  mask_rate: float,
  c4: str,
  wikipedia: str,
  wikipedia_share: float,
  documents: int,
  eval_examples: int,
) -> DataSpec:
  """Text with masked words (Perceiver IO, appendix F.3).

  Args:
    data_dir: the directory of both data sets; None is TFDS's default.
    length: bytes of an example.
    mask_rate: share of the words that are masked.
    c4: name of a TFDS data set with the splits train and validation.
    wikipedia: name of a TFDS data set with the split train.
    wikipedia_share: of the examples; the others are of C4.
    documents: concatenated before an example is cut from them.
    eval_examples: held-out examples, of both in the same shares.

  Returns:
    Examples as of `text.masked_example`. When it is loaded and something is
    not prepared, a FileNotFoundError says how to.
  """
  _check(mask_rate, wikipedia_share, documents, eval_examples)

  def train_example(example: Example, rng: np.random.Generator) -> Example:
    text = random_crop(example['text'], length, rng)
    return masked_example(text, length, mask_rate, rng)

  def held_out_example(example: Example) -> Example:
    # The same bytes in all evaluations.
    return train_example(
      example, np.random.default_rng(zlib.crc32(example['text']))
    )

  def load() -> Dataset:
    train, held_out = _open(
      data_dir, c4, wikipedia, wikipedia_share, documents, eval_examples
    )
    return Dataset(
      train=train,
      augment=train_example,
      evaluation=held_out,
      prepare=held_out_example,
    )

  return DataSpec(
    example=masked_spec(length),
    num_classes=None,
    load=load,
    files=masked_files(length),
    view=view_text,
  )


def _check(
  mask_rate: float, wikipedia_share: float, documents: int, eval_examples: int
) -> None:
  if not 0.0 < mask_rate <= 1.0:
    raise ValueError(f'data.mask_rate must be in (0, 1], got {mask_rate}.')
  if not 0.0 <= wikipedia_share < 1.0:
    raise ValueError(
      f'data.wikipedia_share must be in [0, 1), got {wikipedia_share}.'
    )
  if min(documents, eval_examples) < 1:
    raise ValueError(
      'data.documents and data.eval_examples must be at least 1, got '
      f'{documents} and {eval_examples}.'
    )


def _open(
  data_dir: str | None,
  c4: str,
  wikipedia: str,
  share: float,
  size: int,
  eval_examples: int,
) -> tuple[Mixture, Mixture]:
  """Opens what is trained on, and what is held out."""
  remedy = prepared.Remedy(
    functools.partial(_how_to_prepare, names=(c4, wikipedia)),
    'experiments/configs/declaration.py:mlm',
  )
  open_split = functools.partial(
    prepared.open_by_name, data_dir=data_dir, remedy=remedy
  )
  web, articles = open_split(c4, 'train'), open_split(wikipedia, 'train')
  held_out_web = open_split(c4, 'validation')

  # At least one of each, for a mixture wants to begin again.
  held_out_articles = size * max(1, math.ceil(share * eval_examples))
  last = len(articles) - held_out_articles
  for name, split, documents, needed in (
    (c4, 'train', web, size),
    (c4, 'validation', held_out_web, size),
    (wikipedia, 'train', articles, held_out_articles + size),
  ):
    if len(documents) < needed:
      raise ValueError(
        f'{name} has {len(documents)} documents in its split {split!r}; '
        f'data.documents = {size} and data.eval_examples = {eval_examples} '
        f'need {needed}. Choose smaller ones, or prepare all of it.'
      )
  texts = Concatenated(web, 0, len(web), size)
  train = Mixture(
    texts,
    Concatenated(articles, 0, last, size),
    share,
    round(len(texts) / (1.0 - share)),
  )
  held_out = Mixture(
    Concatenated(held_out_web, 0, len(held_out_web), size),
    Concatenated(articles, last, len(articles), size),
    share,
    eval_examples,
  )
  return train, held_out


def _how_to_prepare(root: pathlib.Path, names: Sequence[str]) -> str:
  commands = '\n'.join(
    f'  tfds build {name} --file_format={prepared.FORMAT} --data_dir={root}'
    for name in names
  )
  return (
    'Prepare both once (C4 is 800 GiB and wants a Beam cluster, see '
    'https://www.tensorflow.org/datasets/beam_datasets; Wikipedia is 20 GiB; '
    f'training needs no TensorFlow):\n\n{prepared.INSTALL}{commands}'
  )
