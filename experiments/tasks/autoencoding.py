"""Perceiver IO as autoencoder of video, sound and label.

The sections of a config: `inputs`, `queries`, `postprocessors`, `loss` and
`peaks` have one entry for each modality, named like the arrays of a batch.
Those of `loss` are weights, those of `peaks` the greatest size of a value, for
the peak signal-to-noise ratio of the modalities that are grids.
"""

import math
from collections.abc import Mapping
from typing import Any

import haiku as hk
import ml_collections

from experiments.answers.reconstruction.loss import Grid, reconstruction_loss
from experiments.answers.reconstruction.metrics import (
  BASELINE,
  reconstruction_psnr,
)
from experiments.answers.reconstruction.record import RECONSTRUCTION
from experiments.answers.reconstruction.tell import tell_clips
from experiments.data.dataset import DataSpec
from experiments.datasets.bunny import bunny
from experiments.datasets.imported import clips
from experiments.datasets.kinetics import kinetics
from experiments.host.configuration import choose, construct
from experiments.stepping.train_state import Batch
from experiments.tasks.parts import (
  make_postprocessors,
  make_preprocessor,
  make_queries,
)
from experiments.tasks.task import Task
from perceiver_jax.decoder import Decoder
from perceiver_jax.encoder import Encoder
from perceiver_jax.models import MultimodalAutoencoder
from perceiver_jax.patches import depth_to_space

_DATASETS = {'bunny': bunny, 'clips': clips, 'kinetics': kinetics}


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
    answer=RECONSTRUCTION,
    tell=tell_clips(data, dict(config.peaks)),
    dataset_metrics=reconstruction_psnr(
      dict(config.peaks), with_gain=BASELINE in data.example
    ),
  )


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
