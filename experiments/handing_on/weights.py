"""Parameters and Haiku state as one flat table, and as a safetensors file.

An array's name is its Haiku path behind the tree that it is of:
`params/encoder/cross_attend_0/attention/key/w`, `state/...`.
"""

import pathlib
import zlib
from collections.abc import Mapping
from typing import Any

import haiku as hk
import numpy as np
import safetensors
import safetensors.numpy

from perceiver_jax.pretrained import check_finite

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
    ValueError: a number is NaN or infinite.
    OSError: it cannot be written.
  """
  table = to_table(params, state)
  # Contiguous, and scalars stay scalars.
  table = {name: np.asarray(x, order='C') for name, x in table.items()}
  check_finite(table)
  metadata = {
    'format': FORMAT,
    'step': str(step),
    'crc32': str(_checksum(table)),
  }
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
    ValueError: they are of another model, damaged, or no numbers.
    OSError: the file cannot be read.
  """
  table = _read_table(path)
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


def _read_table(path: pathlib.Path) -> dict[str, np.ndarray]:
  """Returns the arrays of a file, as they were when it was written."""
  try:
    table = safetensors.numpy.load_file(path)
    with safetensors.safe_open(path, framework='numpy') as file:
      written = (file.metadata() or {}).get('crc32')
  except safetensors.SafetensorError as error:
    raise ValueError(_damaged(path, str(error))) from error
  if written is not None and written != str(_checksum(table)):
    raise ValueError(_damaged(path, 'its checksum is another one'))
  try:
    check_finite(table)
  except ValueError as error:
    raise ValueError(f'{path}: {error}') from error
  return table


def _damaged(path: pathlib.Path, why: str) -> str:
  return (
    f'{path} is damaged: {why}. Copy it anew, or export the run again '
    '(experiments.export).'
  )


def _checksum(table: Mapping[str, np.ndarray]) -> int:
  """CRC-32 of all bytes, in the order of the names."""
  checksum = 0
  for name in sorted(table):
    array = np.atleast_1d(np.asarray(table[name], order='C'))
    checksum = zlib.crc32(array.view(np.uint8), checksum)
  return checksum
