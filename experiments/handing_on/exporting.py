"""A trained model as a function that needs neither this package nor Haiku."""

import functools
import json
import math
import pathlib
import shutil
import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import haiku as hk
import jax
import jax.numpy as jnp
from jax import export

from experiments.data.dataset import all_outputs, batch_spec
from experiments.handing_on import load
from experiments.handing_on.weights import from_table, to_table
from experiments.handing_on.window import own_window
from experiments.tasks.task import Task
from perceiver_jax.portability import traced_for
from perceiver_jax.pretrained import check_finite

PLATFORMS = ('cpu', 'cuda', 'rocm', 'tpu')
# Files of the folder that is handed on. load.py reads them by name.
MODEL, WEIGHTS, CARD = 'model.jaxexport', 'weights.safetensors', 'README.md'
ORIGIN = 'export.json'
# Of predictions that are one array, not several by name.
OUTPUT = 'predictions'
# What the serialised form can hold, with room for the program.
_MOST_BYTES = 2**31 - 2**27

Arrays = Mapping[str, jax.Array]


def export_model(
  task: Task,
  params: hk.Params,
  state: hk.State,
  *,
  platforms: Sequence[str],
  weights_inside: bool,
) -> export.Exported:
  """Exports a model as it predicts, for batches of any size.

  Args:
    task: of the model.
    params: of the model.
    state: of the model.
    platforms: that it is to run on, some of `PLATFORMS`.
    weights_inside: whether the weights are constants of the function.

  Returns:
    A function of the table of weights (see `to_table`), unless they are inside,
    and of the inputs (see `inputs_of`), to predictions `[batch, ...]` by name.

  Raises:
    ValueError: a platform is unknown, a weight is NaN or infinite, or they are
      too large to be inside.
  """
  check_platforms(platforms)
  table = to_table(params, state)
  inputs = inputs_of(task, params, state)
  predict = _predict(task)
  (batch,) = export.symbolic_shape('batch')
  arguments = (_shapes(table), batch_spec(inputs, batch))
  if weights_inside:
    _check_size(table)
    check_finite(table)
    predict, arguments = functools.partial(predict, table), arguments[1:]
  with traced_for(None):
    return export.export(jax.jit(predict), platforms=platforms)(*arguments)


def write_function(folder: pathlib.Path, exported: export.Exported) -> None:
  """Writes a function, by which jax it was made, and what runs it.

  Raises:
    OSError: the folder cannot be written.
  """
  serialized = exported.serialize()
  (folder / MODEL).write_bytes(serialized)
  window = own_window()
  origin = {
    'jax': jax.__version__,
    'crc32': zlib.crc32(serialized),
    'platforms': list(exported.platforms),
    'opens_from': window.first.isoformat(),
    'opens_until': window.last.isoformat(),
  }
  (folder / ORIGIN).write_text(
    json.dumps(origin, indent=2) + '\n', encoding='utf-8'
  )
  shutil.copyfile(load.__file__, folder / 'load.py')


def exported_platforms(folder: pathlib.Path) -> list[str]:
  """Returns the platforms that a function was written for.

  Raises:
    OSError: the folder does not say so.
  """
  try:
    return json.loads((folder / ORIGIN).read_text(encoding='utf-8'))[
      'platforms'
    ]
  except FileNotFoundError as error:
    raise FileNotFoundError(
      f'{folder} has no {ORIGIN} that says what the model runs on: give '
      '--platforms, as its README.md has them.'
    ) from error


def check_platforms(platforms: Sequence[str]) -> None:
  """Raises a ValueError unless all are among `PLATFORMS`."""
  unknown = sorted(set(platforms) - set(PLATFORMS))
  if unknown or not platforms:
    raise ValueError(
      f'Cannot export for {unknown or "no platform"}: choose some of '
      f'{list(PLATFORMS)}.'
    )


def inputs_of(
  task: Task, params: hk.Params, state: hk.State
) -> dict[str, jax.ShapeDtypeStruct]:
  """Returns shapes and dtypes of the arrays that predictions depend on.

  An example has others too: labels, and what metrics need. Of arrays in dicts
  the names are joined, such as 'inputs.scan.image'.

  Args:
    task: of the model.
    params: of the model, or their shapes.
    state: of the model, or its shapes.
  """
  example = all_outputs(task.data.example)
  predict = _predict(task)
  exported = export.export(
    jax.jit(lambda inputs, table: predict(table, _flat(inputs)))
  )(batch_spec(example, 1), _shapes(to_table(params, state)))
  return {
    name: spec
    for i, (name, spec) in enumerate(_flat(example).items())
    if i in exported.module_kept_var_idx
  }


def _predict(task: Task) -> Callable[[Arrays, Arrays], Arrays]:
  """Returns a function of weights and of the inputs that are read."""
  example = all_outputs(task.data.example)

  def predict(weights: Arrays, inputs: Arrays) -> Arrays:
    batch_size = next(iter(inputs.values())).shape[0]
    # Models look up what they then do not use, such as a label that is masked.
    blank = jax.tree.map(
      lambda x: jnp.zeros((batch_size, *x.shape), x.dtype), example
    )
    batch = jax.tree.unflatten(
      jax.tree.structure(blank), list({**_flat(blank), **inputs}.values())
    )
    predictions, _ = task.model.apply(
      *from_table(weights), None, batch, is_training=False
    )
    if isinstance(predictions, Mapping):
      return _flat(predictions)
    return {OUTPUT: predictions}

  return predict


def _flat(tree: Mapping[str, Any]) -> dict[str, Any]:
  """Returns the arrays of dicts in dicts by their joined names."""
  return {
    '.'.join(str(key.key) for key in path): leaf
    for path, leaf in jax.tree_util.tree_leaves_with_path(dict(tree))
  }


def _shapes(tree: Any) -> Any:
  return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), tree)


def _check_size(table: Mapping[str, Any]) -> None:
  size = sum(math.prod(x.shape) * x.dtype.itemsize for x in table.values())
  if size > _MOST_BYTES:
    raise ValueError(
      f'Weights of {size / 1e9:.1f} GB do not fit inside the model, which can '
      f'be of {_MOST_BYTES / 1e9:.1f} GB at most. Leave them beside it.'
    )
