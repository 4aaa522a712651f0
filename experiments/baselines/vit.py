"""ViT (arXiv 2010.11929) on the inputs of a Perceiver.

Shapes: B batch, M inputs, H x W grid, P side of a patch, T patches, C channels
of an input, D channels of the Transformer.
"""

import dataclasses
from collections.abc import Sequence

import haiku as hk
import jax
import jax.numpy as jnp

from experiments.baselines.byte_arrays import to_grid
from perceiver_jax.byte_array import ByteArray
from perceiver_jax.layers import LayerNorm, Linear
from perceiver_jax.patches import space_to_depth
from perceiver_jax.transformer import LatentBlock

# Of the position table and the class token, which are small in all of ViT.
_INIT = hk.initializers.TruncatedNormal(0.02)


@dataclasses.dataclass(kw_only=True)
class VisionTransformer(hk.Module):
  """Patches of a grid are the tokens of a Transformer; by default ViT-B.

  A class token and learned positions, as in the paper. Positions that come
  with the inputs, such as Fourier features, are channels of the patches.

  Attributes:
    grid_shape: (H, W), on which the inputs are laid out row by row.
    num_classes: number of classes.
    patch_size: P. Zeros fill up patches that stand over the lower or right
      border of the grid.
    num_channels: D.
    num_layers: self-attend layers.
    num_heads: of each layer; they divide D.
    widening_factor: of the MLPs.
    rematerialize: see `encoder.Encoder`.
    name: Haiku name.
  """

  grid_shape: Sequence[int]
  num_classes: int
  patch_size: int
  num_channels: int = 768
  num_layers: int = 12
  num_heads: int = 12
  widening_factor: int = 4
  rematerialize: str = 'none'
  name: str | None = None

  def __post_init__(self):
    super().__post_init__()
    if self.patch_size < 1:
      raise ValueError(
        f'baseline.patch_size must be at least 1, got {self.patch_size}.'
      )

  def __call__(self, byte_array: ByteArray, *, is_training: bool) -> jax.Array:
    """Maps M = H W inputs to logits `[B, num_classes]`."""
    tokens = self._tokens(to_grid(byte_array, self.grid_shape))
    tokens = LatentBlock(
      num_layers=self.num_layers,
      num_heads=self.num_heads,
      widening_factor=self.widening_factor,
      rematerialize=self.rematerialize,
      name='blocks',
    )(tokens, is_training=is_training)
    return Linear(
      output_channels=self.num_classes,
      w_init=hk.initializers.Constant(0.0),
      name='logits',
    )(LayerNorm(name='norm')(tokens[:, 0]))

  @hk.transparent  # Keeps the method out of the parameters' names.
  def _tokens(self, grid: jax.Array) -> jax.Array:
    """Maps a grid `[B, H, W, C]` to tokens `[B, 1 + T, D]`."""
    size = self.patch_size
    beyond = [(0, -side % size) for side in self.grid_shape]
    patches = space_to_depth(
      jnp.pad(grid, ((0, 0), *beyond, (0, 0))), (size, size)
    )
    patches = patches.reshape(grid.shape[0], -1, patches.shape[-1])
    tokens = Linear(output_channels=self.num_channels, name='patches')(patches)
    class_token = hk.get_parameter(
      'class_token', (1, 1, self.num_channels), init=_INIT
    )
    class_token = jnp.broadcast_to(
      class_token, (grid.shape[0], 1, self.num_channels)
    )
    tokens = jnp.concatenate([class_token, tokens], axis=1)
    return tokens + hk.get_parameter(
      'positions', (1, *tokens.shape[1:]), init=_INIT
    )
