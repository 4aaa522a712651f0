"""Your own events: how they are kept, and become examples.

See `files.events` for what is read. Shapes: n events of a file, E of an
example, R channels.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from experiments.data.dataset import Example, array_spec
from experiments.data.modality import View
from experiments.files.features import array_feature
from experiments.files.kind import FileKind, Survey
from experiments.files.listing import rounded
from experiments.files.windows import window_starts
from experiments.modalities.events.augmentation import Changes, change_events
from experiments.modalities.events.classical import event_statistics
from experiments.modalities.events.files import read_events
from experiments.modalities.events.view import Events, in_words
from experiments.modalities.events.whole import Suited, suited

ORIGINS = ('end', 'start', 'absolute')
# Bands are 1 apart where there are half as many.
_LEAST_RESOLUTION, _MOST_RESOLUTION = 2.0, 32.0


def events_files(
  survey: Survey,
  *,
  num_events: int | None = None,
  max_events: int = 512,
  channels: Sequence[str] | None = None,
  mean: Sequence[float] | None = None,
  stddev: Sequence[float] | None = None,
  origin: str = 'end',
  center: float | None = None,
  span: float | None = None,
  gap: float | None = None,
  max_drop: float = 0.0,
  max_speed_change: float = 0.0,
  jitter: float = 0.0,
  max_scale: float = 0.0,
  noise: float = 0.0,
) -> FileKind:
  """Events, kept in standard deviations of their channels.

  Args:
    survey: of the training files, for what is None.
    num_events: of an example: of a longer file any stretch in training; in
      evaluation the last one, the first where times are told from the start,
      and the middle where they are absolute. None for what 95 of 100 files fit
      into.
    max_events: that is chosen at most.
    channels: their names in order; None for those of the training files. A file
      may lack any, and have no others.
    mean: of each channel; None for that of the training files.
    stddev: of each channel; None for that of the training files.
    origin: what times are told from: the 'end' of an example, its 'start', or
      as they are, 'absolute'. The end is where most answers are asked for: then
      what is newest lies at the same place in records of all lengths.
    center: of absolute times, in seconds; None for that of the training files.
    span: seconds that times from -1 to 1 stand for; None for what 95 of 100
      examples last, or of absolute times all.
    gap: seconds from an event of a channel to the next; None for the median.
    max_drop: of a training example a share of the events is left out, which is
      any up to this one.
    max_speed_change: of training examples; 0.1 is from 0.9 to 1.1 times as
      fast.
    jitter: standard deviation of what is added to each time, in gaps.
    max_scale: of each channel; 0.1 is from 0.9 to 1.1 times.
    noise: standard deviation of what is added to each value, in standard
      deviations.

  Returns:
    Examples with `events`: `time` float32 `[E]`, in which the span goes from -1
    to 1, so that the last event is at 1 where times are told from the end, and
    the first at -1 where they are told from the start; `channel` int32 `[E]`,
    -1 where there is no event; `value` float32 `[E]` of about zero mean and
    unit variance.

  Raises:
    ValueError: an option is out of its range.
  """
  changes = Changes(max_drop, max_speed_change, jitter, max_scale, noise)
  changes.check()
  if origin not in ORIGINS:
    raise ValueError(f'origin must be one of {ORIGINS}, got {origin!r}.')
  if channels is not None and len(set(channels)) != len(channels):
    raise ValueError(f'channels has a name twice: {", ".join(channels)}.')
  found = None
  if None in (num_events, channels, mean, stddev, center, span, gap):
    found = suited(survey, channels, num_events or max_events, origin)
    num_events = num_events or found.num_events
    channels = found.channels if channels is None else channels
    mean, stddev = mean or found.mean, stddev or found.stddev
    center = found.center if center is None else center
    span, gap = span or found.span, gap or found.gap
  _check(num_events, channels, mean, stddev, span, gap)
  kept = _Format(
    num_events, tuple(channels), mean, stddev, origin, center, span, gap
  )

  def augment(example: Example, rng: np.random.Generator) -> Example:
    latest = max(0, len(example['time']) - num_events)
    events = kept.stretch(example, int(rng.integers(latest + 1)))
    return kept.padded(*change_events(*events, changes, gap / span * 2, rng))

  return FileKind(
    read=kept.read,
    features={
      'time': array_feature((None,), np.float64),
      'channel': array_feature((None,), np.int32),
      'value': array_feature((None,), np.float32),
    },
    options={
      'kind': 'events',
      'channels': list(kept.channels),
      'mean': [float(value) for value in mean],
      'stddev': [float(value) for value in stddev],
    },
    example={
      'events': {
        'time': array_spec(num_events),
        'channel': array_spec(num_events, dtype=np.int32),
        'value': array_spec(num_events),
      }
    },
    augment=augment,
    prepare=kept.prepare,
    view=lambda example: {'events': kept.view(example)},
    parts=kept.parts,
    chosen=kept.chosen(),
    note=_note(kept, found),
    classical=lambda example: event_statistics(kept.view(example)),
  )


class _Format(NamedTuple):
  """What events are kept as, and what becomes of them without any chance."""

  num_events: int
  channels: tuple[str, ...]
  mean: Sequence[float]
  stddev: Sequence[float]
  origin: str
  center: float
  span: float
  gap: float

  def read(self, path: Any) -> Example:
    time, channel, value, _ = read_events(path, self.channels)
    # In double precision: what changes may be small beside what is there.
    offset, scale = np.array([self.mean, self.stddev], np.float64)
    value = (value - offset[channel]) / scale[channel]
    return {'time': time, 'channel': channel, 'value': value.astype(np.float32)}

  def stretch(
    self, example: Example, start: int
  ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Events from one on, with times about -1 to 1."""
    chosen = slice(start, start + self.num_events)
    time = example['time'][chosen]
    # In double precision: seconds since 1970 have ten digits before the point.
    if self.origin == 'end':
      time = 1.0 + 2.0 * (time - time[-1]) / self.span
    elif self.origin == 'start':
      time = -1.0 + 2.0 * (time - time[0]) / self.span
    else:
      time = 2.0 * (time - self.center) / self.span
    return time, example['channel'][chosen], example['value'][chosen]

  def padded(
    self, time: np.ndarray, channel: np.ndarray, value: np.ndarray
  ) -> Example:
    missing = 0, self.num_events - len(time)
    return {
      'events': {
        'time': np.pad(time.astype(np.float32), missing),
        'channel': np.pad(channel, missing, constant_values=-1),
        'value': np.pad(value.astype(np.float32), missing),
      }
    }

  def prepare(self, example: Example) -> Example:
    over = max(0, len(example['time']) - self.num_events)
    start = {'end': over, 'start': 0, 'absolute': over // 2}[self.origin]
    return self.padded(*self.stretch(example, start))

  def parts(self, example: Example) -> list[Example]:
    starts = window_starts(
      len(example['time']), self.num_events, self.num_events
    )
    return [self.padded(*self.stretch(example, start)) for start in starts]

  def view(self, example: Example) -> View:
    events = example['events']
    there = events['channel'] >= 0
    channel = events['channel'][there]
    offset, scale = np.array([self.mean, self.stddev], np.float64)
    time = events['time'][there].astype(np.float64)
    shift = {'end': -1.0, 'start': 1.0, 'absolute': 0.0}[self.origin]
    return Events(
      time=(time + shift) * self.span / 2.0 + self.center,
      channel=channel,
      value=events['value'][there] * scale[channel] + offset[channel],
      names=self.channels,
    )

  def chosen(self) -> dict[str, Any]:
    resolution = min(
      max(self.span / self.gap, _LEAST_RESOLUTION), _MOST_RESOLUTION
    )
    return {
      'data.num_events': self.num_events,
      'data.channels': self.channels,
      'data.mean': self.mean,
      'data.stddev': self.stddev,
      'data.center': self.center,
      'data.span': self.span,
      'data.gap': self.gap,
      'inputs.events.num_rows': len(self.channels),
      'inputs.events.max_resolution': rounded([resolution])[0],
    }


def _check(
  num_events: int,
  channels: Sequence[str],
  mean: Sequence[float],
  stddev: Sequence[float],
  span: float,
  gap: float,
) -> None:
  if num_events < 1:
    raise ValueError(f'num_events must be at least 1, got {num_events}.')
  if not 0 < len(channels) == len(mean) == len(stddev):
    raise ValueError(
      'channels, mean and stddev must have one entry for each channel, got '
      f'{len(channels)}, {len(mean)} and {len(stddev)}.'
    )
  if min(*stddev, span, gap) <= 0.0:
    raise ValueError(
      f'stddev, span and gap must be above 0, got {tuple(stddev)}, {span} and '
      f'{gap}.'
    )


def _note(kept: _Format, found: Suited | None) -> str:
  counts = ''
  if found:
    low, high = min(found.counts), max(found.counts)
    counts = f' (files have {low:,} to {high:,})'
  return (
    f'events: {len(kept.channels)} channels, {kept.num_events:,} events'
    f'{counts} in about {in_words(kept.span)}, those of a channel '
    f'{in_words(kept.gap)} apart, '
  )
