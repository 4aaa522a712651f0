"""TFDS builders of large data sets: shard by shard, many at a time.

Where Apache Beam is installed its workers write the shards, on this machine or
on the cluster of another runner; without it threads of this process read the
items of one shard after the other. The data set is the same.
"""

import abc
import dataclasses
import importlib.util
import logging
import os
import pathlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from array_record.python.array_record_data_source import ArrayRecordDataSource

from experiments.data.dataset import Example
from experiments.modalities.video.stored import in_threads

# Of a shard, unless the data set is so large that there would be too many.
_ITEMS_OF_A_SHARD = 256
_MOST_SHARDS = 1024
# TFDS reserves 'all'.
SPLIT = 'examples'
# Read before all others, to see early what is wrong with all.
_READ_FIRST = 8
# In the folder of the data set, for each shard that has any.
_LEFT_OUT = 'left_out-{:05d}.txt'

# Reads an item: its name, and its example or what is wrong with it.
Read = Callable[[Any], tuple[str, dict[str, Any] | str]]


@dataclasses.dataclass(frozen=True)
class Shard:
  """The items of a shard, and how they are read.

  Attributes:
    read: an item; called in threads or other processes.
    items: of the shard.
    left_out: the file that names the items that cannot be used.
  """

  read: Read
  items: Sequence[Any]
  left_out: pathlib.Path

  def __call__(self) -> Iterator[tuple[str, Example]]:
    """Yields names and examples, read by all cores."""
    yield from self.examples(in_threads)

  def examples(
    self, each: Callable[[Read, Iterable[Any]], Iterable[Any]]
  ) -> Iterator[tuple[str, Example]]:
    """Yields names and examples.

    Args:
      each: applies a function to items, such as `map`.
    """
    unusable = []
    for name, example in each(self.read, self.items):
      if isinstance(example, str):
        unusable.append(example)
        continue
      yield name, example
      # TFDS holds all that it was given until the shard is written.
      example.clear()
    if unusable:
      self.left_out.write_text('\n'.join(unusable) + '\n', encoding='utf-8')


class ShardedBuilder(
  tfds.core.ShardBasedBuilder, abc.ABC, skip_registration=True
):
  """A data set of one split, `examples`, of items that are read one by one.

  TFDS's own shard-based builder gives each shard a stage of a Beam pipeline: a
  local runner works them off one after another (4.9.10). Here the shards are
  one collection.
  """

  @abc.abstractmethod
  def items(self, manual_dir: pathlib.Path) -> Sequence[Any]:
    """Returns all items; raises an error where they are not there."""

  @staticmethod
  @abc.abstractmethod
  def read(item: Any) -> tuple[str, dict[str, Any] | str]:
    """Returns an item's name, and its example or what is wrong with it."""

  def _shard_iterators_per_split(self, dl_manager):
    items = self.items(pathlib.Path(dl_manager.manual_dir))
    _check_some(items, self.read, self.info.full_name)
    number = min(-(-len(items) // _ITEMS_OF_A_SHARD), _MOST_SHARDS)
    parts = np.array_split(np.arange(len(items)), number)
    folder = pathlib.Path(self.data_dir)  # A temporary one, until it is whole.
    return {
      SPLIT: [
        Shard(
          read=self.read,
          items=[items[j] for j in part],
          left_out=folder / _LEFT_OUT.format(i),
        )
        for i, part in enumerate(parts)
      ]
    }

  def _download_and_prepare(self, dl_manager, download_config=None):
    if download_config is None or download_config.beam_runner is None:
      super()._download_and_prepare(dl_manager, download_config)
      return
    shards = self._shard_iterators_per_split(dl_manager)[SPLIT]
    template = self._get_filename_template(split_name=SPLIT)
    paths = [os.fspath(p) for p in template.sharded_filepaths(len(shards))]
    self._write_with_beam(
      list(zip(paths, shards, strict=True)), download_config
    )
    info = tfds.core.SplitInfo(
      name=SPLIT,
      shard_lengths=[len(ArrayRecordDataSource([path])) for path in paths],
      num_bytes=sum(os.path.getsize(path) for path in paths),
      filename_template=template,
    )
    self.info.set_splits(tfds.core.splits.SplitDict([info]))

  def _write_with_beam(
    self,
    shards: Sequence[tuple[str, Shard]],
    download_config: tfds.download.DownloadConfig,
  ) -> None:
    import apache_beam as beam

    # It repeats all that its workers have to say about its own options.
    logging.getLogger('apache_beam').setLevel(logging.ERROR)
    with beam.Pipeline(
      runner=download_config.beam_runner, options=download_config.beam_options
    ) as pipeline:
      _ = (
        pipeline
        | beam.Create(shards)
        | beam.Reshuffle()  # Spreads the shards over the workers.
        | beam.Map(
          _write_shard,
          features=self.info.features,
          writer=self._example_writer(),
        )
      )


def _write_shard(
  path_and_shard: tuple[str, Shard],
  *,
  features: tfds.features.FeaturesDict,
  writer: Any,
) -> None:
  """Writes the file of a shard, in a worker that has a core of its own."""
  path, shard = path_and_shard
  writer.write(
    path,
    (
      (name, features.serialize_example(example))
      for name, example in shard.examples(map)
    ),
  )


def _check_some(items: Sequence[Any], read: Read, name: str) -> None:
  """Raises a ValueError where some items, all over the list, are all broken."""
  some = items[:: -(-len(items) // _READ_FIRST)]
  problems = [example for _, example in in_threads(read, some)]
  if all(isinstance(problem, str) for problem in problems):
    first = '\n'.join(problems[:3])
    raise ValueError(
      f'None of {len(some)} items all over the list of {name} can be used, the '
      f'first of them:\n{first}'
    )


def prepare(
  builder: ShardedBuilder, manual_dir: pathlib.Path, *, workers: int | None
) -> None:
  """Prepares a data set, and says what was left out.

  For the runner of a cluster, prepare it by hand once:
  `builder.download_and_prepare(download_config=tfds.download.DownloadConfig(
  manual_dir=..., beam_runner=..., beam_options=...))`.

  Args:
    builder: of the data set.
    manual_dir: where its items are.
    workers: processes of Apache Beam; 0 for threads of this process. None is a
      process for each core, where Apache Beam is installed, else threads.
  """
  if workers is None:
    installed = importlib.util.find_spec('apache_beam') is not None
    workers = os.cpu_count() if installed else 0
  runner, options = _beam_runner(workers) if workers else (None, None)
  builder.download_and_prepare(
    download_config=tfds.download.DownloadConfig(
      manual_dir=manual_dir, beam_runner=runner, beam_options=options
    )
  )
  folder = pathlib.Path(builder.data_dir)
  reports = sorted(folder.glob(_LEFT_OUT.format(0).replace('00000', '*')))
  lines = [
    line
    for file in reports
    for line in file.read_text(encoding='utf-8').splitlines()
  ]
  if lines:
    print(
      f'{builder.info.full_name}: left out {len(lines):,} that cannot be used, '
      f'named in {folder}/left_out-*.txt. The first:',
      *lines[:3],
      sep='\n  ',
      flush=True,
    )


def _beam_runner(workers: int) -> tuple[Any, Any]:
  """Beam's runner for this machine; one worker needs no other process."""
  from apache_beam.options.pipeline_options import PipelineOptions

  mode = 'multi_processing' if workers > 1 else 'in_memory'
  options = PipelineOptions(
    [
      f'--direct_running_mode={mode}',
      f'--direct_num_workers={workers}',
      '--default_sdk_harness_log_level=WARNING',
    ]
  )
  return 'DirectRunner', options
