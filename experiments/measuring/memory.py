"""Bytes: what a step needs, told from shapes alone, and what is in use."""

import dataclasses
import math
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

import jax
from jax.extend import core

# Results that need no memory of their own: products and element-wise
# operations read their operand in its place.
_VIEWS = {'broadcast_in_dim', 'reshape', 'squeeze', 'transpose'}

# Our names for what a device says of its memory.
_DEVICE_STATS = {
  'memory_in_use': 'bytes_in_use',
  'memory_peak': 'peak_bytes_in_use',
}


def state_bytes(tree: Any) -> int:
  """Returns the bytes of all arrays in a tree.

  Args:
    tree: of arrays or `jax.ShapeDtypeStruct`, such as a `TrainState`.
  """
  return sum(_bytes(leaf) for leaf in jax.tree.leaves(tree))


def activation_bytes(
  loss_function: Callable[..., Any],
  params: Any,
  *inputs: Any,
  has_aux: bool = False,
) -> int:
  """Returns the bytes that the forward pass keeps for the gradient.

  Those are the arrays that the function returned by `jax.vjp` holds, each once
  and without what is there anyway: parameters, inputs and constants, also when
  they are kept reshaped, transposed or broadcast. A parameter in another dtype
  is an array of its own. What a scan keeps has a leading axis and counts as
  often as the scan is long.

  The peak of a step differs: the compiler makes some of these arrays again
  instead of keeping them, and the backward pass needs room besides. Nothing is
  compiled or put on a device.

  Args:
    loss_function: takes `params` and `inputs`; returns a scalar, or with
      `has_aux` a pair of it and a tree that no gradient is taken of.
    params: what the gradient is taken of; trees of `jax.ShapeDtypeStruct` or
      of arrays, as are `inputs`.
    *inputs: the other arguments, such as the batch of one device.
    has_aux: see `loss_function`.
  """

  def pull_back(params, *inputs):
    _, pulls_back, *_ = jax.vjp(
      lambda params: loss_function(params, *inputs), params, has_aux=has_aux
    )
    return pulls_back  # A tree of what it holds.

  jaxpr = jax.make_jaxpr(pull_back)(params, *inputs).jaxpr
  kept = _results(jaxpr, [_Buffer(0) for _ in jaxpr.invars])
  return sum(buffer.size for buffer in set(kept))


def memory_in_use() -> dict[str, float]:
  """Returns the bytes in use by this process.

  Returns:
    `memory_in_use` and `memory_peak`, now and at most so far, of its fullest
    device, where the backend tells; CPUs do not. `host_memory`, resident memory
    of the process itself, not of its data workers, where there is `/proc`.
  """
  sizes = {}
  stats = [device.memory_stats() for device in jax.local_devices()]
  for name, key in _DEVICE_STATS.items():
    told = [each[key] for each in stats if each and key in each]
    if told:
      sizes[name] = float(max(told))
  status = pathlib.Path('/proc/self/status')
  lines = (
    status.read_text(encoding='utf-8').splitlines() if status.exists() else []
  )
  for line in lines:
    if line.startswith('VmRSS:'):  # Such as `VmRSS:    1234 kB`, of 1024 bytes.
      sizes['host_memory'] = 1024.0 * int(line.split()[1])
  return sizes


@dataclasses.dataclass(frozen=True, eq=False)
class _Buffer:
  """An array in memory, the same as another only if it is that one.

  Attributes:
    size: bytes; 0 for what does not count.
  """

  size: int


def _results(jaxpr: core.Jaxpr, arguments: Sequence[_Buffer]) -> list[_Buffer]:
  """Returns where the results of a jaxpr lie, given where arguments lie."""
  buffers = dict(zip(jaxpr.invars, arguments, strict=True))
  buffers.update((constant, _Buffer(0)) for constant in jaxpr.constvars)

  def read(atom: core.Var | core.Literal) -> _Buffer:
    return _Buffer(0) if isinstance(atom, core.Literal) else buffers[atom]

  for equation in jaxpr.eqns:
    operands = [read(atom) for atom in equation.invars]
    if equation.primitive.name in _VIEWS:
      results = operands[:1]
    elif equation.primitive.name == 'jit':
      results = _results(equation.params['jaxpr'].jaxpr, operands)
    else:
      results = [_Buffer(_bytes(each.aval)) for each in equation.outvars]
    buffers.update(zip(equation.outvars, results, strict=True))
  return [read(atom) for atom in jaxpr.outvars]


def _bytes(array: Any) -> int:
  return math.prod(array.shape) * array.dtype.itemsize
