"""Checksums of a checkpoint's files, written with it and checked later.

They are an item of the checkpoint beside the others, `whole/checksums.json`:
Orbax finishes it last and then renames the folder, so that a checkpoint that is
there has them. Those of earlier releases have none.
"""

import concurrent.futures
import dataclasses
import json
import pathlib
import zlib
from collections.abc import Mapping, Sequence

import orbax.checkpoint as ocp
from etils import epath

from experiments.host import processes
from experiments.host.buckets import sync, write_whole

# Behind the names of all other items: Orbax finishes them in this order.
ITEM = 'whole'
FILE = 'checksums.json'
# Read and summed at once; zlib lets other threads work meanwhile.
_BLOCK_BYTES = 1 << 22
_THREADS = 4

# Size in bytes and CRC-32 of each file, by its path in the checkpoint.
Sums = Mapping[str, tuple[int, int]]


class _Handler(ocp.CheckpointHandler):
  """Sums what Orbax has written, before the checkpoint gets its name."""

  def save(self, directory: epath.Path, args: 'Checksums') -> None:
    """Writes nothing yet: the other items are still being written."""
    del directory, args

  def restore(self, directory: epath.Path, args: 'Checksums') -> None:
    """Is not asked for: see `damages`."""
    raise NotImplementedError

  def finalize(self, directory: epath.Path) -> None:
    """Writes the checksums of all other items; one process does."""
    if not processes.is_first():
      return
    folder, own = pathlib.Path(directory.parent), pathlib.Path(directory)
    sums = {}
    for item in sorted(folder.iterdir()):
      if not item.is_dir() or item == own:
        continue
      if '.' in item.name:
        raise RuntimeError(f'{item} is not finished before {own}.')
      for path in sorted(item.rglob('*')):
        sync(path)
        if path.is_file():
          sums[path.relative_to(folder).as_posix()] = _sum(path)
    text = json.dumps({'crc32': sums, 'of_these': _digest(sums)}, indent=1)
    write_whole(own / FILE, text + '\n')
    sync(folder)


@ocp.args.register_with_handler(_Handler, for_save=True, for_restore=True)
@dataclasses.dataclass
class Checksums(ocp.args.CheckpointArgs):
  """Argument of a save: the checkpoint gets checksums."""


class ManifestError(ValueError):
  """The checksums themselves cannot be read."""


def read_sums(folder: pathlib.Path) -> Sums | None:
  """Returns the checksums of a checkpoint; None where it has none.

  Args:
    folder: of the checkpoint, on this machine.

  Raises:
    ManifestError: they are damaged.
  """
  if not (folder / ITEM).is_dir():
    return None
  try:
    found = json.loads((folder / ITEM / FILE).read_bytes())
    sums = found['crc32']
    if found['of_these'] != _digest(sums):
      raise ValueError('they have another checksum themselves')
    return {name: (int(size), int(crc)) for name, (size, crc) in sums.items()}
  except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
    raise ManifestError(f'its checksums, {ITEM}/{FILE}, are damaged') from error


def damages(
  folder: pathlib.Path, sums: Sums, *, part: int = 0, parts: int = 1
) -> list[str]:
  """Reads files of a checkpoint; returns what is wrong, a text for each.

  Args:
    folder: of the checkpoint, on this machine.
    sums: that the files had when they were written.
    part: which of the large files to read, of several processes that read some
      each. Small ones are read by all.
    parts: number of these processes.
  """
  small, large = [], []
  for name in sorted(sums):
    (small if sums[name][0] < _BLOCK_BYTES else large).append(name)
  names = small + large[part::parts]
  with concurrent.futures.ThreadPoolExecutor(_THREADS) as threads:
    found = threads.map(lambda name: _damage(folder / name, sums[name]), names)
    return [
      f'{name} {what}' for name, what in zip(names, found, strict=True) if what
    ]


def _damage(path: pathlib.Path, written: tuple[int, int]) -> str:
  """What is wrong with a file; '' where it is as it was written."""
  try:
    now = _sum(path)
  except FileNotFoundError:
    return 'is missing'
  except OSError as error:
    return f'cannot be read ({error.strerror})'
  if now[0] != written[0]:
    return f'has {now[0]:,} bytes and was written with {written[0]:,}'
  return '' if now == written else 'is damaged: its checksum is another one'


def _digest(sums: Mapping[str, Sequence[int]]) -> int:
  """A checksum of the checksums."""
  return zlib.crc32(json.dumps(sums, sort_keys=True).encode())


def _sum(path: pathlib.Path) -> tuple[int, int]:
  size, crc = 0, 0
  block = bytearray(_BLOCK_BYTES)
  with path.open('rb', buffering=0) as file:
    while count := file.readinto(block):
      crc = zlib.crc32(memoryview(block)[:count], crc)
      size += count
  return size, crc
