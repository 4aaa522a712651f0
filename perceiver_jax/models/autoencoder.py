"""Perceiver IO as multimodal autoencoder (arXiv 2107.14795, section 4.3)."""

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np

from perceiver_jax.decoder import Decoder
from perceiver_jax.encoder import Encoder
from perceiver_jax.multimodal import (
  ModalityPacking,
  Multimodal,
  check_modalities,
  pack_masks,
  unpack,
)
from perceiver_jax.queries import GridQueries, LearnedQueries


@dataclasses.dataclass(kw_only=True)
class MultimodalAutoencoder(hk.Module):
  """Video, sound and label in, the same out, through few latents.

  `published.KINETICS` (section 4.3, appendix I): 16 frames of 224 x 224 in
  patches of 4 x 4, 1,920 patches of 16 samples and a label make 52,097 inputs
  of 704 channels; 784 x 512 latents, 8 layers; 804,737 outputs of 512 channels;
  19,858,855 parameters.

  Attributes:
    preprocessor: of all modalities.
    encoder: reads the packed modalities.
    queries: of each modality's outputs.
    query_min_padding: see `ModalityPacking`.
    decoder: one for all modalities.
    postprocessors: of each modality's outputs `[B, O, F]`.
    num_chunks: parts in which all outputs are decoded, one after the other,
      when no `points` are asked for; postprocessors must then treat each
      output on its own.
    name: Haiku name.

  Raises:
    ValueError: queries and postprocessors are of other modalities, or there is
      no chunk.
  """

  preprocessor: Multimodal
  encoder: Encoder
  queries: Mapping[str, GridQueries | LearnedQueries]
  decoder: Decoder
  postprocessors: Mapping[str, Callable[[jax.Array], jax.Array]]
  query_min_padding: int = 2
  num_chunks: int = 1
  name: str | None = None

  def __post_init__(self):
    super().__post_init__()
    check_modalities(self.queries, self.postprocessors)
    if self.num_chunks < 1:
      raise ValueError(f'num_chunks must be at least 1, got {self.num_chunks}.')

  def __call__(
    self,
    inputs: Mapping[str, jax.Array],
    *,
    is_training: bool,
    points: Mapping[str, jax.Array] | None = None,
    input_mask: jax.Array | None = None,
    query_masks: Mapping[str, jax.Array] | None = None,
  ) -> dict[str, Any]:
    """Reconstructs.

    Args:
      inputs: the raw input of each modality.
      is_training: whether dropout and masking are active.
      points: for some modalities, numbers `[O]` or `[B, O]` of the outputs
        wanted; all for the others.
      input_mask: `[B, M]` bool, False where an input is padding.
      query_masks: for some modalities `[B, O]` bool, False where no output is
        wanted.

    Returns:
      For each modality what its postprocessor makes. Outputs `[B, O, F]` of
      all points of a grid get its shape, `[B, *grid_shape, F]`.

    Raises:
      ValueError: outputs of an unknown modality are asked for.
    """
    byte_array = self.preprocessor(inputs, is_training=is_training)
    latents = self.encoder(
      byte_array.with_mask(input_mask), is_training=is_training
    )
    points, query_masks = dict(points or {}), dict(query_masks or {})
    unknown = sorted({*points, *query_masks} - set(self.queries))
    if unknown:
      raise ValueError(
        f'There are no outputs {unknown}, only {sorted(self.queries)}.'
      )
    if points or query_masks or self.num_chunks == 1:
      outputs = self._decode(latents, points, query_masks, is_training)
    else:
      outputs = self._decode_in_chunks(latents, is_training)
    return {
      name: x if name in points else self._restore_grid(name, x)
      for name, x in outputs.items()
    }

  @hk.transparent
  def _decode(
    self,
    latents: jax.Array,
    points: Mapping[str, jax.Array],
    query_masks: Mapping[str, jax.Array],
    is_training: bool,
  ) -> dict[str, jax.Array]:
    queries = {n: q(points.get(n)) for n, q in self.queries.items()}
    batch = max(x.shape[0] for x in queries.values())
    packing = ModalityPacking(
      min_padding=self.query_min_padding, name='query_packing'
    )
    packed = [
      jnp.broadcast_to(x, (batch, *x.shape[1:]))
      for x in packing(queries).values()
    ]
    sizes = {name: x.shape[1] for name, x in queries.items()}
    outputs = self.decoder(
      jnp.concatenate(packed, axis=1).astype(latents.dtype),
      latents,
      is_training=is_training,
      query_mask=pack_masks(query_masks, sizes),
    )
    return {
      name: self.postprocessors[name](x)
      for name, x in unpack(outputs, sizes).items()
    }

  @hk.transparent
  def _decode_in_chunks(
    self, latents: jax.Array, is_training: bool
  ) -> dict[str, jax.Array]:
    """Decodes all outputs in `num_chunks` parts of every grid."""
    if hk.running_init():  # Parameters cannot be created inside a scan.
      return self._decode(latents, {}, {}, is_training)
    grid_sizes = {
      name: math.prod(queries.grid_shape)
      for name, queries in self.queries.items()
      if isinstance(queries, GridQueries)
    }
    points = {}
    for name, size in grid_sizes.items():
      share = -(-size // self.num_chunks)
      # The last chunk is filled up with the last point, taken off again below.
      numbers = np.minimum(np.arange(share * self.num_chunks), size - 1)
      points[name] = jnp.asarray(numbers.reshape(self.num_chunks, share))
    _, outputs = hk.scan(
      lambda carry, chunk: (
        carry,
        self._decode(latents, chunk, {}, is_training),
      ),
      None,
      points,
    )
    return {
      name: _join_chunks(x, grid_sizes[name], points[name].shape[1])
      if name in grid_sizes
      else x[0]
      for name, x in outputs.items()
    }

  def _restore_grid(self, name: str, outputs: jax.Array) -> jax.Array:
    queries = self.queries[name]
    if isinstance(queries, LearnedQueries) or outputs.ndim != 3:
      return outputs
    return outputs.reshape(
      outputs.shape[0], *queries.grid_shape, outputs.shape[-1]
    )


def _join_chunks(x: jax.Array, size: int, share: int) -> jax.Array:
  """Joins `[chunks, B, share x n, ...]` to `[B, size x n, ...]`."""
  chunks, batch, length = x.shape[:3]
  x = jnp.moveaxis(x, 0, 1).reshape(batch, chunks * length, *x.shape[3:])
  return x[:, : size * (length // share)]
