"""How fast the input pipeline of a config makes batches."""

import contextlib
import os
import time
from typing import Any

import ml_collections

from experiments.data.pipeline import train_batches
from experiments.tasks import make_task

# Batches that are ready before timing begins, so as not to count those made
# ahead: threads keep 8, each worker 2.
_AHEAD, _AHEAD_OF_A_WORKER = 8, 3


def measure(
  config: ml_collections.ConfigDict,
  data_dir: str | None,
  *,
  batch_size: int,
  batches: int,
) -> dict[str, Any]:
  """Times the training batches of a config, with threads and with workers.

  Args:
    config: of an experiment, in which nothing is open; its data must be
      prepared.
    data_dir: where TFDS keeps prepared data; None for its own default.
    batch_size: examples of a batch.
    batches: timed for each number of workers.

  Returns:
    Examples a second for no worker, one, two, ... as many as processors.
  """
  dataset = make_task(config, data_dir).data.load()
  rows = []
  for workers in _numbers_of_workers():
    stream = train_batches(
      dataset, batch_size, seed=config.seed, position=0, workers=workers
    )
    with contextlib.closing(stream):
      for _ in range(_AHEAD + _AHEAD_OF_A_WORKER * workers):
        next(stream)
      start = time.perf_counter()
      for _ in range(batches):
        next(stream)
      seconds = time.perf_counter() - start
    rate = batches * batch_size / seconds
    rows.append({'workers': workers, 'examples_per_second': rate})
  return {
    'data': config.data.name,
    'batch_size': batch_size,
    'processors': os.cpu_count(),
    'rows': rows,
  }


def _numbers_of_workers() -> list[int]:
  """0, 1, 2, 4, ... up to the processors."""
  processors = os.cpu_count() or 1
  numbers, doubled = [0], 1
  while doubled <= processors:
    numbers.append(doubled)
    doubled *= 2
  return numbers


def render(result: dict[str, Any]) -> str:
  """Returns the result of `measure` as text."""
  lines = [
    f'Training batches of {result["batch_size"]} {result["data"]} examples, '
    f'{result["processors"]} processors:'
  ]
  for row in result['rows']:
    workers = row['workers']
    name = f'{workers} worker processes' if workers else 'threads alone'
    lines.append(f'  {name:<20} {row["examples_per_second"]:>9,.0f} a second')
  return '\n'.join(lines)
