"""The golden files of what `save_pretrained` writes: folders, our models."""

import json
import pathlib
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np
import safetensors.numpy

from experiments.data.dataset import batch_spec
from experiments.handing_on.imported_configs import config_of
from experiments.stepping.train_state import init_shapes
from experiments.tasks import make_task
from perceiver_jax import huggingface, pretrained
from tests.golden.golden_files import drawn_images, drawn_weights

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


def our_model(saved: Saved) -> Callable[[dict[str, Any]], Any]:
  """Returns our model of these weights: batch to predictions."""
  described = huggingface.model(saved.config)
  task = make_task(config_of(described, None), None)
  params, state = pretrained.convert(
    saved.weights,
    {},
    *init_shapes(task.model, batch_spec(task.data.example, 1)),
    layout='huggingface',
    architecture=described.architecture,
  )
  return jax.jit(
    lambda batch: task.model.apply(
      params, state, None, batch, is_training=False
    )[0]
  )


def batch_of(name: str, inputs: dict[str, np.ndarray]) -> dict[str, Any]:
  """Returns golden inputs as a batch of the task."""
  if name == 'masked_lm':
    return {'tokens': inputs['tokens'], 'mask': inputs['mask']}
  if name == 'text_classification':
    return {'tokens': inputs['tokens'], 'input_mask': inputs['mask']}
  if name == 'multimodal':
    points = {
      key: np.stack([inputs[f'{key}_points']] * 2) for key in ('audio', 'image')
    }
    return {
      'audio': inputs['audio'][..., 0],
      'image': inputs['image'],
      'label': inputs['label'],
      'output_points': points,
    }
  ((key, value),) = inputs.items()
  return {'image' if key == 'images' else key: value}


def expected_of(name: str, saved: Saved) -> dict[str, np.ndarray]:
  """Returns golden outputs in our conventions, by output."""
  outputs = saved.outputs
  if name == 'image_conv':  # docs/parity.md says why.
    return {'logits': outputs['logits_same_padding']}
  if name == 'optical_flow':  # In pixels.
    return {'flow': 20.0 * outputs['flow']}
  if name == 'masked_lm':  # Padding is not predicted.
    kept = saved.inputs['mask'][..., None]
    return {'logits': np.where(kept, outputs['logits'], np.nan)}
  return {key: x for key, x in outputs.items() if not key.startswith('logits_')}


def images_of(grid: str) -> np.ndarray:
  """Returns the images of a further grid, such as '28x44'."""
  return drawn_images(*map(int, grid.split('x')))
