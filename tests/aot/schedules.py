"""Cycles that a TPU's kernels take, from the compiler's own schedules.

  python -m tests.aot.schedules v4

A core runs a bundle of instructions a cycle, unless it waits for memory or for
its matrix units. The compiler writes them down when libtpu is told to as it is
loaded, so this is a process of its own.
"""

import json
import os
import pathlib
import re
import sys
import tempfile
from typing import NamedTuple

_LINE = re.compile(r'^ *(?:0x)?[0-9a-f]+ +(\w*)\s*:')
_LAST_STEP = re.compile(r'scmp\.ge\.s32\.totalorder %\S+, (\d+) /\* loop exit')
_SKIP = re.compile(r'sbr\.rel \(%[^)]*\) target')
_LOOP = re.compile(r'sbr\.rel \(!%[^)]*\) target')


# A product streams 16 rows of bfloat16 through one of 4 matrix units, a row a
# cycle, or of 2, two rows a cycle.
_CYCLES_A_PRODUCT = 4


class Schedule(NamedTuple):
  """The loop of a kernel over its grid.

  Attributes:
    every: bundles of each step.
    some: bundles of what only some steps do.
    products: of the matrix units, in each step.
    steps: with those that fill and empty the pipeline.
  """

  every: int
  some: int
  products: int
  steps: int

  @property
  def cycles(self) -> int:
    """Of a step that does only what each does."""
    return max(self.every, _CYCLES_A_PRODUCT * self.products)


def read_schedule(text: str) -> Schedule:
  """Reads the bundles of a kernel, as the compiler writes them."""
  every, some, products, steps = 0, 0, 0, 0
  inside, skipped = False, False
  for line in text.splitlines():
    found = _LINE.match(line)
    if not found:
      continue
    if found[1] == 'LB':  # The body of the loop begins.
      inside = True
    if found[1] == 'PF':  # What may be skipped has ended.
      skipped = False
    if not inside:
      continue
    if skipped:
      some += 1
    else:
      every += 1
      products += len(re.findall(r'= vmatmul', line))
    last = _LAST_STEP.search(line)
    if last:
      steps = int(last[1])
    elif _SKIP.search(line):
      skipped = True
    if steps and _LOOP.search(line):
      break
  return Schedule(every, some, products, steps)


def main(generation: str) -> None:
  """Prints, as JSON, `read_schedule` of the kernels of ImageNet's shape."""
  with tempfile.TemporaryDirectory() as folder:
    os.environ['LIBTPU_INIT_ARGS'] = (
      f'--xla_jf_dump_to={folder} --xla_jf_dump_llo_text=true '
      '--xla_jf_dump_llo_pass_label_regex=.*final_bundles'
    )
    import jax.numpy as jnp

    from tests.aot.test_kernels import compile_attend, shapes_of

    shapes = shapes_of((3, 258), 512, 50176, jnp.bfloat16, 8, masked=False)
    compile_attend(generation, shapes, (0,))
    kernels = {}
    for path in pathlib.Path(folder).glob('*absorbed*-final_bundles.txt'):
      if 'schedule-analysis' not in path.name:
        name = re.search(r'absorbed[a-z_]*[a-z]', path.name)[0]
        kernels[name] = read_schedule(path.read_text())
  print(json.dumps(kernels))


if __name__ == '__main__':
  main(sys.argv[1])
