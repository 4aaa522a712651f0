"""Makes a run of published or exported weights, to evaluate or go on from.

  python -m experiments.import_weights --source=FOLDER --workdir=runs/imported
  python -m experiments.import_weights --source=FILE \\
    --config=experiments/configs/imagenet_io.py --workdir=runs/released
  python -m experiments.evaluate --workdir=runs/imported

FOLDER is what `save_pretrained` of Hugging Face `transformers` wrote for a
Perceiver: weights in one file or in several, and their config.json, which the
config of the run is made from. One of its files can be named too
(.safetensors, or its .index.json; .bin and .pt where PyTorch is installed).

FILE is a pickle released with the authors' code (.pystate, .pickle, .pkl),
which does not say what model it is of: --config does. Reading it runs no code
from it, and takes no longer than parameters of its size do.

What `experiments.export` wrote is imported too, its folder or the weights in
it: its config.json is then the default for --config, and the parameters are the
same to the last bit.

Released models differ in small ways, such as the kind of GELU: a --config is
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
from absl import flags

from experiments.data.dataset import batch_spec
from experiments.handing_on.exporting import WEIGHTS
from experiments.handing_on.imported_configs import config_of
from experiments.handing_on.sources import Source, read_source
from experiments.handing_on.weights import is_exported, read_weights
from experiments.host import addresses, command_line
from experiments.host.configuration import (
  read_config,
  write_config,
)
from experiments.runs.experiment import bind, open_checkpoints
from experiments.runs.summary import parameter_table
from experiments.runs.transfer import learned_grids
from experiments.stepping.train_state import TrainState, init_shapes
from experiments.tasks.task import Task
from perceiver_jax import huggingface, pretrained
from perceiver_jax.published import Model
from perceiver_jax.resample import resample_positions

_SOURCE = flags.DEFINE_string(
  'source', None, 'File or folder with the weights.'
)
_SOURCE_GRID = flags.DEFINE_list(
  'source_grid',
  None,
  'Height and width that learned positions in FILE are of, such as 224,224, '
  'when the config is for other images. Default: a square.',
)

_Imported = tuple[
  ml_collections.ConfigDict,
  hk.MutableParams,
  hk.MutableState,
  optax.GradientTransformation,
]


def import_weights(
  config: ml_collections.ConfigDict | None,
  source: pathlib.Path,
  workdir: pathlib.Path,
  source_grid: tuple[int, ...] | None = None,
) -> None:
  """Writes the checkpoint of step 0 and the config of a run.

  Args:
    config: of the model; it is set to what the weights need. None to make it
      from the config.json that lies beside the weights.
    source: file or folder with the weights.
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
  exported = source / WEIGHTS
  source = exported if exported.is_file() else source
  convert = _convert_exported
  if not is_exported(source):
    convert = functools.partial(_convert_published, source_grid=source_grid)
  config, params, state, optimizer = convert(config, source)
  train_state = TrainState(
    np.int32(0),
    params,
    state,
    jax.jit(optimizer.init)(params),
    ema=params if config.get('ema_decay') else None,
  )
  workdir.mkdir(parents=True, exist_ok=True)
  with contextlib.closing(open_checkpoints(config, workdir)) as checkpoints:
    checkpoints.save(train_state, position=0, metrics=None)
  write_config(config, workdir)
  print(parameter_table(params))
  print(f'Written: checkpoint of step 0 and config.json in {workdir}.')


def _convert_exported(
  config: ml_collections.ConfigDict | None, source: pathlib.Path
) -> _Imported:
  """Returns the config, parameters, state as exported, and an optimizer."""
  config = config or _config_beside(source)
  task, _, optimizer = bind(config, None)
  print(f'{source.name}: exported from a run.')
  shapes = init_shapes(task.model, batch_spec(task.data.example, 1))
  return config, *read_weights(source, *shapes), optimizer


def _config_beside(source: pathlib.Path) -> ml_collections.ConfigDict:
  try:
    return read_config(source.parent)
  except FileNotFoundError as error:
    raise ValueError(
      f'{source} has no config.json beside it. Name its config by --config.'
    ) from error


def _convert_published(
  config: ml_collections.ConfigDict | None,
  path: pathlib.Path,
  source_grid: tuple[int, ...] | None,
) -> _Imported:
  """Returns the config, parameters in our layout, state, and an optimizer."""
  source = read_source(path)
  layout = source.layout
  architecture = pretrained.architecture_of(source.params, layout)
  print(f'{path.name}: {architecture} in the layout {layout!r}.')
  config = _config_for(config, source, architecture, path)
  task, _, optimizer = bind(config, None)
  params, state = pretrained.convert(
    source.params,
    source.state,
    *init_shapes(task.model, batch_spec(task.data.example, 1)),
    layout=layout,
    architecture=architecture,
    resize=_resampling(task, source_grid),
  )
  return config, params, state, optimizer


def _config_for(
  config: ml_collections.ConfigDict | None,
  source: Source,
  architecture: str,
  path: pathlib.Path,
) -> ml_collections.ConfigDict:
  """Returns the config that the weights need, made or changed."""
  described = None
  if source.config is not None:
    described = _described(source.config, architecture, path)
    dropout = source.config.get('attention_probs_dropout_prob', 0.0)
    if dropout:
      print(
        f'Not taken over: attention_probs_dropout_prob = {dropout}, which acts '
        'in training alone; config.encoder.dropout_rate is 0.'
      )
    if config is None:
      return config_of(described, source.config.get('problem_type'))
  if config is None:
    raise ValueError(
      f'{path} has no config.json of transformers beside it, and does not say '
      'itself what model it is of. Name its config by --config, such as '
      'experiments/configs/imagenet_io.py.'
    )
  # In bfloat16 predictions would differ from those of the published code.
  settings = {'compute_dtype': 'float32'}
  settings |= pretrained.settings(source.layout, architecture)
  if described is not None:
    settings |= _flatten(described.sections)
  else:
    print('Heads and their like do not show in weights: those of --config.')
  _apply_settings(config, settings)
  return config


def _described(
  config: dict, architecture: str, path: pathlib.Path
) -> huggingface.HuggingFaceModel:
  """Returns what a config.json says, which is of the same weights."""
  try:
    described = huggingface.model(config)
  except ValueError as error:
    raise ValueError(f'The config.json of {path}: {error}') from error
  if described.architecture != architecture:
    raise ValueError(
      f'The config.json of {path} is of the architecture '
      f'{described.architecture!r}, its weights of {architecture!r}.'
    )
  return described


def _flatten(sections: Model) -> dict:
  """Returns values by path, such as 'encoder.num_latents'."""
  flat = {}
  for key, value in sections.items():
    if isinstance(value, dict):
      flat |= {f'{key}.{path}': each for path, each in _flatten(value).items()}
    else:
      flat[key] = value
  return flat


def _apply_settings(config: ml_collections.ConfigDict, values: dict) -> None:
  """Sets values by path, saying so where they are others than before."""
  with config.unlocked(), config.ignore_type():
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
      if before != value or key not in section:
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


def main() -> None:
  """Imports --source."""
  if not _SOURCE.value:
    raise ValueError('Name what holds the weights by --source=FILE_OR_FOLDER.')
  config = None
  if command_line.CONFIG.value is not None:
    config = command_line.config()
  elif not command_line.WORKDIR.value:
    raise ValueError('Name the folder of the new run by --workdir.')
  grid = _SOURCE_GRID.value
  source = addresses.local(
    _SOURCE.value, '--source', 'the libraries of weights read files'
  )
  import_weights(
    config,
    source,
    command_line.workdir(),
    None if grid is None else tuple(int(size) for size in grid),
  )


if __name__ == '__main__':
  command_line.run(main)
