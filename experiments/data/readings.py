"""What travels through the pipeline: examples, and what was left out for them.

Readers stand in for `source[i]` and what is done with it: where an example
cannot be read, they go on to the next that can, as far as that is allowed, and
hand over the error beside the example. It comes out where batches are used.
"""

import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from experiments.data.faults import (
  HELD_OUT,
  TRAINING,
  DataFaults,
  stop_message,
)
from experiments.host.error_text import one_line

Example = Mapping[str, Any]


class Reading(NamedTuple):
  """An example, or a batch, with what was left out on the way to it.

  Attributes:
    example: its arrays.
    left_out: strings, one for each example: '' or lines of `NUMBER ERROR`. They
      are an array for they travel like one, out of worker processes too.
  """

  example: Example
  left_out: np.ndarray


def read_or_next(
  read: Callable[[int], Example],
  number: int,
  size: int,
  *,
  split: str,
  limit: int,
) -> tuple[Example, Mapping[int, str]]:
  """Reads an example, or else the next one that can be read.

  Args:
    read: number of an example to the example.
    number: of the example in its split.
    size: of the split.
    split: its name, for messages.
    limit: examples that may be left out.

  Returns:
    An example, and the errors of those before it by their numbers.

  Raises:
    ValueError: more than `limit` in a row cannot be read; it names them.
    MemoryError: is never the example's fault.
  """
  errors = {}
  for each in range(number, number + min(limit + 1, size)):
    try:
      return read(each % size), errors
    except MemoryError:
      raise
    except Exception as error:  # pylint: disable=broad-exception-caught
      errors[each % size] = one_line(error)
      # A cause is lost on the way out of a worker process, a note is not.
      details = traceback.format_exc()
  stop = ValueError(stop_message(split, errors, limit))
  stop.add_note(details)
  raise stop


def training_reader(
  source: Sequence[Example],
  augment: Callable[[Example, np.random.Generator], Example],
  limit: int,
) -> Callable[[int, np.random.Generator], Reading]:
  """Returns number and random generator to an augmented example.

  Args:
    source: of raw examples.
    augment: raw example and random generator to a training example.
    limit: examples that may be left out.
  """
  size = len(source)

  def read(number: int, rng: np.random.Generator) -> Reading:
    example, errors = read_or_next(
      lambda each: augment(source[each], rng),
      number,
      size,
      split=TRAINING,
      limit=limit,
    )
    return _reading(example, errors)

  return read


def held_out_reader(
  source: Sequence[Example],
  prepare: Callable[[Example], Example],
  limit: int,
) -> Callable[[int], Reading]:
  """Returns number to an evaluation example, with its `held_out_number`.

  In the place of an example that is left out there is another, of weight 0;
  numbers beyond the last give copies of the last, of weight 0 too.

  Args:
    source: of raw examples.
    prepare: raw example to an evaluation example.
    limit: examples that may be left out.
  """
  size = len(source)

  def read(number: int) -> Reading:
    example, errors = read_or_next(
      lambda each: prepare(source[each]),
      min(number, size - 1),
      size,
      split=HELD_OUT,
      limit=limit,
    )
    example = {**example, 'held_out_number': np.int32(min(number, size - 1))}
    return weighted(_reading(example, errors), number < size and not errors)

  return read


def pair_mixer(
  mix: Callable[[int, Example, np.random.Generator], Example],
) -> Callable[[int, Reading, np.random.Generator], Reading]:
  """Returns `mix` for pairs of readings, stacked."""

  def mix_readings(
    number: int, pair: Reading, rng: np.random.Generator
  ) -> Reading:
    example = mix(number, pair.example, rng)
    left_out = '\n'.join(str(each) for each in pair.left_out if each)
    return Reading(example, np.array(left_out))

  return mix_readings


def weighted(reading: Reading, weight: float) -> Reading:
  """Returns a reading whose example has a `weight`."""
  example = {**reading.example, 'weight': np.float32(weight)}
  return reading._replace(example=example)


def _reading(example: Example, errors: Mapping[int, str]) -> Reading:
  lines = '\n'.join(f'{number} {errors[number]}' for number in errors)
  return Reading(example, np.array(lines))


def errors_of(left_out: np.ndarray) -> dict[int, str]:
  """Returns the errors by number of a batch's `Reading.left_out`."""
  lines = '\n'.join(left_out[left_out != '']).splitlines()
  parts = [line.partition(' ') for line in lines]
  return {int(number): error for number, _, error in parts}


class Batches(Iterator[Example]):
  """Batches as they come; close it to end what makes them."""

  def __init__(
    self,
    readings: Iterator[Reading],
    close: Callable[[], None],
    split: str,
    faults: DataFaults | None,
  ):
    """Takes over what makes the batches.

    Args:
      readings: of batches.
      close: ends the threads and worker processes behind them.
      split: they are of.
      faults: counts what was left out and reports waiting; None does neither.
    """
    self._readings = readings
    self._close = close
    self._split = split
    self._faults = faults

  def __next__(self) -> Example:
    if self._faults is None:
      return self._read().example
    with self._faults.waiting(self._split):
      batch, left_out = self._read()
    self._faults.count(self._split, errors_of(left_out))
    return batch

  def close(self) -> None:
    """Ends threads and worker processes."""
    self._close()

  def _read(self) -> Reading:
    try:
      return next(self._readings)
    except RuntimeError as error:
      # Grain's own, when the system kills a worker.
      if 'Worker process was terminated' not in str(error):
        raise
      raise OSError(
        f'A worker process that makes {self._split} batches died: {error} '
        'Exit code -9 is often a lack of memory: use a smaller '
        '--config.data_workers.'
      ) from error
