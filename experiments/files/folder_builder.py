"""Files in folders as a data set of their own.

Files are read once, in their final size, and kept as a TFDS data set: decoding
a video or sampling a mesh again for each epoch costs more than training. What
is kept belongs to the names, sizes and times of the files: when one of them
changes, the data set is prepared anew. (TFDS's own `ImageFolder` needs
TensorFlow even to list the files, and has no random access.)
"""

import hashlib
import json
import os
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow_datasets as tfds

from experiments.data.dataset import (
  Chosen,
  Dataset,
  DataSpec,
  Example,
  Files,
  InMemory,
  Source,
  array_spec,
)
from experiments.data.modality import View
from experiments.data.validation import hold_out
from experiments.files.listing import (
  VALIDATION,
  Folder,
  LabelledFile,
  list_folder,
  nothing_read,
  read_files,
  report_skipped,
)

# Larger data sets stay on the disk.
_MOST_BYTES_IN_MEMORY = 2**29

_Mix = Callable[[int, Example, np.random.Generator], Example]


class FileKind(NamedTuple):
  """Files of a kind, and what they come to. Examples have no `label` here.

  Attributes:
    extensions: of the files.
    read: a file to what is kept of it.
    features: TFDS features of that.
    options: that decide on how files are read, with the name of the kind.
    augment: what is kept of a file, and random generator, to a training
      example.
    prepare: what is kept of a file to an evaluation example.
    view: see `DataSpec`.
    parts: what is kept of a file to evaluation examples of all of it, in order;
      None where it is one.
    mix: see `Dataset`.
  """

  extensions: Sequence[str]
  read: Callable[[pathlib.Path], Example]
  features: Mapping[str, Any]
  options: Mapping[str, Any]
  augment: Callable[[Example, np.random.Generator], Example]
  prepare: Callable[[Example], Example]
  view: Callable[[Example], Mapping[str, View]]
  parts: Callable[[Example], Sequence[Example]] | None = None
  mix: _Mix | None = None


def folder_data(
  kind: FileKind,
  *,
  example: Mapping[str, Any],
  root: str,
  classes: Sequence[str],
  skip_unreadable: bool,
  data_dir: str | None,
  chosen: Mapping[str, Any],
  note: str,
  validation_share: float = 0.0,
  validation_seed: int = 0,
  num_train: int | None = None,
) -> DataSpec:
  """Returns the data of a folder; it need not be there until it is loaded.

  Args:
    kind: of the files.
    example: see `DataSpec`, without `label`.
    root: of the files.
    classes: names.
    skip_unreadable: whether damaged files are left out.
    data_dir: where TFDS keeps prepared data; None for its own default.
    chosen: see `DataSpec`, without the classes.
    note: see `DataSpec`.
    validation_share: see `with_validation`.
    validation_seed: see `with_validation`.
    num_train: see `DataSpec`.
  """

  def label(example: Example) -> Example:
    return {'label': np.int32(example['label'])}

  def read(path: pathlib.Path) -> Sequence[Example]:
    kept = kind.read(path)
    return kind.parts(kept) if kind.parts else [kind.prepare(kept)]

  def load() -> Dataset:
    sources = open_folder(
      list_folder(root, kind.extensions, classes),
      kind.read,
      kind.features,
      options=kind.options,
      skip_unreadable=skip_unreadable,
      data_dir=data_dir,
    )
    dataset = Dataset(
      train=sources['train'],
      augment=lambda kept, rng: {**kind.augment(kept, rng), **label(kept)},
      evaluation=sources['test'],
      prepare=lambda kept: {**kind.prepare(kept), **label(kept)},
      mix=kind.mix,
      validation=sources.get(VALIDATION),
    )
    return with_validation(dataset, validation_share, validation_seed)

  return DataSpec(
    example={**example, 'label': array_spec(dtype=np.int32)},
    num_classes=len(classes),
    load=load,
    chosen={'data.classes': tuple(classes), **chosen},
    note=note,
    class_names=tuple(classes),
    files=Files(kind.extensions, read),
    view=kind.view,
    num_train=num_train,
  )


def with_validation(dataset: Dataset, share: float, seed: int) -> Dataset:
  """Takes a validation split off the training examples, if there is none.

  Args:
    dataset: whose raw training examples have a `label`.
    share: see `hold_out`; 0 takes none.
    seed: see `hold_out`.

  Returns:
    The same data set where it has a validation split already, or where the
    share comes to no example at all.
  """
  if dataset.validation is not None or not share:
    return dataset
  train = dataset.train
  labels = [int(train[i]['label']) for i in range(len(train))]
  kept, held_out = hold_out(labels, share, seed)
  if not held_out.size:
    return dataset
  return dataset._replace(
    train=Chosen(train, kept), validation=Chosen(train, held_out)
  )


class Folders(tfds.core.GeneratorBasedBuilder, skip_registration=True):
  """Files of folders, decoded.

  Args:
    key: of the content; see `content_key`.
    folder: to read.
    read: a file to what is kept of it.
    features: TFDS features of that.
    skip_unreadable: see `read_files`.
    data_dir: where TFDS keeps prepared data; None for its own default.
  """

  # Of what the readers of files make of them.
  VERSION = tfds.core.Version('1.1.0')

  def __init__(
    self,
    key: str,
    folder: Folder,
    read: Callable[[pathlib.Path], Example],
    features: Mapping[str, Any],
    *,
    skip_unreadable: bool,
    data_dir: str | None,
  ):
    self._folder, self._read = folder, read
    self._kept = features
    self._skip_unreadable = skip_unreadable
    super().__init__(
      config=tfds.core.BuilderConfig(name=key, description=str(folder.root)),
      data_dir=data_dir,
      file_format='array_record',
    )

  def _info(self) -> tfds.core.DatasetInfo:
    label = tfds.features.ClassLabel(names=self._folder.classes)
    return self.dataset_info_from_configs(
      features=tfds.features.FeaturesDict({**self._kept, 'label': label}),
      description=self.__doc__,
    )

  def _split_generators(self, dl_manager):
    del dl_manager
    return {
      split: self._generate_examples(files)
      for split, files in self._folder.files.items()
    }

  def _generate_examples(self, files: Sequence[LabelledFile]):
    read = 0
    for file, content in read_files(
      files, self._read, skip_unreadable=self._skip_unreadable
    ):
      read += 1
      # Bytes, since not all names are text.
      name = os.fsencode(file.path.relative_to(self._folder.root))
      yield name, {**content, 'label': file.label}
    if not read:
      raise ValueError(nothing_read(files))


def content_key(folder: Folder, options: Mapping[str, Any]) -> str:
  """Returns 16 hexadecimal digits that change with what would be prepared.

  A file is known by its name, size and time of change, so that large data sets
  need not be read to find out that they are the same.

  Args:
    folder: of the files.
    options: that decide on how they are read.
  """
  stats = [
    (
      file.path.relative_to(folder.root).as_posix(),
      file.path.stat().st_size,
      file.path.stat().st_mtime_ns,
    )
    for files in folder.files.values()
    for file in files
  ]
  text = json.dumps([folder.classes, options, stats], sort_keys=True)
  return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def open_folder(
  folder: Folder,
  read: Callable[[pathlib.Path], Example],
  features: Mapping[str, Any],
  *,
  options: Mapping[str, Any],
  skip_unreadable: bool,
  data_dir: str | None,
) -> dict[str, Source]:
  """Returns the examples of each split, prepared when they are not yet.

  Args:
    folder: of the files.
    read: a file to what is kept of it.
    features: TFDS features of that; `label` comes besides.
    options: that decide on how files are read, with the kind of the data.
    skip_unreadable: see `read_files`.
    data_dir: where TFDS keeps prepared data; None for its own default.
  """
  key = content_key(folder, {**options, 'skip_unreadable': skip_unreadable})
  builder = Folders(
    key,
    folder,
    read,
    features,
    skip_unreadable=skip_unreadable,
    data_dir=data_dir,
  )
  total = sum(map(len, folder.files.values()))
  if not pathlib.Path(builder.data_dir).exists():
    print(f'Preparing {total:,} files in {builder.data_dir}.', flush=True)
  builder.download_and_prepare()
  in_memory = builder.info.dataset_size <= _MOST_BYTES_IN_MEMORY
  # Unlike ours, this builder holds no functions: it goes to worker processes.
  reader = tfds.builder_from_directory(builder.data_path)
  sources = {}
  for split, files in folder.files.items():
    source = reader.as_data_source(split)
    report_skipped(split, len(files), len(source))
    sources[split] = InMemory(source) if in_memory else source
  return sources
