"""Reads pickled parameters in a process of its own, within limits.

`perceiver_jax.unpickle` runs nothing that a file asks for. Some bytes can still
ask for years of work, such as a key of tuples of tuples, deep in a machine that
hears no signal. So another process reads, with a limit on its time and, where
the system knows limits, on its memory; what it read comes back as plain arrays
and JSON.
"""

import json
import os
import pathlib
import subprocess
import sys
import tempfile
from typing import Any

import jax.numpy as jnp
import numpy as np

from perceiver_jax.unpickle import load_arrays

_SECONDS = 60.0
# A disk of the slow kind.
_BYTES_A_SECOND = 5e6
# Besides what the file itself takes: Python and jax, as they ask for it.
_SPARE_BYTES = 2**33
# Arrays are copied while they are read.
_COPIES = 4
_REFUSED_CODE = 2


def load_apart(
  path: pathlib.Path, seconds: float | None = None
) -> dict[str, Any]:
  """Reads a pickle as `load_arrays` does, in another process.

  Args:
    path: of the file.
    seconds: that it may take; None for what suits its size.

  Raises:
    ValueError: the file is refused or damaged, or asks for more time or memory
      than parameters of its size do.
    OSError: it cannot be read.
  """
  size = path.stat().st_size
  seconds = _SECONDS + size / _BYTES_A_SECOND if seconds is None else seconds
  with tempfile.TemporaryDirectory(prefix='perceiver-weights-') as folder:
    command = [sys.executable, '-m', __name__, str(path), folder]
    try:
      run = subprocess.run(
        [*command, str(_SPARE_BYTES + _COPIES * size)],
        timeout=seconds,
        capture_output=True,
        encoding='utf-8',
        errors='backslashreplace',
        env={
          **os.environ,
          # It computes nothing, and leaves accelerators to this process.
          'JAX_PLATFORMS': 'cpu',
          'PYTHONIOENCODING': 'utf-8',
          'PYTHONPATH': os.pathsep.join(filter(None, sys.path)),
        },
        check=False,
      )
    except subprocess.TimeoutExpired:
      raise ValueError(_too_much(path, f'{seconds:.0f} s')) from None
    if run.returncode == _REFUSED_CODE:
      raise ValueError(run.stderr.strip())
    if run.returncode:
      last = (run.stderr.strip().splitlines() or ['it was killed'])[-1]
      raise ValueError(_too_much(path, f'the memory ({last})'))
    return _read(pathlib.Path(folder))


def _too_much(path: pathlib.Path, what: str) -> str:
  return (
    f'{path} asks for more than {what} that parameters of its size take: it is '
    'damaged or made to do harm. Get it again from someone you trust.'
  )


def _write(tree: Any, folder: pathlib.Path, names: dict[int, str]) -> Any:
  """Returns a tree as JSON takes it; its arrays go into files."""
  if isinstance(tree, dict):
    return {
      'keys': [_write(key, folder, names) for key in tree],
      'values': [_write(value, folder, names) for value in tree.values()],
    }
  if isinstance(tree, list | tuple):
    kind = 'tuple' if isinstance(tree, tuple) else 'list'
    return {kind: [_write(each, folder, names) for each in tree]}
  if not isinstance(tree, np.ndarray):
    return tree
  # Files of numpy have no bfloat16.
  is_half = tree.dtype == jnp.bfloat16
  if id(tree) not in names:  # However often it occurs.
    names[id(tree)] = f'{len(names)}.npy'
    array = tree.view(np.uint16) if is_half else tree
    np.save(folder / names[id(tree)], array)
  return {'array': names[id(tree)], 'bfloat16': bool(is_half)}


def _read(folder: pathlib.Path) -> Any:
  """Returns what `_write` wrote into a folder."""

  def value(node: Any) -> Any:
    match node:
      case {'keys': keys, 'values': values}:
        return dict(zip(map(value, keys), map(value, values), strict=True))
      case {'tuple': items}:
        return tuple(map(value, items))
      case {'list': items}:
        return list(map(value, items))
      case {'array': name, 'bfloat16': is_half}:
        array = np.load(folder / name, allow_pickle=False)
        return array.view(jnp.bfloat16) if is_half else array
      case _:
        return node

  text = (folder / 'tree.json').read_text(encoding='utf-8')
  return value(json.loads(text))


def _limit(most_bytes: int) -> None:
  """Limits the memory of this process, where the system can."""
  try:
    import resource
  except ModuleNotFoundError:  # Windows.
    return
  resource.setrlimit(resource.RLIMIT_AS, (most_bytes, most_bytes))
  resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def main(path: str, folder: str, most_bytes: str) -> None:
  """Reads a pickle and writes plain files; what the other process runs."""
  _limit(int(most_bytes))
  try:
    tree = load_arrays(path)
    text = json.dumps(_write(tree, pathlib.Path(folder), {}))
  except (ValueError, OSError) as error:
    print(error, file=sys.stderr)
    sys.exit(_REFUSED_CODE)
  (pathlib.Path(folder) / 'tree.json').write_text(text, encoding='utf-8')


if __name__ == '__main__':
  main(*sys.argv[1:])
