"""Cycles that a TPU's kernels take, from the compiler's own schedules.

  python -m tests.aot.schedules v4 [latent]

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
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.experimental.pallas.ops.tpu.splash_attention import (
  splash_attention_kernel,
  splash_attention_mask,
)

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


def main(generation: str, part: str = 'cross-attend') -> None:
  """Prints, as JSON, schedules at ImageNet's shape."""
  with tempfile.TemporaryDirectory() as folder:
    os.environ['LIBTPU_INIT_ARGS'] = (
      f'--xla_jf_dump_to={folder} --xla_jf_dump_llo_text=true '
      '--xla_jf_dump_llo_pass_label_regex=.*final_bundles'
    )
    dumps = pathlib.Path(folder)
    found = {'cross-attend': _cross_attend, 'latent': _latent}[part]
    print(json.dumps(found(generation, dumps)))


def _cross_attend(generation: str, dumps: pathlib.Path) -> dict[str, Schedule]:
  """The schedule of each kernel, by its name."""
  from tests.aot.test_kernels import compile_attend, shapes_of

  shapes = shapes_of((3, 258), 512, 50176, jnp.bfloat16, 8, masked=False)
  compile_attend(generation, shapes, (0,))
  return {
    re.search(r'absorbed[a-z_]*[a-z]', path.name)[0]: schedule
    for path, schedule in _schedules(dumps, 'absorbed')
  }


def _latent(generation: str, dumps: pathlib.Path) -> list[dict[str, Any]]:
  """Schedules of our kernels and splash attention's, and cycles around them."""
  from experiments.compiling.costs import count_costs
  from experiments.compiling.hlo import parse
  from perceiver_jax.kernels import latent_attention
  from tests.aot.test_latent_attention import SHAPES, lower_attend

  compiled = []
  for attend, name in (
    (latent_attention.attend, 'latent'),
    (_splash, 'splash'),
  ):
    program = lower_attend(attend, generation, SHAPES['imagenet']).compile()
    costs = count_costs(parse(program.as_text()))
    compiled.append(
      {
        'kernels': [each for _, each in _schedules(dumps, name)],
        'rest': sum(sum(kinds.values()) for kinds in costs.parts.values()),
      }
    )
  return compiled


def _splash(query: jax.Array, key: jax.Array, value: jax.Array) -> jax.Array:
  """jax's own kernel for TPUs, in its fastest form at 512 latents."""
  _, num_latents, num_heads, channels = query.shape
  everything = splash_attention_mask.FullMask((num_latents, num_latents))
  whole = dict.fromkeys(
    (
      'block_q',
      'block_kv',
      'block_kv_compute',
      'block_q_dkv',
      'block_kv_dkv',
      'block_kv_dkv_compute',
    ),
    num_latents,
  )
  kernel = splash_attention_kernel.make_splash_mha(
    splash_attention_mask.MultiHeadMask([everything] * num_heads),
    block_sizes=splash_attention_kernel.BlockSizes(
      **whole, use_fused_bwd_kernel=True
    ),
    head_shards=1,
    q_seq_shards=1,
  )
  heads_outside = (
    x.transpose(0, 2, 1, 3) for x in (query * channels**-0.5, key, value)
  )
  return jax.vmap(kernel)(*heads_outside).transpose(0, 2, 1, 3)


def _schedules(
  dumps: pathlib.Path, name: str
) -> Iterator[tuple[pathlib.Path, Schedule]]:
  for path in dumps.glob(f'*{name}*-final_bundles.txt'):
    if 'schedule-analysis' not in path.name:
      yield path, read_schedule(path.read_text())


if __name__ == '__main__':
  main(*sys.argv[1:])
