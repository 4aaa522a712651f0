"""TFDS builders of the data sets that come with this package."""

import abc
import pathlib
from collections.abc import Iterator
from typing import Any

import tensorflow_datasets as tfds

from experiments.data.dataset import Example, InMemory

FILES = pathlib.Path(__file__).parent / 'embedded'


class EmbeddedBuilder(
  tfds.core.GeneratorBasedBuilder, abc.ABC, skip_registration=True
):
  """Nothing is downloaded, and TensorFlow is not needed.

  A subclass has a `VERSION`, its features and the examples of its splits.
  """

  @abc.abstractmethod
  def features(self) -> dict[str, Any]:
    """Returns the TFDS feature of each part of an example."""

  @abc.abstractmethod
  def examples(self, split: str) -> Iterator[Example]:
    """Yields the examples of 'train' or 'test'."""

  def _info(self) -> tfds.core.DatasetInfo:
    return self.dataset_info_from_configs(
      features=tfds.features.FeaturesDict(self.features()),
      description=self.__doc__,
    )

  def _split_generators(self, dl_manager):
    del dl_manager
    return {
      split: self._generate_examples(split) for split in ('train', 'test')
    }

  def _generate_examples(self, split: str):
    yield from enumerate(self.examples(split))


def load_in_memory(
  builder: type[EmbeddedBuilder], data_dir: str | None
) -> tuple[InMemory, InMemory]:
  """Returns the training and the test examples; prepares them on first use.

  Args:
    builder: of the data set.
    data_dir: where TFDS keeps prepared data; None for its own default.
  """
  made = builder(data_dir=data_dir, file_format='array_record')
  made.download_and_prepare()
  return (
    InMemory(made.as_data_source('train')),
    InMemory(made.as_data_source('test')),
  )
