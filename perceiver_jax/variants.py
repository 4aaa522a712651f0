"""What researchers vary: parts to hand in, in place of those of the papers.

Shapes: B batch, N queries, M inputs, H heads, D channels of a head or of all.

They go into `Parts`, as `norm`, `mlp` or `attention`, or into `Attention`, as
`process_heads`.
"""

import dataclasses
from collections.abc import Callable

import haiku as hk
import jax
import jax.numpy as jnp

from perceiver_jax.absorbed_attention import NormalizedByteArray
from perceiver_jax.attention import Attention
from perceiver_jax.byte_array import as_byte_array
from perceiver_jax.layers import LayerNorm, Linear
from perceiver_jax.masks import combine_masks
from perceiver_jax.numerics import LAYER_NORM_EPSILON, at_least_float32


@dataclasses.dataclass(kw_only=True)
class RMSNorm(hk.Module):
  """Root-mean-square norm: no mean is taken off, no offset added.

  Zhang and Sennrich (arXiv 1910.07467, section 4). Computed in float32.

  Attributes:
    name: Haiku name.
  """

  name: str | None = None

  def __call__(self, x: jax.Array) -> jax.Array:
    """Normalises `[..., C]`; the result has the dtype of `x`."""
    scale = hk.get_parameter('scale', x.shape[-1:], init=jnp.ones)
    wide = x.astype(at_least_float32(x))
    square = jnp.square(wide).mean(axis=-1, keepdims=True)
    scale = scale.reshape((1,) * (x.ndim - 1) + scale.shape)
    return (wide * jax.lax.rsqrt(square + LAYER_NORM_EPSILON) * scale).astype(
      x.dtype
    )


@dataclasses.dataclass(kw_only=True)
class GatedMLP(hk.Module):
  """An MLP whose hidden layer is multiplied by a gate, a GELU of another.

  GEGLU (Shazeer, arXiv 2002.05202, section 2).

  Attributes:
    widening_factor: hidden width over input width. With 2/3 of that of an
      `MLP`, as many parameters.
    approximate_gelu: see `MLP`.
    name: Haiku name.
  """

  widening_factor: float = 1
  approximate_gelu: bool = True
  name: str | None = None

  def __call__(self, x: jax.Array) -> jax.Array:
    """Maps `[..., D]` to `[..., D]`."""
    channels = x.shape[-1]
    width = round(self.widening_factor * channels)
    hidden = Linear(output_channels=width, name='hidden')(x)
    gate = Linear(output_channels=width, name='gate')(x)
    gate = jax.nn.gelu(gate, approximate=self.approximate_gelu)
    return Linear(output_channels=channels, name='output')(gate * hidden)


@dataclasses.dataclass(frozen=True, kw_only=True)
class QueryKeyNorm:
  """A norm over the channels of each head of queries and keys.

  Keeps scores from growing (Dehghani et al., arXiv 2302.05442, section 2.1). To
  be handed to `Attention` as `process_heads`.

  Attributes:
    norm: called with `name`; see `Parts`.
  """

  norm: Callable[..., hk.Module] = LayerNorm

  def __call__(
    self, query: jax.Array, key: jax.Array
  ) -> tuple[jax.Array, jax.Array]:
    """Normalises `[B, N, H, D]` and `[B, M, H, D]`."""
    return self.norm(name='query_norm')(query), self.norm(name='key_norm')(key)


@dataclasses.dataclass(frozen=True, kw_only=True)
class RotaryPositions:
  """Turns queries and keys by their positions: scores see differences alone.

  RoFormer (Su et al., arXiv 2104.09864, section 3.2): channels i and i + D / 2
  of a head are turned by position x base^(-2i / D). To be handed to `Attention`
  as `process_heads`.

  Attributes:
    queries: positions `[N]` or `[B, N]` of the queries; None for 0, 1, ...
    inputs: positions `[M]` or `[B, M]` of the inputs; None for 0, 1, ...
    base: what wavelengths grow to, over 2 pi.
  """

  queries: jax.Array | None = None
  inputs: jax.Array | None = None
  base: float = 10_000.0

  def __call__(
    self, query: jax.Array, key: jax.Array
  ) -> tuple[jax.Array, jax.Array]:
    """Turns `[B, N, H, D]` and `[B, M, H, D]`.

    Raises:
      ValueError: D is odd, or there are other numbers of positions.
    """
    return (
      self._turn('queries', query, self.queries),
      self._turn('inputs', key, self.inputs),
    )

  def _turn(
    self, name: str, x: jax.Array, positions: jax.Array | None
  ) -> jax.Array:
    batch, size, _, channels = x.shape
    if channels % 2:
      raise ValueError(
        f'Rotary positions turn pairs of channels; a head has {channels}.'
      )
    if positions is None:
      positions = jnp.arange(size)
    wide = at_least_float32(x)
    positions = jnp.atleast_2d(positions).astype(wide)
    if positions.shape not in ((1, size), (batch, size)):
      raise ValueError(
        f'RotaryPositions.{name} must be [{size}] or [{batch}, {size}], one '
        f'position for each, got {positions.shape}.'
      )
    exponents = jnp.arange(0, channels, 2, dtype=wide) / channels
    frequencies = self.base**-exponents
    angles = positions[:, :, None, None] * frequencies[None, None, None]
    cos, sin = jnp.cos(angles), jnp.sin(angles)
    first, second = jnp.split(x.astype(wide), 2, axis=-1)
    turned = (first * cos - second * sin, second * cos + first * sin)
    return jnp.concatenate(turned, axis=-1).astype(x.dtype)


@dataclasses.dataclass(kw_only=True)
class JoinedAttention(Attention):
  """Queries attend to the inputs and to each other, in one softmax.

  The resampler of Flamingo (Alayrac et al., arXiv 2204.14198, appendix A.1.1):
  keys and values are of the inputs, joined with the queries, by the same
  weights, so inputs and queries have the same width.

  Attributes:
    num_heads: see `Attention`.
    qk_channels: see `Attention`.
    v_channels: see `Attention`.
    output_channels: see `Attention`.
    dropout_rate: see `Attention`.
    process_heads: see `Attention`; keys are of M + N inputs.
    name: Haiku name.
  """

  @hk.name_like('__call__')
  def prepare(
    self,
    inputs: NormalizedByteArray,
    *,
    num_queries: int,
    uses: int = 1,
    is_training: bool,
  ) -> NormalizedByteArray:
    """Returns the inputs: what is projected depends on the queries."""
    del num_queries, uses, is_training
    return inputs

  def __call__(
    self,
    queries: jax.Array,
    inputs: jax.Array | NormalizedByteArray,
    *,
    mask: jax.Array | None = None,
    is_training: bool | None = None,
  ) -> jax.Array:
    """Attends; see `Attention`. Masks are of the M inputs.

    Args:
      queries: `[B, N, C]`, or `[1, N, C]` shared by the batch.
      inputs: `[B, M, C]`, or what `prepare` returned.
      mask: see `Attention`; queries always see each other.
      is_training: see `Attention`.

    Returns:
      `[B, N, output_channels]`.

    Raises:
      ValueError: queries and inputs differ in width; see `Attention`.
    """
    if not isinstance(inputs, NormalizedByteArray):
      inputs = NormalizedByteArray(as_byte_array(inputs))
    mask = combine_masks(inputs.byte_array.mask, mask)
    features = inputs.concatenate()
    batch, _, channels = features.shape
    if queries.shape[-1] != channels:
      raise ValueError(
        'Joined with the inputs, queries must have their width; got '
        f'{queries.shape[-1]} channels of queries and {channels} of inputs. '
        'Project the inputs first.'
      )
    num_queries = queries.shape[1]
    joined = jnp.broadcast_to(queries, (batch, num_queries, channels))
    joined = jnp.concatenate([features, joined], axis=1)  # [B, M + N, C]
    if mask is not None:
      each_other = jnp.ones((*mask.shape[:-1], num_queries), bool)
      mask = jnp.concatenate([mask, each_other], axis=-1)
    return super().__call__(queries, joined, mask=mask, is_training=is_training)
