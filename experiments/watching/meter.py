"""What the steps between two readings came to, and where their time went."""

import contextlib
import time
from collections.abc import Iterator, Mapping

import jax

from experiments.measuring.memory import memory_in_use
from experiments.watching.speed import Speed
from perceiver_jax.metrics import Mean, compute


class Meter:
  """Adds up metrics of steps and divides the time between readings."""

  def __init__(self, batch_size: int, speed: Speed):
    """Starts the clock.

    Args:
      batch_size: global.
      speed: what the seconds of a step are measured by.
    """
    self._batch_size = batch_size
    self._speed = speed
    self._restart()

  def add(self, step_metrics: Mapping[str, Mean]) -> None:
    """Keeps the metrics of a step on the device, without waiting for them."""
    self._batches.append(step_metrics)

  @contextlib.contextmanager
  def waiting_for_data(self) -> Iterator[None]:
    """Counts the time spent in the block as waiting for the next batch."""
    with self._timed('data_wait'):
      yield

  @contextlib.contextmanager
  def saving(self) -> Iterator[None]:
    """Counts the time spent in the block as that of a checkpoint."""
    jax.block_until_ready(self._batches)  # Queued steps are not the block's.
    with self._timed('checkpoint'):
      yield

  @contextlib.contextmanager
  def evaluating(self) -> Iterator[None]:
    """Counts the time spent in the block apart from that of the steps."""
    jax.block_until_ready(self._batches)
    with self._timed('evaluation'):
      yield

  def read(self, position: int) -> dict[str, float]:
    """Returns the means since the last reading as `train/...`; starts anew.

    `train/seconds_per_step` is the time since the last reading but for that of
    evaluations, `train/seconds_evaluating`, over the steps. It is the sum of
    `..._data_wait`, in which the loop waited for batches; `..._checkpoint`, in
    which it waited for checkpoints, not counting what of them is written
    meanwhile; and `..._device`, the rest: steps, and what little the loop does
    itself. Steps are queued on accelerators, and only readings, evaluations and
    checkpoints wait for them: while the loop waits for data, a device may be
    busy with earlier steps.

    Args:
      position: examples of the training stream consumed so far.
    """
    row = compute(self._batches)  # Waits for the steps.
    seconds = time.perf_counter() - self._start
    row |= self._times(seconds)
    row['examples_per_second'] = self._batch_size / row['seconds_per_step']
    row['examples_seen'] = float(position)
    row |= self._speed.metrics(row['seconds_per_step'])
    row |= memory_in_use()
    self._restart()
    return {f'train/{name}': value for name, value in row.items()}

  def _times(self, seconds: float) -> dict[str, float]:
    """Divides the seconds since the last reading."""
    parts = dict(self._seconds)
    evaluation = parts.pop('evaluation')
    parts['device'] = seconds - evaluation - sum(parts.values())
    steps = len(self._batches)
    return {
      'seconds_per_step': (seconds - evaluation) / steps,
      **{f'seconds_per_step_{k}': parts[k] / steps for k in sorted(parts)},
      'seconds_evaluating': evaluation,
    }

  @contextlib.contextmanager
  def _timed(self, part: str) -> Iterator[None]:
    start = time.perf_counter()
    try:
      yield
    finally:
      self._seconds[part] += time.perf_counter() - start

  def _restart(self) -> None:
    self._batches = []
    self._seconds = dict(data_wait=0.0, checkpoint=0.0, evaluation=0.0)
    self._start = time.perf_counter()
