"""Output queries: what is asked of the latents (Perceiver IO, section 3.2).

Shapes: B batch, O outputs, E query channels.

Queries that are the same for all examples come as `[1, O, E]`. Where queries
can be subsampled, asking for some of them gives the same rows as asking for
all. Queries made from the inputs are `ByteArray.concatenate()`; those of
several modalities are packed by `multimodal.ModalityPacking`.
"""

import dataclasses
from collections.abc import Sequence

import haiku as hk
import jax

from perceiver_jax.position_encoding import LearnedPositions, PositionEncoding


@dataclasses.dataclass(frozen=True, kw_only=True)
class GridQueries:
  """One query for each position of the output's grid (IO, section 3.2).

  Attributes:
    positions: encoding of the positions.
    grid_shape: of O outputs.
  """

  positions: PositionEncoding
  grid_shape: Sequence[int]

  def __call__(self, indices: jax.Array | None = None) -> jax.Array:
    """Returns queries.

    Args:
      indices: `[O']` or `[B, O']` int, numbers of grid points in row-major
        order; None for all.

    Returns:
      `[1, O, E]`, `[1, O', E]` or `[B, O', E]`.
    """
    queries = self.positions(self.grid_shape, indices)
    return queries if queries.ndim == 3 else queries[None]


@dataclasses.dataclass(kw_only=True)
class LearnedQueries(hk.Module):
  """Learned queries: one for a class label, for each byte, for each task.

  Perceiver IO, section 3.2 and figure 3.

  Attributes:
    num_queries: O.
    num_channels: E.
    init_stddev: of the truncated normal.
    name: Haiku name.
  """

  num_queries: int
  num_channels: int
  init_stddev: float = 0.02
  name: str | None = None

  def __call__(self, indices: jax.Array | None = None) -> jax.Array:
    """Returns `[1, O, E]`, or those of `indices`; see `GridQueries`."""
    positions = LearnedPositions(
      num_channels=self.num_channels,
      init_stddev=self.init_stddev,
      name='queries',
    )
    return GridQueries(positions=positions, grid_shape=(self.num_queries,))(
      indices
    )
