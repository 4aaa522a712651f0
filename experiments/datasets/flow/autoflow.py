"""AutoFlow: 40,000 made pairs of frames to train optical flow with.

Perceiver IO trains on 400,000 pairs (appendix H); the authors of AutoFlow
(arXiv 2104.14544) published 40,000 of 448 x 576 pixels. They are downloaded by
hand, and evaluated on MPI Sintel or KITTI, as in the paper.
"""

import functools
import pathlib
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import tensorflow_datasets as tfds

from experiments.data.dataset import Dataset, DataSpec, Example, array_spec
from experiments.datasets.flow.frame_pairs import (
  FramePairsBuilder,
  PairFiles,
  decode_pair,
  flow_example,
  open_pairs,
  pad_pair,
)
from experiments.datasets.flow.kitti import KITTI_SHAPE, KittiFlow
from experiments.datasets.flow.sintel import SINTEL_SHAPE, Sintel
from experiments.modalities.frames.augmentation import (
  augment_pair,
  reverse_and_crop,
)
from experiments.modalities.frames.frames import two_images, view_frames

_PARTS = tuple(f'static_40k_png_{part}_of_4' for part in (1, 2, 3, 4))
_PAIRS = 40_000
_FILES = ('im0.png', 'im1.png', 'forward.flo')
# Farther motion is not trained on, as with RAFT.
_LARGEST_MOTION = 400.0


class Autoflow(FramePairsBuilder):
  """40,000 pairs of frames with the flow between them, made to learn from."""

  VERSION = tfds.core.Version('1.0.0')
  FOLDER = 'autoflow'
  MANUAL_DOWNLOAD_INSTRUCTIONS = (
    'Download the four archives static_40k_png_?_of_4.zip of '
    'https://autoflow-google.github.io and unpack them.'
  )

  def pairs(self, folder: pathlib.Path) -> dict[str, list[PairFiles]]:
    """See `FramePairsBuilder`: FOLDER/PART/table_I_batch_J/im0.png and so on.

    Raises:
      ValueError: there are not 40,000 pairs, or one lacks a file.
    """
    folders = sorted(
      path
      for part in _PARTS
      for path in (folder / part).glob('*')
      if path.is_dir()
    )
    if len(folders) != _PAIRS:
      raise ValueError(
        f'{folder} should have {_PAIRS:,} folders with a pair in '
        f'{", ".join(_PARTS)}, and has {len(folders):,}. '
        f'{self.MANUAL_DOWNLOAD_INSTRUCTIONS}'
      )
    for path in folders:
      missing = [name for name in _FILES if not (path / name).is_file()]
      if missing:
        raise ValueError(
          f'{path} lacks {missing}. {self.MANUAL_DOWNLOAD_INSTRUCTIONS}'
        )
    return {
      'train': [
        PairFiles(
          f'{path.parent.name}/{path.name}', *(path / name for name in _FILES)
        )
        for path in folders
      ]
    }


class _Evaluation(NamedTuple):
  builder: type[FramePairsBuilder]
  split: str
  shape: tuple[int, int]


# What a model trained on AutoFlow is evaluated on.
_EVALUATIONS = {
  'sintel_clean': _Evaluation(Sintel, 'clean', SINTEL_SHAPE),
  'sintel_final': _Evaluation(Sintel, 'final', SINTEL_SHAPE),
  'kitti': _Evaluation(KittiFlow, 'train', KITTI_SHAPE),
}


def autoflow(
  data_dir: str | None,
  *,
  height: int,
  width: int,
  augment: bool,
  min_scale: float,
  max_scale: float,
  evaluation: str,
) -> DataSpec:
  """Training on AutoFlow, evaluation on Sintel or KITTI (appendix H).

  Args:
    data_dir: where TFDS keeps prepared data; None for its own default. The
      downloads are looked for in its `downloads/manual`.
    height: of training crops, and of tiles in evaluation, in pixels.
    width: of training crops.
    augment: whether colours, scales and sides of training pairs change, and
      parts are erased. The paper begins with a phase without, in which pairs
      are also learned backwards: see `reverse_and_crop`.
    min_scale: of training pairs, see `augment_pair`.
    max_scale: of training pairs.
    evaluation: 'sintel_clean', 'sintel_final' or 'kitti'.

  Returns:
    Examples with `frames` float32 `[2, H, W, 3]` from -1 to 1, `flow` float32
    `[H, W, 2]` in pixels, `valid` float32 `[H, W]`. In evaluation they are
    436 x 1024 (Sintel) or padded to 376 x 1242 (KITTI).
  """
  if evaluation not in _EVALUATIONS:
    raise ValueError(
      f'data.evaluation must be one of {sorted(_EVALUATIONS)}, got '
      f'{evaluation!r}.'
    )
  held_out = _EVALUATIONS[evaluation]
  if min_scale > max_scale:
    raise ValueError(
      f'data.min_scale = {min_scale} must not be above data.max_scale = '
      f'{max_scale}.'
    )
  change = reverse_and_crop
  if augment:
    change = functools.partial(
      augment_pair, min_scale=min_scale, max_scale=max_scale
    )

  def load() -> Dataset:
    return Dataset(
      train=open_pairs(Autoflow, 'train', data_dir),
      augment=functools.partial(
        train_example, change=change, shape=(height, width)
      ),
      evaluation=open_pairs(held_out.builder, held_out.split, data_dir),
      prepare=lambda example: flow_example(
        pad_pair(decode_pair(example), held_out.shape)
      ),
    )

  example = {
    'frames': array_spec(2, height, width, 3),
    'flow': array_spec(height, width, 2),
    'valid': array_spec(height, width),
  }
  return DataSpec(
    example=example,
    num_classes=None,
    load=load,
    files=two_images((height, width)),
    view=view_frames,
  )


def train_example(
  example: Example,
  rng: np.random.Generator,
  *,
  change: Callable,
  shape: tuple[int, int],
) -> Example:
  """Makes a training example.

  Args:
    example: as stored.
    rng: of all choices.
    change: `augment_pair` with its scales, or `reverse_and_crop`.
    shape: `(height, width)` of the crop.
  """
  pair = change(decode_pair(example), rng, shape=shape)
  motion = np.linalg.norm(pair.flow, axis=-1)
  return flow_example(
    pair._replace(valid=pair.valid & (motion < _LARGEST_MOTION))
  )
