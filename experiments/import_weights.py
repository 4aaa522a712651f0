"""Makes a run of published or exported weights, to evaluate or go on from.

  python -m experiments.import_weights --source=FILE \\
    --config=experiments/configs/imagenet_io.py --workdir=runs/imported
  python -m experiments.evaluate --workdir=runs/imported
  python -m experiments.import_weights --workdir=runs/again \\
    --source=runs/digits/export/weights.safetensors

FILE is a pickle released with the authors' code (.pystate, .pickle, .pkl), or
the weights of a Perceiver of Hugging Face `transformers` (.safetensors; .bin
and .pt where PyTorch is installed). Reading a pickle runs no code from it, and
takes no longer than parameters of its size do. Or it is what
`experiments.export` wrote: the config.json beside it is then the default for
--config, and the parameters are the same to the last bit.

Released models differ in small ways, such as the kind of GELU: the config is
set to what the weights need, each change is printed, and the config.json of the
run holds the result. Commands with --workdir alone take it from there.
"""

import contextlib
import functools
import math
import pathlib

import haiku as hk
import jax
import ml_collections
import numpy as np
import optax
import safetensors.numpy
from absl import flags

from experiments import addresses, command_line
from experiments.configuration import (
  fill_defaults,
  read_config,
  write_config,
)
from experiments.data.dataset import batch_spec
from experiments.experiment import bind, open_checkpoints
from experiments.handing_on.weights import is_exported, read_weights
from experiments.tasks.task import Task
from experiments.train_state import TrainState, init_shapes
from experiments.transfer import learned_grids
from experiments.unpickling import load_apart
from experiments.watching.summary import parameter_table
from perceiver_jax import pretrained
from perceiver_jax.resample import resample_positions

_SOURCE = flags.DEFINE_string('source', None, 'File with the weights.')
_SOURCE_GRID = flags.DEFINE_list(
  'source_grid',
  None,
  'Height and width that learned positions in FILE are of, such as 224,224, '
  'when the config is for other images. Default: a square.',
)

_PICKLES = ('.pystate', '.pickle', '.pkl')
_TORCH = ('.bin', '.pt', '.pth')
# Before, `weights_only` could be got round (CVE-2025-32434).
_SAFE_TORCH = (2, 6)

_Model = tuple[hk.MutableParams, hk.MutableState, optax.GradientTransformation]


def read_source(
  path: pathlib.Path,
) -> tuple[str, dict[str, np.ndarray], dict[str, np.ndarray]]:
  """Reads a file of published weights.

  Args:
    path: of the file; its suffix tells its kind.

  Returns:
    Layout, parameters and state by name, see `pretrained.convert`.

  Raises:
    ValueError: it is none of the known kinds, or not readable.
    OSError: there is no such file.
  """
  if not path.is_file():
    raise FileNotFoundError(f'There is no file {path}.')
  suffix = path.suffix.lower()
  if suffix in _PICKLES:
    tree = load_apart(path)
    params, state = tree, {}
    if 'params' in tree and 'state' in tree:
      params, state = tree['params'], tree['state']
    return 'released', _flatten(params), _flatten(state)
  if suffix == '.safetensors':
    return 'huggingface', _read_safetensors(path), {}
  if suffix in _TORCH:
    return 'huggingface', _read_torch(path), {}
  known = (*_PICKLES, '.safetensors', *_TORCH)
  raise ValueError(f'{path} must end in one of {known}.')


def import_weights(
  config: ml_collections.ConfigDict,
  source: pathlib.Path,
  workdir: pathlib.Path,
  source_grid: tuple[int, ...] | None = None,
) -> None:
  """Writes the checkpoint of step 0 and the config of a run.

  Args:
    config: of the model; it is set to what the weights need.
    source: file with the weights.
    workdir: of the new run.
    source_grid: of learned positions in the file; None for a square.

  Raises:
    ValueError: the weights do not fit the config, or the workdir has a run.
    OSError: there is no such file.
  """
  if (workdir / 'checkpoints').exists():
    raise ValueError(
      f'{workdir} holds a run already. Choose another --workdir.'
    )
  convert = _convert_exported
  if not is_exported(source):
    convert = functools.partial(_convert_published, source_grid=source_grid)
  params, state, optimizer = convert(config, source)
  train_state = TrainState(
    np.int32(0),
    params,
    state,
    jax.jit(optimizer.init)(params),
    ema=params if fill_defaults(config).ema_decay else None,
  )
  workdir.mkdir(parents=True, exist_ok=True)
  with contextlib.closing(open_checkpoints(config, workdir)) as checkpoints:
    checkpoints.save(train_state, position=0, metrics=None)
  write_config(config, workdir)
  print(parameter_table(params))
  print(f'Written: checkpoint of step 0 and config.json in {workdir}.')


def _convert_exported(
  config: ml_collections.ConfigDict, source: pathlib.Path
) -> _Model:
  """Returns parameters and state as they were exported, and an optimizer."""
  task, _, optimizer = bind(config, None)
  print(f'{source.name}: exported from a run.')
  shapes = init_shapes(task.model, batch_spec(task.data.example, 1))
  return *read_weights(source, *shapes), optimizer


def _convert_published(
  config: ml_collections.ConfigDict,
  source: pathlib.Path,
  source_grid: tuple[int, ...] | None,
) -> _Model:
  """Returns published parameters in our layout, state, and an optimizer."""
  layout, params, state = read_source(source)
  architecture = pretrained.architecture_of(params, layout)
  print(f'{source.name}: {architecture} in the layout {layout!r}.')
  # In bfloat16 predictions would differ from those of the published code.
  settings = {'compute_dtype': 'float32'}
  _apply_settings(config, settings | pretrained.settings(layout, architecture))
  task, _, optimizer = bind(config, None)
  params, state = pretrained.convert(
    params,
    state,
    *init_shapes(task.model, batch_spec(task.data.example, 1)),
    layout=layout,
    architecture=architecture,
    resize=_resampling(task, source_grid),
  )
  return params, state, optimizer


def _apply_settings(config: ml_collections.ConfigDict, values: dict) -> None:
  """Sets values by path, saying so."""
  with config.unlocked():
    for path, value in values.items():
      *sections, key = path.split('.')
      section = config
      for name in sections:
        if name not in section:
          raise ValueError(
            f'The config has no section {path.rpartition(".")[0]!r}: it is '
            'not of the same model as the weights.'
          )
        section = section[name]
      before = section.get(key, value)
      changed = f' (was {before})' if before != value else ''
      print(f'For these weights: config.{path} = {value}{changed}')
      section[key] = value


def _resampling(
  task: Task, source_grid: tuple[int, ...] | None
) -> pretrained.Resize:
  """Returns what brings learned positions to the grid of the task."""
  grids = learned_grids(task)

  def resize(
    name: pretrained.Name, array: np.ndarray, shape: tuple[int, ...]
  ) -> np.ndarray | None:
    grid = grids.get(name[0])
    # Text is longer or shorter, but not coarser or finer.
    if grid is None or len(grid) != 2 or array.shape[1:] != shape[1:]:
      return None
    side = math.isqrt(len(array))
    old = source_grid or (side, side)
    if math.prod(old) != len(array):
      raise ValueError(
        f'{"/".join(name)} has {len(array)} positions, which is no grid '
        f'{old}. Give its height and width by --source_grid.'
      )
    print(f'Resampled: {"/".join(name)} from a grid {old} to {grid}.')
    return resample_positions(array, old, grid)

  return resize


def _flatten(tree: hk.Params) -> dict[str, np.ndarray]:
  return {
    f'{module}|{name}': array
    for module, leaves in tree.items()
    for name, array in leaves.items()
  }


def _read_safetensors(path: pathlib.Path) -> dict[str, np.ndarray]:
  try:
    return dict(safetensors.numpy.load_file(path))
  except safetensors.SafetensorError as error:
    raise ValueError(f'{path} is no safetensors file: {error}.') from error


def _read_torch(path: pathlib.Path) -> dict[str, np.ndarray]:
  try:
    import torch
  except ModuleNotFoundError as error:
    raise ValueError(
      f'Reading {path} needs PyTorch. Install it, or save the weights as '
      'safetensors.'
    ) from error
  release = tuple(int(part) for part in torch.__version__.split('.')[:2])
  if release < _SAFE_TORCH:
    raise ValueError(
      f'PyTorch {torch.__version__} may run code of {path}, even where it is '
      'asked for weights only. Install 2.6 or later, or save the weights as '
      'safetensors.'
    )
  try:
    state_dict = torch.load(path, map_location='cpu', weights_only=True)
    return {name: tensor.float().numpy() for name, tensor in state_dict.items()}
  # What PyTorch raises for a damaged or a refused file is not documented.
  except Exception as error:
    reason = str(error).partition('\n')[0]
    raise ValueError(
      f'{path} is no mapping of tensors, or is damaged ({reason}). Get it '
      'again.'
    ) from error


def _config_for(source: pathlib.Path) -> ml_collections.ConfigDict:
  """Returns --config; that of exported weights may lie beside them."""
  if command_line.CONFIG.value is not None or not is_exported(source):
    return command_line.config()
  if not command_line.WORKDIR.value:
    raise ValueError('Name the folder of the new run by --workdir.')
  try:
    return read_config(source.parent)
  except FileNotFoundError as error:
    raise ValueError(
      f'{source} has no config.json beside it. Name its config by --config.'
    ) from error


def main() -> None:
  """Imports --source."""
  if not _SOURCE.value:
    raise ValueError('Name the file with the weights by --source=FILE.')
  grid = _SOURCE_GRID.value
  source = addresses.local(
    _SOURCE.value, '--source', 'the libraries of weights read files'
  )
  import_weights(
    _config_for(source),
    source,
    command_line.workdir(),
    None if grid is None else tuple(int(size) for size in grid),
  )


if __name__ == '__main__':
  command_line.run(main)
