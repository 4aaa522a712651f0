"""The golden files of what `save_pretrained` writes, as folders again."""

import json
import pathlib
from typing import Any, NamedTuple

import numpy as np
import safetensors.numpy

from tests.golden.golden_files import drawn_weights

FOLDER = pathlib.Path(__file__).parent / 'saved'
NAMES = tuple(sorted(path.stem for path in FOLDER.glob('*.npz')))


class Saved(NamedTuple):
  """A golden file."""

  config: dict[str, Any]
  weights: dict[str, np.ndarray]
  inputs: dict[str, np.ndarray]
  outputs: dict[str, np.ndarray]


def load(name: str) -> Saved:
  """Reads a golden file."""
  with np.load(FOLDER / f'{name}.npz', allow_pickle=False) as file:
    text = json.loads(str(file['config']))
    groups = {
      group: {
        key.removeprefix(f'{group}/'): file[key]
        for key in file.files
        if key.startswith(f'{group}/')
      }
      for group in ('inputs', 'outputs')
    }
  return Saved(text['config'], drawn_weights(text['shapes']), **groups)


def write(saved: Saved, folder: pathlib.Path, shards: int = 1) -> pathlib.Path:
  """Writes the folder that `save_pretrained` wrote; returns it."""
  folder.mkdir(exist_ok=True)
  (folder / 'config.json').write_text(json.dumps(saved.config))
  names = sorted(saved.weights)
  if shards == 1:
    safetensors.numpy.save_file(saved.weights, folder / 'model.safetensors')
    return folder
  files = {
    name: f'model-{i % shards + 1:05}-of-{shards:05}.safetensors'
    for i, name in enumerate(names)
  }
  for file in set(files.values()):
    part = {name: saved.weights[name] for name in names if files[name] == file}
    safetensors.numpy.save_file(part, folder / file)
  index = {'metadata': {}, 'weight_map': files}
  (folder / 'model.safetensors.index.json').write_text(json.dumps(index))
  return folder
