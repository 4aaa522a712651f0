"""The file of a lock: on a disk that machines may share, or in a bucket.

Both are made only where there is none, replaced in one step, and show that
their holder is alive. What differs is how: see the two classes.
"""

import abc
import contextlib
import fcntl
import os
import pathlib
import tempfile
from typing import IO, Any

from experiments.host.buckets import BucketPath, is_in_bucket


class LockFile(abc.ABC):
  """A small text that at most one process writes.

  Attributes:
    path: of the file.
  """

  def __init__(self, path: pathlib.Path | BucketPath):
    self.path = path

  def sibling(self, name: str) -> 'LockFile':
    """Returns another one beside it."""
    return type(self)(self.path.with_name(name))

  @abc.abstractmethod
  def create(self, text: str) -> bool:
    """Writes the file unless it is there; returns whether it was not."""

  @abc.abstractmethod
  def replace(self, text: str, temporary: str) -> None:
    """Writes another text; at no time there is no file.

    Args:
      text: to write.
      temporary: name beside it that is this process's alone.
    """

  def read(self) -> str | None:
    """Returns the text; None where there is no file."""
    try:
      return self.path.read_text(errors='replace', encoding='utf-8')
    except FileNotFoundError:
      return None

  def remove(self) -> None:
    """Removes the file, if it is there."""
    self.path.unlink(missing_ok=True)

  def is_held(self) -> bool | None:
    """Returns whether a process of this machine has it, None if none can say.

    Its end, whatever it dies of, is seen at once.
    """
    return None

  @abc.abstractmethod
  def refresh(self) -> None:
    """Shows others that the holder, who is this process, is alive."""

  @abc.abstractmethod
  def mark(self) -> Any | None:
    """Returns what changes when the file is refreshed; None without a file."""

  @abc.abstractmethod
  def age(self) -> float:
    """Returns seconds since it was refreshed, by the clock of the store."""


class DiskLockFile(LockFile):
  """On a disk: held by the system, `flock`, for as long as its holder lives.

  Not on every disk that machines share do others see this: for them it is
  refreshed by the time of the file.
  """

  def __init__(self, path: pathlib.Path):
    super().__init__(path)
    self._open: IO[str] | None = None

  def create(self, text: str) -> bool:
    """See the base class."""
    try:
      self._open = self.path.open('x', encoding='utf-8')
    except FileExistsError:
      return False
    try:
      self._write(text)
    except OSError:  # A disk that is full has room for the name of a file.
      self.remove()
      raise
    return self.read() == text  # Or one was slower than others have patience.

  def replace(self, text: str, temporary: str) -> None:
    """See the base class."""
    new = self.path.with_name(temporary)
    self._open = new.open('w', encoding='utf-8')
    try:
      self._write(text)
      new.replace(self.path)
    except OSError:
      new.unlink(missing_ok=True)
      raise

  def remove(self) -> None:
    """See the base class."""
    try:
      super().remove()
    finally:
      if self._open is not None:
        with contextlib.suppress(OSError):
          self._open.close()

  def is_held(self) -> bool | None:
    """See the base class."""
    try:
      with self.path.open('rb') as file:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
      return True
    except FileNotFoundError:
      return False
    except OSError:  # This disk has no such locks.
      return None
    return False

  def _write(self, text: str) -> None:
    # Waits for those only who ask at this moment whether it is held.
    with contextlib.suppress(OSError):
      fcntl.flock(self._open, fcntl.LOCK_EX)
    self._open.write(text)
    self._open.flush()

  def refresh(self) -> None:
    """See the base class."""
    os.utime(self.path)

  def mark(self) -> tuple[int, int] | None:
    """See the base class."""
    state = self._state()
    # The size, since what is just being written may have no text yet.
    return None if state is None else (state.st_mtime_ns, state.st_size)

  def age(self) -> float:
    """See the base class."""
    state = self._state()
    if state is None:
      return float('inf')
    with tempfile.TemporaryFile(dir=self.path.parent) as file:
      now = os.fstat(file.fileno()).st_mtime
    return max(0.0, now - state.st_mtime)

  def _state(self) -> os.stat_result | None:
    try:
      # NFS asks its server only when a file is opened.
      with self.path.open('rb') as file:
        return os.fstat(file.fileno())
    except FileNotFoundError:
      return None


class BucketLockFile(LockFile):
  """In a bucket: refreshed by another object, `<name>.alive`, written anew.

  So the lock itself is written only by who makes it or takes it over: one who
  was silent for too long, and wakes, cannot write over the lock of another.
  """

  def create(self, text: str) -> bool:
    """See the base class."""
    if not self.path.create(text.encode()):
      # After an answer that was lost, the libraries ask once more.
      return self.read() == text
    self.refresh()
    return True

  def replace(self, text: str, temporary: str) -> None:
    """See the base class."""
    del temporary
    self.path.write_text(text, encoding='utf-8')
    self.refresh()

  def remove(self) -> None:
    """See the base class."""
    super().remove()
    self._alive.unlink(missing_ok=True)

  def refresh(self) -> None:
    """See the base class."""
    self._alive.write_bytes(os.urandom(8))

  def mark(self) -> tuple[str, bytes] | None:
    """See the base class."""
    text, alive = self.read(), b''
    with contextlib.suppress(FileNotFoundError):
      alive = self._alive.read_bytes()
    return None if text is None else (text, alive)

  def age(self) -> float:
    """See the base class."""
    probe = self.path.with_name(f'{self.path.name}.{os.urandom(8).hex()}')
    probe.touch()
    try:
      now, ages = probe.modified(), [float('inf')]
      # What lies beside a lock that was just made may be that of one before.
      for file in (self.path, self._alive):
        with contextlib.suppress(FileNotFoundError):
          ages.append(max(0.0, now - file.modified()))
      return min(ages)
    finally:
      probe.unlink(missing_ok=True)

  def check(self) -> None:
    """Raises an OSError where the store makes files that are there already."""
    probe = self.path.with_name(f'{self.path.name}.{os.urandom(8).hex()}')
    try:
      if not probe.create(b'1') or probe.create(b'2'):
        raise OSError(
          f'{self.path.parent}: this store does not keep two runs apart, since '
          'it writes over a file that may only be made (If-None-Match). Mount '
          'the bucket, or choose another --workdir.'
        )
    finally:
      probe.unlink(missing_ok=True)

  @property
  def _alive(self) -> BucketPath:
    return self.path.with_name(f'{self.path.name}.alive')


def lock_file(path: pathlib.Path | BucketPath) -> LockFile:
  """Returns the file of a lock.

  Raises:
    OSError: of a bucket: it has no such thing.
  """
  if not is_in_bucket(path):
    return DiskLockFile(path)
  file = BucketLockFile(path)
  file.check()
  return file
