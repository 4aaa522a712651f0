"""Programs for devices that are not here: names, costs, fits, pages."""

import importlib.metadata
import json
import pathlib
import subprocess
import sys

import jax
import pytest

from experiments.compiling import compilers, fitting, page
from experiments.compiling.ahead import lower
from experiments.compiling.compilation import (
  Compiled,
  Kept,
  needed_bytes,
)
from experiments.compiling.costs import count_costs, part_of
from experiments.compiling.estimates import estimate
from experiments.compiling.fitting import Memory, Setting
from experiments.compiling.hlo import executed, parse, size
from experiments.compiling.topologies import find_topology
from experiments.configs import digits

ROOT = pathlib.Path(__file__).parents[2]
GIB = 2**30

# Programs as libtpu and XLA for GPUs print them, what does not matter left out.
HLO = ROOT / 'tests' / 'experiments' / 'hlo'
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


def compiled(text=TPU, peak=GIB, fits=True):
  return Compiled(fits, peak, 0, text, 60.0)


class Lowered:
  """Sizes of programs that were never lowered."""

  state, batch = GIB // 4, GIB // 8


def estimated(update, *, topology='v5e-4', **besides):
  config = digits.get_config()
  config.compute_dtype = 'bfloat16'
  config.microbatches = 1
  config.parallelism = dict(name='pmap')
  return {
    'config': 'digits',
    'estimated_by': 'a compiler 1.0',
    **estimate(
      config,
      find_topology(topology),
      Lowered,
      update,
      compiled(peak=GIB // 2),
      operations=10**6,
    ),
    **besides,
  }


def test_seconds_of_a_step_are_those_of_its_parts():
  found = estimated(compiled())
  step = found['step']
  clock, rate, link = 1.5e9, 197e12, 50e9
  assert step['parts'] == pytest.approx(
    {
      'matrix products': 3000 / clock,
      'kernels': 1.97e9 / (0.75 * rate),
      'element by element': 470 / clock,
      'moving data': 330 / clock,
      # A sum over 4 sends 3/2 of its bytes, over two links; a sum of which a
      # half is kept sends half of them over one.
      'collectives': 2**18 * (1.5 / (2 * link) + 0.5 / link),
    }
  )
  assert step['seconds'] == pytest.approx(sum(step['parts'].values()))
  assert step['examples_per_second'] == pytest.approx(64 / step['seconds'])
  # A gradient is three forward passes of the 16 examples of a device.
  assert step['share_of_peak'] == pytest.approx(
    3 * 16 * 1e6 / rate / step['seconds']
  )
  assert found['days'] == pytest.approx(3600 * step['seconds'] / 86_400)
  assert step['dearest'][0]['part'] == 'model/encoder/attention, forward'


def test_slices_exchange_over_the_network():
  text = TPU.replace(
    '  ROOT %all-reduce.1',
    '  %send.1 = (f32[1000]{0}, u32[], token[]) send(%w), channel_id=3, '
    'is_host_transfer=true, frontend_attributes={'
    '_xla_megascale_transfer_type="ALL_REDUCE"}\n  ROOT %all-reduce.1',
  )
  step = estimated(compiled(text), topology='2*v5e-4')['step']
  (row,) = (each for each in step['exchanges'] if each['between_slices'])
  assert (row['operation'], row['devices'], row['bytes']) == (
    'all-reduce',
    2,
    4000,
  )
  assert row['seconds'] == pytest.approx(4000 / 3.125e9)


def test_memory_adds_up():
  memory = estimated(compiled())['memory']
  assert memory['peak'] == GIB
  assert memory['temporaries'] == GIB - GIB // 4 - GIB // 8
  assert memory['usable'] == int(15.75 * GIB)


def test_the_page_says_what_was_estimated():
  text = page.render(estimated(compiled()))
  assert text.startswith(
    'digits on v5e-4: 4 chips TPU v5e (2x2), 4 jax devices'
  )
  assert 'Estimated by the compiler (a compiler 1.0), not measured.' in text
  assert 'batch 64 = 4 x 16, bfloat16, pmap, 1 microbatch' in text
  assert 'It fits: a device needs 1.00 of 15.75 GiB (6%).' in text
  assert '    state         0.25\n' in text
  assert 'encoder/layer, forward' in text
  assert 'all-reduce of 4 devices, 1 time, arrays up to f32[256,256]' in text
  assert max(map(len, text.splitlines())) <= 115


def test_a_page_of_what_does_not_fit_says_what_to_do():
  text = page.render(estimated(compiled('', 20 * GIB, fits=False)))
  assert 'IT DOES NOT FIT: a device needs 20.00 of 15.75 GiB (127%).' in text
  assert 'With --fit it looks for' in text
  assert 'A step takes' not in text


def test_a_compiler_without_times_gives_lower_bounds():
  text = page.render(estimated(compiled(), topology='h100:8'))
  assert 'This compiler estimates no times. Lower bounds of a step:' in text
  assert 'A step takes' not in text
  assert ' days' not in text


def test_pages_are_json_too():
  found = estimated(compiled())
  assert json.loads(json.dumps(found)) == found


@pytest.mark.parametrize(
  ('message', 'gib'),
  [
    (
      'RESOURCE_EXHAUSTED: Ran out of memory on HBM, the total memory required '
      'for HLO temporaries (34.13G) exceeds available HBM (16.00M).',
      34.13,
    ),
    ('... HLO temporaries (512.00M) exceeds available HBM (16.00M).', 0.5),
    ('Ran out of memory in memory space hbm. Used 48.70G of 30.75G hbm.', 48.7),
  ],
)
def test_refusals_say_what_is_needed(message, gib):
  assert needed_bytes(message) == pytest.approx(gib * GIB, abs=1)


def test_other_failures_say_nothing_of_memory():
  assert needed_bytes('INTERNAL: Mosaic failed to compile TPU kernel') is None


def test_what_was_compiled_is_found_again(tmp_path):
  lowered = jax.jit(lambda x: x + 1).lower(1.0)
  kept = Kept(tmp_path / 'new', 'jax 1, libtpu 2')
  key = kept.key(lowered, {}, 'v4:2x2x4')
  assert kept.find(key) is None
  kept.keep(key, compiled())
  assert kept.find(key) == compiled()
  # Another version, topology or option is another compilation.
  keys = {
    Kept(tmp_path, 'jax 2').key(lowered, {}, 'v4:2x2x4'),
    kept.key(lowered, {}, 'v4:2x2x1'),
    kept.key(lowered, {'xla_option': '1'}, 'v4:2x2x4'),
    kept.key(jax.jit(lambda x: x + 2).lower(1.0), {}, 'v4:2x2x4'),
  }
  assert len(keys - {key}) == 4
  (file,) = (tmp_path / 'new').iterdir()
  file.write_bytes(file.read_bytes()[:50])
  assert kept.find(key) is None


def test_a_folder_that_cannot_be_written_keeps_nothing(tmp_path):
  (tmp_path / 'file').touch()
  kept = Kept(tmp_path / 'file' / 'folder', '')
  kept.keep('key', compiled())
  assert kept.find('key') is None


OWN = Setting('float32', 'elementwise', None, 1)


def test_families_have_every_form_in_bfloat16_and_the_own_dtype():
  settings = fitting.families(OWN, 8, takes_dtypes=True)
  assert len(settings) == 3 * 2 + 1
  assert settings[0] == Setting('bfloat16', 'none', None, 1)
  assert settings[-1] == OWN
  assert fitting.families(
    Setting('float32', None, None, 4), 1, takes_dtypes=False
  ) == [Setting('float32', None, None, 1)]


def bytes_of(setting):
  """A model that keeps 64 GiB, of which each form keeps a part."""
  kept = {'none': 64, 'elementwise': 32, 'layers': 8}[setting.rematerialize]
  if setting.compute_dtype == 'float32':
    kept *= 2
  return (1 + kept / setting.microbatches) * GIB


def search(usable, seconds_of=None):
  asked, timed = [], []

  def memory_of(setting):
    asked.append(setting)
    return Memory(bytes_of(setting), bytes_of(setting) <= usable * GIB)

  def time_of(setting):
    timed.append(setting)
    # What is kept is written and read: here recomputing it is faster.
    seconds = {'none': 3.0, 'elementwise': 2.0, 'layers': 2.5}
    seconds = seconds[setting.rematerialize] + 0.1 * setting.microbatches
    return memory_of(setting), seconds

  tried = fitting.search(
    fitting.families(OWN, 1, takes_dtypes=True),
    fitting.possible_microbatches(64),
    memory_of,
    seconds_of or time_of,
    most_whole=3,
  )
  return tried, asked, timed


def test_the_fastest_that_fits_comes_first():
  tried, asked, timed = search(usable=10)
  # 64 / 8, 32 / 4 and 8 GiB, besides the 1 of the state.
  assert sorted(timed, key=lambda each: each.rematerialize) == [
    Setting('bfloat16', 'elementwise', None, 4),
    Setting('bfloat16', 'layers', None, 1),
    Setting('bfloat16', 'none', None, 8),
  ]
  assert tried[0].setting == Setting('bfloat16', 'elementwise', None, 4)
  assert tried[0].seconds == pytest.approx(2.4)
  fits = [each.memory.fits for each in tried]
  assert fits == sorted(fits, reverse=True)
  # Bisection asks for less than the seven numbers of microbatches.
  assert len(asked) - len(timed) <= 4 * 4


def test_what_fits_at_once_is_asked_for_once():
  tried, asked, _ = search(usable=1000)
  assert {each.setting.microbatches for each in tried} == {1}
  assert len(asked) == 4 + 3


def test_a_whole_compilation_that_needs_more_gets_more_microbatches():
  def time_of(setting):
    fits = setting.microbatches > 4
    return Memory(9 * GIB, fits), 1.0 if fits else None

  tried, *_ = search(10, time_of)
  assert tried[0].setting.microbatches == 8
  (refused,) = [
    each
    for each in tried
    if each.setting == Setting('bfloat16', 'elementwise', None, 4)
  ]
  assert not refused.memory.fits


def test_where_nothing_fits_the_least_is_told():
  tried, _, timed = search(usable=1)
  assert not timed
  assert not any(each.memory.fits for each in tried)
  least = min(tried, key=lambda each: each.memory.peak)
  text = page.nothing_fits(least, find_topology('v5e-4'))
  assert text.startswith('Nothing that was tried fits on v5e-4')
  assert 'needs is 1.12 of 15.75 GiB (bfloat16, rematerialize layers' in text


def test_flags_name_what_differs():
  setting = Setting('bfloat16', 'none', 8, 4)
  assert fitting.flags_of(setting, OWN) == [
    '--config.compute_dtype=bfloat16',
    '--config.encoder.rematerialize=none',
    '--config.parallelism.name=sharded',
    '--config.parallelism.shards=8',
    '--config.microbatches=4',
  ]
  assert fitting.flags_of(OWN, OWN) == []


def test_settings_go_into_configs_and_come_out():
  config = digits.get_config()
  config.compute_dtype, config.microbatches = 'float32', 1
  config.parallelism = dict(name='pmap')
  setting = Setting('bfloat16', 'layers', 4, 2)
  changed = fitting.with_setting(config, setting)
  assert fitting.own_setting(changed) == setting
  assert config.encoder.rematerialize == 'none'


def test_microbatches_are_powers_of_two_that_divide():
  assert fitting.possible_microbatches(48) == [1, 2, 4, 8, 16]
  assert fitting.possible_microbatches(3) == [1]


def test_the_state_and_batch_of_a_device_are_counted():
  config = digits.get_config()
  config.batch_size = 8
  programs = lower(config, jax.devices()[:1])
  # 8 images of 28 x 28 numbers, labels and weights of 4 bytes each.
  assert programs.batch == 8 * 4 * (28 * 28 + 1 + 1)
  assert 'stablehlo.dot_general' in programs.evaluation.as_text()


def test_a_batch_that_cannot_be_divided_says_what_to_do():
  config = digits.get_config()
  config.batch_size = 63
  with pytest.raises(ValueError, match=r'--config\.batch_size=64'):
    lower(config, jax.devices()[:1] * 4)


@pytest.mark.parametrize(
  ('package', 'requirements', 'version'),
  [
    (
      'libtpu',
      ['jaxlib<=0.10.2,>=0.10.2; extra == "tpu"', 'libtpu==0.0.42.*; extra'],
      '0.0.42.*',
    ),
    (
      'jax-cuda13-plugin',
      ['jax-cuda13-plugin[with-cuda]<=0.8.1,>=0.8.1; extra == "cuda13"'],
      '0.8.1',
    ),
  ],
)
def test_the_version_is_the_one_that_jax_asks_for(
  package, requirements, version
):
  assert compilers.wanted_version(package, requirements) == version


def test_a_compiler_that_is_not_there_is_one_line(monkeypatch):
  def version(package):
    raise importlib.metadata.PackageNotFoundError(package)

  monkeypatch.setattr(importlib.metadata, 'version', version)
  with pytest.raises(ValueError, match=r'pip install .*\[preflight-tpu\]'):
    compilers.check_installed(find_topology('v4-8'))
  with pytest.raises(ValueError, match=r'pip install .*\[preflight-gpu\]'):
    compilers.check_installed(find_topology('h100:8'))


def test_a_compiler_of_another_version_is_one_line(monkeypatch):
  monkeypatch.setattr(importlib.metadata, 'version', lambda _: '0.0.1')
  with pytest.raises(ValueError, match=r'libtpu 0\.0\.1 is installed; jax'):
    compilers.check_installed(find_topology('v4-8'))


@pytest.mark.parametrize(
  ('arguments', 'message'),
  [
    ([], '--topology'),
    (['--topology=v9-8'], "'v9' is not known"),
  ],
)
def test_a_mistake_is_one_line(arguments, message):
  result = subprocess.run(
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
    check=False,
  )
  assert result.returncode == 2
  assert result.stdout == ''
  (line,) = result.stderr.splitlines()
  assert line.startswith('Error: ') and message in line
