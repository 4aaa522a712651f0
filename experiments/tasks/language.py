"""Perceiver IO on text: the masked language model, and labels of texts."""

from collections.abc import Mapping
from typing import Any

import haiku as hk
import jax
import ml_collections

from experiments.answers.classes.held_out import held_out_classes
from experiments.answers.classes.losses import label_loss
from experiments.answers.classes.record import CLASSES_OF_TEXT
from experiments.answers.classes.value import tell_classes
from experiments.answers.filled_text.loss import masked_token_loss
from experiments.answers.filled_text.record import FILLED_TEXT, fill_in
from experiments.data.dataset import DataSpec
from experiments.datasets.declaration import (
  declaration_languages,
  declaration_masked,
)
from experiments.datasets.masked_text import masked_text
from experiments.datasets.without_pipeline import masked_pieces
from experiments.host.configuration import choose, construct
from experiments.modalities.text.record import TEXTS
from experiments.stepping.train_state import Batch, LossFunction
from experiments.tasks.task import Task
from perceiver_jax.decoder import Decoder
from perceiver_jax.encoder import Encoder
from perceiver_jax.models import MaskedLanguageModel, TextClassifier
from perceiver_jax.ngram_embedding import NgramEmbedding
from perceiver_jax.queries import LearnedQueries
from perceiver_jax.token_embedding import TokenEmbedding

_MASKED_TEXTS = {
  'declaration': declaration_masked,
  'masked_pieces': masked_pieces,
  'masked_text': masked_text,
}
_LABELLED_TEXTS = {'declaration': declaration_languages, **TEXTS.folders}
_PARTS = ('data', 'embedding', 'encoder', 'queries', 'decoder')


def masked_language_modelling_sections(_) -> tuple[str, ...]:
  """Returns the sections of the config that this task reads."""
  return (*_PARTS, 'loss')


def text_classification_sections(
  config: ml_collections.ConfigDict,
) -> tuple[str, ...]:
  """Returns the sections of the config that this task reads."""
  return (*_PARTS, 'labels', *(['loss'] if 'loss' in config else []))


def masked_language_modelling(
  config: ml_collections.ConfigDict, data_dir: str | None
) -> Task:
  """Binds the masked language model to its data."""

  def forward(batch: Batch, is_training: bool) -> jax.Array:
    model = MaskedLanguageModel(
      queries=construct('queries', LearnedQueries, config.queries),
      **common_parts(config),
    )
    return model(
      batch['tokens'],
      is_training=is_training,
      input_mask=batch['mask'],
      query_mask=batch['mask'],
    )

  data = choose('data', _MASKED_TEXTS, config.data, data_dir)
  loss_function = construct('loss', masked_token_loss, config.loss)
  return Task(
    model=hk.transform_with_state(forward),
    loss_function=loss_function if 'targets' in data.example else None,
    data=data,
    answer=FILLED_TEXT,
    tell=fill_in,
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
    model = TextClassifier(queries=queries, tasks=tasks, **common_parts(config))
    return model(
      batch['tokens'], is_training=is_training, input_mask=batch['mask']
    )

  data = choose('data', _LABELLED_TEXTS, config.data, data_dir)
  names = tuple(data.class_names)
  held_out = held_out_classes(names, _collect_label)
  return Task(
    model=hk.transform_with_state(forward),
    loss_function=_label_loss_of(
      data, config.labels, dict(config.get('loss', {}))
    ),
    data=data,
    answer=CLASSES_OF_TEXT._replace(held_out=held_out),
    tell=tell_classes(names, _probabilities_of_label),
  )


def _collect_label(
  logits: Mapping[str, jax.Array], batch: Batch
) -> dict[str, jax.Array]:
  """Keeps what there is to say of the only label, see `collect_classes`."""
  return {'scores': _probabilities_of_label(logits), 'labels': batch['label']}


def _probabilities_of_label(logits: Mapping[str, jax.Array]) -> jax.Array:
  """Softmax of the logits of the only label."""
  (label_logits,) = logits.values()
  return jax.nn.softmax(label_logits)


def _label_loss_of(
  data: DataSpec, labels: Mapping[str, int], loss: Mapping[str, Any]
) -> LossFunction:
  """The loss of a data set.

  Raises:
    ValueError: the config's labels are not those of the data.
  """
  if list(dict(labels).values()) != [data.num_classes]:
    raise ValueError(
      f'config.labels is {dict(labels)}; these data have one label of '
      f'{data.num_classes} classes, such as dict(label={data.num_classes}).'
    )
  return construct('loss', label_loss, loss)


_EMBEDDINGS = {'tokens': TokenEmbedding, 'ngrams': NgramEmbedding}


def make_embedding(
  section: Mapping[str, Any],
) -> TokenEmbedding | NgramEmbedding:
  """Returns the embedding of a config: that of tokens if it has no name."""
  return choose('embedding', _EMBEDDINGS, {'name': 'tokens', **section})


def common_parts(config: ml_collections.ConfigDict) -> dict[str, hk.Module]:
  """Returns what all models of text are made of besides their queries."""
  return {
    'embedding': make_embedding(config.embedding),
    'encoder': construct('encoder', Encoder, config.encoder),
    'decoder': construct(
      'decoder', Decoder, config.decoder, given={'output_channels': None}
    ),
  }
