"""Which outputs of an example are reconstructed in training."""

from collections.abc import Mapping

import numpy as np


def random_points(
  grid_sizes: Mapping[str, int],
  counts: Mapping[str, int],
  rng: np.random.Generator,
) -> dict[str, np.ndarray]:
  """Draws outputs of each modality (Perceiver IO, section 4.3).

  Outputs do not depend on each other, so a random few of them give the
  gradient of all on average.

  Args:
    grid_sizes: number of outputs of each modality.
    counts: of them to draw, each at most once.
    rng: source of randomness.

  Returns:
    int32 `[count]` of each modality, numbers of outputs in row-major order.
  """
  return {
    name: rng.choice(size, counts[name], replace=False).astype(np.int32)
    for name, size in grid_sizes.items()
  }


def check_points(
  grid_sizes: Mapping[str, int], counts: Mapping[str, int]
) -> None:
  """Raises a ValueError where more outputs are wanted than there are."""
  for name, size in grid_sizes.items():
    if not 1 <= counts[name] <= size:
      raise ValueError(
        f'data.{name}_points must be from 1 to {size}, the outputs of an '
        f'example, got {counts[name]}.'
      )
