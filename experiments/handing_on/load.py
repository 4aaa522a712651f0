"""Runs the exported model that lies beside this file; needs nothing else of it.

  python load.py inputs.npz outputs.npz

README.md says what to install, and which arrays inputs.npz must hold;
outputs.npz gets those that the model makes. In Python: `load()(inputs)`.
"""

import functools
import json
import pathlib
import shlex
import sys
import zlib
from collections.abc import Callable

import jax
import numpy as np
from jax import export


def load(folder: pathlib.Path = pathlib.Path(__file__).parent) -> Callable:
  """Returns the model: inputs `[batch, ...]` by name to outputs by name.

  Raises:
    ValueError: this jax does not open the function; it says what to do. Or the
      function or its weights are damaged.
  """
  serialized = bytearray((folder / 'model.jaxexport').read_bytes())
  _check(folder, serialized)
  try:
    exported = export.deserialize(serialized)
    model = jax.jit(exported.call)
    # A StableHLO that is too new is found here; nothing is compiled.
    model.lower(*_batch_of_one(exported))
  except Exception as error:
    raise ValueError(_what_to_do(folder, error)) from error
  weights = folder / 'weights.safetensors'
  if not weights.exists():
    return model  # They are inside.
  return functools.partial(model, jax.device_put(_read_weights(weights)))


def _check(folder: pathlib.Path, serialized: bytearray) -> None:
  """Raises a ValueError where the function is not as it was written."""
  path = folder / 'export.json'
  try:
    written = json.loads(path.read_text(encoding='utf-8')).get('crc32')
  except FileNotFoundError:  # It is not needed.
    return
  except (ValueError, AttributeError) as error:
    raise ValueError(f'{path} is damaged: {error}. Copy it anew.') from error
  if written not in (None, zlib.crc32(serialized)):
    raise ValueError(
      f'{folder / "model.jaxexport"} is damaged: its checksum is another one. '
      'Copy it anew.'
    )


def _read_weights(path: pathlib.Path) -> dict[str, np.ndarray]:
  """Returns the arrays, as they were when they were written."""
  from safetensors import SafetensorError, safe_open
  from safetensors.numpy import load_file

  try:
    table = load_file(path)
    with safe_open(path, framework='numpy') as file:
      written = (file.metadata() or {}).get('crc32')
  except SafetensorError as error:
    raise ValueError(f'{path} is damaged: {error}. Copy it anew.') from error
  checksum = 0
  for name in sorted(table):
    array = np.atleast_1d(table[name]).view(np.uint8)
    checksum = zlib.crc32(array, checksum)
  if written not in (None, str(checksum)):
    raise ValueError(
      f'{path} is damaged: its checksum is another one. Copy it anew.'
    )
  return table


def _batch_of_one(exported: export.Exported) -> tuple:
  """Returns shapes and dtypes of the arguments."""
  specs = [
    jax.ShapeDtypeStruct(
      [size if isinstance(size, int) else 1 for size in x.shape], x.dtype
    )
    for x in exported.in_avals
  ]
  arguments, _ = jax.tree.unflatten(exported.in_tree, specs)
  return arguments


def _what_to_do(folder: pathlib.Path, error: Exception) -> str:
  made = json.loads((folder / 'export.json').read_text(encoding='utf-8'))
  renew = 'export the run again: the weights are inside.'
  if (folder / 'weights.safetensors').exists():
    place = shlex.quote(str(folder))
    renew = f'write it anew: python -m experiments.export --renew={place}'
  return (
    f'jax {jax.__version__} does not open {folder / "model.jaxexport"}: '
    f'{error}\n'
    f'jax {made["jax"]} wrote it, for {", ".join(made["platforms"])}. Releases '
    f'of jax from {made["opens_from"]} to {made["opens_until"]} are promised '
    'to open it. Do one of these:\n'
    f"- Install that one: pip install 'jax=={made['jax']}'\n"
    f'- Where the package that trained it is installed, {renew}\n'
    '- If it is too old, set JAX_EXPORT_DESERIALIZE_EXPIRED_VERSIONS=1: for a '
    'while, jax from 0.11.1 on then tries to open it all the same.'
  )


def main() -> None:
  """Runs the model on a file."""
  if len(sys.argv) != 3:
    sys.exit(__doc__)
  try:
    model = load()
  except ValueError as error:
    sys.exit(f'Error: {error}')
  outputs = model(dict(np.load(sys.argv[1])))
  np.savez(sys.argv[2], **outputs)
  for name, array in outputs.items():
    print(f'{name}: {array.dtype} {list(array.shape)}')


if __name__ == '__main__':
  main()
