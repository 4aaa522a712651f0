"""Perceiver IO of any inputs and any outputs (arXiv 2107.14795, section 3)."""

import dataclasses
from collections.abc import Mapping
from typing import Any, NamedTuple

import haiku as hk
import jax
import jax.numpy as jnp

from perceiver_jax.byte_array import ByteArray
from perceiver_jax.decoder import Decoder
from perceiver_jax.encoder import Encoder
from perceiver_jax.layers import Linear
from perceiver_jax.multimodal import Multimodal, check_modalities
from perceiver_jax.postprocessors import MLPLogits
from perceiver_jax.queries import LearnedQueries


class Output(NamedTuple):
  """What is asked of the latents, and how wide the outputs are.

  Attributes:
    num_channels: of each output.
    num_queries: learned queries; None where the elements of an input ask.
    asks: name of that input.
  """

  num_channels: int
  num_queries: int | None = 1
  asks: str = ''


@dataclasses.dataclass(kw_only=True)
class AnyToAny(hk.Module):
  """Inputs of several modalities, any of which may be missing; several outputs.

  A modality that an example lacks is no element of its byte array: the outputs
  are those of a model that has never heard of it. Outputs are asked for by
  learned queries, one for each (figure 3 of the paper), or by the elements of
  an input, one for each, as those of optical flow are (section 4.4).

  Attributes:
    preprocessor: of all modalities.
    encoder: reads the packed modalities.
    outputs: by name.
    query_channels: E of all queries.
    decoder: one for all outputs, without a last linear layer.
    name: Haiku name.

  Raises:
    ValueError: an output asks with an unknown modality, or the decoder has a
      last layer.
  """

  preprocessor: Multimodal
  encoder: Encoder
  outputs: Mapping[str, Output]
  query_channels: int
  decoder: Decoder
  name: str | None = None

  def __post_init__(self):
    super().__post_init__()
    known = sorted(self.preprocessor.preprocessors)
    for name, output in self.outputs.items():
      if output.num_queries is None and output.asks not in known:
        raise ValueError(
          f'The output {name!r} asks with the elements of {output.asks!r}; '
          f'the inputs are {known}.'
        )
    if self.decoder.output_channels is not None:
      raise ValueError(
        'Each output has a last layer of its own: decoder.output_channels must '
        f'be None, got {self.decoder.output_channels}.'
      )

  def __call__(
    self,
    inputs: Mapping[str, Any],
    *,
    is_training: bool,
    masks: Mapping[str, jax.Array],
  ) -> dict[str, jax.Array]:
    """Answers.

    Args:
      inputs: the raw input of each modality; of a missing one any numbers.
      is_training: whether dropout is active.
      masks: for each modality `[B]` bool, whether an example has it, or `[B,
        M]`, which of its elements there are.

    Returns:
      For each output `[B, O, num_channels]` float32; zeros where an element
      that asks is missing.

    Raises:
      ValueError: modalities or masks are missing or unknown.
    """
    check_modalities(masks, self.preprocessor.preprocessors)
    byte_arrays = {
      name: _masked(byte_array, masks[name])
      for name, byte_array in self.preprocessor.byte_arrays(
        inputs, is_training=is_training
      ).items()
    }
    packed = self.preprocessor.pack(byte_arrays, is_training=is_training)
    latents = self.encoder(packed, is_training=is_training)  # [B, N, D]
    queries, query_masks = self._queries(byte_arrays, latents.shape[0])
    decoded = self.decoder(
      jnp.concatenate(list(queries.values()), axis=1).astype(latents.dtype),
      latents,
      is_training=is_training,
      query_mask=jnp.concatenate(list(query_masks.values()), axis=1),
    )  # [B, all O, E]
    results, start = {}, 0
    for name, output in sorted(self.outputs.items()):
      end = start + queries[name].shape[1]
      head = MLPLogits(num_classes=output.num_channels, name=f'{name}_head')
      made = head(decoded[:, start:end]).astype(jnp.float32)
      results[name] = jnp.where(query_masks[name][..., None], made, 0.0)
      start = end
    return results

  @hk.transparent
  def _queries(
    self, byte_arrays: Mapping[str, ByteArray], batch: int
  ) -> tuple[dict[str, jax.Array], dict[str, jax.Array]]:
    """Returns queries `[B, O, E]` of each output, and which are wanted."""
    queries, masks = {}, {}
    for name, output in sorted(self.outputs.items()):
      if output.num_queries is None:
        asking = byte_arrays[output.asks].zero_padding()
        linear = Linear(output_channels=self.query_channels, name=f'{name}_ask')
        queries[name], masks[name] = linear(asking.concatenate()), asking.mask
        continue
      learned = LearnedQueries(
        num_queries=output.num_queries,
        num_channels=self.query_channels,
        name=f'{name}_queries',
      )()
      queries[name] = jnp.broadcast_to(learned, (batch, *learned.shape[1:]))
      masks[name] = jnp.ones((batch, output.num_queries), jnp.bool_)
    return queries, masks


def _masked(byte_array: ByteArray, mask: jax.Array) -> ByteArray:
  if mask.ndim == 1:
    mask = jnp.broadcast_to(
      mask[:, None], (mask.shape[0], byte_array.features.shape[1])
    )
  return byte_array.with_mask(mask)
