"""Perceiver IO for optical flow.

A model is trained on crops of one size; larger frames are predicted in tiles of
that size (Perceiver IO, appendix H).
"""

from collections.abc import Sequence

import haiku as hk
import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
import optax

from experiments.answers.kinds import Flow
from experiments.data.dataset import Example
from experiments.datasets.flow.autoflow import autoflow
from experiments.datasets.flow.photographs import photographs
from experiments.host.configuration import choose, construct
from experiments.modalities.frames.frames import pixels
from experiments.stepping.train_state import Batch, Metrics
from experiments.tasks.parts import make_frame_preprocessor
from experiments.tasks.task import Task
from perceiver_jax.convolutions import ConvexUpsample
from perceiver_jax.decoder import Decoder
from perceiver_jax.encoder import Encoder
from perceiver_jax.metrics import Mean
from perceiver_jax.models import OpticalFlow
from perceiver_jax.tiling import cut_tiles, join_tiles

_DATASETS = {'autoflow': autoflow, 'photographs': photographs}
_FLOW_CHANNELS = 2
# Of neighbouring tiles, in pixels, as in the released notebook: six tiles of
# 368 x 496 for a frame of Sintel or KITTI. Small tiles overlap by half.
_MIN_OVERLAP = 20
# An outlier of KITTI is wrong by more than 3 pixels and 5 % of the motion.
_OUTLIER_PIXELS, _OUTLIER_SHARE = 3.0, 0.05


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
    answer=tell_flow,
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


def tell_flow(
  predictions: Sequence[np.ndarray], examples: Sequence[Example]
) -> Flow:
  """Returns the flow `[H, W, 2]` of the only example with its frames."""
  (flow,), (example,) = predictions, examples
  return Flow(pixels(example['frames']), flow)


def flow_loss(
  predictions: jax.Array, batch: Batch
) -> tuple[Sequence[Mean], Metrics]:
  """Returns the end-point error, and metrics of flow.

  All are means over the pixels whose flow is known, of all images together:
  `loss` and `end_point_error` in pixels; `outliers`, the share of them (KITTI's
  Fl: more than 3 pixels and 5 % off); `relative_error`, the end-point error as
  a share of that of predicting no motion.

  Args:
    predictions: `[B, H, W, 2]`, in pixels.
    batch: with `flow` `[B, H, W, 2]`, `valid` `[B, H, W]` of 0 and 1, and
      `weight` `[B]`.
  """
  weights = batch['valid'] * batch['weight'][:, None, None]
  # A plain norm has no gradient where the error is zero.
  errors = optax.safe_norm(predictions - batch['flow'], 1e-6, axis=-1)
  motion = jnp.linalg.norm(batch['flow'], axis=-1)
  outliers = (errors > _OUTLIER_PIXELS) & (errors > _OUTLIER_SHARE * motion)
  total, weight = (weights * errors).sum(), weights.sum()
  metrics = {
    'loss': Mean(total, weight),
    'end_point_error': Mean(total, weight),
    'outliers': Mean((weights * outliers).sum(), weight),
    'relative_error': Mean(total, (weights * motion).sum()),
  }
  return [metrics['loss']], metrics


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
