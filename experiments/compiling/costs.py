"""What a compiled program costs, by what it does and by parts of our code.

Every instruction of a program for TPUs carries the cycles that the compiler's
scheduler takes it to need; programs for GPUs have none. Nothing of it was
measured.
"""

import collections
import re
from collections.abc import Mapping
from typing import NamedTuple

from experiments.compiling.hlo import (
  COLLECTIVES,
  Instruction,
  Program,
  executed,
  inside,
  size,
)

PRODUCTS = 'matrix products'
KERNELS = 'kernels'
ELEMENTS = 'element by element'
MOVES = 'moving data'
# In the order in which they are told.
KINDS = (PRODUCTS, KERNELS, ELEMENTS, MOVES)

_MOVING = {
  'bitcast',
  'broadcast',
  'concatenate',
  'constant',
  'copy',
  'dynamic-slice',
  'dynamic-update-slice',
  'gather',
  'get-tuple-element',
  'iota',
  'pad',
  'parameter',
  'reshape',
  'slice',
  'transpose',
  'tuple',
}
_SCALAR = re.compile(r'\w+\[\]')
_KERNEL_TARGETS = ('tpu_custom_call', '__gpu$xla.gpu.triton')
# Of `pallas.CostEstimate`.
_STATED = re.compile(
  r'"cost_estimate":\{"flops":"(\d+)".*?"bytes_accessed":"(\d+)"'
)
_BETWEEN_SLICES = re.compile(r'_xla_megascale_transfer_type="(\w+)"')
# What jax puts into the names of operations that is nobody's module.
_NOBODY = re.compile(
  r'(?:jit|pjit|vmap|pmap)\(.*\)|while|body|cond|closed_call|shard_map|'
  r'checkpoint|rematted_computation|custom_[vj]\w+_call\w*|branch_\d+_fun|'
  r'pallas_call|remat\d*|.*->.*|<.*>'
)
_RECOMPUTED = 'rematted_computation'
OUTSIDE = 'outside of modules'


class Exchange(NamedTuple):
  """A kind of collective between devices.

  Attributes:
    operation: such as 'all-reduce'.
    shapes: of the largest array; a sign that tells it from others.
    part: of our code, see `part_of`.
    group: places of the devices of one group; None for all devices.
    is_between_slices: whether it is what the data centre's network carries.
  """

  operation: str
  shapes: str
  part: str
  group: tuple[int, ...] | None
  is_between_slices: bool


class Kernel(NamedTuple):
  """A kernel that the compiler knows only what its author says of it.

  Attributes:
    part: of our code, see `part_of`.
    operations: of all its runs, as stated.
    moved: bytes of all its runs, as stated.
  """

  part: str
  operations: int
  moved: int


class Costs(NamedTuple):
  """Costs of one run of a program on each device.

  Attributes:
    cycles: estimated by the compiler, by kind.
    parts: the same by part of our code, see `part_of`, and kind.
    exchanges: bytes and runs of each.
    kernels: that carry a statement of their operations and bytes.
    calls: runs of kernels without one, by what they call.
  """

  cycles: dict[str, int]
  parts: dict[str, dict[str, int]]
  exchanges: dict[Exchange, tuple[int, int]]
  kernels: list[Kernel]
  calls: dict[str, int]


def count_costs(program: Program) -> Costs:
  """Adds up the costs of one run of a program."""
  cycles, calls, kernels = collections.Counter(), collections.Counter(), []
  parts = collections.defaultdict(collections.Counter)
  exchanges = collections.defaultdict(lambda: (0, 0))
  for instruction, times in executed(program):
    held = inside(program, instruction)
    for each in _exchanges([instruction, *held]):
      key = _exchange(each, instruction)
      nbytes, runs = exchanges[key]
      exchanges[key] = (nbytes + times * _exchanged(each), runs + times)
    kind = _kind(instruction, held)
    if instruction.cycles:
      cycles[kind] += times * instruction.cycles
      parts[part_of(instruction.op_name)][kind] += times * instruction.cycles
    elif kind == KERNELS and (stated := _STATED.search(instruction.text)):
      part = part_of(instruction.op_name)
      kernels.append(Kernel(part, *(times * int(n) for n in stated.groups())))
    elif kind == KERNELS:
      calls[instruction.target] += times
  return Costs(
    dict(cycles),
    _joined(parts),
    dict(exchanges),
    kernels,
    dict(calls),
  )


def _joined(
  parts: Mapping[str, collections.Counter],
) -> dict[str, dict[str, int]]:
  """Adds what has lost the beginning of its path to the one part it ends."""
  sums = collections.defaultdict(collections.Counter)
  for name, kinds in parts.items():
    whole = [other for other in parts if other.endswith(f'/{name}')]
    sums[whole[0] if len(whole) == 1 else name].update(kinds)
  return {name: dict(kinds) for name, kinds in sums.items()}


def part_of(op_name: str) -> str:
  """Returns the part of our code that an operation belongs to.

  Args:
    op_name: in the metadata of an instruction, such as
      'jit(f)/transpose(jvp(model))/encoder/while/body/closed_call/norm/mul'.

  Returns:
    The path of modules and, in a gradient, its direction: 'model/encoder/norm,
    backward', or 'recomputed' where it is computed a second time.
  """
  *names, _ = op_name.split('/') if op_name else ['']
  path = []
  for name in names:
    bare = re.sub(r'(?:transpose|jvp)\(|\)', '', name)
    if bare and not _NOBODY.fullmatch(name):
      path.append(bare)
  if not path:
    return OUTSIDE
  if _RECOMPUTED in op_name:
    return f'{"/".join(path)}, recomputed'
  if 'transpose(' in op_name:
    return f'{"/".join(path)}, backward'
  return f'{"/".join(path)}, forward'


def _kind(instruction: Instruction, held: list[Instruction]) -> str:
  opcodes = {each.opcode for each in held} or {instruction.opcode}
  if opcodes & {'convolution', 'dot'}:
    return PRODUCTS
  if instruction.target.startswith(_KERNEL_TARGETS):
    return KERNELS
  if 'gemm' in instruction.target or 'cudnn' in instruction.target:
    return PRODUCTS
  working = [
    each
    for each in held or [instruction]
    # Scalars are places in loops.
    if each.opcode not in _MOVING and not _SCALAR.match(each.result)
  ]
  return ELEMENTS if working else MOVES


def _exchanges(instructions: list[Instruction]) -> list[Instruction]:
  """Those that start an exchange with other devices."""
  # One that goes on behind other work stands in every fusion on its way, of
  # which the first has a custom call of this name.
  starts = any(each.target == 'AsyncCollectiveStart' for each in instructions)
  return [
    each
    for each in instructions
    if (
      each.opcode.removesuffix('-start') in COLLECTIVES
      and (starts or 'chain_id=' not in each.text)
    )
    or (each.opcode == 'send' and _BETWEEN_SLICES.search(each.text))
  ]


def _exchange(each: Instruction, outer: Instruction) -> Exchange:
  operation = each.opcode.removesuffix('-start')
  if operation == 'all-reduce' and 'all-reduce-scatter' in outer.text:
    operation = 'reduce-scatter'  # A fusion of sum and slice.
  between = _BETWEEN_SLICES.search(each.text)
  if between:
    operation = between[1].lower().replace('_', '-')
  group = None if between else each.group()
  return Exchange(
    operation,
    _largest(each.result),
    part_of(each.op_name or outer.op_name),
    group if group is None else tuple(group),
    between is not None,
  )


def _largest(shapes: str) -> str:
  found = re.findall(r'\w+\[[\d,]*\]', shapes)
  return max(found, key=size, default='')


def _exchanged(each: Instruction) -> int:
  """Bytes of the larger of what goes in and what comes out."""
  if each.opcode == 'send':
    return size(_elements(each.result)[0])
  if each.opcode in ('all-gather-start', 'collective-permute-start'):
    return size(_elements(each.result)[1])
  if each.opcode.startswith('reduce-scatter'):
    return size(each.result) * len(each.group() or [0])
  return size(each.result)


def _elements(shapes: str) -> list[str]:
  """The outermost elements of a tuple's shapes."""
  elements, depth = [''], 0
  for character in shapes[1:-1]:
    depth += (character in '([{') - (character in ')]}')
    if character == ',' and not depth:
      elements.append('')
    else:
      elements[-1] += character
  return elements
