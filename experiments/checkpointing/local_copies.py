"""Checkpoints of a bucket that Orbax cannot write to by itself: `s3://`.

It writes them here, into a folder of this process; each is copied into the
bucket when it is whole, its mark of being so last. Of those in the bucket, the
arrays are copied here when they are read.
"""

import contextlib
import fcntl
import pathlib
import shutil
import tempfile
from collections.abc import Iterator

import jax

from experiments.checkpointing.files import COMMITTED, STATE, is_step
from experiments.host.buckets import BucketPath

_PREFIX = 'perceiver_jax-checkpoints-'
_OWNER = 'owner'


class LocalCopies:
  """The checkpoints of a bucket, as Orbax sees them.

  Attributes:
    directory: on this machine, in the folder of temporary files.
  """

  def __init__(self, remote: BucketPath):
    """Makes the folder; removes those of processes that are gone.

    Args:
      remote: the checkpoints of the run.
    """
    _remove_abandoned()
    self._remote = remote
    self._folder = pathlib.Path(tempfile.mkdtemp(prefix=_PREFIX))
    # Open for as long as this process lives, whatever ends it.
    self._owner = (self._folder / _OWNER).open('w', encoding='utf-8')
    fcntl.flock(self._owner, fcntl.LOCK_EX)
    self.directory = self._folder / 'checkpoints'
    self.directory.mkdir()
    self._there: set[str] = set()  # Steps that are whole in the bucket.

  def pull(self) -> None:
    """Copies what tells of the checkpoints, without their arrays."""
    for path in self.directory.iterdir():
      if not is_step(path.name):  # What a failed save has left.
        shutil.rmtree(path, ignore_errors=True)
    self._there.clear()
    for folder in self._remote.glob('*'):
      names = folder.files() if is_step(folder.name) else []
      if COMMITTED in names:
        self._there.add(folder.name)
        self._download(
          folder.name, [x for x in names if not x.startswith(f'{STATE}/')]
        )

  def fetch(self, step: int) -> pathlib.Path:
    """Returns the folder of a checkpoint with all its files."""
    if str(step) in self._there:
      self._download(str(step), (self._remote / str(step)).files())
    return self.directory / str(step)

  def push(self) -> None:
    """Makes the bucket have what is here: new ones first, then fewer.

    Raises:
      OSError: it cannot be written; the next time it is tried again.
    """
    here = {x.name for x in self.directory.iterdir() if is_step(x.name)}
    for step in sorted(here - self._there, key=int):
      self._upload(step)
      self._there.add(step)
    for step in self._there - here:
      folder = self._remote / step
      # What is removed in part must not look whole.
      (folder / COMMITTED).unlink(missing_ok=True)
      folder.rmtree(missing_ok=True)
      self._there.discard(step)

  def forget(self, step: int) -> None:
    """Removes the copy of a checkpoint that is no longer in the bucket."""
    self._there.discard(str(step))
    shutil.rmtree(self.directory / str(step), ignore_errors=True)

  def close(self) -> None:
    """Removes the folder."""
    self._owner.close()
    shutil.rmtree(self._folder, ignore_errors=True)

  def _download(self, step: str, names: list[str]) -> None:
    for name in names:
      target = self.directory / step / name
      if not target.exists():
        (self._remote / step).download(name, target)

  def _upload(self, step: str) -> None:
    source, target = self.directory / step, self._remote / step
    for path in sorted(source.rglob('*')):
      name = path.relative_to(source).as_posix()
      if path.is_file() and name != COMMITTED:
        target.upload(path, name)
    (target / COMMITTED).write_text(
      'The checkpoint is whole.\n', encoding='utf-8'
    )


def copies_of(directory: pathlib.Path | BucketPath) -> LocalCopies | None:
  """Returns copies of checkpoints, None where Orbax opens them itself.

  Args:
    directory: of the checkpoints.

  Raises:
    ValueError: see `check_processes`.
  """
  check_processes(directory.parent)
  return LocalCopies(directory) if _needs_copies(directory) else None


def check_processes(workdir: pathlib.Path | BucketPath) -> None:
  """Raises a ValueError where several processes cannot save together."""
  if _needs_copies(workdir) and jax.process_count() > 1:
    raise ValueError(
      f'--workdir {workdir}: a run of several processes writes its checkpoints '
      'together, which Orbax can on a shared disk and into gs://, not into '
      's3://. Choose a folder that all machines see, such as one of EFS, FSx '
      'or the mounted bucket.'
    )


def _needs_copies(path: pathlib.Path | BucketPath) -> bool:
  return str(path).startswith('s3://')


def _remove_abandoned() -> None:
  """A process that was killed had no time to remove its folder."""
  for folder in pathlib.Path(tempfile.gettempdir()).glob(f'{_PREFIX}*'):
    with contextlib.suppress(OSError), _owned(folder):
      shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _owned(folder: pathlib.Path) -> Iterator[None]:
  """Raises an OSError where a process lives that made the folder."""
  with (folder / _OWNER).open('r+', encoding='utf-8') as file:
    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    yield
