"""Layers with stacked parameters, and equal stages: scans, or one by one.

Shapes: B batch, N latents, D latent channels.

On a CPU and on GPUs they are scans, compiled once. On a TPU one follows the
other, as half of the time would go into stacks of what a scan keeps for its
gradient.
"""

import contextlib
import contextvars
from collections.abc import Callable, Iterator

import haiku as hk
import jax

from perceiver_jax.numerics import AFFINE
from perceiver_jax.portability import target_platform

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


def unstack(num_layers: int) -> list[hk.Params] | None:
  """Takes the stack of a module's parameters apart, once for several calls.

  Gradients of several calls are then added up layer by layer.

  Args:
    num_layers: layers of the stack.

  Returns:
    Parameters of each layer; None where layers are a scan.
  """
  if _in_scans() or not num_layers:
    return None
  stacked = hk.lift(lambda: {}, name=LAYER_STACK)()
  return [jax.tree.map(lambda x, i=i: x[i], stacked) for i in range(num_layers)]


def apply_layers(
  layer: Callable[[jax.Array], jax.Array],
  latents: jax.Array,
  num_layers: int,
  parameters: list[hk.Params] | None,
  *,
  rematerialize: str,
) -> jax.Array:
  """Applies a layer several times, each time with parameters of its own.

  Args:
    layer: maps `[B, N, D]` to `[B, N, D]`; builds its modules.
    latents: `[B, N, D]`.
    num_layers: number of times.
    parameters: from `unstack`; None where there is a single call.
    rematerialize: one of `REMATERIALIZATIONS`.
  """
  if not num_layers:
    return latents
  policy = REMATERIALIZATIONS[rematerialize]
  if policy is not None:
    # In scans nothing is shared with the backward pass.
    layer = hk.remat(layer, policy=policy, prevent_cse=not _in_scans())
  if _in_scans():
    return hk.layer_stack(num_layers, name=LAYER_STACK)(layer)(latents)
  return _one_by_one(layer, latents, parameters or unstack(num_layers))


def _in_scans() -> bool:
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
  if _UNROLLED.get() or not _in_scans():
    for _ in range(times):
      x = function(x)
    return x
  x, _ = hk.scan(lambda x, _: (function(x), None), x, None, length=times)
  return x
