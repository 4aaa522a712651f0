"""Convolutions before the encoder and after the decoder.

Shapes: B batch, H height, W width, C channels, T time.
"""

import dataclasses
from collections.abc import Sequence

import einops
import haiku as hk
import jax
import jax.numpy as jnp

from perceiver_jax.layers import LECUN_NORMAL, Linear


@dataclasses.dataclass(kw_only=True)
class ConvDownsample(hk.Module):
  """7 x 7 convolution, batch norm, ReLU and max-pooling, 4 times smaller.

  Perceiver IO, appendix A.3.

  Attributes:
    num_channels: of each convolution; they have no bias.
    num_layers: of all this.
    use_batch_norm: whether there is batch norm. Its statistics are Haiku state
      with decay 0.9, averaged over devices after each step.
    name: Haiku name.
  """

  num_channels: int
  num_layers: int = 1
  use_batch_norm: bool = True
  name: str | None = None

  def __call__(self, images: jax.Array, *, is_training: bool) -> jax.Array:
    """Maps `[B, H, W, C]` to `[B, H/4, W/4, num_channels]`, one layer."""
    x = images
    for i in range(self.num_layers):
      x = hk.Conv2D(
        output_channels=self.num_channels,
        kernel_shape=7,
        stride=2,
        with_bias=False,
        padding='SAME',
        w_init=LECUN_NORMAL,
        name=f'conv_{i}',
      )(x)
      if self.use_batch_norm:
        x = hk.BatchNorm(
          create_scale=True,
          create_offset=True,
          decay_rate=0.9,
          eps=1e-5,
          name=f'batch_norm_{i}',
        )(x, is_training=is_training)
      x = jax.nn.relu(x)
      x = hk.max_pool(x, (1, 3, 3, 1), (1, 2, 2, 1), padding='SAME')
    return x


@dataclasses.dataclass(kw_only=True)
class ConvUpsample(hk.Module):
  """Transposed convolutions of size 4, each doubling some of the axes.

  Attributes:
    num_channels: of the result; twice as many before each further layer.
    doublings: for each axis of the grid, how many layers double it, from the
      first on.
    name: Haiku name.
  """

  num_channels: int
  doublings: Sequence[int]
  name: str | None = None

  def __call__(self, x: jax.Array) -> jax.Array:
    """Maps `[B, *grid_shape, C]` to `[B, *finer grid, num_channels]`."""
    layers = max(self.doublings)
    for i in range(layers):
      if i:
        x = jax.nn.relu(x)
      x = hk.ConvNDTranspose(
        num_spatial_dims=len(self.doublings),
        output_channels=self.num_channels * 2 ** (layers - 1 - i),
        kernel_shape=4,
        stride=tuple(2 if i < times else 1 for times in self.doublings),
        padding='SAME',
        name=f'conv_transpose_{i}',
      )(x)
    return x


@dataclasses.dataclass(kw_only=True)
class ConvexUpsample(hk.Module):
  """Every fine point is a weighted mean of its 3 x 3 coarse neighbours.

  The upsampling of RAFT (arXiv 2003.12039, section 3.3), whose weights come
  from the features at the coarse point.

  Attributes:
    num_channels: of what is upsampled.
    factor: how many times finer the grid becomes.
    name: Haiku name.
  """

  num_channels: int
  factor: int
  name: str | None = None

  def __call__(self, features: jax.Array) -> jax.Array:
    """Maps `[B, H, W, C]` to `[B, factor H, factor W, num_channels]`."""
    values = Linear(output_channels=self.num_channels, name='values')(features)
    logits = Linear(output_channels=9 * self.factor**2, name='weights')(
      features
    )
    logits = einops.rearrange(logits, 'b h w (n f) -> b h w n f', n=9)
    weights = jax.nn.softmax(logits, axis=3)
    # Beyond the border, the nearest value: zeros would pull the mean to zero.
    padded = jnp.pad(values, ((0, 0), (1, 1), (1, 1), (0, 0)), mode='edge')
    height, width = values.shape[1:3]
    neighbours = jnp.stack(
      [
        padded[:, i : i + height, j : j + width]
        for i in range(3)
        for j in range(3)
      ],
      axis=3,
    )  # [B, H, W, 9, num_channels]
    fine = jnp.einsum('bhwnf,bhwnc->bhwfc', weights, neighbours)
    return einops.rearrange(
      fine,
      'b h w (p q) c -> b (h p) (w q) c',
      p=self.factor,
      q=self.factor,
    )
