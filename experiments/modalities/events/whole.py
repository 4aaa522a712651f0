"""What suits the training files of events, all of them together."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from experiments.files.kind import Survey
from experiments.files.listing import quantile, rounded, rounded_by
from experiments.modalities.events.files import Events, read_events

# Of the values: what rounding makes of a channel that never changes.
_LEAST_SPREAD = 1e-12
# The longest twentieth of the files is cut.
_WHOLE_SHARE = 0.95
# Each has weights of its own.
_MOST_CHANNELS = 1000


class Suited(NamedTuple):
  """What suits the training files; see `events_files`.

  Attributes:
    num_events: of an example.
    channels: names, sorted.
    mean: of each channel.
    stddev: of each channel.
    center: of all times, in seconds; 0 unless they are absolute.
    span: seconds.
    gap: seconds.
    counts: events of each file.
  """

  num_events: int
  channels: tuple[str, ...]
  mean: tuple[float, ...]
  stddev: tuple[float, ...]
  center: float
  span: float
  gap: float
  counts: list[int]


def suited(
  survey: Survey, names: Sequence[str] | None, max_events: int, origin: str
) -> Suited:
  """Returns what suits the training files.

  Args:
    survey: of them.
    names: of the channels, where they are given.
    max_events: of an example.
    origin: see `events_files`.

  Raises:
    ValueError: there are too many channels, or others than are given.
  """
  files = survey(lambda path: read_events(path, names))
  if names is None:
    names = sorted({name for each in files for name in each.names})
  if len(names) > _MOST_CHANNELS:
    raise ValueError(
      f'there are {len(names):,} channels, such as {names[0]!r}, and at most '
      f'{_MOST_CHANNELS:,} are learned: keep the most frequent.'
    )
  counts = [len(each.time) for each in files]
  num_events = min(int(quantile(counts, _WHOLE_SHARE)), max_events)
  mean, stddev = _statistics(files, names)
  span, center = _times(files, num_events, origin)
  return Suited(
    num_events,
    tuple(names),
    mean,
    stddev,
    center,
    span,
    _gap(files) or span,
    counts,
  )


def _statistics(
  files: Sequence[Events], names: Sequence[str]
) -> tuple[tuple[float, ...], tuple[float, ...]]:
  """Mean and standard deviation of each channel."""
  of_name = {name: [np.zeros(0)] for name in names}
  for each in files:
    for number, name in enumerate(each.names):
      of_name[name].append(each.value[each.channel == number])
  means, spreads = [], []
  for parts in of_name.values():
    values = np.concatenate(parts)
    spread = values.std() if values.size else 0.0
    # A channel that never changes is left at zero.
    if spread <= _LEAST_SPREAD * np.abs(values).max(initial=0.0):
      spread = 1.0
    means.append(values.mean() if values.size else 0.0)
    spreads.append(spread)
  return rounded_by(means, spreads), rounded(spreads)


def _times(
  files: Sequence[Events], num_events: int, origin: str
) -> tuple[float, float]:
  """Span of examples and center of times, in seconds."""
  if origin == 'absolute':
    first = min(each.time[0] for each in files)
    last = max(each.time[-1] for each in files)
    (span,) = rounded([last - first])
    span = span or 1.0
    return span, rounded_by([(first + last) / 2.0], [span])[0]
  spans = [
    each.time[-1] - each.time[max(0, len(each.time) - num_events)]
    for each in files
  ]
  (span,) = rounded([quantile(spans, _WHOLE_SHARE)])
  # All happens at once: any span will do.
  return span or 1.0, 0.0


def _gap(files: Sequence[Events]) -> float:
  """Median distance of events of a channel; 0 where none has two."""
  gaps = []
  for each in files:
    order = np.lexsort((each.time, each.channel))
    time, channel = each.time[order], each.channel[order]
    steps = np.diff(time)[np.diff(channel) == 0]
    gaps.append(steps[steps > 0])
  joined = np.concatenate(gaps)
  return rounded([np.median(joined)])[0] if joined.size else 0.0
