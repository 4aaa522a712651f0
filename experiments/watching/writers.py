"""Where a run's numbers go: metrics.jsonl, TensorBoard, and where else."""

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

from experiments.watching.progress import say


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
  written waits, and is written when that works again.
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
    self._sinks, self._fails = [], False
    if active:
      self._sinks = [_Lines(workdir, step), _Events(workdir, step), *also]

  def write(self, step: int, metrics: Mapping[str, float]) -> None:
    """Writes the metrics of a step."""
    problem = None
    for sink in self._sinks:
      try:
        sink.write(step, metrics)
      except OSError as error:
        problem = error
    if problem is not None and not self._fails:
      say(f'Metrics cannot be written, and wait: {problem}. Training goes on.')
    if problem is None and self._fails:
      say(f'Metrics are written again, with those that waited: step {step}.')
    self._fails = problem is not None

  def close(self) -> None:
    """Writes what waits, and ends."""
    problem = None
    for sink in self._sinks:
      try:
        sink.close()
      except OSError as error:
        problem = error
    if problem is not None:
      say(f'The last metrics are lost, they cannot be written: {problem}.')


class _Records:
  """A file that grows by whole records; those that do not fit wait."""

  def __init__(self, path: pathlib.Path):
    self._path, self._waiting = path, b''
    self.append(b'')

  def append(self, record: bytes) -> None:
    """Writes all that waits, or nothing of it and raises an OSError."""
    self._waiting += record
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
      self._waiting = b''


class _Lines:
  """`metrics.jsonl`."""

  def __init__(self, workdir: pathlib.Path, step: int):
    path = workdir / 'metrics.jsonl'
    text = path.read_text(encoding='utf-8') if path.exists() else ''
    # The run may have been killed while it wrote the last line.
    lines = [
      line for line in text.splitlines(keepends=True) if line.endswith('\n')
    ]
    kept = ''.join(line for line in lines if _step_of(line, path) <= step)
    if kept != text:  # Otherwise it needs no room on the disk.
      temporary = path.with_suffix('.tmp')
      temporary.write_text(kept, encoding='utf-8')
      temporary.replace(path)
    self._records = _Records(path)

  def write(self, step: int, metrics: Mapping[str, float]) -> None:
    row = {  # JSON has no NaN and no infinity.
      name: value if math.isfinite(value) else None
      for name, value in metrics.items()
    }
    self._records.append((json.dumps({'step': step, **row}) + '\n').encode())

  def close(self) -> None:
    self._records.append(b'')


class _Events:
  """TensorBoard.

  The writers of its packages write in a thread, which ends when the disk is
  full; the next who hands an event to it then waits for ever.
  """

  def __init__(self, workdir: pathlib.Path, step: int):
    folder = workdir / 'tensorboard'
    folder.mkdir(exist_ok=True)
    now = time.time()
    self._records = _Records(
      folder
      / f'events.out.tfevents.{int(now)}.{socket.gethostname()}.{os.getpid()}'
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

  def close(self) -> None:
    self._records.append(b'')


def _framed(event: Event) -> bytes:
  """An event as a record of a tfrecord file."""
  data = event.SerializeToString()
  length = struct.pack('<Q', len(data))
  return b''.join(
    part + struct.pack('<I', masked_crc32c(part)) for part in (length, data)
  )


def _step_of(line: str, path: pathlib.Path) -> int:
  try:
    return json.loads(line)['step']
  except (json.JSONDecodeError, KeyError, TypeError) as error:
    raise ValueError(
      f'{path} has a line that no run wrote: {line.strip()[:80]!r}. Repair or '
      'remove the file.'
    ) from error
