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
from collections.abc import Callable
from typing import Any

import grain
import jax

from experiments.data.dataset import Dataset, InMemory
from experiments.data.faults import (
  HELD_OUT,
  TRAINING,
  DataFaults,
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


def count_unreadable(dataset: Dataset, faults: DataFaults) -> None:
  """Counts what is known to be unreadable before the run begins.

  Raises:
    ValueError: it is more than may be left out.
  """
  for split, source in (
    (TRAINING, dataset.train),
    (HELD_OUT, dataset.evaluation),
    (HELD_OUT, dataset.validation),
  ):
    if isinstance(source, InMemory):
      faults.count(split, source.unreadable)


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
    Dicts of arrays `[batch_size / processes, ...]` with `weight` 0 or 1, and
    `held_out_number` int32, that of the example in its split.
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

  Ctrl-C goes to all processes of a terminal, as does the news that it closes,
  but stopping is for the run to do.
  One that is killed cannot: its workers would wait for it for ever.
  """
  del worker, workers
  for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
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
