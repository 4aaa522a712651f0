"""Examples in, batches out: the same streams for any number of hosts.

The stream of training examples is a function of seed and position alone:
Grain shuffles, repeats and augments by global position, each process takes
every P-th example, and together they form the global batch. A run is therefore
resumed from one number, the position of its next example.
"""

import os
import signal
import threading
import time
import types
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import grain
import jax
import numpy as np

from experiments.data.faults import (
  HELD_OUT,
  TRAINING,
  DataFaults,
  describe,
)
from experiments.data.readings import (
  Batches,
  Example,
  held_out_reader,
  pair_mixer,
  training_reader,
  weighted,
)

# Threads that read and augment ahead, and batches they may be ahead: in each
# process of a pipeline.
_READ_OPTIONS = grain.ReadOptions(num_threads=4, prefetch_buffer_size=8)
_BATCHES_AHEAD_OF_A_WORKER = 2
# Of a worker, at the process that it works for.
_SECONDS_BETWEEN_LOOKS = 2.0
# Batches on the devices before they are asked for: one while another is copied.
_BATCHES_ON_DEVICES = 2

Place = Callable[[Example], Any]


class Source(Protocol):
  """Random access to the raw examples of a split."""

  def __len__(self) -> int: ...

  def __getitem__(self, index: int) -> Example: ...


class Dataset(NamedTuple):
  """What a task trains and evaluates on.

  Attributes:
    train: raw training examples.
    augment: raw example and random generator to a training example.
    evaluation: raw held-out examples.
    prepare: raw example to an evaluation example.
    mix: number of a pair in the stream, its two training examples, stacked,
      and random generator to one example; None leaves them as they are.
  """

  train: Source
  augment: Callable[[Example, np.random.Generator], Example]
  evaluation: Source
  prepare: Callable[[Example], Example]
  mix: Callable[[int, Example, np.random.Generator], Example] | None = None


class DataSpec(NamedTuple):
  """What a data set looks like, before anything is read.

  Attributes:
    example: shape and dtype of each array of a training example. Where it has
      `output_points`, they number the outputs wanted of it; in evaluation all
      are.
    num_classes: number of classes, where there are any.
    load: opens the data set; raises an error when it is not there.
    chosen: values that suit the data, by their path in a config, such as
      'data.image_size'; for what a config leaves open.
    note: says in words what was chosen.
    has_recordings: whether held-out examples are clips of recordings: each has
      `recording`, the number of its own, and predictions of a recording's clips
      are averaged.
  """

  example: Mapping[str, Any]
  num_classes: int | None
  load: Callable[[], Dataset]
  chosen: Mapping[str, Any] = types.MappingProxyType({})
  note: str = ''
  has_recordings: bool = False


def batch_spec(example: Mapping[str, Any], batch_size: int) -> Example:
  """Returns shapes and dtypes of a batch, from those of an example."""
  return jax.tree.map(
    lambda x: jax.ShapeDtypeStruct((batch_size, *x.shape), x.dtype), example
  )


def array_spec(*shape: int, dtype: Any = np.float32) -> jax.ShapeDtypeStruct:
  """Returns the shape and dtype of an array of an example."""
  return jax.ShapeDtypeStruct(shape, dtype)


class InMemory:
  """A small source read once, then kept in memory.

  What cannot be read is an error when it is asked for.

  Attributes:
    unreadable: errors, by the numbers of the examples.
  """

  def __init__(self, source: Source):
    """Reads all of the source."""
    self.unreadable: dict[int, str] = {}
    self._examples = [self._read(source, i) for i in range(len(source))]

  def __len__(self) -> int:
    return len(self._examples)

  def __getitem__(self, index: int) -> Example:
    example = self._examples[index]
    if example is None:
      raise ValueError(self.unreadable[index % len(self)])
    return example

  def _read(self, source: Source, index: int) -> Example | None:
    try:
      return source[index]
    except MemoryError:
      raise
    except Exception as error:  # pylint: disable=broad-exception-caught
      self.unreadable[index] = describe(error)
      return None


class Joined:
  """Several sources, one after the other.

  Args:
    sources: at least one.
  """

  def __init__(self, sources: Sequence[Source]):
    self._sources = sources
    self._ends = np.cumsum([len(source) for source in sources])

  def __len__(self) -> int:
    return int(self._ends[-1])

  def __getitem__(self, index: int) -> Example:
    which = int(np.searchsorted(self._ends, index, side='right'))
    source = self._sources[which]
    return source[int(index - self._ends[which]) + len(source)]


class Windows:
  """Windows of recordings: each example is a recording and a `start`.

  Args:
    recordings: examples with an array `[T, ...]`.
    array: its name.
    length: of a window.
    hop: from one start to the next.
  """

  def __init__(self, recordings: Source, array: str, *, length: int, hop: int):
    self._recordings = recordings
    self._windows = [
      (i, start)
      for i in range(len(recordings))
      for start in range(0, len(recordings[i][array]) - length + 1, hop)
    ]

  def __len__(self) -> int:
    return len(self._windows)

  def __getitem__(self, index: int) -> Example:
    recording, start = self._windows[index]
    return {**self._recordings[recording], 'start': start}


def check_limits(limits: Mapping[str, float]) -> None:
  """Raises a ValueError where a limit of random changes is negative.

  Args:
    limits: arguments of a data set, by their names.
  """
  for name, limit in limits.items():
    if limit < 0.0:
      raise ValueError(
        f'data.{name} must not be negative, got {limit}. 0 leaves it out.'
      )


def check_not_empty(dataset: Dataset) -> None:
  """Raises a ValueError when a split has no examples."""
  for split, source in (
    ('training', dataset.train),
    ('evaluation', dataset.evaluation),
  ):
    if not len(source):
      raise ValueError(
        f'The {split} split has no examples. Delete its folder under '
        '--data_dir to have it prepared again.'
      )


def count_unreadable(dataset: Dataset, faults: DataFaults) -> None:
  """Counts what is known to be unreadable before the run begins.

  Raises:
    ValueError: it is more than may be left out.
  """
  for split, source in (
    (TRAINING, dataset.train),
    (HELD_OUT, dataset.evaluation),
  ):
    if isinstance(source, InMemory):
      faults.count(split, source.unreadable)


def blank_batch(example: Mapping[str, Any]) -> Example:
  """Returns a batch of one training example, all zeros, as batches are.

  Args:
    example: shapes and dtypes, see `DataSpec`.
  """
  spec = {**example, 'weight': array_spec()}
  return jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), batch_spec(spec, 1))


def train_batches(
  dataset: Dataset,
  batch_size: int,
  *,
  seed: int,
  position: int,
  workers: int = 0,
  place: Place | None = None,
  faults: DataFaults | None = None,
) -> Batches:
  """Returns this process's endless stream of training batches.

  Args:
    dataset: with at least one training example.
    batch_size: global; divisible by the number of processes.
    seed: of order and augmentation.
    position: examples of the global stream that were consumed before.
    workers: processes that make batches in turns; with none, threads of this
      one do. The stream is the same.
    place: puts a batch on the devices, ahead of its use; None leaves it here.
    faults: what to do about examples that cannot be read; None stops.

  Returns:
    Dicts of arrays `[batch_size / processes, ...]`, with `weight` all ones.
    Asking for one raises a ValueError where an example of it cannot be read,
    and may not be left out; the next in the source takes the place of one that
    may.
  """
  processes = jax.process_count()
  limit = faults.limit if faults else 0
  stream = (
    grain.MapDataset.range(len(dataset.train))
    .seed(seed)
    .shuffle()
    .repeat()
    .random_map(training_reader(dataset.train, dataset.augment, limit))
  )
  if dataset.mix is not None:
    mix = pair_mixer(dataset.mix)
    stream = (
      stream.batch(2, drop_remainder=True)
      .map_with_index(lambda number, pair: (number, pair))
      .random_map(lambda numbered, rng: mix(*numbered, rng))
    )
  stream = stream.map(lambda reading: weighted(reading, 1.0))
  stream = stream[position + jax.process_index() :: processes]
  stream = stream.batch(batch_size // processes, drop_remainder=True)
  batches = stream.to_iter_dataset(_READ_OPTIONS)
  if workers:
    batches = batches.mp_prefetch(
      grain.MultiprocessingOptions(
        num_workers=workers, per_worker_buffer_size=_BATCHES_AHEAD_OF_A_WORKER
      ),
      worker_init_fn=_follow_parent,
    )
  readings = _iterate(batches, place)
  return Batches(readings, readings.close, TRAINING, faults)


def evaluation_batches(
  dataset: Dataset,
  batch_size: int,
  *,
  place: Place | None = None,
  faults: DataFaults | None = None,
) -> Batches:
  """Returns this process's share of the held-out examples, each once.

  All processes get the same number of batches; the last ones are filled up
  with copies of weight zero, so every example counts exactly once.

  Args:
    dataset: with at least one evaluation example.
    batch_size: global; divisible by the number of processes.
    place: see `train_batches`.
    faults: see `train_batches`; in the place of an example that is left out
      there is another, with weight zero.

  Returns:
    Dicts of arrays `[batch_size / processes, ...]` with `weight` 0 or 1.
  """
  processes = jax.process_count()
  total = len(dataset.evaluation)
  limit = faults.limit if faults else 0
  stream = grain.MapDataset.range(-(-total // batch_size) * batch_size)
  stream = stream.map(
    held_out_reader(dataset.evaluation, dataset.prepare, limit)
  )[jax.process_index() :: processes]
  stream = stream.batch(batch_size // processes)
  readings = _iterate(stream.to_iter_dataset(_READ_OPTIONS), place)
  return Batches(readings, readings.close, HELD_OUT, faults)


def _follow_parent(worker: int, workers: int) -> None:
  """Lets a worker end with the run, and not before it.

  Ctrl-C goes to all processes of a terminal, but stopping is for the run to do.
  One that is killed cannot: its workers would wait for it for ever.
  """
  del worker, workers
  for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, signal.SIG_IGN)
  parent = os.getppid()

  def watch() -> None:
    while os.getppid() == parent:
      time.sleep(_SECONDS_BETWEEN_LOOKS)
    os._exit(1)

  threading.Thread(target=watch, name='parent-watch', daemon=True).start()


def _iterate(
  batches: grain.IterDataset, place: Place | None
) -> grain.DatasetIterator:
  if place is not None:
    # In a thread of its own: copying is waited for, and not by the training.
    batches = grain.experimental.ThreadPrefetchIterDataset(
      batches.map(
        lambda reading: reading._replace(example=place(reading.example))
      ),
      prefetch_buffer_size=_BATCHES_ON_DEVICES,
    )
  return iter(batches)
