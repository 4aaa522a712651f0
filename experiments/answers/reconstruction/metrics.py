"""Peak signal-to-noise ratios of reconstructions, in decibels."""

import math
from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np

from experiments.answers.answer import DatasetMetrics
from experiments.stepping.train_state import Batch

# Of each example: the error of predicting the mean of the training examples.
BASELINE = 'mean_error'


def reconstruction_psnr(
  peaks: Mapping[str, float], *, with_gain: bool
) -> DatasetMetrics:
  """Returns the peak signal-to-noise ratios of modalities with a grid.

  `audio_psnr` and the like are 10 log10(peak^2 / mean squared error), over all
  outputs of all held-out examples together, in decibels. The paper does not say
  what it takes for the peak of sound from -1 to 1: with 2, the distance between
  the extremes, every number is 6.02 dB higher than with 1.

  Args:
    peaks: greatest size of a value of each modality.
    with_gain: whether there are also `audio_psnr_gain` and the like: what the
      model is better by than the mean of the training examples.
  """

  def collect(
    predictions: Mapping[str, jax.Array], batch: Batch
  ) -> dict[str, jax.Array]:
    kept = {}
    for modality in peaks:
      target = batch[modality]
      target = target.reshape(target.shape[0], -1)
      errors = predictions[modality].reshape(target.shape) - target
      kept[modality] = jnp.square(errors).mean(axis=1)
      if with_gain:
        kept[f'{modality}_baseline'] = batch[BASELINE][modality]
    return kept

  def compute(kept: Mapping[str, np.ndarray]) -> dict[str, float]:
    sizes = {
      name: decibels(errors.mean(dtype=np.float64))
      for name, errors in kept.items()
    }
    metrics = {}
    for name, peak in peaks.items():
      metrics[f'{name}_psnr'] = decibels(peak**2) - sizes[name]
      if with_gain:
        metrics[f'{name}_psnr_gain'] = sizes[f'{name}_baseline'] - sizes[name]
    return metrics

  endings = ('psnr', 'psnr_gain') if with_gain else ('psnr',)
  names = [f'{name}_{ending}' for name in peaks for ending in endings]
  return DatasetMetrics(tuple(names), collect, compute)


def decibels(power: float) -> float:
  """Returns 10 log10 of it; nothing at all is -inf."""
  return -math.inf if power == 0.0 else 10.0 * math.log10(power)
