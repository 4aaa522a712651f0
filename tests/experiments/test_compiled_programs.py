"""Optimised HLO of known costs, and the devices that it is compiled for."""

import pathlib

import pytest

from experiments.compiling.costs import count_costs, part_of
from experiments.compiling.hlo import executed, parse, size
from experiments.compiling.topologies import find_topology

# Programs as libtpu and XLA for GPUs print them, what does not matter left out.
HLO = pathlib.Path(__file__).parent / 'hlo'
# 3 turns of a product, a copy and a slice; once a kernel of 1.97 billion
# operations, an elementwise fusion, a sum over devices, a sum and slice.
TPU = (HLO / 'tpu.txt').read_text()


def test_loops_are_run_as_often_as_their_conditions_say():
  times = {each.name: n for each, n in executed(parse(TPU))}
  assert times['fusion.1'] == 3
  assert times['fusion.2'] == 1
  assert 'convolution.1' not in times  # Inside a fusion.


def test_cycles_add_up_by_kind_and_by_part():
  costs = count_costs(parse(TPU))
  assert costs.cycles == {
    'matrix products': 3 * 1000,
    'element by element': 470,
    'moving data': 3 * (100 + 10),
  }
  assert costs.parts == {
    'model/encoder/layer, forward': {'matrix products': 3000},
    'model/encoder, backward': {'moving data': 30},
    'outside of modules': {'element by element': 470, 'moving data': 300},
  }
  (kernel,) = costs.kernels
  assert kernel == ('model/encoder/attention, forward', 1_970_000_000, 819)
  assert costs.calls == {}


def test_collectives_count_what_is_larger_of_input_and_output():
  exchanges = {
    key.operation: (key.group, *value)
    for key, value in count_costs(parse(TPU)).exchanges.items()
  }
  assert exchanges == {
    'all-reduce': ((0, 1, 2, 3), 4 * 256 * 256, 1),
    'reduce-scatter': ((0, 1), 4 * 256 * 256, 1),
  }


@pytest.mark.parametrize(
  ('text', 'group'),
  [
    ('replica_groups={{0,2},{1,3}}', [0, 2]),
    ('replica_groups=[2,4]<=[8]', [0, 1, 2, 3]),
    ('replica_groups=[4,2]<=[2,4]T(1,0)', [0, 4]),
    ("replica_groups=mesh['a'=2,'b'=4] {'a'}", [0, 4]),
    ("replica_groups=mesh['a'=2,'b'=4] {'a','b'}", list(range(8))),
    ('source_target_pairs={{0,1},{1,0}}', [0, 1]),
    ('channel_id=1', None),
  ],
)
def test_groups_of_devices_in_all_spellings(text, group):
  line = f'  %x.1 = f32[] all-reduce(%y), {text}, to_apply=%add'
  program = parse(f'ENTRY %main (y: f32[]) -> f32[] {{\n{line}\n}}\n')
  assert program.computations['main'][0].group() == group


def test_loops_and_collectives_as_programs_for_gpus_have_them():
  program = parse((HLO / 'gpu.txt').read_text())
  found = count_costs(program).exchanges
  assert {key.operation: value for key, value in found.items()} == {
    'all-reduce': (7 * 4000, 7),
    'all-gather': (7 * 80, 7),
  }


def test_exchanges_behind_other_work_count_once():
  program = parse((HLO / 'behind_other_work.txt').read_text())
  assert list(count_costs(program).exchanges.values()) == [(128, 1)]


def test_what_is_no_hlo_is_refused():
  with pytest.raises(ValueError, match='no optimised HLO'):
    parse('module @jit_f {}')


def test_sizes_of_shapes():
  assert size('(f32[2,3]{1,0:T(8,128)}, bf16[4]{0}, pred[5], s32[])') == 41


@pytest.mark.parametrize(
  ('op_name', 'part'),
  [
    (
      'jit(_fun)/shard_map/jvp(model)/encoder/while/body/closed_call/'
      'cross_attend_1/attention/bnc,bmc->bnm/dot_general',
      'model/encoder/cross_attend_1/attention, forward',
    ),
    (
      'jit(_fun)/shard_map/transpose(jvp(model))/encoder/latent_block_0/while/'
      'body/closed_call/checkpoint/rematted_computation/self_attend/norm/mul',
      'model/encoder/latent_block_0/self_attend/norm, recomputed',
    ),
    (
      'jit(constrained)/transpose(jvp(model))/decoder/jit(take)/gather',
      'model/decoder, backward',
    ),
    ('jit(_fun)/shard_map/psum', 'outside of modules'),
    ('', 'outside of modules'),
  ],
)
def test_parts_are_paths_of_modules(op_name, part):
  assert part_of(op_name) == part


@pytest.mark.parametrize(
  ('name', 'spelling', 'devices'),
  [
    ('v4:2x2x4', 'v4:2x2x4', 16),
    ('v4-8', 'v4:2x2x1', 4),
    ('v4-32', 'v4:2x2x4', 16),
    ('v4-128', 'v4:4x4x4', 64),
    ('v3-8', 'v3:2x2', 8),
    ('v3-32', 'v3:4x4', 32),
    ('v5e-16', 'v5e:4x4', 16),
    ('v5litepod-64', 'v5e:8x8', 64),
    ('v5e-1', 'v5e:1x1', 1),
    ('v5p-8', 'v5p:2x2x1', 4),
    ('V6E-8', 'v6e:2x4', 8),
    ('2*v4-32', '2*v4:2x2x4', 32),
    ('h100:8', 'h100:8', 8),
    ('h200:8x2', 'h200:8x2', 16),
  ],
)
def test_names_of_topologies(name, spelling, devices):
  topology = find_topology(name)
  assert (topology.name, topology.num_devices) == (spelling, devices)
  assert find_topology(topology.name) == topology


def test_a_state_is_divided_among_neighbours():
  assert find_topology('2*v4-32').num_neighbours == 16
  assert find_topology('h100:8x2').num_neighbours == 8


def test_slices_may_be_a_flag_of_their_own():
  assert find_topology('v5e-4', 2) == find_topology('2*v5e:2x2')


@pytest.mark.parametrize(
  ('name', 'message'),
  [
    ('v4', 'is not understood.*v4:2x2x4'),
    ('v7-8', "'v7' is not known. Choose one of v3, v4"),
    ('v4-24', 'Such are v4-8, v4-16'),
    ('v4:2x2', 'must be a grid v4:AxBxC'),
    ('v5e:3x4', 'are even'),
    ('h100:16', 'at most 8 GPUs'),
    ('2*h100:8', 'slices are for TPUs'),
    ('v5e-512', 'is not the name of a slice'),
    ('h100:0', 'has no devices'),
  ],
)
def test_unknown_topologies_say_what_is_known(name, message):
  with pytest.raises(ValueError, match=message):
    find_topology(name)


def test_rates_between_devices():
  v4 = find_topology('v4-32')  # 2 x 2 x 4, its ends joined along the 4 only.
  assert v4.exchange_rate(range(16)) == (1 + 1 + 2) * 50e9
  assert v4.exchange_rate([0, 1]) == 50e9
  assert v4.exchange_rate([0, 4, 8, 12]) == 2 * 50e9
  v3 = find_topology('v3-8')  # Two devices of a chip share its links.
  assert v3.exchange_rate(range(8)) == 2 * 35e9
  slices = find_topology('2*v5e-4')
  assert slices.exchange_rate([0, 1, 2, 3]) == 2 * 50e9
  assert slices.exchange_rate([0, 4]) == 3.125e9
  hosts = find_topology('h100:8x2')
  assert hosts.exchange_rate(range(8)) == 450e9
  assert hosts.exchange_rate([0, 8]) == 50e9
