"""Several modalities in one byte array, or in one array of queries.

Shapes: B batch, M elements of a modality, C common channels.

Elements of every modality are brought to the same width by a learned vector of
their modality, put behind their channels (Perceiver, section 4.2), and follow
each other in the alphabetical order of the modalities' names.
"""

import dataclasses
from collections.abc import Mapping, Sequence

import haiku as hk
import jax
import jax.numpy as jnp

from perceiver_jax.byte_array import ByteArray, check_byte_array
from perceiver_jax.preprocessors import Preprocessor

_EMBEDDING_STDDEV = 0.02


@dataclasses.dataclass(kw_only=True)
class ModalityPacking(hk.Module):
  """Packs arrays of several modalities into one.

  Attributes:
    min_padding: length of the learned vector of the widest modality: C is this
      more than its width.
    name: Haiku name.
  """

  min_padding: int
  name: str | None = None

  def __post_init__(self):
    super().__post_init__()
    if self.min_padding < 1:
      raise ValueError(
        'min_padding must be at least 1, so that all modalities have a vector '
        f'of their own; got {self.min_padding}.'
      )

  def __call__(self, arrays: Mapping[str, jax.Array]) -> dict[str, jax.Array]:
    """Brings arrays `[B, M, channels]` to the same width `[B, M, C]`."""
    channels = self.min_padding + max(x.shape[-1] for x in arrays.values())
    return {
      name: self._pad(name, x, channels) for name, x in sorted(arrays.items())
    }

  @hk.transparent
  def _pad(self, name: str, x: jax.Array, channels: int) -> jax.Array:
    padding = hk.get_parameter(
      f'{name}_padding',
      (channels - x.shape[-1],),
      init=hk.initializers.TruncatedNormal(_EMBEDDING_STDDEV),
    )
    padding = jnp.broadcast_to(
      padding.astype(x.dtype), (*x.shape[:-1], padding.size)
    )
    return jnp.concatenate([x, padding], axis=-1)


@dataclasses.dataclass(kw_only=True)
class Multimodal(hk.Module):
  """Preprocessor of several modalities (Perceiver, section 4.2).

  Attributes:
    preprocessors: of each modality, by its name.
    min_padding: see `ModalityPacking`; 4 in both papers' audio-visual models.
    drop_rates: for some modalities, the probability that in training all
      features of an example's stream are zero (Perceiver, section 4.2: video
      0.3). Positions stay.
    mask_rates: for some modalities, the probability that in training an
      element is replaced by the modality's learned mask vector, each on its
      own (Perceiver IO, section 4.3: label 0.5). These modalities have such a
      vector even at rate 0.
    masked_in_evaluation: modalities of `mask_rates` of which every element is
      replaced when not training, such as the label that is asked for.
    name: Haiku name.

  Raises:
    ValueError: a rate is not in [0, 1], or of a modality that there is not.
  """

  preprocessors: Mapping[str, Preprocessor]
  min_padding: int
  drop_rates: Mapping[str, float] = dataclasses.field(default_factory=dict)
  mask_rates: Mapping[str, float] = dataclasses.field(default_factory=dict)
  masked_in_evaluation: Sequence[str] = ()
  name: str | None = None

  def __post_init__(self):
    super().__post_init__()
    for field, rates in (
      ('drop_rates', self.drop_rates),
      ('mask_rates', self.mask_rates),
    ):
      for modality, rate in rates.items():
        if modality not in self.preprocessors or not 0.0 <= rate <= 1.0:
          raise ValueError(
            f'{field} gives {modality!r} the rate {rate}; rates are in [0, 1] '
            f'and modalities among {sorted(self.preprocessors)}.'
          )
    unknown = sorted(set(self.masked_in_evaluation) - set(self.mask_rates))
    if unknown:
      raise ValueError(
        f'masked_in_evaluation has {unknown} without a rate in mask_rates, '
        f'which has {sorted(self.mask_rates)}.'
      )

  def __call__(
    self, raw: Mapping[str, jax.Array], *, is_training: bool
  ) -> ByteArray:
    """Preprocesses every modality and packs them.

    Args:
      raw: the raw input of each modality.
      is_training: whether streams are dropped and elements masked at random.

    Returns:
      The inputs of all modalities, one after the other by name, `[B, M, C]`.

    Raises:
      ValueError: modalities are missing or unknown.
    """
    byte_arrays = self.byte_arrays(raw, is_training=is_training)
    return self.pack(byte_arrays, is_training=is_training)

  @hk.transparent
  def byte_arrays(
    self, raw: Mapping[str, jax.Array], *, is_training: bool
  ) -> dict[str, ByteArray]:
    """Preprocesses every modality: the first half of a call.

    Args:
      raw: the raw input of each modality.
      is_training: whether streams are dropped at random.

    Raises:
      ValueError: modalities are missing or unknown.
    """
    check_modalities(raw, self.preprocessors)
    byte_arrays = {}
    for name, preprocessor in sorted(self.preprocessors.items()):
      byte_array = preprocessor(raw[name], is_training=is_training)
      check_byte_array(byte_array)
      rate = self.drop_rates.get(name, 0.0)
      if is_training and rate > 0.0:
        byte_array = _drop_streams(byte_array, rate)
      byte_arrays[name] = byte_array
    return byte_arrays

  @hk.transparent
  def pack(
    self, byte_arrays: Mapping[str, ByteArray], *, is_training: bool
  ) -> ByteArray:
    """Packs byte arrays of all modalities: the second half of a call.

    Args:
      byte_arrays: of each modality; their masks are joined.
      is_training: whether elements are masked at random.
    """
    packing = ModalityPacking(min_padding=self.min_padding, name='packing')
    packed = packing({n: x.concatenate() for n, x in byte_arrays.items()})
    features = [
      self._mask(name, x, is_training=is_training) for name, x in packed.items()
    ]
    return ByteArray(
      jnp.concatenate(features, axis=1), mask=_joint_mask(byte_arrays)
    )

  @hk.transparent
  def _mask(self, name: str, x: jax.Array, *, is_training: bool) -> jax.Array:
    """Replaces elements of `[B, M, C]` by the modality's mask vector."""
    if name not in self.mask_rates:
      return x
    vector = hk.get_parameter(
      f'{name}_mask',
      (x.shape[-1],),
      init=hk.initializers.TruncatedNormal(_EMBEDDING_STDDEV),
    )
    replaced = jnp.broadcast_to(vector.astype(x.dtype), x.shape)
    if not is_training:
      return replaced if name in self.masked_in_evaluation else x
    rate = self.mask_rates[name]
    if rate == 0.0:
      return x
    masked = jax.random.bernoulli(hk.next_rng_key(), rate, x.shape[:2])
    return jnp.where(masked[..., None], replaced, x)


def unpack(packed: jax.Array, sizes: Mapping[str, int]) -> dict[str, jax.Array]:
  """Takes packed elements apart again.

  Args:
    packed: `[B, M, C]`, modalities in alphabetical order.
    sizes: number of elements of each modality; M in all.

  Returns:
    `[B, size, C]` of each modality.

  Raises:
    ValueError: sizes do not add up to M.
  """
  if sum(sizes.values()) != packed.shape[1]:
    raise ValueError(
      f'sizes {dict(sizes)} must add up to the {packed.shape[1]} elements of '
      f'an array {packed.shape}.'
    )
  parts, start = {}, 0
  for name, size in sorted(sizes.items()):
    parts[name] = packed[:, start : start + size]
    start += size
  return parts


def pack_masks(
  masks: Mapping[str, jax.Array | None] | None, sizes: Mapping[str, int]
) -> jax.Array | None:
  """Joins masks of modalities as their elements are packed.

  Args:
    masks: for some modalities `[B, size]` bool; without one all are there.
    sizes: number of elements of each modality.

  Returns:
    `[B, sum of sizes]` bool, or None when there is no mask at all.

  Raises:
    ValueError: a modality is unknown, or a mask has another size.
  """
  masks = {n: m for n, m in (masks or {}).items() if m is not None}
  for name, mask in masks.items():
    if mask.shape[1:] != (sizes.get(name),):
      raise ValueError(
        f'The mask of {name!r} has shape {mask.shape}; it must be [B, size] '
        f'with sizes {dict(sizes)}.'
      )
  if not masks:
    return None
  batch = next(iter(masks.values())).shape[0]
  parts = [
    masks.get(name, jnp.ones((batch, size), jnp.bool_))
    for name, size in sorted(sizes.items())
  ]
  return jnp.concatenate(parts, axis=1)


def check_modalities(
  given: Mapping[str, object], expected: Mapping[str, object]
) -> None:
  """Raises a ValueError unless both have the same modalities."""
  if set(given) != set(expected):
    raise ValueError(
      f'Expected the modalities {sorted(expected)}, got {sorted(given)}.'
    )


def _drop_streams(byte_array: ByteArray, rate: float) -> ByteArray:
  """Zeroes all features of an example with this probability."""
  features = byte_array.features
  kept = jax.random.bernoulli(
    hk.next_rng_key(), 1.0 - rate, (features.shape[0], 1, 1)
  )
  return byte_array._replace(features=jnp.where(kept, features, 0))


def _joint_mask(byte_arrays: Mapping[str, ByteArray]) -> jax.Array | None:
  return pack_masks(
    {name: x.mask for name, x in byte_arrays.items()},
    {name: x.features.shape[1] for name, x in byte_arrays.items()},
  )
