"""Small programs through the compilers of TPUs and GPUs."""

import json
import pathlib
import re
import subprocess
import sys

import jax
import jax.numpy as jnp
import pytest
from jax.experimental import pallas as pl
from jax.sharding import SingleDeviceSharding

from experiments.compiling.ahead import Compiler
from experiments.compiling.compilation import Kept, compile_program
from experiments.compiling.costs import count_costs
from experiments.compiling.estimates import seconds_of
from experiments.compiling.hlo import parse
from experiments.compiling.stages import Stages
from experiments.configs import digits

ROOT = pathlib.Path(__file__).parents[2]
# What the model of digits.py learns, in float32, and three numbers of a step.
PARAMETERS = 108_938

EVERY = {
  'v3-8': 8,
  'v4-8': 4,
  'v4-32': 16,
  'v5e-1': 1,
  'v5e-16': 16,
  'v5e-64': 64,
  'v5p-8': 4,
  'v6e-8': 8,
  '2*v4-32': 32,
  'h100:8': 8,
  'h200:8x2': 16,
}


@pytest.mark.parametrize(
  ('topology', 'devices'), EVERY.items(), indirect=['topology']
)
def test_compilers_know_the_topologies(topology, devices):
  assert len(topology.devices()) == devices == topology.num_devices


def compiled(topology, function, *shapes, dtype=jnp.bfloat16):
  sharding = SingleDeviceSharding(topology.devices()[0])
  specs = [
    jax.ShapeDtypeStruct(shape, dtype, sharding=sharding) for shape in shapes
  ]
  return compile_program(jax.jit(function).lower(*specs), {})


@pytest.mark.parametrize('topology', ['v4-8', 'v5e-4', 'v6e-8'], indirect=True)
def test_kernels_cost_what_they_state(topology):
  stated = pl.CostEstimate(flops=10**9, transcendentals=0, bytes_accessed=10**6)

  def double(x_ref, out_ref):
    out_ref[...] = 2 * x_ref[...]

  def stack(x):
    kernel = pl.pallas_call(double, out_shape=x, cost_estimate=stated)
    return jax.lax.scan(lambda x, _: (kernel(x), None), x, length=3)[0]

  program = compiled(topology, stack, (256, 256))
  (kernel,) = count_costs(parse(program.text)).kernels
  assert (kernel.operations, kernel.moved) == (3 * 10**9, 3 * 10**6)


TPUS = ('v3-8', 'v4-8', 'v5e-4', 'v5p-8', 'v6e-8')


@pytest.mark.parametrize('topology', TPUS, indirect=True)
def test_a_large_product_takes_what_the_best_rate_says(topology):
  n = 4096
  program = compiled(topology, jnp.dot, (n, n), (n, n))
  share = 2 * n**3 / topology.hardware.rate / seconds_of(program, topology)
  assert 0.8 < share < 1.02


@pytest.mark.parametrize('topology', TPUS, indirect=True)
def test_large_arrays_take_what_the_memory_says(topology):
  size = 2**14
  program = compiled(topology, lambda x: x + 1, (size, size), dtype=jnp.float32)
  least = 2 * 4 * size**2 / topology.hardware.bandwidth
  assert 0.6 < least / seconds_of(program, topology) < 1.05


@pytest.mark.parametrize('topology', ['v4-8', 'v5e-4'], indirect=True)
def test_what_does_not_fit_says_how_much_it_needs(topology):
  size = 2**17  # 32 GiB in bfloat16, and the result is another array.
  program = compiled(topology, lambda x: x + 1, (size, size))
  assert not program.fits
  assert program.peak == pytest.approx(2 * 2 * size**2, rel=0.01)


@pytest.mark.parametrize('topology', TPUS, indirect=True)
def test_usable_memory_is_what_the_compiler_says(topology):
  sharding = SingleDeviceSharding(topology.devices()[0])
  large = jax.ShapeDtypeStruct((2**17, 2**18), jnp.bfloat16, sharding=sharding)
  with pytest.raises(jax.errors.JaxRuntimeError) as refusal:
    jax.jit(lambda x: x + 1).lower(large).compile()
  (gib,) = re.findall(r'available HBM \(([\d.]+)G\)', str(refusal.value))
  assert topology.hardware.memory == pytest.approx(float(gib) * 2**30)


def preflight(*arguments):
  return subprocess.run(
    [
      sys.executable,
      '-m',
      'experiments.preflight',
      '--config=experiments/configs/digits.py',
      *arguments,
    ],
    cwd=ROOT,
    capture_output=True,
    text=True,
    check=True,
  )


def test_the_command_says_what_digits_take(tmp_path):
  arguments = '--topology=v5e-4', f'--compilation_cache={tmp_path}'
  result = preflight('--json', *arguments)
  found = json.loads(result.stdout)
  assert found['fits']
  assert found['batch']['per_device'] == 16
  step = found['step']
  assert 1e-4 < step['seconds'] < 1e-2
  assert step['seconds'] == pytest.approx(sum(step['parts'].values()))
  # Every device sends each gradient once, as float32.
  assert step['exchanges'][0]['operation'] == 'all-reduce'
  assert step['exchanged_bytes'] == pytest.approx(4 * PARAMETERS, rel=1e-3)
  names = [row['part'] for row in step['dearest']]
  assert any('encoder/latent_block_0/self_attend' in name for name in names)
  assert 'Compiling the update' in result.stderr
  again = preflight(*arguments)
  assert 'Compiling the update: compiled before' in again.stderr
  assert again.stdout.startswith('digits on v5e-4: 4 chips TPU v5e (2x2)')
  # Nothing but what we say ourselves.
  lines = again.stderr.splitlines()
  assert all(line.startswith('[') for line in lines), again.stderr


def compiler(topology, folder):
  return Compiler(topology, Kept(folder, 'test'), Stages())


@pytest.mark.parametrize('topology', ['v5e-4'], indirect=True)
def test_the_least_memory_is_known_before_the_end(topology, tmp_path):
  config = digits.get_config()
  config.batch_size = 256
  it = compiler(topology, tmp_path)
  update = it.lower(config).update
  early, whole = it.memory(update, 'early'), it.whole(update, 'whole')
  # Told that there are 16 MiB, it computes again what else it would keep.
  assert 2**24 < early.peak < 1.2 * whole.peak
  # It ends before there is a program.
  assert whole.text and not early.text


@pytest.mark.parametrize('topology', ['h100:8'], indirect=True)
def test_gpus_have_memory_and_collectives_but_no_times(topology, tmp_path):
  it = compiler(topology, tmp_path)
  update = it.whole(it.lower(digits.get_config()).update, 'update')
  assert update.fits
  assert 4 * PARAMETERS < update.peak < 0.1 * 2**30
  assert 'all-reduce' in update.text
  assert seconds_of(update, topology) is None
