"""A folder of a bucket as one of this machine: copied once, then kept up.

What reads pictures, sounds and films wants files, and people's own are read a
single time, when they are prepared.
"""

import concurrent.futures
import fcntl
import os
import pathlib
import shutil

from experiments.host.buckets import BucketPath
from experiments.host.cache_folder import cache_folder

# At a time: most of the time of a small file is waiting.
_DOWNLOADS = 16


def fetched(folder: BucketPath) -> pathlib.Path:
  """Copies a folder of a bucket, as far as it is not here yet.

  A file is known by its size and the time that it was written, which its copy
  has too; what is gone from the bucket goes here. Processes of one machine do
  it one after the other.

  Args:
    folder: of a bucket.

  Returns:
    Its copy, under `~/.cache/perceiver_jax/buckets` (`XDG_CACHE_HOME`).

  Raises:
    FileNotFoundError: there is no such folder.
    OSError: it cannot be reached, or there is too little room for it.
  """
  target = cache_folder() / 'buckets' / str(folder).replace('://', '/')
  target.mkdir(parents=True, exist_ok=True)
  with target.with_name(f'.{target.name}.lock').open(
    'w', encoding='utf-8'
  ) as lock:
    fcntl.flock(lock, fcntl.LOCK_EX)
    files = folder.listing()
    if not files:
      raise FileNotFoundError(f'There is no folder {folder}, or it is empty.')
    for path in target.rglob('*'):
      if path.is_file() and path.relative_to(target).as_posix() not in files:
        path.unlink()
    wanted = [
      name for name, known in files.items() if _known(target / name) != known
    ]
    if wanted:
      _download(folder, target, {name: files[name] for name in wanted})
  return target


def _download(
  folder: BucketPath, target: pathlib.Path, files: dict[str, tuple[int, int]]
) -> None:
  size = sum(size for size, _ in files.values())
  free = shutil.disk_usage(target).free
  if size > free:
    raise OSError(
      f'{folder}: {size / 1e9:.1f} GB are to be copied to {target}, where '
      f'{free / 1e9:.1f} GB are free. Set XDG_CACHE_HOME to a larger disk.'
    )
  print(
    f'Copying {len(files):,} files ({size / 1e6:,.1f} MB) from {folder} to '
    f'{target}.',
    flush=True,
  )

  def download(name: str) -> None:
    folder.download(name, target / name)
    os.utime(target / name, ns=(files[name][1],) * 2)

  with concurrent.futures.ThreadPoolExecutor(_DOWNLOADS) as pool:
    list(pool.map(download, files))


def _known(path: pathlib.Path) -> tuple[int, int] | None:
  """Size in bytes and time in nanoseconds; None without a file."""
  if not path.is_file():
    return None
  state = path.stat()
  return state.st_size, state.st_mtime_ns
