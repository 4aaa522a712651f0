"""Perceiver IO on a table: any senses in, any answers out.

Each answer is asked for by queries of its own; all share the encoder.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import haiku as hk
import jax
import jax.numpy as jnp
import ml_collections

from experiments.answers.rows.held_out import metrics_of_rows
from experiments.answers.rows.record import answer_of_rows
from experiments.answers.rows.value import Answered, RowAnswers
from experiments.data.dataset import Example
from experiments.host.configuration import choose, construct
from experiments.stepping.train_state import Batch, LossFunction, Metrics
from experiments.tasks.parts import make_preprocessor
from experiments.tasks.table.columns import Input, made
from experiments.tasks.table.data import table
from experiments.tasks.task import Task
from perceiver_jax.decoder import Decoder
from perceiver_jax.encoder import Encoder
from perceiver_jax.metrics import Mean, weighted_mean
from perceiver_jax.models import AnyToAny, Output


def sections(_) -> tuple[str, ...]:
  """Returns the sections of the config that this task reads."""
  return ('data', 'packing', 'encoder', 'queries', 'decoder', 'loss')


def make_task(config: ml_collections.ConfigDict, data_dir: str | None) -> Task:
  """Binds the model to the columns of its table."""
  data = choose('data', {'table': table}, config.data, data_dir)
  inputs, answers = columns = made(config.data.columns)
  keys = [each.key for each in inputs]
  has_uncertainty = construct('loss', is_balance_learned, config.loss)
  return Task(
    model=hk.transform_with_state(
      _forward(config, inputs, answers, has_uncertainty)
    ),
    loss_function=rows_loss(answers),
    data=data,
    answer=answer_of_rows(answers, keys),
    tell=tell_rows(answers),
    dataset_metrics=metrics_of_rows(answers, keys),
    columns=columns,
  )


def is_balance_learned(*, balance: str) -> bool:
  """Returns whether the losses of several answers are weighed as is learned.

  Each loss l then has a learned s, and counts as exp(-s) l + s / 2 in training:
  s is the uncertainty of the answer (Kendall et al., arXiv 1705.07115).

  Args:
    balance: 'uncertainty' or 'equal'; the section `loss` of a config.

  Raises:
    ValueError: it is neither.
  """
  if balance not in ('uncertainty', 'equal'):
    raise ValueError(
      f"config.loss.balance must be 'uncertainty' or 'equal', got {balance!r}."
    )
  return balance == 'uncertainty'


def rows_loss(answers: Sequence[Answered]) -> LossFunction:
  """Returns the sum of the losses of all answers, each the mean of its rows.

  Rows that lack an answer weigh nothing in it.

  Args:
    answers: of the table.
  """

  def loss_function(
    predictions: Mapping[str, Any], batch: Batch
  ) -> tuple[Sequence[Mean], Metrics]:
    means, metrics = [], {}
    total = present = jnp.zeros_like(batch['weight'])
    for each in answers:
      target = each.target(batch)
      there = target['there']
      losses = each.head.loss(predictions['outputs'][each.key], target)
      losses = jnp.where(there, losses, 0.0)
      weights = batch['weight'] * there
      metrics[f'{each.key}/loss'] = weighted_mean(losses, weights)
      total += each.weight * losses
      present += each.weight * there
      uncertainty = predictions.get('uncertainty')
      if uncertainty is not None:
        s = uncertainty[each.key]
        losses = jnp.exp(-s) * losses + s / 2.0
      means.append(weighted_mean(each.weight * losses, weights))
    # Of a row as if it had all answers; one that has none does not count.
    whole = sum(each.weight for each in answers)
    scaled = total * whole / jnp.where(present > 0.0, present, 1.0)
    metrics['loss'] = weighted_mean(scaled, batch['weight'] * (present > 0.0))
    return means, metrics

  return loss_function


def tell_rows(answers: Sequence[Answered]) -> Any:
  """Returns what tells predictions of the rows of a table; see `Task.tell`."""

  def tell(
    predictions: Sequence[Any], examples: Sequence[Example]
  ) -> RowAnswers:
    return RowAnswers(
      [
        {
          each.name: _told(each, prediction['outputs'][each.key], example)
          for each in answers
        }
        for prediction, example in zip(predictions, examples, strict=True)
      ]
    )

  return tell


def _told(answer: Answered, outputs: Any, example: Example) -> Any:
  """The value of an answer; None where there is nothing that it is about."""
  if not answer.asks:
    return answer.head.tell(outputs, {})
  asks = example['inputs'][answer.asks]
  return answer.head.tell(outputs, asks) if asks['there'] else None


def _forward(
  config: ml_collections.ConfigDict,
  inputs: Sequence[Input],
  answers: Sequence[Answered],
  has_uncertainty: bool,
) -> Any:
  outputs = {
    each.key: Output(each.head.channels, each.head.num_queries, each.asks)
    for each in answers
  }

  def forward(batch: Batch, is_training: bool) -> dict[str, Any]:
    model = construct(
      'queries',
      AnyToAny,
      {'query_channels': config.queries.num_channels},
      given={
        'preprocessor': make_preprocessor(
          {each.key: each.elements for each in inputs}, config.packing
        ),
        'encoder': construct('encoder', Encoder, config.encoder),
        'decoder': construct(
          'decoder',
          Decoder,
          config.decoder,
          given={'output_channels': None},
        ),
        'outputs': outputs,
      },
    )
    raw = {x.key: batch['inputs'][x.key][x.kind.array] for x in inputs}
    masks = {x.key: _mask(x, batch['inputs'][x.key]) for x in inputs}
    made = model(raw, is_training=is_training, masks=masks)
    result: dict[str, Any] = {'outputs': made}
    if has_uncertainty and is_training and len(answers) > 1:
      size = next(iter(masks.values())).shape[:1]
      result['uncertainty'] = {
        each.key: jnp.broadcast_to(_uncertainty(each.key), size)
        for each in answers
      }
    return result

  return forward


def _mask(column: Input, example: Mapping[str, jax.Array]) -> jax.Array:
  """Which elements there are: `[B]` where all of them or none."""
  there = example['there']
  if not column.kind.mask:
    return there
  return example[column.kind.mask] & there[:, None]


def _uncertainty(key: str) -> jax.Array:
  return hk.get_parameter(f'{key}_uncertainty', (), init=jnp.zeros)
