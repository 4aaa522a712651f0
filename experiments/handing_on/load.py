"""Runs the exported model that lies beside this file; needs nothing else of it.

  python load.py inputs.npz outputs.npz

README.md says what to install, and which arrays inputs.npz must hold;
outputs.npz gets those that the model makes. In Python: `load()(inputs)`.
"""

import functools
import pathlib
import sys
from collections.abc import Callable

import jax
import numpy as np
from jax import export


def load(folder: pathlib.Path = pathlib.Path(__file__).parent) -> Callable:
  """Returns the model: inputs `[batch, ...]` by name to outputs by name."""
  file = folder / 'model.jaxexport'
  model = jax.jit(export.deserialize(bytearray(file.read_bytes())).call)
  weights = folder / 'weights.safetensors'
  if not weights.exists():
    return model  # They are inside.
  from safetensors.numpy import load_file

  return functools.partial(model, jax.device_put(load_file(weights)))


if __name__ == '__main__':
  if len(sys.argv) != 3:
    sys.exit(__doc__)
  outputs = load()(dict(np.load(sys.argv[1])))
  np.savez(sys.argv[2], **outputs)
  for name, array in outputs.items():
    print(f'{name}: {array.dtype} {list(array.shape)}')
