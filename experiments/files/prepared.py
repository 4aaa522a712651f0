"""What is read of people's files, prepared once.

Files are read once, in their final size, and kept as a TFDS data set: decoding
a video or sampling a mesh again for each epoch costs more than training.
"""

import hashlib
import json
import pathlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import tensorflow_datasets as tfds

from experiments.data.dataset import Example, InMemory, Source

# Larger data sets stay on the disk.
_MOST_BYTES_IN_MEMORY = 2**29

# An example, and a name that no other example of the split has.
Named = tuple[bytes, Example]
Splits = Mapping[str, Callable[[], Iterable[Named]]]


class Folders(tfds.core.GeneratorBasedBuilder, skip_registration=True):
  """Files of people, decoded.

  Args:
    key: of the content; see `key_of`.
    place: where the files are.
    splits: yield the examples of each split.
    features: of TFDS.
    data_dir: where TFDS keeps prepared data; None for its own default.
  """

  # Of what the readers of files make of them.
  VERSION = tfds.core.Version('1.1.0')

  def __init__(
    self,
    key: str,
    place: pathlib.Path,
    splits: Splits,
    features: Mapping[str, Any],
    *,
    data_dir: str | None,
  ):
    self._splits, self._kept = splits, features
    super().__init__(
      config=tfds.core.BuilderConfig(name=key, description=str(place)),
      data_dir=data_dir,
      file_format='array_record',
    )

  def _info(self) -> tfds.core.DatasetInfo:
    return self.dataset_info_from_configs(
      features=tfds.features.FeaturesDict(dict(self._kept)),
      description=self.__doc__,
    )

  def _split_generators(self, dl_manager):
    del dl_manager
    return {
      split: self._generate_examples(examples)
      for split, examples in self._splits.items()
    }

  def _generate_examples(self, examples: Callable[[], Iterable[Named]]):
    yield from examples()


def key_of(content: Any) -> str:
  """Returns 16 hexadecimal digits that change with plain values."""
  text = json.dumps(content, sort_keys=True)
  return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def known_by(path: pathlib.Path, root: pathlib.Path) -> tuple[str, int, int]:
  """Returns what a file is known by: its name, size and time of change.

  The name is told from the root where the file lies in it.

  Large data sets then need not be read to find out that they are the same.

  Args:
    path: of the file.
    root: folder that names are told from.
  """
  stat = path.stat()
  name = path.relative_to(root) if path.is_relative_to(root) else path
  return name.as_posix(), stat.st_size, stat.st_mtime_ns


def prepared(
  key: str,
  place: pathlib.Path,
  splits: Splits,
  features: Mapping[str, Any],
  *,
  counted: str,
  data_dir: str | None,
) -> dict[str, Source]:
  """Returns the examples of each split, prepared when they are not yet.

  Args:
    key: of the content; see `key_of`.
    place: where the files are.
    splits: yield the examples of each split.
    features: of TFDS.
    counted: what there is to prepare, in words.
    data_dir: where TFDS keeps prepared data; None for its own default.
  """
  builder = Folders(key, place, splits, features, data_dir=data_dir)
  if not pathlib.Path(builder.data_dir).exists():
    print(f'Preparing {counted} in {builder.data_dir}.', flush=True)
  builder.download_and_prepare()
  in_memory = builder.info.dataset_size <= _MOST_BYTES_IN_MEMORY
  # Unlike ours, this builder holds no functions: it goes to worker processes.
  reader = tfds.builder_from_directory(builder.data_path)
  sources = {split: reader.as_data_source(split) for split in splits}
  if not in_memory:
    return sources
  return {split: InMemory(source) for split, source in sources.items()}
