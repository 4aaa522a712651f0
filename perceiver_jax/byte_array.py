"""The input of every Perceiver: a byte array.

Shapes: B batch, M inputs (the elements of the byte array), Cf feature
channels, Cp position channels, C = Cf + Cp.

Features and positions stay apart until attention needs them together: on a
grid the positions are the same for every example and make up most of the
channels (258 of 261 on ImageNet), so a batch holds them once.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from perceiver_jax.masks import combine_masks
from perceiver_jax.position_encoding import GridPositions


class ByteArray(NamedTuple):
  """What the latents attend to (Perceiver, section 3.1).

  Attributes:
    features: `[B, M, Cf]`, what was measured at each input element.
    positions: where it was measured, encoded: `[M, Cp]` float32 when the batch
      shares them, `[B, M, Cp]` when each example has its own, None without;
      `GridPositions` are encoded when they are needed.
    mask: `[B, M]` bool, True where there is an input and False where there is
      padding; None when nothing is padded.
  """

  features: jax.Array
  positions: jax.Array | GridPositions | None = None
  mask: jax.Array | None = None

  @property
  def num_channels(self) -> int:
    """C, the width of one element: features and positions together."""
    position_channels = (
      0 if self.positions is None else self.positions.shape[-1]
    )
    return self.features.shape[-1] + position_channels

  def concatenate(self) -> jax.Array:
    """Returns features and positions as one array `[B, M, C]`."""
    if self.positions is None:
      return self.features
    positions = encoded(self.positions)
    positions = jnp.broadcast_to(
      positions, (*self.features.shape[:2], positions.shape[-1])
    )
    return jnp.concatenate(
      [self.features, positions.astype(self.features.dtype)], axis=-1
    )

  def with_mask(self, mask: jax.Array | None) -> 'ByteArray':
    """Returns it with more of its elements declared padding.

    Args:
      mask: `[B, M]` bool, False for padding; None changes nothing.
    """
    return self._replace(mask=combine_masks(self.mask, mask))

  def zero_padding(self) -> 'ByteArray':
    """Returns it with zeros as padding, so that padded NaNs cannot spread."""
    if self.mask is None:
      return self
    positions = self.positions
    if positions is not None and positions.ndim == 3:
      positions = jnp.where(self.mask[..., None], positions, 0)
    features = jnp.where(self.mask[..., None], self.features, 0)
    return ByteArray(features, positions, self.mask)


def encoded(
  positions: jax.Array | GridPositions | None,
) -> jax.Array | None:
  """Returns positions as an array."""
  if isinstance(positions, GridPositions):
    return positions.encode()
  return positions


def permute(byte_array: ByteArray, order: jax.Array) -> ByteArray:
  """Reorders the elements, features and positions together.

  Args:
    byte_array: M elements.
    order: `[M]` int, which element comes at each place.

  Returns:
    The same set of elements in another order.
  """
  features, positions, mask = byte_array
  positions = encoded(positions)
  return ByteArray(
    features=features[:, order],
    positions=None if positions is None else positions[..., order, :],
    mask=None if mask is None else mask[:, order],
  )


def as_byte_array(inputs: ByteArray | jax.Array) -> ByteArray:
  """Takes features alone for a byte array, and checks it.

  Args:
    inputs: a byte array, or features `[B, M, C]`.

  Raises:
    ValueError: it is something else, or shapes do not fit together.
  """
  if isinstance(inputs, (jax.Array, np.ndarray)):
    inputs = ByteArray(inputs)
  if not isinstance(inputs, ByteArray):
    raise ValueError(
      'inputs must be an array [B, M, C] or a ByteArray, got '
      f'{type(inputs).__name__}.'
    )
  check_byte_array(inputs)
  return inputs


def check_byte_array(byte_array: ByteArray) -> None:
  """Raises a ValueError unless the three shapes fit together."""
  features, positions, mask = byte_array
  if features.ndim != 3:
    raise ValueError(
      f'Inputs, ByteArray.features, must be [B, M, C], got shape '
      f'{features.shape}. Flatten the spatial axes into M first, or add the '
      'axis of the batch.'
    )
  if not jnp.issubdtype(features.dtype, jnp.floating):
    raise ValueError(
      'Inputs, ByteArray.features, must be floating-point numbers, got '
      f'{features.dtype}. Convert them first; embed numbers of classes or '
      'tokens.'
    )
  batch, elements, _ = features.shape
  if positions is not None and positions.shape[:-1] not in (
    (elements,),
    (batch, elements),
  ):
    raise ValueError(
      f'ByteArray.positions must be [{elements}, Cp] or [{batch}, {elements}, '
      f'Cp] to go with features {features.shape}, got {positions.shape}.'
    )
  if mask is not None and (
    mask.shape != (batch, elements) or mask.dtype != jnp.bool_
  ):
    raise ValueError(
      f'ByteArray.mask must be bool [{batch}, {elements}] to go with features '
      f'{features.shape}, got {mask.dtype} {mask.shape}.'
    )
