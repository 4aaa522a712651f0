"""Files of weights that others trained: released pickles, Hugging Face's.

What `save_pretrained` of `transformers` writes is a folder: config.json, and
the weights in one file or in several that an index lists.
"""

import json
import pathlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import haiku as hk
import numpy as np
import safetensors.numpy

from experiments.handing_on.unpickling import load_apart

_PICKLES = ('.pystate', '.pickle', '.pkl')
_TORCH = ('.bin', '.pt', '.pth')
# Before, `weights_only` could be got round (CVE-2025-32434).
_SAFE_TORCH = (2, 6)
_INDEX = '.index.json'
# What `save_pretrained` writes, today and in the past.
_IN_FOLDER = (
  'model.safetensors',
  f'model.safetensors{_INDEX}',
  'pytorch_model.bin',
  f'pytorch_model.bin{_INDEX}',
)
_CONFIG = 'config.json'


class Source(NamedTuple):
  """Published weights.

  Attributes:
    layout: see `pretrained.LAYOUTS`.
    params: arrays by name, see `pretrained.convert`.
    state: likewise.
    config: content of the config.json of transformers; None without one.
  """

  layout: str
  params: dict[str, np.ndarray]
  state: dict[str, np.ndarray]
  config: Mapping[str, Any] | None


def read_source(path: pathlib.Path) -> Source:
  """Reads published weights.

  Args:
    path: of a file, whose suffix tells its kind, or of a folder of
      `save_pretrained`.

  Raises:
    ValueError: it is none of the known kinds, or not readable.
    OSError: there is no such file.
  """
  file = _file_of(path)
  suffix = file.suffix.lower()
  if suffix in _PICKLES:
    tree = load_apart(file)
    params, state = tree, {}
    if 'params' in tree and 'state' in tree:
      params, state = tree['params'], tree['state']
    return Source('released', _flatten(params), _flatten(state), None)
  params = {}
  for part in _parts(file):
    params |= _read_part(part)
  config = _read_config(file.parent / _CONFIG)
  return Source('huggingface', params, {}, config)


def _file_of(path: pathlib.Path) -> pathlib.Path:
  """Returns the file itself, or the one that a folder has."""
  if path.is_dir():
    found = [path / name for name in _IN_FOLDER if (path / name).is_file()]
    if not found:
      raise FileNotFoundError(
        f'{path} has none of {", ".join(_IN_FOLDER)}. Name the file with the '
        'weights.'
      )
    return found[0]
  if not path.is_file():
    raise FileNotFoundError(f'There is no file {path}.')
  return path


def _parts(file: pathlib.Path) -> list[pathlib.Path]:
  """Returns the files that an index lists; a file that is none, itself."""
  if not file.name.endswith(_INDEX):
    return [file]
  try:
    names = sorted(set(_read_json(file)['weight_map'].values()))
  except (KeyError, TypeError, AttributeError) as error:
    raise ValueError(
      f'{file} is no index of weights: it has no "weight_map" of files.'
    ) from error
  for name in names:
    # Names come from the file; only its neighbours are opened.
    if not isinstance(name, str) or pathlib.PurePath(name).name != name:
      raise ValueError(f'{file} lists {name!r}, which is not beside it.')
    if not (file.parent / name).is_file():
      raise FileNotFoundError(
        f'{file.parent} has no {name}, which {file.name} lists. Get all '
        f'{len(names)} files.'
      )
  return [file.parent / name for name in names]


def _read_part(path: pathlib.Path) -> dict[str, np.ndarray]:
  suffix = path.suffix.lower()
  if suffix == '.safetensors':
    return _read_safetensors(path)
  if suffix in _TORCH:
    return _read_torch(path)
  known = (*_PICKLES, '.safetensors', *_TORCH, _INDEX)
  raise ValueError(f'{path} must end in one of {known}, or be a folder.')


def _read_safetensors(path: pathlib.Path) -> dict[str, np.ndarray]:
  try:
    return dict(safetensors.numpy.load_file(path))
  except safetensors.SafetensorError as error:
    raise ValueError(
      f'{path} is no safetensors file, or it is damaged or incomplete: '
      f'{error}. Compare its size with the original.'
    ) from error


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


def _read_config(path: pathlib.Path) -> Mapping[str, Any] | None:
  """Returns the config.json of transformers; None where there is none."""
  if not path.is_file():
    return None
  config = _read_json(path)
  if not isinstance(config, dict):
    raise ValueError(f'{path} holds a {type(config).__name__}, not a config.')
  return config


def _read_json(path: pathlib.Path) -> Any:
  try:
    return json.loads(path.read_text(encoding='utf-8'))
  except ValueError as error:
    raise ValueError(
      f'{path} is no JSON, or it is damaged: {error}. Get it anew.'
    ) from error


def _flatten(tree: hk.Params) -> dict[str, np.ndarray]:
  return {
    f'{module}|{name}': array
    for module, leaves in tree.items()
    for name, array in leaves.items()
  }
