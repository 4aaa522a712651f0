"""Functions with gradients of their own: what to do in forward mode is said.

jax differentiates them backwards only, and its error does not know of our plain
forms. Tangents that enter such a function pass through a primitive that has a
transpose and nothing else: backwards, it is gone from what is compiled.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend import core
from jax.interpreters import ad, batching, mlir


def reverse_mode(function: Callable[..., Any]) -> Callable[..., Any]:
  """Lets a `jax.custom_vjp` refuse forward mode by a `TypeError` that helps.

  Args:
    function: of arrays and trees of them; of what is no array, too.
  """

  @functools.wraps(function)
  def marked(*args: Any) -> Any:
    return function(*jax.tree.map(_mark, args))

  return marked


def _mark(x: Any) -> Any:
  if isinstance(x, jax.Array) and jnp.issubdtype(x.dtype, jnp.floating):
    return _same(x)
  return x


@jax.custom_jvp
def _same(x: jax.Array) -> jax.Array:
  return x


@_same.defjvp
def _same_jvp(primals, tangents):
  return primals[0], _backwards_only.bind(tangents[0])


def _refuse(*_, **__):
  raise TypeError(
    'The fast forms of perceiver_jax have no forward-mode derivatives '
    '(jax.jvp, jax.jacfwd, jax.linearize): trace what you differentiate within '
    '`with perceiver_jax.plain_forms():`.'
  )


_backwards_only = core.Primitive('backwards_only')
_backwards_only.def_impl(_refuse)
_backwards_only.def_abstract_eval(lambda x: x)
ad.deflinear2(_backwards_only, lambda cotangent, _: [cotangent])
batching.defvectorized(_backwards_only)
mlir.register_lowering(_backwards_only, _refuse)
