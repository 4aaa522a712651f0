"""Reads optimised HLO, the text of a compiled program, as XLA prints it.

A program is a set of computations, lists of instructions; one of them is the
entry. Loops name the computations of their condition and body, fusions the one
that they compute at once.
"""

import math
import re
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

COLLECTIVES = (
  'all-gather',
  'all-reduce',
  'all-to-all',
  'collective-permute',
  'ragged-all-to-all',
  'reduce-scatter',
)

_HEAD = re.compile(r'(ENTRY )?%?([\w.\-]+) \(.*\) -> .* \{$')
_INSTRUCTION = re.compile(r'  (?:ROOT )?%?([\w.\-]+) = (.*)$')
_ARRAY = re.compile(r'\b(pred|[suf]\d+|bf16|f8\w+|c\d+)\[([\d,]*)\]')
_CYCLES = re.compile(r'"estimated_cycles":"(\d+)"')
_OP_NAME = re.compile(r'op_name="([^"]*)"')
_CALLS = re.compile(r'(?:calls|to_apply)=%?([\w.\-]+)')
_BODY = re.compile(r'body=%?([\w.\-]+)')
_CONDITION = re.compile(r'condition=%?([\w.\-]+)')
_BRANCHES = re.compile(r'(?:true|false)_computation=%?([\w.\-]+)')
_BRANCH_LIST = re.compile(r'branch_computations=\{([^}]*)\}')
_TRIPS = re.compile(r'"known_trip_count":\{"n":"(\d+)"\}')
_TARGET = re.compile(r'custom_call_target="([^"]*)"')
_NUMBER = re.compile(r'constant\((\d+)\)')
_PAIRS = re.compile(r'source_target_pairs=\{\{(\d+),(\d+)\}')
_LISTED = re.compile(r'replica_groups=\{\{([\d,]+)\}')
_TILED = re.compile(
  r'replica_groups=\[([\d,]+)\]<=\[([\d,]+)\](?:T\(([\d,]+)\))?'
)
_MESH = re.compile(r'replica_groups=mesh\[([^\]]*)\] \{([^}]*)\}')
_AXIS = re.compile(r"'(\w+)'=(\d+)")


class Instruction(NamedTuple):
  """One instruction.

  Attributes:
    name: unique in its program.
    opcode: such as 'fusion'.
    result: shapes of what it returns, as they are printed.
    text: what is printed after the opcode.
  """

  name: str
  opcode: str
  result: str
  text: str

  @property
  def cycles(self) -> int:
    """Cycles that the compiler estimates; 0 where it says nothing."""
    found = _CYCLES.search(self.text)
    return int(found[1]) if found else 0

  @property
  def op_name(self) -> str:
    """What of the traced function it comes from; '' where nobody knows."""
    found = _OP_NAME.search(self.text)
    return found[1] if found else ''

  @property
  def target(self) -> str:
    """What a custom call calls; '' of others."""
    found = _TARGET.search(self.text)
    return found[1] if found else ''

  def group(self) -> list[int] | None:
    """The first group of devices of a collective; None for all of them."""
    if found := _PAIRS.search(self.text) or _LISTED.search(self.text):
      return [int(n) for part in found.groups() for n in part.split(',')]
    if found := _TILED.search(self.text):
      groups, sizes, order = (
        [int(n) for n in part.split(',')] if part else None
        for part in found.groups()
      )
      places = np.arange(math.prod(sizes)).reshape(sizes)
      return list(map(int, places.transpose(order).reshape(groups)[0]))
    if (found := _MESH.search(self.text)) and 'device_ids' not in found[1]:
      axes = {name: int(size) for name, size in _AXIS.findall(found[1])}
      if all(name in axes for name in re.findall(r"'(\w+)'", found[2])):
        places = np.arange(math.prod(axes.values())).reshape([*axes.values()])
        at = tuple(slice(None) if f"'{a}'" in found[2] else 0 for a in axes)
        return list(map(int, places[at].ravel()))
    return None


class Program(NamedTuple):
  """A compiled program.

  Attributes:
    entry: name of the computation that is run.
    computations: the instructions of each.
  """

  entry: str
  computations: dict[str, list[Instruction]]


def parse(text: str) -> Program:
  """Returns the program of `compiled.as_text()`.

  Raises:
    ValueError: it has no entry.
  """
  computations: dict[str, list[Instruction]] = {}
  entry, current = '', None
  for line in text.splitlines():
    if line.startswith('  '):
      found = _INSTRUCTION.match(line)
      if found and current is not None:
        current.append(Instruction(found[1], *_divide(found[2])))
    elif head := _HEAD.match(line):
      current = computations.setdefault(head[2], [])
      entry = head[2] if head[1] else entry
  if not entry:
    raise ValueError(f'This is no optimised HLO: {text[:80]!r}.')
  return Program(entry, computations)


def executed(program: Program) -> Iterator[tuple[Instruction, int]]:
  """Yields all instructions that are run one after the other.

  What stands inside a fusion is not among them, see `inside`.

  Yields:
    An instruction, and how often it is run: those in loops as often as the
    loops turn, those of branches as if all were taken.
  """
  yield from _executed(program, program.entry, 1)


def inside(program: Program, instruction: Instruction) -> list[Instruction]:
  """Returns what a fusion computes, also in fusions inside of it."""
  if instruction.opcode != 'fusion':
    return []
  called = _CALLS.search(instruction.text)
  held = program.computations.get(called[1], []) if called else []
  return [part for each in held for part in (each, *inside(program, each))]


def size(shapes: str) -> int:
  """Returns the bytes of all arrays in shapes as they are printed."""
  return sum(
    math.prod(int(n) for n in dims.split(',') if n) * _itemsize(kind)
    for kind, dims in _ARRAY.findall(shapes)
  )


def _itemsize(kind: str) -> int:
  bits = re.search(r'\d+', kind)
  return max(int(bits[0]) // 8, 1) if bits else 1


def _executed(
  program: Program, name: str, times: int
) -> Iterator[tuple[Instruction, int]]:
  for instruction in program.computations.get(name, ()):
    yield instruction, times
    text = instruction.text
    if instruction.opcode == 'while':
      turns = times * _trips(program, instruction)
      yield from _executed(program, _BODY.search(text)[1], turns)
    elif instruction.opcode == 'conditional':
      branches = _BRANCHES.findall(text)
      if listed := _BRANCH_LIST.search(text):
        branches = re.findall(r'%?([\w.\-]+)', listed[1])
      for branch in branches:
        yield from _executed(program, branch, times)
    elif instruction.opcode == 'call':
      yield from _executed(program, _CALLS.search(text)[1], times)


def _trips(program: Program, loop: Instruction) -> int:
  """How often a loop turns; one whose end is not a number counts once."""
  if known := _TRIPS.search(loop.text):
    return int(known[1])
  condition = program.computations.get(_CONDITION.search(loop.text)[1], ())
  # Loops that count from 0 to a number: the only one there, or the largest.
  held = [part for each in condition for part in (each, *inside(program, each))]
  numbers = [
    int(_NUMBER.match(f'{each.opcode}{each.text}')[1])
    for each in held
    if _NUMBER.match(f'{each.opcode}{each.text}')
  ]
  return max(numbers, default=1)


def _divide(text: str) -> tuple[str, str, str]:
  """Opcode, shapes of the result and the rest of an instruction."""
  depth = 0
  for place, character in enumerate(text):
    if character in '([{':
      depth += 1
    elif character in ')]}':
      depth -= 1
    elif character == ' ' and not depth:
      opcode, bracket, rest = text[place + 1 :].partition('(')
      return opcode, text[:place], bracket + rest
  return '', text, ''
