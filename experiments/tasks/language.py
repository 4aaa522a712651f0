"""Perceiver IO on text: the masked language model, and GLUE's tasks."""

import haiku as hk
import jax
import ml_collections

from experiments.configuration import choose, construct
from experiments.data import shapes
from experiments.tasks.task import Task
from experiments.train_state import Batch
from perceiver_jax.decoder import Decoder
from perceiver_jax.encoder import Encoder
from perceiver_jax.models import MaskedLanguageModel, TextClassifier
from perceiver_jax.queries import LearnedQueries
from perceiver_jax.token_embedding import TokenEmbedding

_DATASETS = {'masked_text': shapes.masked_text, 'glue': shapes.glue}
_PARTS = ('data', 'embedding', 'encoder', 'queries', 'decoder')


def masked_language_modelling_sections(_) -> tuple[str, ...]:
  """Returns the sections of the config that this task reads."""
  return _PARTS


def text_classification_sections(_) -> tuple[str, ...]:
  """Returns the sections of the config that this task reads."""
  return (*_PARTS, 'labels')


def masked_language_modelling(
  config: ml_collections.ConfigDict, data_dir: str | None
) -> Task:
  """Binds the masked language model to its data."""

  def forward(batch: Batch, is_training: bool) -> jax.Array:
    model = MaskedLanguageModel(
      queries=construct('queries', LearnedQueries, config.queries),
      **_common_parts(config),
    )
    return model(
      batch['tokens'],
      is_training=is_training,
      input_mask=batch['mask'],
      query_mask=batch['mask'],
    )

  return Task(
    model=hk.transform_with_state(forward),
    loss_function=None,
    data=choose('data', _DATASETS, config.data, data_dir),
  )


def text_classification(
  config: ml_collections.ConfigDict, data_dir: str | None
) -> Task:
  """Binds a model with a query for each of the `labels` to its data."""

  def forward(batch: Batch, is_training: bool) -> dict[str, jax.Array]:
    tasks = dict(config.labels)
    queries = construct(
      'queries',
      LearnedQueries,
      config.queries,
      given={'num_queries': len(tasks)},
    )
    model = TextClassifier(
      queries=queries, tasks=tasks, **_common_parts(config)
    )
    return model(
      batch['tokens'], is_training=is_training, input_mask=batch['mask']
    )

  return Task(
    model=hk.transform_with_state(forward),
    loss_function=None,
    data=choose('data', _DATASETS, config.data, data_dir),
  )


def _common_parts(config: ml_collections.ConfigDict) -> dict[str, hk.Module]:
  return {
    'embedding': construct('embedding', TokenEmbedding, config.embedding),
    'encoder': construct('encoder', Encoder, config.encoder),
    'decoder': construct(
      'decoder', Decoder, config.decoder, given={'output_channels': None}
    ),
  }
