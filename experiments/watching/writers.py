"""Where a run's numbers go: metrics.jsonl, TensorBoard, and where else."""

import abc
import contextlib
import json
import math
import os
import pathlib
import socket
import struct
import time
from collections.abc import Mapping, Sequence
from typing import Protocol

from tensorboardX.proto.event_pb2 import Event, SessionLog
from tensorboardX.record_writer import masked_crc32c
from tensorboardX.summary import scalar

from experiments.host.buckets import (
  BucketPath,
  cannot_write,
  is_in_bucket,
  sync,
  write_whole,
)
from experiments.host.progress import say

# How often a file of a bucket is written anew.
_BUCKET_SECONDS = 20.0


class Sink(Protocol):
  """Something that metrics can be written to."""

  def write(self, step: int, metrics: Mapping[str, float]) -> None:
    """Takes the metrics of a step."""

  def close(self) -> None:
    """Ends; everything taken is kept."""


class MetricsWriter:
  """Writes metrics to `<workdir>/metrics.jsonl` and TensorBoard events.

  A line of metrics.jsonl is one JSON object: `step`, then flat names such as
  `train/loss` with floats, null where they are not finite.

  A disk that is full, or fails otherwise, does not end the run: what cannot be
  written waits, and is written when that works again. In a bucket the files are
  written anew at most every 20 seconds, and before each checkpoint.
  """

  def __init__(
    self,
    workdir: pathlib.Path,
    step: int,
    *,
    active: bool,
    also: Sequence[Sink] = (),
  ):
    """Opens the files to go on after a step.

    Args:
      workdir: of the run.
      step: what was written for later steps, by a run that was interrupted
        after its last checkpoint, is dropped.
      active: False touches nothing, for all processes but one.
      also: where else the same goes; closed with this.
    """
    self._files, self._also, self._fails = [], [], False
    if active:
      self._files = [_Lines(workdir, step), _Events(workdir, step)]
      self._also = list(also)

  def write(self, step: int, metrics: Mapping[str, float]) -> None:
    """Writes the metrics of a step."""
    problem = None
    for sink in (*self._files, *self._also):
      try:
        sink.write(step, metrics)
      except OSError as error:
        problem = error
    if problem is not None and not self._fails:
      say(f'Metrics wait, and training goes on: {problem}')
    if problem is None and self._fails:
      say(f'Metrics are written again, with those that waited: step {step}.')
    self._fails = problem is not None

  def flush(self) -> None:
    """Writes what waits, before a checkpoint: a run goes on from there."""
    for file in self._files:
      # It is said when the next metrics are written.
      with contextlib.suppress(OSError):
        file.flush()

  def close(self) -> None:
    """Writes what waits, and ends."""
    problem = None
    for sink in (*self._files, *self._also):
      try:
        sink.close()
      except OSError as error:
        problem = error
    if problem is not None:
      say(f'The last metrics are lost: {problem}')


class _Records(abc.ABC):
  """A file that grows by whole records; what cannot be written waits."""

  @abc.abstractmethod
  def append(self, record: bytes) -> None:
    """Takes a record, and writes, perhaps later; raises an OSError."""

  @abc.abstractmethod
  def flush(self) -> None:
    """Writes all that waits, or raises an OSError."""


class _DiskRecords(_Records):
  """On a disk: each record is appended at once."""

  def __init__(self, path: pathlib.Path):
    self._path, self._waiting = path, b''
    self.append(b'')

  def flush(self) -> None:
    self.append(b'')
    sync(self._path)

  def append(self, record: bytes) -> None:
    self._waiting += record
    try:
      self._append()
    except OSError as error:
      raise cannot_write(self._path, error) from error
    self._waiting = b''

  def _append(self) -> None:
    # A disk that was gone knows nothing of files that were open.
    with self._path.open('ab', buffering=0) as file:
      size = os.fstat(file.fileno()).st_size
      written = 0
      try:
        while written < len(self._waiting):
          written += file.write(self._waiting[written:])
      except OSError:
        with contextlib.suppress(OSError):
          file.truncate(size)
        raise


class _BucketRecords(_Records):
  """In a bucket, where nothing can be appended: written anew, now and then."""

  def __init__(self, path: BucketPath, content: bytes):
    self._path, self._content = path, content
    self._waits, self._written = False, -math.inf

  def append(self, record: bytes) -> None:
    self._content += record
    self._waits = True
    if time.monotonic() >= self._written + _BUCKET_SECONDS:
      self.flush()

  def flush(self) -> None:
    if self._waits:
      self._written = time.monotonic()  # Nor is a failure tried again at once.
      self._path.write_bytes(self._content)
      self._waits = False


class _Lines:
  """`metrics.jsonl`."""

  def __init__(self, workdir: pathlib.Path, step: int):
    path = workdir / 'metrics.jsonl'
    text = _text_of(path)
    # The run may have been killed while it wrote the last line.
    lines = [
      line for line in text.splitlines(keepends=True) if line.endswith('\n')
    ]
    kept = ''.join(line for line in lines if _step_of(line, path) <= step)
    if kept != text:  # Otherwise it needs no room on the disk.
      write_whole(path, kept)
    self._records = _records(path, kept.encode())

  def write(self, step: int, metrics: Mapping[str, float]) -> None:
    row = {  # JSON has no NaN and no infinity.
      name: value if math.isfinite(value) else None
      for name, value in metrics.items()
    }
    self._records.append((json.dumps({'step': step, **row}) + '\n').encode())

  def flush(self) -> None:
    self._records.flush()

  def close(self) -> None:
    self._records.flush()


class _Events:
  """TensorBoard.

  The writers of its packages write in a thread, which ends when the disk is
  full; the next who hands an event to it then waits for ever.
  """

  def __init__(self, workdir: pathlib.Path, step: int):
    folder = workdir / 'tensorboard'
    folder.mkdir(exist_ok=True)
    now = time.time()
    self._records = _records(
      folder
      / f'events.out.tfevents.{int(now)}.{socket.gethostname()}.{os.getpid()}',
      b'',
    )
    start = SessionLog(status=SessionLog.START)
    self._records.append(
      _framed(Event(wall_time=now, file_version='brain.Event:2'))
      # What other files say of this step and later ones is forgotten.
      + _framed(Event(wall_time=now, step=step + 1, session_log=start))
    )

  def write(self, step: int, metrics: Mapping[str, float]) -> None:
    now = time.time()
    self._records.append(
      b''.join(
        _framed(Event(wall_time=now, step=step, summary=scalar(name, value)))
        for name, value in metrics.items()
      )
    )

  def flush(self) -> None:
    self._records.flush()

  def close(self) -> None:
    self._records.flush()


def _records(path: pathlib.Path | BucketPath, content: bytes) -> _Records:
  """Returns a file to go on with.

  Args:
    path: of the file.
    content: that it has.
  """
  if is_in_bucket(path):
    return _BucketRecords(path, content)
  return _DiskRecords(path)


def _framed(event: Event) -> bytes:
  """An event as a record of a tfrecord file."""
  data = event.SerializeToString()
  length = struct.pack('<Q', len(data))
  return b''.join(
    part + struct.pack('<I', masked_crc32c(part)) for part in (length, data)
  )


def _text_of(path: pathlib.Path | BucketPath) -> str:
  """Returns what a file holds, as text; '' where there is none.

  Raises:
    OSError: it cannot be read, or is a folder.
  """
  try:
    return path.read_bytes().decode('utf-8', 'replace')
  except FileNotFoundError:
    return ''


def _step_of(line: str, path: pathlib.Path) -> int:
  try:
    step = json.loads(line)['step']
    if not isinstance(step, int):
      raise TypeError(f'a step {step!r}')
    return step
  except (ValueError, KeyError, TypeError, RecursionError) as error:
    raise ValueError(
      f'{path} has a line that no run wrote: {line.strip()[:80]!r}. Repair or '
      'remove the file.'
    ) from error
