"""The TPU's kernels, compiled for generations that are not here.

They need libtpu, which compiles without a TPU: `make aot`.
"""

import functools
import importlib.util
import json
import subprocess
import sys

import jax
import jax.numpy as jnp
import pytest
from jax.experimental import topologies
from jax.sharding import SingleDeviceSharding

from perceiver_jax.kernels.absorbed_attention import attend
from perceiver_jax.position_encoding import FourierPositions, GridPositions
from tests.aot.schedules import Schedule, read_schedule

# The smallest topology of each generation, and how its cores are joined.
GENERATIONS = {
  'v4': ('v4:2x2x1', 'megacore'),
  'v5e': ('v5e:2x2', 'default'),
  'v6e': ('v6e:2x2', 'default'),
}
# Channels of the features and of the positions of published models, and 1,024.
CHANNELS = {
  261: (3, 258),
  322: (64, 258),
  487: (231, 256),
  512: (256, 256),
  704: (4, 700),
  1024: (1024, 0),
}
KERNELS = {
  'absorbed_attention',
  'absorbed_attention_keys_gradient',
  'absorbed_attention_inputs_gradient',
}


@functools.cache
def device(generation):
  if importlib.util.find_spec('libtpu') is None:
    pytest.fail('libtpu, which compiles for TPUs, is not installed: make aot')
  name, chip = GENERATIONS[generation]
  return topologies.get_topology_desc(
    platform='tpu', topology_name=name, chip_config_name=chip
  ).devices[0]


def compile_attend(generation, shapes, wanted):
  """Compiles the gradients of `attend`; returns the optimised HLO."""
  sharding = SingleDeviceSharding(device(generation))
  arguments = jax.tree.map(
    lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding), shapes
  )

  def loss(*arguments):
    mixed, _ = attend(*arguments)
    return jnp.square(mixed).sum()

  program = jax.jit(jax.value_and_grad(loss, wanted)).lower(*arguments)
  return program.compile().as_text()


def shapes_of(channels, num_queries, num_inputs, dtype, batch=2, masked=True):
  cf, cp = channels
  return (
    jax.ShapeDtypeStruct((batch, num_queries, cf + cp), jnp.float32),
    jax.ShapeDtypeStruct((batch, num_inputs, cf), dtype),
    jax.ShapeDtypeStruct((num_inputs, cp), jnp.float32) if cp else None,
    jax.ShapeDtypeStruct((batch, num_inputs), jnp.float32),
    jax.ShapeDtypeStruct((batch, num_inputs), bool) if masked else None,
  )


def kernels_in(text):
  """Names of the kernels that a program calls."""
  calls = [line for line in text.splitlines() if 'tpu_custom_call' in line]
  names = [max((k for k in KERNELS if k in call), key=len) for call in calls]
  assert all('"cost_estimate":{"flops":"' in call for call in calls)
  return sorted(names)


@pytest.mark.parametrize('generation', list(GENERATIONS))
@pytest.mark.parametrize('channels', list(CHANNELS))
def test_all_gradients_compile(generation, channels):
  # Neither inputs nor their last block are a multiple of anything.
  shapes = shapes_of(CHANNELS[channels], 512, 5001, jnp.bfloat16)
  wanted = (0, 1, 2, 3) if shapes[2] is not None else (0, 1, 3)
  text = compile_attend(generation, shapes, wanted)
  assert kernels_in(text) == sorted(KERNELS)


@pytest.mark.parametrize('generation', list(GENERATIONS))
@pytest.mark.parametrize('num_queries', [1, 7, 128, 784, 2048])
def test_any_number_of_queries_compiles(generation, num_queries):
  dtype = jnp.float32 if num_queries == 128 else jnp.bfloat16
  shapes = shapes_of((3, 258), num_queries, 777, dtype, masked=False)
  text = compile_attend(generation, shapes, (0, 1, 3))
  assert kernels_in(text) == sorted(KERNELS)


@pytest.mark.parametrize('generation', list(GENERATIONS))
def test_nothing_of_all_channels_of_all_inputs_is_stored(generation):
  # ImageNet: 50,176 inputs of 3 channels, positions that 8 examples share.
  keys, features, _, inverse_std, _ = shapes_of(
    (3, 258), 512, 50176, jnp.bfloat16, batch=8
  )
  grid = GridPositions(
    encoding=FourierPositions(num_bands=64, max_resolution=(224, 224)),
    grid_shape=(224, 224),
  )
  text = compile_attend(
    generation, (keys, features, grid, inverse_std, None), (0,)
  )
  assert kernels_in(text) == sorted(
    KERNELS - {'absorbed_attention_inputs_gradient'}
  )
  assert '[8,50176,3]' in text
  for channels in (258, 261):
    assert f'[8,50176,{channels}]' not in text
    assert f'[8,{channels},50176]' not in text


def test_bundles_of_each_step_are_told_from_those_of_some():
  text = """
  0     : { setup }
  0x1 LB: > { scmp.ge.s32.totalorder %s1, 3 }
  0x2   : > { sbr.rel (%p1) target = $region4 }
  0x3   : > { only the first step }
  0x4   : > { only the first step }
  0x5 PF: > { %1 = vmatmul.bf16.gmra.mxu1 %v1 }
  0x6   : > { %p9 = scmp.ge.s32.totalorder %s1, 66 /* loop exit test */ }
  0x7   : { sbr.rel (!%p9) target = $region69 }
  0x8   : { after }
  """
  assert read_schedule(text) == (5, 2, 1, 66)


@pytest.mark.parametrize(
  ('generation', 'products_a_cycle', 'forward_share', 'both_share'),
  [
    ('v4', 4 * 128**2, 0.6, 0.6),
    ('v5e', 4 * 128**2, 0.75, 0.75),
    ('v6e', 4 * 256**2, 0.35, 0.4),
  ],
)
def test_schedules_keep_the_matrix_unit_busy(
  generation, products_a_cycle, forward_share, both_share
):
  result = subprocess.run(
    [sys.executable, '-m', 'tests.aot.schedules', generation],
    capture_output=True,
    text=True,
    check=False,
  )
  assert result.returncode == 0, result.stderr
  kernels = json.loads(result.stdout.splitlines()[-1])
  # 49 blocks of 1,024 inputs; what only some do is done once for an example.
  cycles = {}
  for name, numbers in kernels.items():
    schedule = Schedule(*numbers)
    cycles[name] = schedule.cycles + schedule.some / 49
  product = 512 * 1024 * 261 / products_a_cycle
  forward = cycles['absorbed_attention']
  both = forward + cycles['absorbed_attention_keys_gradient']
  assert 2 * product / forward > forward_share
  assert 5 * product / both > both_share
