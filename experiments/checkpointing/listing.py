"""The checkpoints of a run as they lie there, nothing opened by Orbax."""

import datetime
import json
import pathlib
from typing import Any

from experiments.checkpointing import files, manifest
from experiments.checkpointing.local_copies import LocalCopies, copies_of
from experiments.host.buckets import BucketPath, is_in_bucket, modified

# What is known of a checkpoint's files without reading all of them, and with.
NO_SUMS = 'no checksums'
HAS_SUMS = 'checksums'
AS_WRITTEN = 'as written'


def list_checkpoints(
  workdir: pathlib.Path | BucketPath, *, verify: bool
) -> list[dict[str, Any]]:
  """Returns what is in the folder of checkpoints, oldest step first.

  Args:
    workdir: of the run.
    verify: whether all files that have a checksum are read.

  Returns:
    Of each its `name`, `bytes`, `written` (local time), `metrics` or None,
    `is_checkpoint` (False of what was put aside or left by a save that did not
    end), `state` in words and `damaged`, what is wrong with which file.

  Raises:
    ValueError: there are no checkpoints.
    OSError: the folder cannot be read.
  """
  directory = workdir / 'checkpoints'
  if not directory.is_dir():
    raise ValueError(
      f'There is no run in {workdir}: it has no checkpoints. Name one by '
      '--workdir.'
    )
  copies = copies_of(directory) if verify else None
  try:
    if copies is not None:
      copies.pull()
    folders = [path for path in directory.iterdir() if path.is_dir()]
    return [
      _listed(folder, copies, verify=verify)
      for folder in sorted(folders, key=_order)
    ]
  finally:
    if copies is not None:
      copies.close()


def _order(folder: pathlib.Path) -> tuple[int, str]:
  step = folder.name.partition('.')[0]
  return (int(step) if files.is_step(step) else -1, folder.name)


def _listed(
  folder: pathlib.Path | BucketPath, copies: LocalCopies | None, *, verify: bool
) -> dict[str, Any]:
  sizes = _sizes(folder)
  is_whole = files.is_step(folder.name) and (
    not is_in_bucket(folder) or files.COMMITTED in sizes
  )
  listed = {
    'name': folder.name,
    'bytes': sum(sizes.values()),
    'written': None,
    'metrics': None,
    'is_checkpoint': is_whole,
    'damaged': [],
  }
  if not is_whole:
    aside = '.broken' in folder.name
    listed['state'] = (
      'put aside, broken' if aside else 'a save that did not end'
    )
    return listed
  data = folder / files.DATA / 'metadata'
  if data.exists():
    when = datetime.datetime.fromtimestamp(modified(data))
    listed['written'] = when.isoformat(' ', 'seconds')
  listed['metrics'] = _metrics(folder)
  here = copies.fetch(int(folder.name)) if copies is not None else folder
  listed['state'], listed['damaged'] = _state(here, sizes, verify=verify)
  return listed


def _state(
  folder: pathlib.Path | BucketPath, sizes: dict[str, int], *, verify: bool
) -> tuple[str, list[str]]:
  """What is known of the files, and what is wrong."""
  if is_in_bucket(folder):
    has = any(name.startswith(f'{manifest.ITEM}/') for name in sizes)
    return (HAS_SUMS if has else NO_SUMS), []
  try:
    sums = manifest.read_sums(folder)
  except manifest.ManifestError as error:
    return 'damaged', [str(error)]
  if sums is None or not verify:
    return (NO_SUMS if sums is None else HAS_SUMS), []
  found = manifest.damages(folder, sums)
  return ('damaged' if found else AS_WRITTEN), found


def _sizes(folder: pathlib.Path | BucketPath) -> dict[str, int]:
  """Sizes of all files below, by path."""
  if is_in_bucket(folder):
    return {name: size for name, (size, _) in folder.listing().items()}
  return {
    path.relative_to(folder).as_posix(): path.stat().st_size
    for path in folder.rglob('*')
    if path.is_file()
  }


def _metrics(folder: pathlib.Path | BucketPath) -> dict[str, float] | None:
  """Of the evaluation of this step; None without, or if damaged."""
  try:
    found = json.loads((folder / files.METRICS / files.METRICS).read_bytes())
  except (FileNotFoundError, ValueError):
    return None
  return found if isinstance(found, dict) else None
