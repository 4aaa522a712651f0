"""What devices say to each other when a state is sharded, on topologies."""

import math

import jax
import pytest

from experiments.compiling.ahead import lower
from experiments.compiling.compilation import compile_program
from experiments.compiling.costs import count_costs
from experiments.compiling.hlo import parse
from experiments.compiling.topologies import find_topology
from experiments.configs import digits

# No other axis of the model or of its arrays is as long.
EXAMPLES_EACH = 11


def small_config(devices, **parallelism):
  config = digits.get_config()
  config.batch_size = EXAMPLES_EACH * devices
  config.compute_dtype = 'bfloat16'
  config.encoder.rematerialize = 'elementwise'
  with config.unlocked():
    config.parallelism = {'name': 'sharded', **parallelism}
  return config


def told(topology_name, **parallelism):
  """Bytes of the parameters, exchanges of a step and examples of its batch."""
  topology = find_topology(topology_name)
  config = small_config(topology.num_devices, **parallelism)
  program = lower(config, topology.devices()).update
  state, _ = program.args_info[0]
  parameters = sum(
    math.prod(x.shape) * x.dtype.itemsize for x in jax.tree.leaves(state.params)
  )
  compiled = compile_program(program, {})
  assert compiled.fits
  exchanges = count_costs(parse(compiled.text)).exchanges
  assert exchanges
  return parameters, exchanges, config.batch_size


def check_axes(exchanges, batch_size):
  for each in exchanges:
    sizes = each.shapes.partition('[')[2].rstrip(']').split(',')
    assert not {str(batch_size), str(EXAMPLES_EACH)} & set(sizes), each


def sums(exchanges):
  return {k: v for k, v in exchanges.items() if k.operation != 'all-gather'}


@pytest.mark.parametrize('parallelism', [{}, {'layer_by_layer': True}])
def test_nothing_of_the_batch_is_sent(parallelism):
  parameters, exchanges, batch_size = told('v4-32', **parallelism)
  check_axes(exchanges, batch_size)
  assert all(each.shapes.startswith('f32') for each in sums(exchanges))
  if not parallelism:
    assert sum(n for n, _ in exchanges.values()) <= 3 * parameters


def test_only_parts_of_gradients_go_between_slices():
  parameters, exchanges, batch_size = told('2*v5e:2x2')
  check_axes(exchanges, batch_size)
  between = {k: v for k, v in exchanges.items() if k.is_between_slices}
  assert all(each.shapes.startswith('f32') for each in between)
  sent = sum(n for n, _ in between.values())
  # A quarter of the gradient; arrays as small as these are padded to tiles.
  assert parameters / 4 < sent < 0.75 * parameters
