"""The loss of autoencoders of several modalities, and its metrics."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from experiments.stepping.train_state import Batch, LossFunction, Metrics
from perceiver_jax.metrics import Mean, weighted_mean
from perceiver_jax.patches import space_to_depth


class Grid(NamedTuple):
  """The grid of a modality's outputs.

  Attributes:
    size: number of outputs.
    patch_shape: of the pixels that an output has; None where the values of an
      output follow each other.
  """

  size: int
  patch_shape: Sequence[int] | None = None


def reconstruction_loss(
  weights: Mapping[str, float], grids: Mapping[str, Grid]
) -> LossFunction:
  """Returns the weighted sum of the modalities' losses, and its metrics.

  The mean absolute error of the outputs of a grid, pixels and patches of sound;
  cross-entropy of a class (Perceiver IO, appendix I). Where a batch has
  `output_points`, of those outputs only.

  The metrics are `loss`, `audio_l1` and the like, and `label_accuracy`. In
  training the model sees some of the labels that it is asked for.

  Args:
    weights: of each modality that is reconstructed.
    grids: of the outputs of each that has one.
  """

  def loss_function(
    predictions: Mapping[str, jax.Array], batch: Batch
  ) -> tuple[Sequence[Mean], Metrics]:
    losses, metrics = jnp.zeros(()), {}
    for modality, weight in weights.items():
      predicted = predictions[modality]
      if modality in grids:
        target = _targets(batch, modality, grids[modality])
        errors = jnp.abs(predicted.reshape(target.shape) - target)
        error = errors.reshape(errors.shape[0], -1).mean(axis=1)
        metrics[f'{modality}_l1'] = weighted_mean(error, batch['weight'])
      else:
        error = optax.softmax_cross_entropy_with_integer_labels(
          predicted, batch[modality]
        )
        metrics[f'{modality}_accuracy'] = weighted_mean(
          predicted.argmax(axis=-1) == batch[modality], batch['weight']
        )
      losses += weight * error
    metrics['loss'] = weighted_mean(losses, batch['weight'])
    return [metrics['loss']], metrics

  return loss_function


def _targets(batch: Batch, modality: str, grid: Grid) -> jax.Array:
  """Returns what the outputs should be: all, or those of `output_points`."""
  target = batch[modality]
  points = batch.get('output_points', {}).get(modality)
  if points is None:
    return target
  if grid.patch_shape is not None:
    target = space_to_depth(target, grid.patch_shape)
  target = target.reshape(target.shape[0], grid.size, -1)
  return jnp.take_along_axis(target, points[..., None], axis=1)
