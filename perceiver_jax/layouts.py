"""Where the elements of a byte array lie in the input that they came from.

Shapes: B batch, M elements of a modality.

Preprocessors flatten what they are given; a layout puts values of elements,
such as the weights of attention, back in their places.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence

import einops
import jax
import jax.numpy as jnp
import numpy as np

from perceiver_jax.byte_array import ByteArray
from perceiver_jax.frame_preprocessors import FrameConvStem, FramePatches
from perceiver_jax.image_windows import ImageWindows
from perceiver_jax.mel_frames import MelFrames
from perceiver_jax.preprocessors import (
  AudioPatches,
  Conv1x1,
  ConvStem,
  MelSpectrogram,
  Patches,
  PermutedPixels,
  Pixels,
  Preprocessor,
)
from perceiver_jax.series_windows import SeriesWindows


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True)
class Layout:
  """The places of M elements.

  Attributes:
    grid_shape: of a grid that spans the input, evenly on each axis, with a
      point for each element. Images have rows and columns; sounds an axis, or
      frames and bands; videos frames, rows and columns; points, tokens and
      labels one axis in the order of the input.
    order: `[M]` int, the point of the grid, in row-major order, that each
      element lies at; None for elements in order.
    everywhere: number of elements, the first, that are about the whole input
      and lie at no point of it.
    values: `[B, *grid_shape]` float32, what was measured at the points of a
      grid that only the model has: the bins of a spectrogram, as it sees them.
      None where the input itself shows it.
  """

  grid_shape: tuple[int, ...] = dataclasses.field(metadata={'static': True})
  order: jax.Array | None = None
  everywhere: int = dataclasses.field(default=0, metadata={'static': True})
  values: jax.Array | None = None

  @property
  def num_elements(self) -> int:
    """M."""
    return self.everywhere + math.prod(self.grid_shape)

  def to_grid(self, x: jax.Array) -> jax.Array:
    """Puts values of elements `[..., M]` in their places `[..., *grid]`.

    What belongs to the whole input is shared out over all points.
    """
    whole, x = jnp.split(x, [self.everywhere], axis=-1)
    if self.everywhere:
      x = x + whole.sum(axis=-1, keepdims=True) / x.shape[-1]
    if self.order is not None:
      x = x[..., jnp.argsort(self.order)]
    return x.reshape(*x.shape[:-1], *self.grid_shape)


def layout_of(
  preprocessor: Preprocessor,
  raw: jax.Array | Mapping[str, jax.Array],
  byte_array: ByteArray,
) -> Layout:
  """Returns the places of the elements that a preprocessor made.

  Args:
    preprocessor: of one modality; one that is not of this package says it by a
      method `layout(raw, byte_array)`, else elements are one after the other.
    raw: what it was given.
    byte_array: what it made of it.
  """
  num_elements = byte_array.features.shape[1]
  if hasattr(preprocessor, 'layout'):  # Somebody's own, which knows.
    return preprocessor.layout(raw, byte_array)
  if isinstance(raw, Mapping):  # Several arrays, no grid.
    return _grid((num_elements,))
  grid_shape = raw.shape[1:-1]
  match preprocessor:
    case Pixels():
      strides = preprocessor.strides or (1,) * len(grid_shape)
      return _grid(_divided(grid_shape, strides))
    case PermutedPixels():
      order = jnp.asarray(preprocessor.order(num_elements))
      return Layout(grid_shape=grid_shape, order=order)
    case Conv1x1():
      return _grid(grid_shape)
    case ConvStem():
      return _grid(_after_stem(grid_shape, preprocessor.num_layers))
    case Patches():
      return _grid(_divided(grid_shape, preprocessor.patch_shape))
    case ImageWindows():
      grid = _grid(_divided(grid_shape, (preprocessor.cell,) * 2))
      return dataclasses.replace(grid, everywhere=preprocessor.overviews)
    case AudioPatches() | MelFrames() | SeriesWindows():
      return _grid((num_elements,))
    case MelSpectrogram():
      bins = (num_elements // preprocessor.num_mels, preprocessor.num_mels)
      values = einops.rearrange(
        byte_array.features, 'b (t f) 1 -> b t f', f=preprocessor.num_mels
      )
      return Layout(grid_shape=bins, values=values)
    case FramePatches():
      return _grid(grid_shape[preprocessor.concatenate_frames :])
    case FrameConvStem():
      grid_shape = grid_shape[preprocessor.concatenate_frames :]
      return _grid(_after_stem(grid_shape, num_layers=1))
    case _:  # One after the other: points, tokens, a label.
      return _grid((num_elements,))


def _grid(shape: Sequence[int]) -> Layout:
  return Layout(grid_shape=tuple(int(side) for side in shape))


def _divided(
  grid_shape: Sequence[int], divisors: Sequence[int]
) -> tuple[int, ...]:
  """Divides each side, rounding up."""
  return tuple(
    -(-side // n) for side, n in zip(grid_shape, divisors, strict=True)
  )


def _after_stem(grid_shape: Sequence[int], num_layers: int) -> tuple[int, ...]:
  """The grid of frames, if any, rows and columns after convolutions."""
  quarters = np.array([1] * (len(grid_shape) - 2) + [4, 4])
  for _ in range(num_layers):
    grid_shape = _divided(grid_shape, quarters)
  return grid_shape
