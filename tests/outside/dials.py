"""A task outside the package: pictures of dials, and where the needle points.

It binds data, a model of the library and the answer in `angle/`.
"""

import pathlib

import haiku as hk
import jax
import ml_collections
import numpy as np

from experiments.data.dataset import (
  Dataset,
  DataSpec,
  Example,
  Files,
  array_spec,
)
from experiments.host.configuration import choose, construct
from experiments.modalities.images.view import Image, to_pixels
from experiments.stepping.train_state import Batch
from experiments.tasks.parts import make_preprocessor
from experiments.tasks.task import Task, TaskKind
from perceiver_jax.decoder import Decoder
from perceiver_jax.encoder import Encoder
from perceiver_jax.models import PerceiverIOClassifier
from perceiver_jax.queries import LearnedQueries
from tests.outside.angle.record import (
  ANGLE,
  MEDIAN_OFF,
  angle_loss,
  tell_angle,
)

SIZE = 12


def draw_dial(degrees: float) -> np.ndarray:
  """Returns a bright needle from the middle of a dark dial, `[12, 12, 1]`."""
  places = (np.arange(SIZE) - (SIZE - 1) / 2) / (SIZE / 2)
  x, y = np.meshgrid(places, -places)
  angle = np.radians(degrees)
  along = x * np.cos(angle) + y * np.sin(angle)
  across = y * np.cos(angle) - x * np.sin(angle)
  needle = np.exp(-((across / 0.2) ** 2)) * (along > 0)
  return needle[..., None].astype(np.float32)


def example_of(degrees: float) -> Example:
  """Returns an example."""
  return {'image': draw_dial(degrees), 'angle': np.float32(degrees)}


def read_dial(path: pathlib.Path) -> list[Example]:
  """Returns the example of a .npy file."""
  return [{'image': np.load(path).astype(np.float32)}]


def dials(data_dir: str | None, *, num_train: int, num_eval: int) -> DataSpec:
  """Returns dials at random angles, always the same.

  Args:
    data_dir: not needed.
    num_train: number of training examples.
    num_eval: number of held-out examples.
  """
  del data_dir

  def load() -> Dataset:
    angles = np.random.default_rng(0).uniform(0, 360, num_train + num_eval)
    examples = [example_of(angle) for angle in angles]
    return Dataset(
      train=examples[:num_train],
      augment=lambda example, rng: example,
      evaluation=examples[num_train:],
      prepare=lambda example: example,
    )

  return DataSpec(
    example={'image': array_spec(SIZE, SIZE, 1), 'angle': array_spec()},
    num_classes=None,
    load=load,
    files=Files(extensions=('.npy',), read=read_dial),
    view=lambda example: {'image': Image(to_pixels(example['image']))},
  )


def make_task(config: ml_collections.ConfigDict, data_dir: str | None) -> Task:
  """Binds a Perceiver IO of two outputs to the dials."""

  def forward(batch: Batch, is_training: bool) -> jax.Array:
    model = PerceiverIOClassifier(
      preprocessor=make_preprocessor(config.inputs, None),
      encoder=construct('encoder', Encoder, config.encoder),
      queries=LearnedQueries(num_queries=1, **config.queries),
      decoder=Decoder(output_channels=2, **config.decoder),
    )
    return model(batch['image'], is_training=is_training)

  return Task(
    model=hk.transform_with_state(forward),
    loss_function=angle_loss,
    data=choose('data', {'dials': dials}, config.data, data_dir),
    answer=ANGLE,
    tell=tell_angle,
    dataset_metrics=MEDIAN_OFF,
  )


DIALS = TaskKind(
  sections=lambda config: ('data', 'inputs', 'encoder', 'queries', 'decoder'),
  make_task=make_task,
  answer=ANGLE,
)


def get_config() -> ml_collections.ConfigDict:
  """Returns a small model, trained in seconds."""
  config = ml_collections.ConfigDict()
  config.task = 'dials'
  config.seed = 0
  config.batch_size = 32
  config.train_steps = 60
  config.log_every = 20
  config.eval_every = 30
  config.checkpoint_every = 60
  config.data_workers = 0
  config.data = dict(name='dials', num_train=256, num_eval=40)
  fourier = dict(
    name='fourier', num_bands=4, max_resolution=(6, 6), spacing='linear'
  )
  config.inputs = dict(image=dict(name='pixels', positions=fourier))
  config.encoder = dict(
    num_latents=8,
    latent_channels=32,
    cross_attends=(1,),
    self_attends_per_block=1,
    self_attend_heads=2,
    rematerialize='none',
  )
  config.queries = dict(num_channels=16, init_stddev=0.5)
  config.decoder = dict(qk_channels=16, v_channels=16)
  config.optimizer = dict(
    name='adamw', weight_decay=0.01, b2=0.95, clip_norm=1.0
  )
  config.schedule = dict(name='constant', learning_rate=3e-3, warmup_steps=5)
  config.checkpoints = dict(
    keep_last=1, best_metric='eval/median_degrees_off', best_mode='min'
  )
  return config
