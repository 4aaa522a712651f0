"""What a run keeps of each of its starts: what it would take to repeat it.

A line of `<workdir>/starts.jsonl` is a start: when, from which step, by which
command, of how many parameters, with which versions, on which devices.
"""

import datetime
import importlib.metadata
import json
import os
import pathlib
import platform
import socket
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

import jax

from experiments.host.buckets import write_whole

_FILE = 'starts.jsonl'
_PACKAGES = (
  'perceiver-haiku',
  'jax',
  'jaxlib',
  'dm-haiku',
  'optax',
  'numpy',
  'grain',
  'orbax-checkpoint',
  'tensorflow-datasets',
)
# A working copy on a slow disk must not hold up a run.
_GIT_SECONDS = 5.0


def record_start(workdir: pathlib.Path, step: int, parameters: int) -> None:
  """Adds a start of the run to its folder.

  Args:
    workdir: of the run.
    step: from which it goes on; 0 where it begins.
    parameters: number of the model's.

  Raises:
    OSError: the file cannot be written.
  """
  now = datetime.datetime.now(datetime.UTC).isoformat(timespec='seconds')
  start = {
    'time': now,
    'step': step,
    'parameters': parameters,
    'command': ['python', *sys.orig_argv[1:]],
    'folder': os.getcwd(),
    **surroundings(),
  }
  path = workdir / _FILE
  # A line that a crash cut short must not take this one with it.
  before = path.read_bytes() if path.exists() else b''
  cut = before and not before.endswith(b'\n')
  line = '\n' * bool(cut) + json.dumps(start) + '\n'
  write_whole(path, before + line.encode())


def read_starts(workdir: pathlib.Path) -> list[dict[str, Any]]:
  """Returns the starts of a run, the first one first; [] where none are kept.

  Lines that are no JSON object are left out.
  """
  try:
    lines = (
      (workdir / _FILE)
      .read_text(errors='replace', encoding='utf-8')
      .splitlines()
    )
  except FileNotFoundError:
    return []
  starts = []
  for line in lines:
    try:
      start = json.loads(line)
    except json.JSONDecodeError:
      continue
    if isinstance(start, dict):
      starts.append(start)
  return starts


def surroundings() -> Mapping[str, Any]:
  """Returns versions, devices, host and, of a working copy, its commit."""
  devices = jax.devices()
  return {
    'versions': {'python': platform.python_version(), **_versions()},
    'devices': f'{len(devices)} x {devices[0].device_kind}',
    'processes': jax.process_count(),
    'host': socket.gethostname(),
    'system': platform.platform(),
    'cpus': os.cpu_count(),
    'commit': _commit(),
  }


def _versions() -> dict[str, str]:
  found = {}
  for package in _PACKAGES:
    try:
      found[package] = importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
      continue
  return found


def _commit() -> str | None:
  """The commit of this source, with what was changed since; None without."""
  root = pathlib.Path(__file__).parents[2]
  if not (root / '.git').exists():
    return None
  try:
    commit = _git(root, 'rev-parse', 'HEAD')
    changed = _git(root, 'status', '--porcelain', '--untracked-files=no')
  except (OSError, subprocess.SubprocessError):
    return None
  return commit + (' and changes to it' if changed else '')


def _git(root: pathlib.Path, *arguments: str) -> str:
  return subprocess.run(
    ['git', '-C', str(root), '--no-optional-locks', *arguments],
    capture_output=True,
    timeout=_GIT_SECONDS,
    check=True,
    encoding='utf-8',
    errors='replace',
  ).stdout.strip()
