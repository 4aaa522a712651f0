"""Perceiver IO as autoencoder of video, sound and label.

The sections of a config: `inputs`, `queries`, `postprocessors`, `loss` and
`peaks` have one entry for each modality, named like the arrays of a batch.
Those of `loss` are weights, those of `peaks` the greatest size of a value, for
the peak signal-to-noise ratio of the modalities that are grids.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import haiku as hk
import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
import optax

from experiments.data.dataset import DataSpec
from experiments.datasets.bunny import bunny
from experiments.datasets.imported import clips
from experiments.datasets.kinetics import kinetics
from experiments.host.configuration import choose, construct
from experiments.stepping.train_state import Batch, LossFunction, Metrics
from experiments.tasks.film_answers import decibels, make_answer
from experiments.tasks.parts import (
  make_postprocessors,
  make_preprocessor,
  make_queries,
)
from experiments.tasks.task import DatasetMetrics, Task
from perceiver_jax.decoder import Decoder
from perceiver_jax.encoder import Encoder
from perceiver_jax.metrics import Mean, weighted_mean
from perceiver_jax.models import MultimodalAutoencoder
from perceiver_jax.patches import depth_to_space, space_to_depth

_DATASETS = {'bunny': bunny, 'clips': clips, 'kinetics': kinetics}
_BASELINE = 'mean_error'


class Grid(NamedTuple):
  """The grid of a modality's outputs.

  Attributes:
    size: number of outputs.
    patch_shape: of the pixels that an output has; None where the values of an
      output follow each other.
  """

  size: int
  patch_shape: Sequence[int] | None = None


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
    'loss',
    'peaks',
  )


def make_task(config: ml_collections.ConfigDict, data_dir: str | None) -> Task:
  """Binds model, loss and data.

  Args:
    config: of a run.
    data_dir: where TFDS keeps prepared data; None for its own default.

  Raises:
    ValueError: the config is wrong.
  """

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
    points = batch.get('output_points', {})
    predictions = model(
      {modality: batch[modality] for modality in config.inputs},
      is_training=is_training,
      points=points,
    )
    for modality, section in config.postprocessors.items():
      if section.name == 'pixel_patches' and modality not in points:
        predictions[modality] = depth_to_space(
          predictions[modality], section.patch_shape
        )
    return predictions

  data = choose('data', _DATASETS, config.data, data_dir)
  grids = _grids(config)
  _check_modalities(config, data, grids)
  return Task(
    model=hk.transform_with_state(forward),
    loss_function=reconstruction_loss(dict(config.loss), grids),
    data=data,
    answer=make_answer(data, dict(config.peaks)),
    dataset_metrics=reconstruction_psnr(
      dict(config.peaks), with_gain=_BASELINE in data.example
    ),
  )


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
        kept[f'{modality}_baseline'] = batch[_BASELINE][modality]
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


def _grids(config: ml_collections.ConfigDict) -> dict[str, Grid]:
  """Returns the grids of outputs, of the modalities that have one."""
  return {
    modality: Grid(
      math.prod(section.grid_shape),
      config.postprocessors[modality].get('patch_shape'),
    )
    for modality, section in config.queries.items()
    if section.name == 'grid'
  }


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


def _check_modalities(
  config: ml_collections.ConfigDict,
  data: DataSpec,
  grids: Mapping[str, Grid],
) -> None:
  """Raises a ValueError unless the sections and the data fit together."""
  if set(config.loss) != set(config.postprocessors):
    raise ValueError(
      f'config.loss has weights of {sorted(config.loss)}, and reconstructed '
      f'are {sorted(config.postprocessors)}.'
    )
  if set(config.peaks) != set(grids):
    raise ValueError(
      f'config.peaks has {sorted(config.peaks)}, and the modalities with a '
      f'grid of queries are {sorted(grids)}.'
    )
  for modality in sorted({*config.inputs, *config.postprocessors}):
    if modality not in data.example:
      raise ValueError(
        f'The data {config.data.name!r} have no {modality!r}, only '
        f'{sorted(data.example)}.'
      )
  for modality, grid in grids.items():
    shape = data.example[modality].shape
    if math.prod(shape) % grid.size:
      raise ValueError(
        f'config.queries.{modality}.grid_shape has {grid.size} points, which '
        f'do not divide an example of shape {shape}.'
      )
