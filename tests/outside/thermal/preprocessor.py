"""Thermal pictures as byte arrays."""

import dataclasses

import haiku as hk
import jax

from perceiver_jax.byte_array import ByteArray
from perceiver_jax.layouts import Layout
from perceiver_jax.position_encoding import PositionEncoding
from perceiver_jax.preprocessors import grid_byte_array


@dataclasses.dataclass(kw_only=True)
class WarmColumns(hk.Module):
  """Means of a few columns each: one element for each row and group."""

  columns: int
  positions: PositionEncoding
  name: str | None = None

  def __call__(self, raw: jax.Array, *, is_training: bool = False) -> ByteArray:
    """Returns a byte array of `[B, H, W, 1]`."""
    del is_training
    batch, height, width, _ = raw.shape
    grouped = raw.reshape(batch, height, width // self.columns, -1)
    return grid_byte_array(grouped.mean(axis=-1, keepdims=True), self.positions)

  def layout(self, raw: jax.Array, byte_array: ByteArray) -> Layout:
    """Returns the places of the elements."""
    del byte_array
    return Layout(grid_shape=(raw.shape[1], raw.shape[2] // self.columns))
