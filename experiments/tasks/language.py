"""Perceiver IO on text: the masked language model, and labels of texts."""

import functools
import itertools
import math
from collections.abc import Mapping, Sequence

import haiku as hk
import jax
import ml_collections
import numpy as np
import optax

from experiments.answers.kinds import Blank, Classes, FilledText
from experiments.data.dataset import DataSpec, Example
from experiments.datasets.declaration import (
  declaration_languages,
  declaration_masked,
)
from experiments.datasets.masked_text import masked_text
from experiments.datasets.without_pipeline import masked_pieces
from experiments.host.configuration import choose, construct
from experiments.modalities.text.record import TEXTS
from experiments.stepping.train_state import Batch, LossFunction, Metrics
from experiments.tasks.task import Task
from perceiver_jax.decoder import Decoder
from perceiver_jax.encoder import Encoder
from perceiver_jax.metrics import Mean, weighted_mean
from perceiver_jax.models import MaskedLanguageModel, TextClassifier
from perceiver_jax.queries import LearnedQueries
from perceiver_jax.token_embedding import TokenEmbedding
from perceiver_jax.tokenizer import MASK, SPECIAL_TOKENS

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
    answer=fill_in,
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
  return Task(
    model=hk.transform_with_state(forward),
    loss_function=_label_loss_of(data, config.labels),
    data=data,
    answer=functools.partial(name_label, tuple(data.class_names)),
  )


def masked_token_loss(*, visible_weight: float) -> LossFunction:
  """Returns cross-entropy of the masked tokens, and metrics of them.

  The metrics count masked tokens, not examples: `loss` in nats,
  `bits_per_byte` for tokens that are bytes, `accuracy`.

  Args:
    visible_weight: weight of the mean over the tokens that are not masked,
      added to the mean over those that are. To give back what it sees, a model
      must learn which output belongs to which input: it needs that before it
      can guess from neighbours. 0 for a masked language model without.
  """

  def loss_function(
    logits: jax.Array, batch: Batch
  ) -> tuple[Sequence[Mean], Metrics]:
    targets, masked = batch['targets'], batch['target_weights']
    weights = batch['weight'][:, None]
    losses = optax.softmax_cross_entropy_with_integer_labels(logits, targets)
    hits = logits.argmax(axis=-1) == targets
    loss = weighted_mean(losses, weights * masked)
    visible = weighted_mean(losses, weights * (batch['mask'] - masked))
    metrics = {
      'loss': loss,
      'bits_per_byte': Mean(loss.total / math.log(2.0), loss.weight),
      'accuracy': weighted_mean(hits, weights * masked),
    }
    weighted = Mean(visible_weight * visible.total, visible.weight)
    return [loss, weighted], metrics

  return loss_function


def fill_in(
  predictions: Sequence[np.ndarray], examples: Sequence[Example]
) -> FilledText:
  """Fills in the masked bytes of a text.

  Args:
    predictions: logits `[M, 262]` of its only example.
    examples: with `tokens` int `[M]` and `mask` bool `[M]`, False for padding.
  """
  (logits,), (example,) = predictions, examples
  probabilities = _probabilities_of_bytes(logits)
  tokens = example['tokens'][example['mask']]
  text, blanks = '', []
  for masked, places in itertools.groupby(
    range(len(tokens)), key=lambda place: tokens[place] == MASK
  ):
    places = list(places)
    values = tokens[places] - len(SPECIAL_TOKENS)
    if masked:
      values = probabilities[places].argmax(axis=-1)
    # Blanks stand between whole characters, so pieces can be decoded alone.
    piece = bytes(values.tolist()).decode('utf-8', errors='replace')
    if masked:
      end = len(text) + len(piece)
      blanks.append(Blank(len(text), end, probabilities[places]))
    text += piece
  return FilledText(text, blanks)


def _probabilities_of_bytes(logits: np.ndarray) -> np.ndarray:
  """Softmax of the tokens that are bytes, `[M, 256]`."""
  logits = logits[:, len(SPECIAL_TOKENS) :]
  odds = np.exp(logits - logits.max(axis=-1, keepdims=True))
  return odds / odds.sum(axis=-1, keepdims=True)


def name_label(
  names: tuple[str, ...],
  predictions: Sequence[Mapping[str, np.ndarray]],
  examples: Sequence[Example],
) -> Classes:
  """Tells the label of a text, the mean over its parts.

  Args:
    names: of the classes.
    predictions: logits `[classes]` of the only task, for each part.
    examples: the parts.
  """
  del examples
  parts = [
    jax.nn.softmax(logits) for each in predictions for logits in each.values()
  ]
  return Classes(names, np.mean(parts, axis=0))


def label_loss(
  logits: Mapping[str, jax.Array], batch: Batch
) -> tuple[Sequence[Mean], Metrics]:
  """Returns cross-entropy of one label a text, and its metrics.

  Args:
    logits: `[B, classes]` of the only task.
    batch: with `label` int32 `[B]` and `weight` `[B]`.
  """
  (task_logits,) = logits.values()
  labels, weights = batch['label'], batch['weight']
  losses = optax.softmax_cross_entropy_with_integer_labels(task_logits, labels)
  correct = task_logits.argmax(axis=-1) == labels
  metrics = {
    'loss': weighted_mean(losses, weights),
    'accuracy': weighted_mean(correct, weights),
  }
  return [metrics['loss']], metrics


def _label_loss_of(data: DataSpec, labels: Mapping[str, int]) -> LossFunction:
  """The loss of a data set.

  Raises:
    ValueError: the config's labels are not those of the data.
  """
  if list(dict(labels).values()) != [data.num_classes]:
    raise ValueError(
      f'config.labels is {dict(labels)}; these data have one label of '
      f'{data.num_classes} classes, such as dict(label={data.num_classes}).'
    )
  return label_loss


def common_parts(config: ml_collections.ConfigDict) -> dict[str, hk.Module]:
  """Returns what all models of text are made of besides their queries."""
  return {
    'embedding': construct('embedding', TokenEmbedding, config.embedding),
    'encoder': construct('encoder', Encoder, config.encoder),
    'decoder': construct(
      'decoder', Decoder, config.decoder, given={'output_channels': None}
    ),
  }
