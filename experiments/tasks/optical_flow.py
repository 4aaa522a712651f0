"""Perceiver IO for optical flow."""

import haiku as hk
import jax
import ml_collections

from experiments.configuration import choose, construct
from experiments.data import shapes
from experiments.tasks.parts import make_frame_preprocessor
from experiments.tasks.task import Task
from experiments.train_state import Batch
from perceiver_jax.convolutions import ConvexUpsample
from perceiver_jax.decoder import Decoder
from perceiver_jax.encoder import Encoder
from perceiver_jax.models import OpticalFlow

_DATASETS = {'frame_pairs': shapes.frame_pairs}
_FLOW_CHANNELS = 2


def sections(_) -> tuple[str, ...]:
  """Returns the sections of the config that this task reads."""
  return ('data', 'preprocessor', 'encoder', 'decoder', 'flow')


def make_task(config: ml_collections.ConfigDict, data_dir: str | None) -> Task:
  """Binds the model to its data."""

  def forward(batch: Batch, is_training: bool) -> jax.Array:
    # On a coarser grid, outputs are upsampled before they become flow.
    stride = config.flow.get('stride', 1)
    output_channels, upsample = _FLOW_CHANNELS, None
    if stride > 1:
      output_channels = None
      upsample = ConvexUpsample(num_channels=_FLOW_CHANNELS, factor=stride)
    decoder = construct(
      'decoder',
      Decoder,
      config.decoder,
      given={'output_channels': output_channels},
    )
    model = construct(
      'flow',
      OpticalFlow,
      config.flow,
      given={
        'preprocessor': make_frame_preprocessor(config.preprocessor),
        'encoder': construct('encoder', Encoder, config.encoder),
        'decoder': decoder,
        'upsample': upsample,
      },
    )
    return model(batch['frames'], is_training=is_training)

  return Task(
    model=hk.transform_with_state(forward),
    loss_function=None,
    data=choose('data', _DATASETS, config.data, data_dir),
  )
