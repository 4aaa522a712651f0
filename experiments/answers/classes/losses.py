"""Losses of classifiers, and the metrics that are means."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import optax

from experiments.answers.classes.metrics import TOP_5_CLASSES, in_top
from experiments.stepping.train_state import Batch, LossFunction, Metrics
from perceiver_jax.metrics import Mean, weighted_mean


def softmax_loss(*, label_smoothing: float) -> LossFunction:
  """Returns cross-entropy of one class an example, and its metrics.

  Where examples are mixed of two, the targets are of both classes; see
  `mixing.mix_pair` and `mix_texts`.

  Args:
    label_smoothing: share of the target spread over all classes.
  """

  def loss_function(
    logits: jax.Array, batch: Batch
  ) -> tuple[Sequence[Mean], Metrics]:
    labels, weights = batch['label'], batch['weight']
    targets = mixed_targets(batch, logits.shape[-1])
    targets = optax.smooth_labels(targets, label_smoothing)
    losses = optax.softmax_cross_entropy(logits, targets)
    metrics: dict[str, Any] = {
      'loss': weighted_mean(losses, weights),
      'accuracy': weighted_mean(in_top(logits, labels, 1), weights),
    }
    if logits.shape[-1] >= TOP_5_CLASSES:
      top_5 = in_top(logits, labels, 5)
      metrics['top_5_accuracy'] = weighted_mean(top_5, weights)
    return [metrics['loss']], metrics

  return loss_function


def sigmoid_loss() -> LossFunction:
  """Returns cross-entropy of any number of classes an example.

  Labels are `[B, classes]`, 1 for each class that is there (Perceiver, section
  4.2: AudioSet). The loss is the mean over classes.
  """

  def loss_function(
    logits: jax.Array, batch: Batch
  ) -> tuple[Sequence[Mean], Metrics]:
    losses = optax.sigmoid_binary_cross_entropy(logits, batch['label'])
    losses = losses.mean(axis=-1)
    loss = weighted_mean(losses, batch['weight'])
    return [loss], {'loss': loss}

  return loss_function


def label_loss(*, label_smoothing: float = 0.0) -> LossFunction:
  """Returns `softmax_loss` of logits that are those of the only task.

  Args:
    label_smoothing: see `softmax_loss`.
  """
  of_task = softmax_loss(label_smoothing=label_smoothing)

  def loss_function(
    logits: Mapping[str, jax.Array], batch: Batch
  ) -> tuple[Sequence[Mean], Metrics]:
    (task_logits,) = logits.values()
    return of_task(task_logits, batch)

  return loss_function


def mixed_targets(batch: Batch, num_classes: int) -> jax.Array:
  """Returns the share of each class in each example, `[B, classes]`.

  Args:
    batch: with `label` int32 `[B]` and, where examples are mixed of two,
      `mix_label` int32 `[B]` and `mix_share` `[B]`, that of the second.
    num_classes: of the labels.
  """
  targets = jax.nn.one_hot(batch['label'], num_classes)
  if 'mix_label' in batch:
    others = jax.nn.one_hot(batch['mix_label'], num_classes)
    targets += batch['mix_share'][:, None] * (others - targets)
  return targets
