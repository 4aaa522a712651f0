"""Data sets that TFDS has prepared elsewhere, opened without TensorFlow.

They are prepared once, as array_record; nothing here downloads or prepares
anything. What is missing is an error that says how to get it.
"""

import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import tensorflow_datasets as tfds

from experiments.data.dataset import Example

FORMAT = 'array_record'
# For the commands of a remedy that need TensorFlow.
INSTALL = '  pip install "perceiver-haiku[prepare]"  # brings TensorFlow\n'


class Remedy(NamedTuple):
  """What is said to someone who does not have a data set.

  Attributes:
    prepare: takes the directory of all prepared data sets; returns how to
      prepare this one there.
    instead: the file of a config that trains without any download.
  """

  prepare: Callable[[pathlib.Path], str]
  instead: str


def open_by_name(
  name: str, split: str, data_dir: str | None, remedy: Remedy
) -> Sequence[Example]:
  """Opens a prepared data set, also where TFDS does not have its code.

  TFDS hides the builders of many data sets when there is no TensorFlow; what
  they prepared can be read nevertheless.

  Args:
    name: `NAME/CONFIG`, or `NAME/CONFIG:VERSION` such as '2.*.*'.
    split: a split's name.
    data_dir: the directory that holds `NAME/`; None is TFDS's default.
    remedy: for the messages.

  Returns:
    A sequence of examples as stored; it can be pickled.

  Raises:
    FileNotFoundError: see `open_prepared`.
  """
  try:
    builder = tfds.builder(name, data_dir=data_dir)
  except tfds.core.DatasetNotFoundError as error:
    root = pathlib.Path(data_dir or tfds.core.constants.DATA_DIR)
    raise FileNotFoundError(
      f'{name} is not prepared: there is no such data set in {root}.\n'
      f'{remedy.prepare(root)}{_otherwise(remedy)}'
    ) from error
  return open_prepared(builder, split, remedy)


def open_prepared(
  builder: tfds.core.DatasetBuilder,
  split: str,
  remedy: Remedy,
  decoders: Mapping[str, Any] | None = None,
) -> Sequence[Example]:
  """Opens a split of a prepared data set.

  Args:
    builder: of the data set.
    split: a split's name.
    remedy: for the messages.
    decoders: of TFDS, by feature; None for its own.

  Returns:
    A sequence of examples as stored; it can be pickled.

  Raises:
    FileNotFoundError: the data set, its array_record files or the split are
      not in the builder's directory; the message says how to make them.
  """
  problem = _problem(builder, split, remedy)
  if problem is not None:
    raise FileNotFoundError(f'{problem}{_otherwise(remedy)}')
  return builder.as_data_source(split, decoders=decoders, file_format=FORMAT)


def _problem(
  builder: tfds.core.DatasetBuilder, split: str, remedy: Remedy
) -> str | None:
  """Says what is missing and the remedy, or returns None."""
  info, directory = builder.info, builder.data_path
  formats = {file_format.value for file_format in info.available_file_formats()}
  # Above NAME/VERSION or NAME/CONFIG/VERSION.
  how = remedy.prepare(directory.parents[info.full_name.count('/')])
  if not info.splits:
    return (
      f'{info.full_name} is not prepared: there is no data set in'
      f' {directory}.\n{how}'
    )
  if FORMAT not in formats:
    return (
      f'{info.full_name} is prepared in {directory}, but as'
      f' {", ".join(sorted(formats))}, which needs TensorFlow to read. Convert'
      f' it once, in place:\n\n{INSTALL}'
      f'  tfds convert_format --dataset_version_dir={directory}'
      f' --out_file_format={FORMAT}'
    )
  if split not in info.splits:
    return (
      f'{info.full_name} in {directory} has no split {split!r}, only'
      f' {sorted(info.splits)}: its files were not there. Add --overwrite and'
      f' prepare it again.\n{how}'
    )
  missing = _missing_files(builder, split)
  if missing:
    return (
      f'{info.full_name} in {directory} is not complete: {len(missing)} of the'
      f' {info.splits[split].num_shards} files of {split!r} are missing, the'
      f' first is {missing[0]}. Copy them there, or add --overwrite and prepare'
      f' it again.\n{how}'
    )
  return None


def _missing_files(builder: tfds.core.DatasetBuilder, split: str) -> list[str]:
  present = {path.name for path in builder.data_path.iterdir()}
  template = builder.info.splits[split].filename_template
  template = template.replace(filetype_suffix=FORMAT)
  num_shards = builder.info.splits[split].num_shards
  names = [path.name for path in template.sharded_filepaths(num_shards)]
  return [name for name in names if name not in present]


def _otherwise(remedy: Remedy) -> str:
  return (
    '\n\nIf it is prepared elsewhere, pass that directory as data_dir.'
    f' {remedy.instead} trains without any download.'
  )
