"""The forms of attention, and which one is taken.

Shapes: B batch, N queries, M inputs, H heads, Dk and Dv channels of a head of
queries/keys and of values, C channels of the inputs. For masks, see masks.py.

All give the numbers of `dot_product_attention`. recomputed_attention.py has a
gradient that keeps no weights, cudnn_attention.py and
kernels/latent_attention.py are those of GPUs and TPUs. They take keys and
values, projected inputs. For a single head, absorbed_attention.py does without,
where that needs fewer operations.
"""

import math
import warnings
from collections.abc import Callable
from typing import NamedTuple

import einops
import jax
import jax.numpy as jnp

from perceiver_jax.absorbed_attention import Unprojected, absorbed_attention
from perceiver_jax.cudnn_attention import cudnn_attention, cudnn_takes
from perceiver_jax.dot_product import dot_product_attention
from perceiver_jax.input_chunks import chunk_size
from perceiver_jax.kernels import latent_attention
from perceiver_jax.masks import combine_masks, suits_kernels
from perceiver_jax.portability import only_plain_forms
from perceiver_jax.recomputed_attention import recomputed_attention


class KeysValues(NamedTuple):
  """Projected inputs.

  Attributes:
    key: `[B, M, H, Dk]`.
    value: `[B, M, H, Dv]`.
    mask: True where attention goes; None for everywhere.
  """

  key: jax.Array
  value: jax.Array
  mask: jax.Array | None

  @property
  def batch_and_inputs(self) -> tuple[int, int]:
    """B and M."""
    return self.key.shape[:2]

  @property
  def qk_channels(self) -> int:
    """H Dk."""
    return math.prod(self.key.shape[2:])

  def with_mask(self, mask: jax.Array | None) -> 'KeysValues':
    """Returns them with attention going only where `mask` allows it too."""
    return self._replace(mask=combine_masks(self.mask, mask))


def attend(
  query: jax.Array,
  inputs: KeysValues | Unprojected,
  *,
  dropout_rate: float = 0.0,
  is_training: bool = False,
) -> jax.Array:
  """Attention in the form that fits.

  Args:
    query: `[B, N, H, Dk]`, or `[1, N, H, Dk]` when the batch shares them; `[B
      or 1, N, Dk]` for inputs that stay as they are.
    inputs: keys, values and mask; or inputs as they are.
    dropout_rate: share of the attention weights dropped in training.
    is_training: whether dropout is active.

  Returns:
    `[B, N, H Dv]`; zeros where a mask has no True.
  """
  if isinstance(inputs, Unprojected):
    size = chunk_size(*inputs.inverse_std.shape, query.shape[1])
    return absorbed_attention(query, inputs, chunk_size=size)
  key, value, mask = inputs
  query = jnp.broadcast_to(query, (key.shape[0], *query.shape[1:]))
  drops = is_training and dropout_rate > 0.0
  if drops:
    warnings.warn(
      f'dropout_rate = {dropout_rate} drops attention weights: training keeps '
      'them all, which takes memory for inputs times queries.',
      stacklevel=2,
    )
  if drops or only_plain_forms():  # Only the plain form has the weights.
    attended = dot_product_attention(
      query,
      key,
      value,
      mask=mask,
      dropout_rate=dropout_rate,
      is_training=is_training,
    )
  else:
    attended = _fastest_form(query, key, value, mask)(query, key, value, mask)
  return einops.rearrange(attended, 'b n h c -> b n (h c)')


def _fastest_form(
  query: jax.Array, key: jax.Array, value: jax.Array, mask: jax.Array | None
) -> Callable[..., jax.Array]:
  """Returns the form that suits the devices, the shapes and the mask."""
  padding = mask if mask is None or mask.ndim == 2 else None
  if cudnn_takes(query, key, value, padding):
    form = cudnn_attention
  elif latent_attention.takes(query, key, value):
    form = latent_attention.attend
  else:
    return recomputed_attention
  return form if suits_kernels(mask) else recomputed_attention


def absorbing_pays(
  num_queries: int,
  num_inputs: int,
  channels: int,
  projected_channels: int,
  uses: int = 1,
) -> bool:
  """Whether `absorbed_attention` takes fewer operations than projecting.

  Args:
    num_queries: N.
    num_inputs: M.
    channels: C of the inputs.
    projected_channels: width of keys and of values, added up.
    uses: how many times the inputs are attended to with the same weights;
      projections are then made once.

  Returns:
    True when uses N (M 2 C + C projected) is less than
    M projected (C + uses N).
  """
  absorbed = num_queries * channels * (2 * num_inputs + projected_channels)
  projected = num_inputs * projected_channels
  return uses * absorbed < projected * (channels + uses * num_queries)
