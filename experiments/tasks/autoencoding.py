"""Perceiver IO as autoencoder of video, sound and label."""

from typing import Any

import haiku as hk
import ml_collections

from experiments.configuration import choose, construct
from experiments.data import shapes
from experiments.tasks.parts import (
  make_postprocessors,
  make_preprocessor,
  make_queries,
)
from experiments.tasks.task import Task
from experiments.train_state import Batch
from perceiver_jax.decoder import Decoder
from perceiver_jax.encoder import Encoder
from perceiver_jax.models import MultimodalAutoencoder

_DATASETS = {'kinetics': shapes.kinetics}


def sections(_) -> tuple[str, ...]:
  """Returns the sections of the config that this task reads."""
  return (
    'data',
    'inputs',
    'packing',
    'encoder',
    'queries',
    'decoder',
    'postprocessors',
    'decoding',
  )


def make_task(config: ml_collections.ConfigDict, data_dir: str | None) -> Task:
  """Binds the model to its data."""

  def forward(batch: Batch, is_training: bool) -> dict[str, Any]:
    model = construct(
      'decoding',
      MultimodalAutoencoder,
      config.decoding,
      given={
        'preprocessor': make_preprocessor(config.inputs, config.packing),
        'encoder': construct('encoder', Encoder, config.encoder),
        'queries': make_queries(config.queries),
        'decoder': construct('decoder', Decoder, config.decoder),
        'postprocessors': make_postprocessors(config.postprocessors),
      },
    )
    return model(
      {modality: batch[modality] for modality in config.inputs},
      is_training=is_training,
      points=batch.get('output_points'),
    )

  return Task(
    model=hk.transform_with_state(forward),
    loss_function=None,
    data=choose('data', _DATASETS, config.data, data_dir),
  )
