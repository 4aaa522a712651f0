"""ResNet (arXiv 1512.03385) on the inputs of a Perceiver.

Shapes: B batch, M inputs, H x W grid, C channels.
"""

import dataclasses
from collections.abc import Sequence

import haiku as hk
import jax

from experiments.baselines.byte_arrays import to_grid
from perceiver_jax.byte_array import ByteArray


@dataclasses.dataclass(kw_only=True)
class ResNet(hk.Module):
  """A residual network with batch norm; by default ResNet-50.

  Haiku's network, its last linear layer and the last scale of each block at
  zero. The statistics of batch norm are Haiku state.

  Attributes:
    grid_shape: (H, W), on which the inputs are laid out row by row.
    num_classes: number of classes.
    blocks_per_group: residual blocks of each of the four groups.
    channels_per_group: of what each group gives; all but the first make the
      grid 2 times smaller on both axes.
    bottleneck: whether a block is 1 x 1, 3 x 3, 1 x 1 convolutions, or two of
      3 x 3 as in ResNet-18.
    stem_size: side of the first convolution's kernel.
    stem_stride: its stride; max-pooling halves the grid once more.
    stem_channels: its channels.
    name: Haiku name.
  """

  grid_shape: Sequence[int]
  num_classes: int
  blocks_per_group: Sequence[int] = (3, 4, 6, 3)
  channels_per_group: Sequence[int] = (256, 512, 1024, 2048)
  bottleneck: bool = True
  stem_size: int = 7
  stem_stride: int = 2
  stem_channels: int = 64
  name: str | None = None

  def __post_init__(self):
    super().__post_init__()
    if len(self.blocks_per_group) != 4 or len(self.channels_per_group) != 4:
      raise ValueError(
        'A ResNet has four groups of blocks, got blocks_per_group = '
        f'{tuple(self.blocks_per_group)} and channels_per_group = '
        f'{tuple(self.channels_per_group)}.'
      )

  def __call__(self, byte_array: ByteArray, *, is_training: bool) -> jax.Array:
    """Classifies.

    Args:
      byte_array: M = H W inputs.
      is_training: whether batch norm uses, and learns, the batch's statistics.

    Returns:
      Logits `[B, num_classes]`.
    """
    # A block keeps its input as it is unless channels or grid change.
    widens = self.channels_per_group[0] != self.stem_channels
    network = hk.nets.ResNet(
      blocks_per_group=self.blocks_per_group,
      channels_per_group=self.channels_per_group,
      bottleneck=self.bottleneck,
      use_projection=(widens, True, True, True),
      num_classes=self.num_classes,
      initial_conv_config={
        'kernel_shape': self.stem_size,
        'stride': self.stem_stride,
        'output_channels': self.stem_channels,
      },
      name='network',
    )
    return network(to_grid(byte_array, self.grid_shape), is_training)
