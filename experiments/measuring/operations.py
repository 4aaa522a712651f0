"""Multiplications and additions of a function, counted without running it.

Counted is what the papers count: matrix products and convolutions, two
operations for a product and its addition, and nothing element by element.

A part is the path of Haiku modules in whose call a product stands, such as
'encoder/latent_block_0/self_attend/mlp/hidden'. Modules give their names to
all they trace by way of `jax.named_call`. Unlike the names of parameters, the
path says who calls: layers that were made outside a module but are called by
it are parts of it, and there is no name for a stack of layers.
"""

import collections
import math
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import haiku as hk
import jax
import numpy as np
from jax.extend import core

# Primitives that evaluate the jaxpr they hold once.
_CALLS = {
  'checkpoint',
  'closed_call',
  'core_call',
  'custom_jvp_call',
  'custom_vjp_call',
  'jit',
  'remat2',
}


def count_operations(
  function: Callable[..., Any], *specs: Any
) -> dict[str, int]:
  """Counts the operations of one call by part.

  Nothing is compiled or put on a device. What counts is the code as it is
  traced now, also what a compiler would leave out, and under the contexts that
  are open now, such as `portability.plain_forms`.

  Args:
    function: pure. In a gradient, products of the backward pass have the path
      of what they are the backward pass of (under `jax.checkpoint` twice).
    *specs: its arguments, trees of `jax.ShapeDtypeStruct` or of arrays.

  Returns:
    Operations by the path of the part, in the order in which parts come first;
    the path of products outside all modules is ''.

  Raises:
    ValueError: a product stands in a loop of unknown length, or in a primitive
      of which this module does not know how often it evaluates what it holds.
  """
  # Traces are cached by function, also across contexts: this one is new.
  jaxpr = jax.make_jaxpr(lambda *args: function(*args))(*specs)
  return dict(_count(jaxpr.jaxpr, ()))


def count_forward(
  model: hk.TransformedWithState, params: Any, state: Any, batch: Any
) -> dict[str, int]:
  """Counts the operations of a model's forward pass; see `count_operations`."""
  return count_operations(
    lambda *args: model.apply(*args[:2], None, args[2], is_training=False)[0],
    params,
    state,
    batch,
  )


def sum_parts(operations: Mapping[str, int], depth: int) -> dict[str, int]:
  """Sums operations over parts whose paths begin alike.

  Args:
    operations: by path, as `count_operations` returns them.
    depth: leading names of a path that tell parts apart.

  Returns:
    Operations by paths of at most `depth` names, in the order of `operations`.
  """
  sums = collections.Counter()
  for path, count in operations.items():
    sums['/'.join(path.split('/')[:depth])] += count
  return dict(sums)


def _count(jaxpr: core.Jaxpr, outer: tuple[str, ...]) -> collections.Counter:
  """Counts one evaluation of a jaxpr that stands under the names `outer`."""
  counts = collections.Counter()
  for equation in jaxpr.eqns:
    # The names inside an inner jaxpr start anew.
    path = (*outer, *_module_names(str(equation.source_info.name_stack)))
    primitive = equation.primitive.name
    if primitive in _PRODUCTS:
      counts['/'.join(path)] += 2 * _PRODUCTS[primitive](equation)
      continue
    if primitive == 'pallas_call' and equation.params['cost_estimate']:
      # What a kernel does in a step of its grid, it says itself.
      counts['/'.join(path)] += equation.params['cost_estimate'].flops
      continue
    held = [_count(inner, path) for inner in _inner_jaxprs(equation.params)]
    if not any(held):
      continue  # Such as the sum inside a reduction.
    if primitive == 'scan':
      counts.update(_times(held[0], equation.params['length']))
    elif primitive == 'shard_map':  # Each device runs it, on its own part.
      counts.update(_times(held[0], equation.params['mesh'].size))
    elif primitive == 'cond':
      counts.update(max(held, key=collections.Counter.total))
    elif primitive in _CALLS:
      counts.update(held[0])
    else:
      place = f'in {"/".join(path)!r}' if path else 'outside all modules'
      raise ValueError(
        f'Cannot count the matrix products inside a {primitive!r} {place}: '
        'how often they are evaluated is not known. A loop of fixed length, '
        'such as jax.lax.scan, can be counted.'
      )
  return counts


def _times(counts: Mapping[str, int], times: int) -> dict[str, int]:
  return {path: times * count for path, count in counts.items()}


def _module_names(name_stack: str) -> list[str]:
  """Module names of 'transpose(jvp(encoder))/norm': ['encoder', 'norm']."""
  names = re.sub(r'\w+\(|\)', '', name_stack).split('/')
  # jnp.einsum names what it does after its subscripts.
  return [name for name in names if name and '->' not in name]


def _inner_jaxprs(params: Mapping[str, Any]) -> Iterator[core.Jaxpr]:
  """Yields the jaxprs among the parameters of an equation."""

  def is_jaxpr(x: Any) -> bool:
    return isinstance(x, core.Jaxpr | core.ClosedJaxpr)

  for leaf in jax.tree.leaves(list(params.values()), is_leaf=is_jaxpr):
    if is_jaxpr(leaf):
      yield leaf.jaxpr if isinstance(leaf, core.ClosedJaxpr) else leaf


def _matrix_products(equation: core.JaxprEqn) -> int:
  """Products of numbers in a `dot_general`."""
  (contracted, _), _ = equation.params['dimension_numbers']
  left = equation.invars[0].aval.shape
  results = math.prod(equation.outvars[0].aval.shape)
  return results * math.prod(left[axis] for axis in contracted)


def _convolution_products(equation: core.JaxprEqn) -> int:
  """Products of numbers in a `conv_general_dilated`.

  Padding counts as if it were input, as is usual; the zeros that a transposed
  convolution puts between inputs do not count.
  """
  params = equation.params
  _, kernel_axes, out_axes = params['dimension_numbers']
  kernel, out = equation.invars[1].aval.shape, equation.outvars[0].aval.shape
  # Groups are done with here: a kernel has the inputs of its own group only.
  products = out[out_axes[0]] * out[out_axes[1]] * kernel[kernel_axes[1]]
  for out_axis, kernel_axis, stride, (padding, _), spread, dilation in zip(
    out_axes[2:],
    kernel_axes[2:],
    params['window_strides'],
    params['padding'],
    params['lhs_dilation'],
    params['rhs_dilation'],
    strict=True,
  ):
    starts = np.arange(out[out_axis]) * stride - padding
    taps = np.arange(kernel[kernel_axis]) * dilation
    places = starts[:, None] + taps
    products *= int(np.count_nonzero(places % spread == 0))
  return products


_PRODUCTS = {
  'dot_general': _matrix_products,
  'conv_general_dilated': _convolution_products,
}
