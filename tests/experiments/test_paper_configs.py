"""Two steps of every config of the papers, on small shapes."""

import importlib

import jax
import numpy as np
import pytest

from experiments.data.dataset import batch_spec
from experiments.data.glue import PARTS, task_of
from experiments.experiment import bind
from experiments.parallelism import ALONE
from experiments.steps import make_update
from experiments.train_state import init_state
from tests.experiments.test_configuration import (
  DESCRIBED_ONLY,
  SHIPPED,
  TRAINABLE,
)

# Of these, whole runs are tested.
NOT_OF_THE_PAPERS = {
  'bunny',
  'declaration',
  'digits',
  'furniture',
  'tones',
  'watch',
}
VARIANTS = [
  (name, variant)
  for name, variant, _ in SHIPPED
  if name in set(TRAINABLE) - NOT_OF_THE_PAPERS
  and (name, variant) not in DESCRIBED_ONLY
]
BATCH = 8

# What is small about a config: a value, or a function of its own. What a
# variant has not got is passed over.
ENCODER = {
  'num_latents': lambda n: n // 98,
  'latent_channels': 16,
  'cross_attends': lambda counts: counts[:2],
  'self_attends_per_block': 2,
  'cross_attend_heads': lambda n: min(n, 2),
  'self_attend_heads': 2,
  'cross_attend_qk_channels': 8,
  'cross_attend_v_channels': 16,
  'self_attend_qk_channels': 8,
  'self_attend_v_channels': 16,
}
IMAGE = {
  'num_channels': lambda n: n // 16,
  'positions': {
    'num_bands': 2,
    'max_resolution': lambda sides: [side // 14 for side in sides],
    'num_channels': lambda n: n // 16,
    'projected_channels': lambda n: n // 16,
  },
}
IMAGENET = {
  'data': {'image_size': 16},
  'inputs': {'image': IMAGE},
  'encoder': ENCODER,
  'queries': {'num_channels': 16},
}
TRANSFORMER = {'num_channels': 16, 'num_layers': 2, 'num_heads': 2}
RESNET = {
  'blocks_per_group': (1, 1, 1, 1),
  'channels_per_group': (8, 8, 8, 8),
  'stem_channels': 4,
}
BASELINES = {'transformer': TRANSFORMER, 'vit': TRANSFORMER, 'resnet': RESNET}
TEXT = {
  'data': {'length': 12},
  'embedding': {'num_channels': 16, 'max_length': 12},
  'encoder': ENCODER,
  'queries': {'num_queries': 12, 'num_channels': 16},
  'decoder': {'num_heads': 2, 'qk_channels': 8, 'v_channels': 16},
}
VIDEO = {'num_bands': 2, 'max_resolution': (2, 4, 4)}
SOUND = {'num_bands': 2, 'max_resolution': (30,)}
PATCHES = {'num_bands': 2, 'max_resolution': (240,)}
SMALL = {
  'imagenet': IMAGENET,
  'imagenet_io': IMAGENET,
  'imagenet_baselines': {
    'data': {'image_size': 32},
    'inputs': {
      'image': {'positions': {'num_bands': 2, 'max_resolution': (32, 32)}}
    },
    'baseline': {'grid_shape': (32, 32)},
  },
  'audioset': {
    'data': {'num_frames': 2, 'image_size': 32},
    'inputs': {
      'audio': {
        'num_mels': 8,
        'max_masked_frames': 1,
        'max_masked_bands': 2,
        'positions': {
          'num_bands': 2,
          'max_resolution': lambda sides: (30,) if len(sides) == 1 else (4, 8),
        },
      },
      'video': {'positions': VIDEO},
    },
    'encoder': ENCODER,
    'queries': {'num_channels': 16},
  },
  'modelnet40': {
    'data': {'num_points': 32},
    'inputs': {'points': {'num_bands': 2}},
    'encoder': ENCODER,
  },
  'modelnet40_baselines': {
    'data': {'num_points': 144},
    'inputs': {'points': {'num_bands': 2}},
    'baseline': {'grid_shape': (12, 12)},
  },
  'language': TEXT,
  'glue': TEXT,
  'flow': {
    'data': {'height': 16, 'width': 24},
    'preprocessor': {
      'num_channels': 4,
      'positions': {
        'num_bands': 2,
        'max_resolution': lambda sides: (*sides[:-2], 4, 6),
      },
    },
    'encoder': ENCODER,
  },
  'kinetics': {
    'data': {
      'num_frames': 2,
      'image_size': 16,
      'num_samples': 3840,
      'audio_points': 8,
      'image_points': 8,
    },
    'inputs': {
      'audio': {'positions': PATCHES},
      'image': {'positions': VIDEO},
    },
    'encoder': ENCODER,
    'queries': {
      'audio': {'grid_shape': (240,), 'positions': PATCHES},
      'image': {'grid_shape': (2, 16, 16), 'positions': VIDEO},
      'label': {'num_channels': 16},
    },
    'decoder': {'output_channels': 16},
    'decoding': {'num_chunks': 2},
  },
}


def shrink(section, small):
  """Sets those values of a section that it has."""
  for key, value in small.items():
    if key not in section:
      continue
    if isinstance(value, dict):
      shrink(section[key], value)
    else:
      with section.ignore_type():
        section[key] = value(section[key]) if callable(value) else value


def small_config(name, variant):
  module = importlib.import_module(f'experiments.configs.{name}')
  config = module.get_config(*([variant] if variant else []))
  shrink(config, SMALL[name])
  if 'baseline' in config:
    config.baseline.update(BASELINES[config.baseline.name])
  return config


def make_batch(config, task):
  """Random numbers, as the data set would have them."""
  rng = np.random.default_rng(0)
  limits = {
    'label': task.data.num_classes or 700,
    'audio': 240,
    'image': 512,
  }
  if 'embedding' in config:
    limits |= dict.fromkeys(('tokens', 'targets'), config.embedding.vocab_size)

  def draw(path, x):
    name = path[-1].key
    if x.dtype == np.bool_:
      return np.broadcast_to(np.arange(x.shape[-1]) != x.shape[-1] - 1, x.shape)
    if name == 'part':
      parts = [
        i for i, p in enumerate(PARTS) if task_of(p) in config.data.tasks
      ]
      return np.resize(np.array(parts, x.dtype), x.shape)
    if x.dtype == np.int32:
      return rng.integers(limits[name], size=x.shape, dtype=x.dtype)
    if name in ('label', 'target_weights'):
      return rng.integers(2, size=x.shape).astype(x.dtype)
    return rng.normal(size=x.shape).astype(x.dtype)

  batch = jax.tree_util.tree_map_with_path(
    draw, batch_spec(task.data.example, BATCH)
  )
  if 'target_weights' in batch:
    batch['target_weights'] *= batch['mask']
  if 'valid' in batch:
    batch['valid'] = np.ones_like(batch['valid'])
  if config.data.get('cutmix'):
    batch['mix_label'] = batch['label'][::-1]
    batch['mix_share'] = rng.uniform(size=BATCH).astype(np.float32)
  return {**batch, 'weight': np.ones(BATCH, np.float32)}


@pytest.mark.parametrize(('name', 'variant'), VARIANTS)
def test_two_steps(name, variant):
  import time

  t = [time.process_time()]
  config = small_config(name, variant)
  task, schedule, optimizer = bind(config, None)
  batch = make_batch(config, task)
  update = make_update(
    task.model,
    task.loss_function,
    optimizer,
    schedule,
    seed=config.seed,
    collectives=ALONE,
  )
  init = jax.jit(
    lambda batch: init_state(task.model, optimizer, config.seed, batch)
  ).lower(batch)
  t.append(time.process_time())
  state = init.compile()(batch)
  t.append(time.process_time())
  up = jax.jit(update).lower(state, batch)
  t.append(time.process_time())
  up = up.compile()
  t.append(time.process_time())
  middle, first = up(state, batch)
  new, second = up(middle, batch)
  import haiku as hk

  print(
    'TT',
    name,
    variant,
    hk.data_structures.tree_size(state.params),
    [round(b - a, 2) for a, b in zip(t, t[1:])],
    float(first.health.loss),
    float(second.health.loss),
    {k: round(float(v.total / v.weight), 3) for k, v in first.metrics.items()},
  )
  zero = [
    f'{m}/{n}'
    for m, x in second.health.gradient_norms.items()
    for n, v in x.items()
    if float(v) == 0
  ]
  zero1 = [
    f'{m}/{n}'
    for m, x in first.health.gradient_norms.items()
    for n, v in x.items()
    if float(v) == 0
  ]
  print(
    '  zero',
    zero,
    len(zero1),
    len(jax.tree.leaves(first.health.gradient_norms)),
    jax.tree.reduce(
      lambda a, b: a if a < b else b,
      jax.tree.map(float, second.health.gradient_norms),
    ),
  )
