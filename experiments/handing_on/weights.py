"""Parameters and Haiku state as one flat table, and as a safetensors file.

An array's name is its Haiku path behind the tree that it is of:
`params/encoder/cross_attend_0/attention/key/w`, `state/...`.
"""

import pathlib
from collections.abc import Mapping
from typing import Any

import haiku as hk
import numpy as np
import safetensors
import safetensors.numpy

# What the file's metadata say, so that it is known from others' files.
FORMAT = 'perceiver_jax'
_PARAMS, _STATE = 'params/', 'state/'


def to_table(params: hk.Params, state: hk.State) -> dict[str, Any]:
  """Returns the arrays of both, or their shapes and dtypes, by name."""
  return {
    f'{prefix}{module}/{name}': array
    for prefix, tree in ((_PARAMS, params), (_STATE, state))
    for module, leaves in tree.items()
    for name, array in leaves.items()
  }


def from_table(
  table: Mapping[str, Any],
) -> tuple[hk.MutableParams, hk.MutableState]:
  """Returns parameters and state, see `to_table`."""
  trees = {_PARAMS: {}, _STATE: {}}
  for path, array in table.items():
    prefix, tree = next(
      (prefix, tree)
      for prefix, tree in trees.items()
      if path.startswith(prefix)
    )
    module, _, name = path.removeprefix(prefix).rpartition('/')
    tree.setdefault(module, {})[name] = array
  return trees[_PARAMS], trees[_STATE]


def write_weights(
  path: pathlib.Path, params: hk.Params, state: hk.State, step: int
) -> None:
  """Writes a safetensors file.

  Args:
    path: of the file.
    params: of the model.
    state: of the model.
    step: of the checkpoint that they are of.

  Raises:
    OSError: it cannot be written.
  """
  table = to_table(params, state)
  # Contiguous, and scalars stay scalars.
  table = {name: np.asarray(x, order='C') for name, x in table.items()}
  metadata = {'format': FORMAT, 'step': str(step)}
  # Written by Python, whose errors name the file.
  path.write_bytes(safetensors.numpy.save(table, metadata))


def is_exported(path: pathlib.Path) -> bool:
  """Whether a file is a safetensors file of `write_weights`."""
  if path.suffix.lower() != '.safetensors' or not path.is_file():
    return False
  try:
    with safetensors.safe_open(path, framework='numpy') as file:
      return (file.metadata() or {}).get('format') == FORMAT
  except safetensors.SafetensorError:
    return False  # Who reads it says so.


def read_weights(
  path: pathlib.Path, params: hk.Params, state: hk.State
) -> tuple[hk.MutableParams, hk.MutableState]:
  """Reads the weights of a model, as they were written.

  Args:
    path: of a file of `write_weights`.
    params: shapes and dtypes that the model has.
    state: likewise.

  Raises:
    ValueError: they are of another model.
    OSError: the file cannot be read.
  """
  table = safetensors.numpy.load_file(path)
  expected = to_table(params, state)
  problems = [
    *(f'lacks {name}' for name in expected if name not in table),
    *(
      f'has {name}, which it has not' for name in table if name not in expected
    ),
    *(
      f'has {name} of {table[name].dtype} {table[name].shape} in place of '
      f'{array.dtype} {array.shape}'
      for name, array in expected.items()
      if name in table
      and (table[name].shape, table[name].dtype) != (array.shape, array.dtype)
    ),
  ]
  if problems:
    raise ValueError(
      f'{path} is not of the model of the config: {len(problems)} of its '
      f'arrays differ; the file {problems[0]}. Take the config.json that was '
      'exported with it.'
    )
  return from_table(table)
