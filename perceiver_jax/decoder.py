"""Latents in, outputs out.

Shapes: B batch, N latents, D latent channels, O outputs, E query channels, F
output channels.
"""

import dataclasses

import haiku as hk
import jax
import jax.numpy as jnp

from perceiver_jax.layers import Linear, check_array
from perceiver_jax.transformer import PAPERS_PARTS, CrossAttend, Parts


@dataclasses.dataclass(kw_only=True)
class AveragePool(hk.Module):
  """Mean over the latents, then one linear layer (Perceiver, appendix C).

  The layer starts at zero, so an untrained model gives all classes the same
  probability. There is no layer norm before it.

  Attributes:
    num_outputs: width of the result, the number of classes.
    name: Haiku name.
  """

  num_outputs: int
  name: str | None = None

  def __call__(self, latents: jax.Array) -> jax.Array:
    """Maps latents `[B, N, D]` to `[B, num_outputs]` float32.

    Raises:
      ValueError: latents have other axes.
    """
    check_array('latents', latents, 'B, N, D')
    pooled = latents.mean(axis=1, dtype=jnp.float32)
    return Linear(
      output_channels=self.num_outputs,
      w_init=hk.initializers.Constant(0.0),
      name='logits',
    )(pooled)


@dataclasses.dataclass(kw_only=True)
class Decoder(hk.Module):
  """Output queries attend to the latents (Perceiver IO, section 3.1).

  Outputs do not see each other: those for some of the queries are the same
  whether or not the others are asked for.

  Attributes:
    output_channels: F, of a last linear layer; None to return what the
      cross-attends give, F = E.
    num_layers: cross-attends, one after the other; 1 in the paper.
    num_heads: heads of each cross-attend.
    qk_channels: width of its queries and keys; default D.
    v_channels: width of its values; default `qk_channels`.
    query_residual: see `CrossAttend`.
    widening_factor: see `CrossAttend`.
    dropout_rate: see `CrossAttend`.
    approximate_gelu: see `MLP`.
    zero_init: whether the last linear layer starts at zero.
    parts: what the cross-attends are made of.
    name: Haiku name.

  Raises:
    ValueError: `zero_init` without a last linear layer, or no cross-attend.
  """

  output_channels: int | None
  num_layers: int = 1
  num_heads: int = 1
  qk_channels: int | None = None
  v_channels: int | None = None
  query_residual: bool = False
  widening_factor: int = 1
  dropout_rate: float = 0.0
  approximate_gelu: bool = True
  zero_init: bool = False
  parts: Parts = PAPERS_PARTS
  name: str | None = None

  def __post_init__(self):
    super().__post_init__()
    if self.zero_init and self.output_channels is None:
      raise ValueError(
        'zero_init is of the last linear layer of a decoder; with '
        'output_channels=None there is none. Set zero_init=False.'
      )
    if self.num_layers < 1:
      raise ValueError(
        f'num_layers of a decoder must be at least 1, got {self.num_layers}.'
      )

  def __call__(
    self,
    queries: jax.Array,
    latents: jax.Array,
    *,
    is_training: bool,
    query_mask: jax.Array | None = None,
    mask: jax.Array | None = None,
  ) -> jax.Array:
    """Decodes.

    Args:
      queries: `[B, O, E]`, or `[1, O, E]` when the batch shares them.
      latents: `[B, N, D]`.
      is_training: whether dropout is active.
      query_mask: `[B, O]` bool, False where no output is wanted.
      mask: which latents queries may look at: `[B, N]`, `[B, O, N]` or `[B, H,
        O, N]` bool; B and H may be 1.

    Returns:
      `[B, O, F]`; zeros where `query_mask` is False.

    Raises:
      ValueError: an array has other axes, or the shape or dtype of a mask does
        not fit.
    """
    check_array('queries', queries, 'B, O, E')
    check_array('latents', latents, 'B, N, D')
    if query_mask is not None:
      _check_query_mask(query_mask, queries, latents)
      queries = jnp.where(query_mask[..., None], queries, 0)
    outputs = queries
    for i in range(self.num_layers):
      outputs = CrossAttend(
        num_heads=self.num_heads,
        qk_channels=self.qk_channels,
        v_channels=self.v_channels,
        query_residual=self.query_residual,
        widening_factor=self.widening_factor,
        dropout_rate=self.dropout_rate,
        approximate_gelu=self.approximate_gelu,
        parts=self.parts,
        name=f'cross_attend_{i}' if i else 'cross_attend',
      )(outputs, latents, is_training=is_training, mask=mask)  # [B, O, E]
    if self.output_channels is not None:
      settings = {'w_init': jnp.zeros} if self.zero_init else {}
      outputs = Linear(
        output_channels=self.output_channels, name='output', **settings
      )(outputs)
    if query_mask is not None:
      outputs = jnp.where(query_mask[..., None], outputs, 0)
    return outputs


def _check_query_mask(
  query_mask: jax.Array, queries: jax.Array, latents: jax.Array
) -> None:
  expected = (latents.shape[0], queries.shape[1])
  if query_mask.shape != expected or query_mask.dtype != jnp.bool_:
    raise ValueError(
      f'query_mask must be bool {list(expected)} to go with queries '
      f'{queries.shape}, got {query_mask.dtype} {query_mask.shape}.'
    )
