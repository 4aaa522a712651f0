"""Steps of every config of the papers, on small shapes."""

import importlib
import math

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.data.dataset import batch_spec
from experiments.datasets.glue import PARTS
from experiments.runs.experiment import bind
from experiments.stepping.parallelism import ALONE
from experiments.stepping.steps import make_update
from experiments.stepping.train_state import init_state
from tests.experiments.test_configuration import (
  DESCRIBED_ONLY,
  SHIPPED,
  TRAINABLE,
)

pytestmark = pytest.mark.slow

# Whole runs of these are tested.
EMBEDDED = {'bunny', 'declaration', 'digits', 'furniture', 'tones', 'watch'}
VARIANTS = [
  (name, variant)
  for name, variant, _ in SHIPPED
  if name in set(TRAINABLE) - EMBEDDED and (name, variant) not in DESCRIBED_ONLY
]
BATCH = 8

# What is small about a config: a value, or a function of its own. What a
# variant has not got is passed over.
ENCODER = {
  'num_latents': lambda n: max(2, n // 98),
  'latent_channels': 16,
  'cross_attends': lambda counts: counts[:2],
  'self_attends_per_block': 1,
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
SOUND = {'num_bands': 2, 'max_resolution': (240,)}
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
    'data': {'num_frames': 2, 'image_size': 16},
    'inputs': {
      'audio': {
        'samples_per_patch': 16,
        'num_mels': 8,
        'max_masked_frames': 1,
        'max_masked_bands': 2,
        'positions': {
          'num_bands': 2,
          'max_resolution': lambda sides: (240,) if len(sides) == 1 else (4, 8),
        },
      },
      'video': {'patch_shape': (1, 4, 4), 'positions': VIDEO},
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
      'audio': {'positions': SOUND},
      'image': {'positions': VIDEO},
      'label': {'num_classes': 12},
    },
    'encoder': ENCODER,
    'queries': {
      'audio': {'grid_shape': (240,), 'positions': SOUND},
      'image': {'grid_shape': (2, 16, 16), 'positions': VIDEO},
      'label': {'num_channels': 16},
    },
    'decoder': {'output_channels': 16},
    'postprocessors': {'label': {'num_classes': 12}},
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
  tokens = config.get('embedding', {}).get('vocab_size')
  limits = {
    'label': 12 if 'postprocessors' in config else task.data.num_classes,
    'tokens': tokens,
    'targets': tokens,
    'audio': 240,  # The last two are output points.
    'image': 512,
  }

  def draw(path, x):
    name = path[-1].key
    if x.dtype == np.bool_:  # The last one is padding.
      return np.broadcast_to(np.arange(x.shape[-1]) < x.shape[-1] - 1, x.shape)
    if name == 'part':
      numbers = [PARTS.index(task) for task in config.data.tasks]
      return np.resize(np.array(numbers, x.dtype), x.shape)
    if name == 'valid':
      return np.ones(x.shape, x.dtype)
    if x.dtype == np.int32:
      return rng.integers(limits[name], size=x.shape, dtype=x.dtype)
    if name in ('label', 'target_weights'):
      return rng.integers(2, size=x.shape).astype(x.dtype)
    return rng.normal(size=x.shape).astype(x.dtype)

  spec = batch_spec(task.data.example, BATCH)
  batch = jax.tree_util.tree_map_with_path(draw, spec)
  if 'target_weights' in batch:
    batch['target_weights'] *= batch['mask']
  if config.data.get('cutmix'):
    batch['mix_label'] = batch['label'][::-1]
    batch['mix_share'] = rng.uniform(size=BATCH).astype(np.float32)
  return {**batch, 'weight': np.ones(BATCH, np.float32)}


def make_step(name, variant):
  """Config, a batch, and the functions that initialise and advance a state."""
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

  def start(batch):
    return init_state(task.model, optimizer, config.seed, batch)

  return config, batch, start, update


def first_loss(config, batch):
  """What an untrained model's loss is, and within what, or None.

  All classes are equally likely: exactly so where the last layer is zero, else
  but for the variance of random logits, half of which comes on top.
  """
  if config.task == 'masked_language_modelling':
    return math.log(config.embedding.vocab_size), 2.0
  if config.task == 'optical_flow' and config.decoder.get('zero_init'):
    return np.linalg.norm(batch['flow'], axis=-1).mean(), 1e-4
  if config.task == 'classification':
    within = 2.0 if 'decoder' in config else 1e-4
    if config.loss.name == 'sigmoid':
      return math.log(2), within
    return math.log(40 if 'points' in config.inputs else 1000), within
  return None


@pytest.fixture(autouse=True)
def _drawn_on_the_host(monkeypatch):
  """Draws parameters with numpy: jax compiles that for seconds."""
  rng = np.random.default_rng(0)

  def draw(key, lower, upper, shape, dtype):
    del key
    return jnp.asarray(rng.normal(size=shape).clip(lower, upper), dtype)

  monkeypatch.setattr(jax.random, 'truncated_normal', draw)


@pytest.mark.parametrize(('name', 'variant'), VARIANTS)
def test_steps_move_all_parameters(name, variant):
  config, batch, start, update = make_step(name, variant)
  start, update = jax.jit(start), jax.jit(update)
  states, reports = [start(batch)], []
  assert sum(x.size for x in jax.tree.leaves(states[0].params)) < 100_000
  # What lies behind a layer that begins with zeros moves a step later; a
  # residual network has two of them on the way.
  for _ in range(3):
    state, report = update(states[-1], batch)
    states.append(state)
    reports.append(report)
  assert all(bool(report.health.is_finite) for report in reports)
  assert {'loss', 'learning_rate'} <= set(reports[0].metrics)
  # A step gives back the kind of state that it takes.
  chex.assert_trees_all_equal_shapes_and_dtypes(*states)
  expected = first_loss(config, batch)
  if expected is not None:
    assert abs(float(reports[0].health.loss) - expected[0]) < expected[1]
  first, *_, last = (state.params for state in states)
  still = {
    f'{module}/{name}'
    for module, arrays in first.items()
    for name, array in arrays.items()
    if (array == last[module][name]).all()
  }
  # A softmax is the same when all keys move alike.
  assert {name for name in still if not name.endswith('key/b')} == set()
