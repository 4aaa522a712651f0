"""Folders and files of a bucket, with what `pathlib.Path` has for them.

An object store has no folders, only names that begin alike: nothing needs to be
made before it is written into, and one that is empty is not there. A file is
written whole and at once (a reader sees the old or the new one), cannot be
appended to, and is renamed by copying.
"""

import contextlib
import datetime
import fnmatch
import logging
import os
import pathlib
import tempfile
from collections.abc import Iterator, Mapping
from typing import Any, Self

import fsspec
from etils.epath import gpath

from experiments.host.error_text import one_line

# What a listing said must not be believed later: others write too, and so does
# Orbax by another library.
for _protocol in ('gs', 'gcs', 's3'):
  fsspec.config.conf.setdefault(_protocol, {})['use_listings_cache'] = False
# Where TensorFlow is installed, `etils.epath` would have it open the files,
# with other credentials and, for s3://, another package.
os.environ['EPATH_USE_TF'] = 'false'
# Its reports of what fails: a page, for what we say in a line.
logging.getLogger('gcsfs').setLevel(logging.CRITICAL)


class BucketPath(gpath.PosixGPath):
  """A path `gs://BUCKET/...` or `s3://BUCKET/...`; opened by fsspec.

  What fails, but for what is not there, is an OSError that names the path.
  """

  def absolute(self) -> Self:
    """Returns itself."""
    return self

  def resolve(self, strict: bool = False) -> Self:
    """Returns itself: there are no links."""
    del strict
    return self

  def exists(self) -> bool:
    """Whether there is such a file, or files below."""
    return self._kind() is not None

  def is_dir(self) -> bool:
    """Whether there are files below."""
    return self._kind() == 'directory'

  def is_file(self) -> bool:
    """Whether there is such a file."""
    return self._kind() == 'file'

  def iterdir(self) -> Iterator[Self]:
    """Yields what is in the folder; raises FileNotFoundError without any."""
    with _reaching(self):
      paths = self._files.ls(str(self), detail=False)
    for path in paths:
      name = path.rstrip('/').rpartition('/')[2]
      if name and name != self.name:  # A folder may have an object of its own.
        yield self / name

  def glob(self, pattern: str) -> Iterator[Self]:
    """Yields what in the folder has such a name, nothing of deeper folders."""
    with contextlib.suppress(FileNotFoundError):
      yield from (
        path for path in self.iterdir() if fnmatch.fnmatch(path.name, pattern)
      )

  def mkdir(
    self, mode: int = 0o777, parents: bool = False, exist_ok: bool = False
  ) -> None:
    """Does nothing: a folder is there once there is a file in it."""

  def read_bytes(self) -> bytes:
    """Returns what is in the file; raises FileNotFoundError without any."""
    with _reaching(self):
      return self._files.cat_file(str(self))

  def read_text(
    self, encoding: str | None = None, errors: str | None = None
  ) -> str:
    """Returns the text in the file, UTF-8 by default."""
    return self.read_bytes().decode(encoding or 'utf-8', errors or 'strict')

  def write_bytes(self, data: bytes) -> int:
    """Writes the file, all of it at once, in place of one that is there."""
    with _reaching(self):
      self._files.pipe_file(str(self), bytes(data))
    return len(data)

  def write_text(
    self, data: str, encoding: str | None = None, errors: str | None = None
  ) -> int:
    """Writes the file, UTF-8 by default, see `write_bytes`."""
    self.write_bytes(data.encode(encoding or 'utf-8', errors or 'strict'))
    return len(data)

  def touch(self, mode: int = 0o666, exist_ok: bool = True) -> None:
    """Writes an empty file."""
    del mode, exist_ok
    self.write_bytes(b'')

  def create(self, data: bytes) -> bool:
    """Writes the file unless it is there; of several, one process does.

    Returns:
      Whether it was not there.
    """
    try:
      with _reaching(self):
        self._files.pipe_file(str(self), data, mode='create')
    except FileExistsError:
      return False
    return True

  def modified(self) -> float:
    """Returns when the file was written, by the store's clock, in seconds."""
    with _reaching(self):
      return self._files.modified(str(self)).timestamp()

  def unlink(self, missing_ok: bool = False) -> None:
    """Removes the file."""
    try:
      with _reaching(self):
        self._files.rm_file(str(self))
    except FileNotFoundError:
      if not missing_ok:
        raise

  def rmtree(self, missing_ok: bool = False) -> None:
    """Removes the folder, and all that is below."""
    try:
      with _reaching(self):
        self._files.rm(str(self), recursive=True)
    except FileNotFoundError:
      if not missing_ok:
        raise

  def rename(self, target: os.PathLike[str]) -> Self:
    """Copies a file or folder, then removes it; not in one step."""
    new = self._new(target)
    names = self.files()
    with _reaching(self):
      self._files.copy(
        [str(self / name) for name in names] or [str(self)],
        [str(new / name) for name in names] or [str(new)],
      )
      self._files.rm(str(self), recursive=bool(names))
    return new

  def files(self) -> list[str]:
    """Returns all files below, as paths from here; [] without any."""
    return sorted(self._below())

  def listing(self) -> dict[str, tuple[int, int]]:
    """Returns size and time, in nanoseconds, of all files below, by path."""
    return {
      name: (info['size'], round(_written(info).timestamp() * 1e6) * 1000)
      for name, info in sorted(self._below().items())
      # A folder that was made in a browser is an empty file of such a name.
      if not name.endswith('/')
    }

  def upload(self, source: pathlib.Path, name: str) -> None:
    """Writes a file below from one of this machine.

    Args:
      source: of this machine.
      name: path from here.
    """
    with _reaching(self):
      self._files.put_file(str(source), str(self / name))

  def download(self, name: str, target: pathlib.Path) -> None:
    """Reads a file below into one of this machine, whole or not at all.

    Args:
      name: path from here.
      target: of this machine; its folder is made if need be.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f'{target.name}.{os.getpid()}.part')
    try:
      with _reaching(self):
        self._files.get_file(str(self / name), str(part))
      part.replace(target)
    finally:
      part.unlink(missing_ok=True)

  def _below(self) -> dict[str, Mapping[str, Any]]:
    """What the store tells of all files below, by their paths from here."""
    with _reaching(self):
      found = self._files.find(str(self), detail=True)
    start = len(str(self).partition('://')[2]) + 1
    return {name: found[path] for path in found if (name := path[start:])}

  def _kind(self) -> str | None:
    # What fsspec has for this takes a store that does not answer for an empty
    # one, and a run would begin anew.
    try:
      with _reaching(self):
        return self._files.info(str(self))['type']
    except FileNotFoundError:
      return None

  @property
  def _files(self) -> fsspec.AbstractFileSystem:
    return fsspec.filesystem(str(self).partition('://')[0])


def is_in_bucket(path: Any) -> bool:
  """Whether a path is of a bucket, and not of this machine."""
  return isinstance(path, BucketPath)


def write_whole(path: pathlib.Path | BucketPath, content: str | bytes) -> None:
  """Writes a file that is the old or the new one, whatever happens.

  On a disk it is written beside, as `<name>.tmp`, and renamed when it has
  arrived there: it outlasts a machine that loses its power.

  Args:
    path: file to write, or to replace.
    content: text, written as UTF-8, or bytes.

  Raises:
    OSError: it cannot be written; what was there before is as it was.
  """
  data = content.encode() if isinstance(content, str) else content
  if is_in_bucket(path):
    path.write_bytes(data)
    return
  temporary = path.with_name(f'{path.name}.tmp')
  try:
    with temporary.open('wb') as file:
      file.write(data)
      file.flush()
      os.fsync(file.fileno())
    temporary.replace(path)
  except OSError as error:
    with contextlib.suppress(OSError):
      temporary.unlink(missing_ok=True)
    raise cannot_write(path, error) from error
  sync(path.parent)


def cannot_write(path: pathlib.Path | BucketPath, error: OSError) -> OSError:
  """Returns an error that names the file, and what to do.

  A disk that is full does not say itself which file it has no room for.
  """
  if is_in_bucket(path):
    return OSError(str(error))
  return OSError(
    f'{path} cannot be written: {error.strerror or one_line(error)}. Make room '
    'on its disk, or make it writable.'
  )


def sync(path: pathlib.Path) -> None:
  """Has a file or folder of this machine arrive on its disk.

  Raises:
    OSError: a file does not. Not every disk knows of this for folders.
  """
  number = os.open(path, os.O_RDONLY)
  try:
    os.fsync(number)
  except OSError:
    if not path.is_dir():
      raise
  finally:
    os.close(number)


@contextlib.contextmanager
def written_here(
  folder: pathlib.Path | BucketPath,
) -> Iterator[pathlib.Path]:
  """Lets others write files, on this machine, that come to lie in a folder.

  Args:
    folder: where they are to be in the end.

  Yields:
    The folder itself, or one that is copied into the bucket when the block ends
    well; which is there, and empty.

  Raises:
    OSError: the bucket cannot be written.
  """
  if not is_in_bucket(folder):
    yield folder
    return
  with tempfile.TemporaryDirectory() as name:
    here = pathlib.Path(name)
    yield here
    for path in sorted(here.rglob('*')):
      if path.is_file():
        folder.upload(path, path.relative_to(here).as_posix())


def modified(path: pathlib.Path | BucketPath) -> float:
  """Returns when a file was written, in seconds."""
  return path.modified() if is_in_bucket(path) else path.stat().st_mtime


def _written(info: Mapping[str, Any]) -> datetime.datetime:
  """When a file was written, as s3fs and gcsfs tell it."""
  return info['LastModified'] if 'LastModified' in info else info['mtime']


@contextlib.contextmanager
def _reaching(path: BucketPath) -> Iterator[None]:
  """Turns whatever the libraries of stores raise into an OSError."""
  try:
    yield
  except FileNotFoundError as error:
    raise FileNotFoundError(
      f'There is no {path}, or no such bucket.'
    ) from error
  except (FileExistsError, MemoryError):
    raise
  except Exception as error:
    raise OSError(f'{path} cannot be reached: {one_line(error)}') from error
