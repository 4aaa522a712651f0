"""The loss of several tasks of GLUE, and what is kept to score them."""

from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp
import optax

from experiments.datasets.glue import PARTS, task_of
from experiments.stepping.train_state import Batch, Metrics
from perceiver_jax.metrics import Mean, weighted_mean


def glue_loss(
  predictions: Mapping[str, jax.Array], batch: Batch
) -> tuple[Sequence[Mean], Metrics]:
  """Returns the loss of each example in its own task, and metrics.

  It is cross-entropy, or the squared error of a value to regress; the mean is
  over examples, whatever their tasks.

  Args:
    predictions: of each task, `[B, classes]`, or `[B, 1]` for a value.
    batch: with `part` int32 `[B]`, `label` float32 `[B]` and `weight` `[B]`.
  """
  metrics = {}
  for task, outputs in predictions.items():
    weights = batch['weight'] * _is_of(task, batch)
    losses = _losses(outputs, batch['label'])
    metrics[f'{task}_loss'] = weighted_mean(losses, weights)
  total = sum(mean.total for mean in metrics.values())
  metrics['loss'] = Mean(total, batch['weight'].sum())
  return [metrics['loss']], metrics


def collect(
  predictions: Mapping[str, jax.Array], batch: Batch
) -> dict[str, jax.Array]:
  """Keeps of each example its class or value, as predicted and as it is."""
  kept = jnp.zeros_like(batch['label'])
  for task, outputs in predictions.items():
    if outputs.shape[-1] == 1:
      predicted = outputs[:, 0]
    else:
      predicted = outputs.argmax(axis=-1).astype(kept.dtype)
    kept = jnp.where(_is_of(task, batch), predicted, kept)
  return {'part': batch['part'], 'label': batch['label'], 'prediction': kept}


def _is_of(task: str, batch: Batch) -> jax.Array:
  """Which examples are of the task, `[B]` bool."""
  numbers = [i for i, part in enumerate(PARTS) if task_of(part) == task]
  return jnp.isin(batch['part'], jnp.array(numbers))


def _losses(outputs: jax.Array, labels: jax.Array) -> jax.Array:
  """Returns `[B]`; of no meaning where a label is of another task."""
  if outputs.shape[-1] == 1:
    return jnp.square(outputs[:, 0] - labels)
  return optax.softmax_cross_entropy_with_integer_labels(
    outputs, jnp.clip(labels.astype(jnp.int32), 0, outputs.shape[-1] - 1)
  )
