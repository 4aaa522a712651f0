"""What the latents of an encoder look at: the weights of its cross-attends.

Shapes: B batch, N latents, n some of them, M inputs, H heads, Dk channels of a
head of queries and keys.

The fast forms of attention never have all weights at once. Here queries and
keys are taken out of a model while it runs, in whatever form, and weights
follow from them, of as many latents at a time as one likes.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import haiku as hk
import jax
import jax.numpy as jnp

from perceiver_jax.absorbed_attention import Unprojected
from perceiver_jax.attention import Attention
from perceiver_jax.attention_forms import KeysValues
from perceiver_jax.byte_array import ByteArray
from perceiver_jax.dot_product import attention_weights
from perceiver_jax.encoder import Encoder
from perceiver_jax.layouts import Layout, layout_of
from perceiver_jax.multimodal import Multimodal
from perceiver_jax.numerics import affine
from perceiver_jax.stacking import unrolled_stages
from perceiver_jax.transformer import CrossAttend

# The name of the only modality of a model that knows no names.
ONLY = ''


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True)
class Lookups:
  """Queries and keys of all cross-attends of an encoder, in order of depth.

  What the maps of attention are made of (Perceiver, figure 3).

  Attributes:
    queries: for each depth `[B, N, H, Dk]`, or `[1, N, H, Dk]` where the batch
      shares them, as at the first.
    keys: `[B, M, H, Dk]`, for each set of parameters.
    keys_of: for each depth, the number of its keys.
    mask: `[B, M]` bool, True where there is an input, or `[B, N, M]` or `[B, H,
      N, M]`, where attention goes; None for everywhere.
    layouts: where the M inputs lie, by modality in the order in which they are
      packed; `ONLY` is the name of a single one.
  """

  queries: tuple[jax.Array, ...]
  keys: tuple[jax.Array, ...]
  keys_of: tuple[int, ...] = dataclasses.field(metadata={'static': True})
  mask: jax.Array | None
  layouts: dict[str, Layout]

  @property
  def num_latents(self) -> int:
    """N."""
    return self.queries[0].shape[1]

  @property
  def num_inputs(self) -> int:
    """M."""
    return self.keys[0].shape[1]

  def weights(self, depth: int, latents: jax.Array | None = None) -> jax.Array:
    """Returns the weights of attention `[B, H, n, M]` float32.

    Args:
      depth: number of the cross-attend, from 0.
      latents: `[n]` int, the latents wanted; None for all.

    Returns:
      The weights; those of a latent sum to one, or are all zero where an
      example has no input.
    """
    query, key = self.queries[depth], self.keys[self.keys_of[depth]]
    mask = self.mask
    if latents is not None:
      query = query[:, latents]
      if mask is not None and mask.ndim > 2:
        mask = mask[..., latents, :]
    query = jnp.broadcast_to(query, (key.shape[0], *query.shape[1:]))
    return attention_weights(query, key, mask)

  def by_modality(self, weights: jax.Array) -> dict[str, jax.Array]:
    """Puts weights `[..., M]` in their places `[..., *grid]`, by modality."""
    maps, start = {}, 0
    for name, layout in self.layouts.items():
      end = start + layout.num_elements
      maps[name] = layout.to_grid(weights[..., start:end])
      start = end
    return maps


def with_lookups(
  apply: Callable[..., Any],
) -> Callable[..., tuple[Any, Lookups]]:
  """Returns a function that also tells what the latents look at.

  It is what figure 3 of the Perceiver paper shows. The parameters stay the
  same. The result can be jitted. A model that runs its encoder inside a loop,
  such as one that goes through tiles, has to be given what takes a single
  round.

  Args:
    apply: runs a model with one encoder, such as `transformed.apply`.

  Returns:
    Takes what `apply` takes; returns what it returns, and the `Lookups`. Raises
    a ValueError where there was not exactly one encoder.
  """

  def apply_with_lookups(*args: Any, **kwargs: Any) -> tuple[Any, Lookups]:
    recorder = _Recorder()
    with unrolled_stages(), hk.intercept_methods(recorder.intercept):
      result = apply(*args, **kwargs)
    return result, recorder.lookups()

  return apply_with_lookups


class _Recorder:
  """Notes queries, keys and layouts of a model that is being traced."""

  def __init__(self):
    self._encoders = 0
    self._in_encoder = self._in_cross_attend = False
    self._queries, self._keys_of, self._mask = [], [], None
    self._keys: list[jax.Array] = []
    self._inputs: list[Any] = []  # What the keys are of, or are themselves.
    self._layouts: list[Layout] = []
    self._names = (ONLY,)

  def intercept(
    self,
    next_method: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    context: hk.MethodContext,
  ) -> Any:
    """An interceptor of Haiku: changes nothing."""
    module, method = context.module, context.method_name
    if isinstance(module, Attention) and method == 'lookup':
      query, inputs = next_method(*args, **kwargs)
      if self._in_encoder and self._in_cross_attend:
        self._note_attention(query, inputs)
      return query, inputs
    if method != '__call__':
      return next_method(*args, **kwargs)
    several = getattr(module, 'preprocessor', None)
    if isinstance(several, Multimodal):
      # A model may take its two halves apart.
      self._names = tuple(sorted(several.preprocessors))
    if isinstance(module, Encoder):
      self._encoders, self._in_encoder = self._encoders + 1, True
      result = next_method(*args, **kwargs)
      self._in_encoder = False
      return result
    if isinstance(module, CrossAttend):
      self._in_cross_attend = True
      result = next_method(*args, **kwargs)
      self._in_cross_attend = False
      return result
    before = len(self._layouts)
    result = next_method(*args, **kwargs)
    if isinstance(result, ByteArray):
      self._note_layout(module, args[0], result, before)
    return result

  def lookups(self) -> Lookups:
    """Returns what was noted."""
    if self._encoders != 1:
      raise ValueError(
        'Attention is shown of models with one encoder that runs once; this '
        f'one has run {self._encoders}.'
      )
    num_inputs = self._keys[0].shape[1]
    layouts = self._layouts or [Layout(grid_shape=(num_inputs,))]
    return Lookups(
      queries=tuple(self._queries),
      keys=tuple(self._keys),
      keys_of=tuple(self._keys_of),
      mask=self._mask,
      layouts=dict(zip(self._names, layouts, strict=True)),
    )

  def _note_attention(
    self, query: jax.Array, inputs: KeysValues | Unprojected
  ) -> None:
    projected = isinstance(inputs, KeysValues)
    source = inputs.key if projected else inputs.key[0]
    known = [i for i, each in enumerate(self._inputs) if each is source]
    if not known:
      known = [len(self._inputs)]
      self._inputs.append(source)
      self._keys.append(
        source
        if projected
        else affine(inputs.inputs.concatenate(), *inputs.key)[:, :, None]
      )
    self._queries.append(query if projected else query[:, :, None])
    self._mask = inputs.mask
    self._keys_of.append(known[0])

  def _note_layout(
    self, module: hk.Module, raw: Any, byte_array: ByteArray, before: int
  ) -> None:
    """Notes a preprocessor, in place of those it is made of.

    Args:
      module: the preprocessor.
      raw: what it was given.
      byte_array: what it made of it.
      before: layouts that were there before it ran.
    """
    if isinstance(module, Multimodal):
      self._names = tuple(sorted(module.preprocessors))
    else:
      self._layouts[before:] = [layout_of(module, raw, byte_array)]
