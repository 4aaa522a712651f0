"""Perceiver IO for optical flow.

A model is trained on crops of one size; larger frames are predicted in tiles of
that size (Perceiver IO, appendix H).
"""

import haiku as hk
import jax
import ml_collections

from experiments.answers.flow.loss import flow_loss
from experiments.answers.flow.record import FLOW, tell_flow
from experiments.datasets.flow.autoflow import autoflow
from experiments.datasets.flow.photographs import photographs
from experiments.host.configuration import choose, construct
from experiments.stepping.train_state import Batch
from experiments.tasks.parts import make_frame_preprocessor
from experiments.tasks.task import Task
from perceiver_jax.convolutions import ConvexUpsample
from perceiver_jax.decoder import Decoder
from perceiver_jax.encoder import Encoder
from perceiver_jax.models import OpticalFlow
from perceiver_jax.tiling import cut_tiles, join_tiles

_DATASETS = {'autoflow': autoflow, 'photographs': photographs}
_FLOW_CHANNELS = 2
# Of neighbouring tiles, in pixels, as in the released notebook: six tiles of
# 368 x 496 for a frame of Sintel or KITTI. Small tiles overlap by half.
_MIN_OVERLAP = 20


def sections(_) -> tuple[str, ...]:
  """Returns the sections of the config that this task reads."""
  return ('data', 'preprocessor', 'encoder', 'decoder', 'flow')


def make_task(config: ml_collections.ConfigDict, data_dir: str | None) -> Task:
  """Binds the model to its data."""
  data = choose('data', _DATASETS, config.data, data_dir)
  tile_shape = data.example['frames'].shape[1:3]

  def forward(batch: Batch, is_training: bool) -> jax.Array:
    return estimate_flow(
      _make_model(config),
      batch['frames'],
      is_training=is_training,
      tile_shape=tile_shape,
    )

  return Task(
    model=hk.transform_with_state(forward),
    loss_function=flow_loss,
    data=data,
    answer=FLOW,
    tell=tell_flow,
  )


def estimate_flow(
  model: OpticalFlow,
  frames: jax.Array,
  *,
  is_training: bool,
  tile_shape: tuple[int, int],
) -> jax.Array:
  """Returns flow `[B, H, W, 2]` in pixels, of larger frames tile by tile.

  Args:
    model: for frames of `tile_shape`.
    frames: `[B, 2, H, W, C]`.
    is_training: whether dropout is active, and batch norm learns.
    tile_shape: `(h, w)`, at most `(H, W)`.

  Raises:
    ValueError: frames are smaller than a tile.
  """
  size = frames.shape[2:4]
  if size == tuple(tile_shape):
    return model(frames, is_training=is_training)
  min_overlap = min(_MIN_OVERLAP, min(tile_shape) // 2)
  tiles = cut_tiles(frames, tile_shape=tile_shape, min_overlap=min_overlap)
  # One after the other: a tile of the published model fills an accelerator.
  flows = hk.map(lambda tile: model(tile, is_training=is_training), tiles)
  return join_tiles(flows, size=size, min_overlap=min_overlap)


def _make_model(config: ml_collections.ConfigDict) -> OpticalFlow:
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
  return construct(
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
