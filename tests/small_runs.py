"""Runs of small models with random parameters; nothing is trained."""

import pathlib

import jax
import ml_collections
import numpy as np

from experiments.configs import digits
from experiments.data.dataset import blank_batch
from experiments.host.configuration import fill_defaults
from experiments.runs.trained import TrainedRun
from experiments.stepping.train_state import init_shapes
from experiments.tasks import make_task


def small_digits() -> ml_collections.ConfigDict:
  """Returns a config of 784 inputs: they are attended to in two chunks."""
  config = fill_defaults(digits.get_config())
  config.encoder.update(
    num_latents=4,
    latent_channels=8,
    cross_attends=(1,),
    self_attends_per_block=1,
  )
  config.inputs.image.positions.num_bands = 2
  return config


def random_run(
  config: ml_collections.ConfigDict, *, stddev: float = 0.2, step: int = 7
) -> TrainedRun:
  """Returns a run whose initialisation is not compiled.

  Args:
    config: of a small model.
    stddev: of its parameters.
    step: of its checkpoint, which there is not.
  """
  task = make_task(config, None)
  shapes = init_shapes(task.model, blank_batch(task.data.example))
  rng = np.random.default_rng(0)
  params, state = (
    jax.tree.map(lambda x: rng.normal(0, stddev, x.shape).astype(x.dtype), tree)
    for tree in shapes
  )
  # Variances among the state are not negative.
  state = jax.tree.map(np.abs, state)
  return TrainedRun(config, pathlib.Path('run'), step, task, params, state)
