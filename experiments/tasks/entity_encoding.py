"""Perceiver IO as encoder of the units of a StarCraft II game."""

import haiku as hk
import jax
import ml_collections

from experiments.answers.embeddings.record import EMBEDDINGS, tell_embeddings
from experiments.datasets.without_pipeline import starcraft
from experiments.host.configuration import choose, construct
from experiments.stepping.train_state import Batch
from experiments.tasks.task import Task
from perceiver_jax.decoder import Decoder
from perceiver_jax.encoder import Encoder
from perceiver_jax.models import EntityEncoder

_DATASETS = {'starcraft': starcraft}


def sections(_) -> tuple[str, ...]:
  """Returns the sections of the config that this task reads."""
  return ('data', 'entities', 'encoder', 'decoder')


def make_task(config: ml_collections.ConfigDict, data_dir: str | None) -> Task:
  """Binds the model to its data."""

  def forward(batch: Batch, is_training: bool) -> jax.Array:
    model = construct(
      'entities',
      EntityEncoder,
      config.entities,
      given={
        'encoder': construct('encoder', Encoder, config.encoder),
        'decoder': construct('decoder', Decoder, config.decoder),
      },
    )
    return model(batch['entities'], is_training=is_training, mask=batch['mask'])

  return Task(
    model=hk.transform_with_state(forward),
    loss_function=None,
    data=choose('data', _DATASETS, config.data, data_dir),
    answer=EMBEDDINGS,
    tell=tell_embeddings,
  )
