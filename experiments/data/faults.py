"""Examples that cannot be read, and data that does not come.

An example that cannot be read, decoded or augmented stops the run, or is left
out and counted, up to a limit. In training the next one that can be read takes
its place, so the stream depends on seed and position alone as before; a held-
out example is left out of the metrics.
"""

import contextlib
from collections.abc import Callable, Mapping

import jax

from experiments.data.stalls import StallWatch
from experiments.host.progress import warn

TRAINING, HELD_OUT = 'training', 'held-out'

_OPTION = 'config.data_faults.bad_examples'
# Of the examples left out before, how many are listed.
_MOST_LISTED = 10


class DataFaults:
  """What goes wrong with the data of a run: counted, reported, limited.

  Of several processes, each counts what it reads itself, and says its number in
  what it reports.

  Attributes:
    limit: examples that may be left out.
  """

  def __init__(
    self,
    say: Callable[[str], None] = warn,
    *,
    bad_examples: int = 0,
    stall_seconds: float = 60.0,
  ):
    """Nothing is watched before data is waited for.

    Args:
      say: prints a line; it may be called from another thread.
      bad_examples: that may be left out. Each counts once, however often its
        turn comes. 0 stops at the first.
      stall_seconds: the shortest wait for data that is reported; longer ones
        are again each time they have doubled.

    Raises:
      ValueError: a value is out of its range.
    """
    if bad_examples < 0:
      raise ValueError(f'{_OPTION} must not be negative, got {bad_examples}.')
    if not stall_seconds > 0.0:
      raise ValueError(
        'config.data_faults.stall_seconds must be positive, got '
        f'{stall_seconds}.'
      )
    self.limit = bad_examples
    self._print = say
    self._watch = StallWatch(self._say, stall_seconds)
    self._left_out: dict[tuple[str, int], str] = {}

  def waiting(self, split: str) -> contextlib.AbstractContextManager[None]:
    """Reports when the block, which waits for a batch, takes long."""
    return self._watch.waiting(f'{split} data')

  def count(self, split: str, errors: Mapping[int, str]) -> None:
    """Counts examples that were left out, and reports each the first time.

    Args:
      split: they are of.
      errors: by number of the example.

    Raises:
      ValueError: there are more of them now than may be left out.
    """
    for number, error in errors.items():
      if (split, number) in self._left_out:
        continue
      if len(self._left_out) == self.limit:
        raise ValueError(
          stop_message(split, {number: error}, self.limit, self._listed())
        )
      self._left_out[split, number] = error
      what = (
        'The next one takes its place'
        if split == TRAINING
        else 'It has no weight in any evaluation'
      )
      self._say(
        f'Left out {split} example {number} (bad example '
        f'{len(self._left_out)} of at most {self.limit}): {error}. {what}.'
      )

  def skipped(self, split: str) -> int:
    """Returns how many different examples were left out so far."""
    return sum(of == split for of, _ in self._left_out)

  def errors(self, split: str) -> dict[int, str]:
    """Returns the errors of the examples left out so far, by their numbers."""
    return {
      number: error
      for (of, number), error in self._left_out.items()
      if of == split
    }

  def close(self) -> None:
    """Ends the watching."""
    self._watch.close()

  def _listed(self) -> str:
    names = [f'{split} {number}' for split, number in self._left_out]
    more = '' if len(names) <= _MOST_LISTED else ', ...'
    return ', '.join(names[:_MOST_LISTED]) + more

  def _say(self, line: str) -> None:
    if jax.process_count() > 1:
      line = f'Process {jax.process_index()}: {line}'
    self._print(line)


def stop_message(
  split: str, errors: Mapping[int, str], limit: int, before: str = ''
) -> str:
  """Returns what is said when examples that cannot be read are too many.

  Args:
    split: they are of.
    errors: by the numbers of the examples, which are next to each other.
    limit: examples that may be left out.
    before: names of those that were.
  """
  numbers = list(errors)
  name = f'{split.capitalize()} example {numbers[0]}'
  if len(numbers) > 1:
    name += f', and the {len(numbers) - 1} after it,'
  text = f'{name} cannot be read: {errors[numbers[0]]}.'
  if not limit:
    return (
      f'{text} Repair or remove it, or have up to N such examples left out '
      f'with --{_OPTION}=N. Examples are numbered from 0.'
    )
  earlier = f' Left out before: {before}.' if before else ''
  return (
    f'{text} No more than {limit} may be left out by {_OPTION}.{earlier} '
    'Repair or remove them, or raise the limit.'
  )
