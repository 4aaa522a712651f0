"""Attention: the module, its plain form, and which form it takes.

Shapes: B batch, N queries, M inputs, H heads, Dk and Dv channels of a head of
queries/keys and of values, C channels of the inputs.

`dot_product_attention` is the readable reference; recomputed_attention.py gives
the same numbers with a gradient that keeps no weights, cudnn_attention.py and
kernels/latent_attention.py those of GPUs and TPUs. They take keys and values,
projected inputs. For a single head, absorbed_attention.py does without;
`Attention.prepare` takes what needs fewer operations.
"""

import contextlib
import contextvars
import dataclasses
import math
import warnings
from collections.abc import Iterator
from typing import NamedTuple

import einops
import haiku as hk
import jax
import jax.numpy as jnp

from perceiver_jax.absorbed_attention import (
  NormalizedByteArray,
  Unprojected,
  absorbed_attention,
  inverse_stddev,
)
from perceiver_jax.cudnn_attention import cudnn_attention, cudnn_takes
from perceiver_jax.input_chunks import chunk_size
from perceiver_jax.kernels import latent_attention
from perceiver_jax.layers import (
  Linear,
  affine,
  at_least_float32,
  check_dropout_rate,
  dropout,
)
from perceiver_jax.recomputed_attention import recomputed_attention

_PLAIN_ONLY = contextvars.ContextVar('plain_only', default=False)


@contextlib.contextmanager
def plain_attention() -> Iterator[None]:
  """While it is open, `Attention` is traced in its plain form.

  For counting operations as the papers do, and for comparing the forms. A
  function that was traced (jitted) outside keeps the form it was traced with.
  """
  token = _PLAIN_ONLY.set(True)
  try:
    yield
  finally:
    _PLAIN_ONLY.reset(token)


class KeysValues(NamedTuple):
  """Projected inputs.

  Attributes:
    key: `[B, M, H, Dk]`.
    value: `[B, M, H, Dv]`.
    mask: `[B, M]` bool, True where there is an input; None for everywhere.
  """

  key: jax.Array
  value: jax.Array
  mask: jax.Array | None

  @property
  def qk_channels(self) -> int:
    """H Dk."""
    return math.prod(self.key.shape[2:])


def masked_softmax(scores: jax.Array, mask: jax.Array | None) -> jax.Array:
  """Softmax over the last axis that knows padding.

  Args:
    scores: `[..., M]`.
    mask: bool, broadcastable to `scores`, True where there is an input.

  Returns:
    Weights, in float32 or wider. They sum to one, except that a row with
    nothing but padding has all weights zero (and zero gradient), not NaN.
  """
  scores = scores.astype(at_least_float32(scores))
  if mask is None:
    return jax.nn.softmax(scores, axis=-1)
  scores = jnp.where(mask, scores, -jnp.inf)
  highest = jax.lax.stop_gradient(scores.max(axis=-1, keepdims=True))
  highest = jnp.where(jnp.isfinite(highest), highest, 0.0)
  weights = jnp.exp(scores - highest)
  total = weights.sum(axis=-1, keepdims=True)
  return weights / jnp.where(total == 0.0, 1.0, total)


def dot_product_attention(
  query: jax.Array,
  key: jax.Array,
  value: jax.Array,
  *,
  mask: jax.Array | None = None,
  dropout_rate: float = 0.0,
  is_training: bool = False,
) -> jax.Array:
  """Scaled dot-product attention (Perceiver, section 3.1).

  Args:
    query: `[B, N, H, Dk]`.
    key: `[B, M, H, Dk]`.
    value: `[B, M, H, Dv]`.
    mask: `[B, M]` bool, True where there is an input.
    dropout_rate: share of the attention weights dropped in training.
    is_training: whether dropout is active.

  Returns:
    `[B, N, H, Dv]`; zeros for an example whose mask has no True.
  """
  scores = jnp.einsum(
    'bnhd,bmhd->bhnm',
    query,
    key,
    preferred_element_type=at_least_float32(query),
  )
  scores = scores / math.sqrt(query.shape[-1])
  weights = masked_softmax(
    scores, None if mask is None else mask[:, None, None]
  )
  weights = dropout(weights, dropout_rate, is_training=is_training)
  return jnp.einsum('bhnm,bmhd->bnhd', weights.astype(value.dtype), value)


def attend(
  query: jax.Array,
  inputs: KeysValues,
  *,
  dropout_rate: float = 0.0,
  is_training: bool = False,
) -> jax.Array:
  """Multi-head attention in the form that fits.

  Args:
    query: `[B, N, H, Dk]`, or `[1, N, H, Dk]` when the batch shares them.
    inputs: keys, values and mask.
    dropout_rate: share of the attention weights dropped in training.
    is_training: whether dropout is active.

  Returns:
    `[B, N, H Dv]`; zeros for an example whose mask has no True.
  """
  key, value, mask = inputs
  query = jnp.broadcast_to(query, (key.shape[0], *query.shape[1:]))
  drops = is_training and dropout_rate > 0.0
  if drops:
    warnings.warn(
      f'dropout_rate = {dropout_rate} drops attention weights: training keeps '
      'them all, which takes memory for inputs times queries.',
      stacklevel=2,
    )
  if drops or _PLAIN_ONLY.get():  # Only the plain form has the weights.
    attended = dot_product_attention(
      query,
      key,
      value,
      mask=mask,
      dropout_rate=dropout_rate,
      is_training=is_training,
    )
  elif cudnn_takes(query, key, value, mask):
    attended = cudnn_attention(query, key, value, mask)
  elif latent_attention.takes(query, key, value):
    attended = latent_attention.attend(query, key, value, mask)
  else:
    attended = recomputed_attention(query, key, value, mask)
  return einops.rearrange(attended, 'b n h c -> b n (h c)')


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


@dataclasses.dataclass(kw_only=True)
class Attention(hk.Module):
  """Attention of queries to inputs: project, attend, project back.

  Attributes:
    num_heads: H.
    qk_channels: width of queries and keys over all heads; default the width
      of the inputs (Perceiver, appendix C).
    v_channels: width of the values over all heads; default `qk_channels`.
    output_channels: width of the result; default the width of the queries.
    dropout_rate: dropout on the attention weights.
    name: Haiku name.
  """

  num_heads: int = 1
  qk_channels: int | None = None
  v_channels: int | None = None
  output_channels: int | None = None
  dropout_rate: float = 0.0
  name: str | None = None

  def __post_init__(self):
    super().__post_init__()
    check_dropout_rate(self.dropout_rate)

  @hk.name_like('__call__')
  def prepare(
    self,
    inputs: NormalizedByteArray,
    *,
    num_queries: int,
    uses: int,
    is_training: bool,
  ) -> KeysValues | Unprojected:
    """Does once what several calls with the same inputs need.

    Args:
      inputs: M inputs of C channels.
      num_queries: N of each call.
      uses: calls that there will be.
      is_training: whether dropout is active in them.

    Raises:
      ValueError: the heads do not divide the channels.
    """
    byte_array = inputs.byte_array
    num_inputs, channels = byte_array.features.shape[1], byte_array.num_channels
    key, value = self._key_value(channels)
    unprojected = Unprojected(inputs, inverse_stddev(byte_array), key, value)
    absorbs = (
      self.num_heads == 1
      and not (is_training and self.dropout_rate > 0.0)
      and absorbing_pays(
        num_queries, num_inputs, channels, key[1].size + value[1].size, uses
      )
    )
    # In the papers each call projects.
    if absorbs or _PLAIN_ONLY.get():
      return unprojected
    return self._project(unprojected)

  def __call__(
    self,
    queries: jax.Array,
    inputs: KeysValues | Unprojected | None = None,
    *,
    is_training: bool,
  ) -> jax.Array:
    """Attends.

    Args:
      queries: normalised, `[B, N, Cq]`, or `[1, N, Cq]` shared by the batch.
      inputs: from `prepare`; None for the queries themselves.
      is_training: whether dropout is active.

    Returns:
      `[B, N, output_channels]`.

    Raises:
      ValueError: the heads do not divide the channels.
    """
    if inputs is None:
      key, value = self._key_value(queries.shape[-1])
      inputs = self._keys_values(queries, key, value, None)
    elif _PLAIN_ONLY.get() and isinstance(inputs, Unprojected):
      inputs = self._project(inputs)
    query_w, query_b = self._linear('query', inputs.qk_channels).parameters(
      queries.shape[-1]
    )
    query = affine(queries, query_w, query_b)
    if isinstance(inputs, Unprojected):
      attended = absorbed_attention(
        query,
        inputs,
        chunk_size=chunk_size(*inputs.inverse_std.shape, query.shape[1]),
      )
    else:
      attended = attend(
        self._split_heads(query),
        inputs,
        dropout_rate=self.dropout_rate,
        is_training=is_training,
      )
    output_channels = self.output_channels or queries.shape[-1]
    return self._linear('output', output_channels)(attended)

  @hk.transparent  # Keeps the method out of the parameters' names.
  def _linear(self, name: str, output_channels: int) -> Linear:
    return Linear(output_channels=output_channels, name=name)

  def _split_heads(self, x: jax.Array) -> jax.Array:
    return einops.rearrange(x, 'b n (h c) -> b n h c', h=self.num_heads)

  @hk.transparent
  def _project(self, unprojected: Unprojected) -> KeysValues:
    inputs, _, key, value = unprojected
    return self._keys_values(
      inputs.concatenate(), key, value, inputs.byte_array.mask
    )

  @hk.transparent
  def _keys_values(
    self,
    inputs: jax.Array,
    key: tuple[jax.Array, jax.Array],
    value: tuple[jax.Array, jax.Array],
    mask: jax.Array | None,
  ) -> KeysValues:
    return KeysValues(
      self._split_heads(affine(inputs, *key)),
      self._split_heads(affine(inputs, *value)),
      mask,
    )

  @hk.transparent
  def _key_value(
    self, channels: int
  ) -> tuple[tuple[jax.Array, jax.Array], tuple[jax.Array, jax.Array]]:
    """Weights and biases of keys and of values."""
    qk_channels = self.qk_channels or channels
    v_channels = self.v_channels or qk_channels
    for name, width in (('qk', qk_channels), ('v', v_channels)):
      if width % self.num_heads:
        raise ValueError(
          f'{name}_channels = {width} cannot be divided into num_heads = '
          f'{self.num_heads} heads. Set {name}_channels to a multiple of the '
          'heads, or change the number of heads.'
        )
    return (
      self._linear('key', qk_channels).parameters(channels),
      self._linear('value', v_channels).parameters(channels),
    )
