"""The latent Transformer: layers with stacked parameters, one scan or unrolled.

Shapes: B batch, N latents, D latent channels.
"""

import contextlib
import contextvars
import dataclasses
from collections.abc import Callable, Iterator

import haiku as hk
import jax

from perceiver_jax.layers import AFFINE, check_shape
from perceiver_jax.portability import target_platform
from perceiver_jax.transformer import PAPERS_PARTS, Parts, SelfAttend

# What the gradient of a latent layer computes again instead of keeping it; the
# values are policies of `jax.checkpoint`: what it keeps. A product with a
# parameter is kept with its bias where it has one.
REMATERIALIZATIONS = {
  'none': None,
  'elementwise': jax.checkpoint_policies.save_from_both_policies(
    jax.checkpoint_policies.save_only_these_names(AFFINE),
    jax.checkpoint_policies.dots_with_no_batch_dims_saveable,
  ),
  'layers': jax.checkpoint_policies.nothing_saveable,
}

# Haiku scope under which parameters have a leading axis, one row a layer.
LAYER_STACK = 'layers'

_UNROLLED = contextvars.ContextVar('unrolled', default=False)


@contextlib.contextmanager
def unrolled_stages() -> Iterator[None]:
  """While it is open, `Encoder` is traced one stage after the other.

  Otherwise equal stages are a scan, compiled once, except for TPUs, and what an
  intercepted method sees inside of it cannot be taken out.
  """
  token = _UNROLLED.set(True)
  try:
    yield
  finally:
    _UNROLLED.reset(token)


def is_layer_stack(module_name: str) -> bool:
  """Whether the parameters of this module are those of several layers.

  Args:
    module_name: outer key of a Haiku parameter tree.

  Returns:
    True when each of its arrays has a leading axis `[layers, ...]`.
  """
  return LAYER_STACK in module_name.split('/')


@dataclasses.dataclass(kw_only=True)
class LatentBlock(hk.Module):
  """A latent Transformer: self-attend layers with stacked parameters.

  Perceiver, section 3.1 and appendix C.
  They are a scan, compiled once; for TPUs one layer follows the other, as half
  of the time would go into stacks of what a scan keeps for its gradient.

  Attributes:
    num_layers: self-attend layers, each with its own parameters.
    num_heads: heads of each layer.
    qk_channels: see `SelfAttend`.
    v_channels: see `SelfAttend`.
    widening_factor: see `SelfAttend`.
    dropout_rate: see `SelfAttend`.
    approximate_gelu: see `MLP`.
    rematerialize: see `Encoder`.
    parts: what the layers are made of.
    name: Haiku name.
  """

  num_layers: int
  num_heads: int = 8
  qk_channels: int | None = None
  v_channels: int | None = None
  widening_factor: int = 1
  dropout_rate: float = 0.0
  approximate_gelu: bool = True
  rematerialize: str = 'none'
  parts: Parts = PAPERS_PARTS
  name: str | None = None

  @hk.name_like('__call__')
  def prepare(self) -> list[hk.Params] | None:
    """Takes the stack of parameters apart, once for several calls.

    Gradients of several calls are then added up layer by layer.

    Returns:
      Parameters of each layer; None where layers are a scan.
    """
    if in_scans() or not self.num_layers:
      return None
    stacked = hk.lift(lambda: {}, name=LAYER_STACK)()
    return [
      jax.tree.map(lambda x, i=i: x[i], stacked) for i in range(self.num_layers)
    ]

  def __call__(
    self,
    latents: jax.Array,
    layers: list[hk.Params] | None = None,
    *,
    is_training: bool,
    mask: jax.Array | None = None,
  ) -> jax.Array:
    """Applies the layers.

    Args:
      latents: `[B, N, D]`.
      layers: from `prepare`, where there are several calls.
      is_training: whether dropout is active.
      mask: see `SelfAttend`.

    Returns:
      Latents `[B, N, D]`.

    Raises:
      ValueError: latents have other axes, or the mask does not fit.
    """
    check_shape('latents', latents, 'B, N, D')
    if not self.num_layers:
      return latents

    def layer(latents: jax.Array) -> jax.Array:
      return SelfAttend(
        num_heads=self.num_heads,
        qk_channels=self.qk_channels,
        v_channels=self.v_channels,
        widening_factor=self.widening_factor,
        dropout_rate=self.dropout_rate,
        approximate_gelu=self.approximate_gelu,
        parts=self.parts,
        name='self_attend',
      )(latents, is_training=is_training, mask=mask)

    policy = REMATERIALIZATIONS[self.rematerialize]
    if policy is not None:
      # In scans nothing is shared with the backward pass.
      layer = hk.remat(layer, policy=policy, prevent_cse=not in_scans())
    if in_scans():
      return hk.layer_stack(self.num_layers, name=LAYER_STACK)(layer)(latents)
    return _one_by_one(layer, latents, layers or self.prepare())


def in_scans() -> bool:
  """Whether equal stages, and layers, are scans, compiled once.

  On a TPU each is compiled by itself. Parameters are created in scans anywhere,
  the same everywhere.
  """
  return target_platform() != 'tpu' or hk.running_init()


def _one_by_one(
  layer: Callable[[jax.Array], jax.Array],
  latents: jax.Array,
  parameters: list[hk.Params],
) -> jax.Array:
  """What `hk.layer_stack` computes, random numbers included."""
  apply = hk.transform(layer).apply
  hk.maybe_next_rng_key()  # That of parameters that are there already.
  key = hk.maybe_next_rng_key()
  keys = [None] * len(parameters)
  if key is not None:
    keys = list(jax.random.split(key, len(parameters)))
  for params, key in zip(parameters, keys, strict=True):
    latents = apply(params, key, latents)
  return latents


def repeat(
  function: Callable[[jax.Array], jax.Array], x: jax.Array, *, times: int
) -> jax.Array:
  """Applies the same modules several times, in a scan or one by one.

  Args:
    function: of modules that are built already.
    x: what they are applied to first.
    times: number of times.
  """
  # Parameters cannot be created inside a scan: one call creates them all.
  if times == 1 or hk.running_init():
    return function(x)
  if _UNROLLED.get() or not in_scans():
    for _ in range(times):
      x = function(x)
    return x
  x, _ = hk.scan(lambda x, _: (function(x), None), x, None, length=times)
  return x
