"""A stereo pair of photographs with measured disparity, embedded here.

Both pictures are of the same moment, so what moves between them is what the
cameras' places make of depth: a pixel at (x, y) on the left is at (x - d, y) on
the right, which is flow of (-d, 0). Nothing is trained on it. Source: NOTICE.
"""

import cv2
import numpy as np

from experiments.datasets.embedded_builder import FILES
from experiments.modalities.frames.augmentation import FramePair

_SHAPE = (500, 741)


def motorcycle_of(shape: tuple[int, int]) -> FramePair | None:
  """Returns the middle of the pair, as small as frames of a shape show most of.

  Args:
    shape: height and width, in pixels.

  Returns:
    None where the photographs, of 500 x 741, are smaller.
  """
  reduction = min(
    whole // side for whole, side in zip(_SHAPE, shape, strict=True)
  )
  if not reduction:
    return None
  pair = motorcycle(reduction)
  rows, columns = (
    slice((whole - side) // 2, (whole - side) // 2 + side)
    for whole, side in zip(pair.valid.shape, shape, strict=True)
  )
  return FramePair(
    frames=pair.frames[:, rows, columns],
    flow=pair.flow[rows, columns],
    valid=pair.valid[rows, columns],
  )


def motorcycle(reduction: int) -> FramePair:
  """Returns the pair with its flow, made smaller.

  Args:
    reduction: pixels of the photographs, 500 x 741, along the sides of one of
      the result. Colours and disparities are means; flow is divided by it, and
      known where at least half of the disparities are.

  Raises:
    ValueError: the reduction is less than 1.
  """
  if reduction < 1:
    raise ValueError(f'The reduction must be at least 1, got {reduction}.')
  with np.load(FILES / 'motorcycle.npz', allow_pickle=False) as arrays:
    frames = np.stack([arrays['left'], arrays['right']])
    disparity = arrays['disparity'].astype(np.float32)
  height, width = (side // reduction for side in disparity.shape)

  def reduce(image: np.ndarray) -> np.ndarray:
    whole = image[: height * reduction, : width * reduction]
    return cv2.resize(whole, (width, height), interpolation=cv2.INTER_AREA)

  known = ~np.isnan(disparity)
  share = reduce(known.astype(np.float32))
  total = reduce(np.where(known, disparity, np.float32(0)))
  mean = total / np.maximum(share, np.float32(1e-6)) / reduction
  valid = share >= 0.5
  flow = np.stack([-mean, np.zeros_like(mean)], axis=-1)
  return FramePair(
    frames=np.stack([reduce(frame) for frame in frames]),
    flow=np.where(valid[..., None], flow, np.float32(0)),
    valid=valid,
  )
