"""Attention: project, attend, project back.

Shapes: B batch, N queries, M inputs, H heads, Dk and Dv channels of a head of
queries/keys and of values, C channels of the inputs. For masks, see masks.py;
for the attention itself, dot_product.py.
"""

import dataclasses
from collections.abc import Callable

import einops
import haiku as hk
import jax

from perceiver_jax.absorbed_attention import (
  NormalizedByteArray,
  Unprojected,
  inverse_stddev,
)
from perceiver_jax.attention_forms import KeysValues, absorbing_pays, attend
from perceiver_jax.layers import Linear, check_array, check_dropout_rate
from perceiver_jax.masks import check_mask
from perceiver_jax.numerics import affine
from perceiver_jax.portability import only_plain_forms

# Queries `[B or 1, N, H, Dk]` and keys `[B, M, H, Dk]` to others of that shape.
ProcessHeads = Callable[[jax.Array, jax.Array], tuple[jax.Array, jax.Array]]


@dataclasses.dataclass(kw_only=True)
class Attention(hk.Module):
  """Attention of queries to inputs: project, attend, project back.

  Perceiver, section 3.1 and appendix C.

  Attributes:
    num_heads: H.
    qk_channels: width of queries and keys over all heads; default the width
      of the inputs (Perceiver, appendix C).
    v_channels: width of the values over all heads; default `qk_channels`.
    output_channels: width of the result; default the width of the queries.
    dropout_rate: dropout on the attention weights.
    process_heads: what is done to projected queries `[B or 1, N, H, Dk]` and
      keys `[B, M, H, Dk]`, called with both and returning both, such as
      `RotaryPositions` or `QueryKeyNorm`; None for nothing.
    name: Haiku name.

  Raises:
    ValueError: an attribute is out of its range.
  """

  num_heads: int = 1
  qk_channels: int | None = None
  v_channels: int | None = None
  output_channels: int | None = None
  dropout_rate: float = 0.0
  process_heads: ProcessHeads | None = None
  name: str | None = None

  def __post_init__(self):
    super().__post_init__()
    if self.num_heads < 1:
      raise ValueError(f'num_heads must be at least 1, got {self.num_heads}.')
    check_dropout_rate(self.dropout_rate)

  @hk.name_like('__call__')
  def prepare(
    self,
    inputs: NormalizedByteArray,
    *,
    num_queries: int,
    uses: int = 1,
    is_training: bool,
  ) -> KeysValues | Unprojected:
    """Does once what several calls with the same inputs need.

    Args:
      inputs: M inputs of C channels.
      num_queries: N of each call.
      uses: calls that there will be.
      is_training: whether dropout is active in them.

    Returns:
      What a call takes in place of inputs.

    Raises:
      ValueError: the heads do not divide the channels.
    """
    byte_array = inputs.byte_array
    num_inputs, channels = byte_array.features.shape[1], byte_array.num_channels
    key, value = self._key_value(channels)
    absorbs = (
      self.num_heads == 1
      and self.process_heads is None
      and inputs.scale is not None
      and not (is_training and self.dropout_rate > 0.0)
      and absorbing_pays(
        num_queries, num_inputs, channels, key[1].size + value[1].size, uses
      )
    )
    # In the papers each call projects.
    if absorbs or only_plain_forms():
      return Unprojected(inputs, inverse_stddev(byte_array), key, value)
    return self._project(inputs, key, value)

  def __call__(
    self,
    queries: jax.Array,
    inputs: jax.Array | KeysValues | Unprojected | None = None,
    *,
    mask: jax.Array | None = None,
    is_training: bool | None = None,
  ) -> jax.Array:
    """Attends.

    Args:
      queries: `[B, N, Cq]`, or `[1, N, Cq]` shared by the batch; a norm, if
        any, is up to the caller.
      inputs: `[B, M, C]`, or what `prepare` made of them; None for the queries
        themselves.
      mask: bool, True where attention goes: `[B, M]`, `[B, N, M]` or `[B, H, N,
        M]`; B and H may be 1. A query with no True gets zeros.
      is_training: whether dropout is active; may be left out without dropout.

    Returns:
      `[B, N, output_channels]`.

    Raises:
      ValueError: an array has other axes, the mask does not fit, the heads do
        not divide the channels, or `is_training` is left out with dropout.
    """
    if is_training is None and self.dropout_rate > 0.0:
      raise ValueError(
        f'With dropout_rate = {self.dropout_rate}, is_training must be given.'
      )
    query, inputs = self.lookup(*self._lookup(queries, inputs, mask))
    attended = attend(
      query,
      inputs,
      dropout_rate=self.dropout_rate,
      is_training=bool(is_training),
    )  # [B, N, H Dv]
    output_channels = self.output_channels or queries.shape[-1]
    return self._linear('output', output_channels)(attended)

  def lookup(
    self, query: jax.Array, inputs: KeysValues | Unprojected
  ) -> tuple[jax.Array, KeysValues | Unprojected]:
    """Returns what it is given, for interceptors: what attends to what.

    Args:
      query: `[B or 1, N, H, Dk]`; `[B or 1, N, Dk]` where a single head attends
        to inputs as they are.
      inputs: keys, values and mask, or inputs as they are.
    """
    return query, inputs

  @hk.transparent  # Keeps the method out of the parameters' names.
  def _lookup(
    self,
    queries: jax.Array,
    inputs: jax.Array | KeysValues | Unprojected | None,
    mask: jax.Array | None,
  ) -> tuple[jax.Array, KeysValues | Unprojected]:
    """Projects what a call is given; see `lookup`."""
    check_array('queries', queries, 'B, N, C')
    inputs = queries if inputs is None else inputs
    if not isinstance(inputs, (KeysValues, Unprojected)):
      check_array('inputs', inputs, 'B, M, C')
      inputs = self._keys_values(
        inputs, *self._key_value(inputs.shape[-1]), None
      )
    elif isinstance(inputs, Unprojected) and only_plain_forms():
      inputs = self._project(inputs.inputs, inputs.key, inputs.value)
    self._check_sizes(queries, inputs, mask)
    inputs = inputs.with_mask(mask)
    query = affine(
      queries,
      *self._linear('query', inputs.qk_channels).parameters(queries.shape[-1]),
    )
    if isinstance(inputs, Unprojected):
      return query, inputs
    query = self._split_heads(query)
    if self.process_heads is not None:
      query, key = self.process_heads(query, inputs.key)
      inputs = inputs._replace(key=key)
    return query, inputs

  def _check_sizes(
    self,
    queries: jax.Array,
    inputs: KeysValues | Unprojected,
    mask: jax.Array | None,
  ) -> None:
    batch, num_inputs = inputs.batch_and_inputs
    if queries.shape[0] not in (1, batch):
      raise ValueError(
        f'queries {queries.shape} are of another batch than the inputs, of '
        f'{batch} examples; give as many, or 1 for all.'
      )
    check_mask(mask, (batch, self.num_heads, queries.shape[1], num_inputs))

  @hk.transparent
  def _linear(self, name: str, output_channels: int) -> Linear:
    return Linear(output_channels=output_channels, name=name)

  def _split_heads(self, x: jax.Array) -> jax.Array:
    return einops.rearrange(x, 'b n (h c) -> b n h c', h=self.num_heads)

  @hk.transparent
  def _project(
    self,
    inputs: NormalizedByteArray,
    key: tuple[jax.Array, jax.Array],
    value: tuple[jax.Array, jax.Array],
  ) -> KeysValues:
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
