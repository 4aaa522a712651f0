"""Files in folders as a data set of their own.

What is kept belongs to the names, sizes and times of the files: when one of
them changes, the data set is prepared anew. (TFDS's own `ImageFolder` needs
TensorFlow even to list the files, and has no random access.)
"""

import functools
import inspect
import os
import pathlib
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from experiments.data.dataset import (
  Chosen,
  Dataset,
  DataSpec,
  Example,
  Files,
  Source,
  array_spec,
)
from experiments.data.validation import hold_out
from experiments.files.kind import FileKind
from experiments.files.listing import (
  VALIDATION,
  Folder,
  LabelledFile,
  files_note,
  list_folder,
  nothing_read,
  read_files,
  report_skipped,
  survey,
)
from experiments.files.prepared import Named, key_of, known_by, prepared


def folder_of(
  files_of: Callable[..., FileKind], extensions: Sequence[str]
) -> Callable[..., DataSpec]:
  """Returns the data set of folders of a kind of files.

  Args:
    files_of: takes a survey of the training files and, by keyword, options of
      the kind; those that are None are chosen from the files.
    extensions: of the files, such as '.png'.

  Returns:
    A function of the folder of prepared data and, by keyword, of these options
    and of those that all folders have, see `folder_data`.
  """

  def folder(data_dir: str | None, **options: Any) -> DataSpec:
    shared = {key: options.pop(key) for key in _SHARED if key in options}
    return folder_data(data_dir, files_of, options, extensions, **shared)

  own = [
    parameter
    for parameter in inspect.signature(files_of).parameters.values()
    if parameter.kind is inspect.Parameter.KEYWORD_ONLY
  ]
  # What configs are checked against.
  place = inspect.Parameter('data_dir', inspect.Parameter.POSITIONAL_ONLY)
  folder.__signature__ = inspect.Signature([place, *_SHARED.values(), *own])
  folder.__annotations__ = {
    **typing.get_type_hints(folder_data),
    **typing.get_type_hints(files_of),
  }
  return folder


def folder_data(
  data_dir: str | None,
  files_of: Callable[..., FileKind],
  options: Mapping[str, Any],
  extensions: Sequence[str],
  *,
  root: str,
  classes: Sequence[str] | None,
  skip_unreadable: bool,
  validation_share: float = 0.0,
  validation_seed: int = 0,
) -> DataSpec:
  """Returns the data of a folder; prepared on first use.

  It need not be there until it is loaded, where nothing is open.

  Args:
    data_dir: where TFDS keeps prepared data; None for its own default.
    files_of: see `folder_of`.
    options: of the kind.
    extensions: of the files.
    root: has train/CLASS/FILE and test/CLASS/FILE.
    classes: names; None for the folders in train/.
    skip_unreadable: whether damaged files are left out.
    validation_share: see `with_validation`.
    validation_seed: see `with_validation`.

  Returns:
    The examples of the kind with `label` int32.
  """
  listed = None
  if classes is None or None in options.values():
    listed = list_folder(root, extensions, classes)
    classes = listed.classes

  def some_of(read: Callable[[pathlib.Path], Any]) -> list[Any]:
    files = listed.files['train']
    return survey(files, read, skip_unreadable=skip_unreadable)

  kind = files_of(some_of, **options)

  def label(example: Example) -> Example:
    return {'label': np.int32(example['label'])}

  def read(path: pathlib.Path) -> Sequence[Example]:
    kept = kind.read(path)
    return kind.parts(kept) if kind.parts else [kind.prepare(kept)]

  def load() -> Dataset:
    sources = open_folder(
      list_folder(root, extensions, classes),
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
    example={**kind.example, 'label': array_spec(dtype=np.int32)},
    num_classes=len(classes),
    load=load,
    chosen={'data.classes': tuple(classes), **kind.chosen},
    note='' if listed is None else kind.note + files_note(listed),
    class_names=tuple(classes),
    files=Files(extensions, read),
    view=kind.view,
    maker=files_of,
    num_train=None if listed is None else len(listed.files['train']),
  )


_SHARED = {
  name: parameter
  for name, parameter in inspect.signature(folder_data).parameters.items()
  if parameter.kind is inspect.Parameter.KEYWORD_ONLY
}


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


def content_key(folder: Folder, options: Mapping[str, Any]) -> str:
  """Returns 16 hexadecimal digits that change with what would be prepared.

  Args:
    folder: of the files.
    options: that decide on how they are read.
  """
  stats = [
    known_by(file.path, folder.root)
    for files in folder.files.values()
    for file in files
  ]
  return key_of([folder.classes, options, stats])


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

  def examples(files: Sequence[LabelledFile]) -> Iterator[Named]:
    read_count = 0
    for file, content in read_files(
      files, read, skip_unreadable=skip_unreadable
    ):
      read_count += 1
      # Bytes, since not all names are text.
      name = os.fsencode(file.path.relative_to(folder.root))
      yield name, {**content, 'label': file.label}
    if not read_count:
      raise ValueError(nothing_read(files))

  label = tfds.features.ClassLabel(names=folder.classes)
  sources = prepared(
    content_key(folder, {**options, 'skip_unreadable': skip_unreadable}),
    folder.root,
    {
      split: functools.partial(examples, files)
      for split, files in folder.files.items()
    },
    {**features, 'label': label},
    counted=f'{sum(map(len, folder.files.values())):,} files',
    data_dir=data_dir,
  )
  for split, files in folder.files.items():
    report_skipped(split, len(files), len(sources[split]))
  return sources
