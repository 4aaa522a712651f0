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
  `mixing.mix_pair`.

  Args:
    label_smoothing: share of the target spread over all classes.
  """

  def loss_function(
    logits: jax.Array, batch: Batch
  ) -> tuple[Sequence[Mean], Metrics]:
    labels, weights = batch['label'], batch['weight']
    targets = jax.nn.one_hot(labels, logits.shape[-1])
    if 'mix_label' in batch:
      others = jax.nn.one_hot(batch['mix_label'], logits.shape[-1])
      targets += batch['mix_share'][:, None] * (others - targets)
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
