"""What is said of programs that were compiled for devices that are not here."""

import importlib.metadata
import json
import pathlib
import subprocess
import sys

import jax
import pytest

from experiments.compiling import compilers, page
from experiments.compiling.ahead import lower
from experiments.compiling.compilation import (
  Compiled,
  Kept,
  needed_bytes,
)
from experiments.compiling.estimates import estimate
from experiments.compiling.fitting import Memory, Setting, Tried
from experiments.compiling.topologies import find_topology
from experiments.configs import audioset, digits, kinetics, starcraft

ROOT = pathlib.Path(__file__).parents[2]
GIB = 2**30

# See test_compiled_programs.py.
TPU = (ROOT / 'tests/experiments/hlo/tpu.txt').read_text()


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
      'kernels': 1.97e9 / (0.77 * rate),
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


def test_a_page_of_a_search_has_its_trials_and_the_command():
  tried = Tried(Setting('bfloat16', 'none', 4, 2), Memory(GIB, True), 0.5)
  large = Tried(
    Setting('float32', 'none', None, 1), Memory(9 * GIB, False), None
  )
  rows = [page.tried_row(each) for each in (tried, large)]
  text = page.render(
    estimated(compiled(), tried=rows, command='python -m experiments.train')
  )
  assert (
    '      1.00    0.50 s  bfloat16, rematerialize none, sharded in 4, '
    '2 microbatches\n'
    '      9.00            float32, rematerialize none, pmap, 1 microbatch'
    '  too large\n'
    'The fastest that fits, told of below:\n  python -m experiments.train\n'
  ) in text


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


@pytest.mark.parametrize('name', ['XLA_FLAGS', 'LIBTPU_INIT_ARGS'])
def test_other_settings_of_the_compiler_are_another_key(
  tmp_path, monkeypatch, name
):
  lowered = jax.jit(lambda x: x + 1).lower(1.0)
  kept = Kept(tmp_path, 'jax 1')
  before = kept.key(lowered, {}, 'v4:2x2x4')
  monkeypatch.setenv(name, '--xla_flag=1')
  assert kept.key(lowered, {}, 'v4:2x2x4') != before


def test_another_effort_of_the_compiler_is_another_key(tmp_path):
  lowered = jax.jit(lambda x: x + 1).lower(1.0)
  kept = Kept(tmp_path, 'jax 1')
  before = kept.key(lowered, {}, 'v4:2x2x4')
  old = jax.config.jax_optimization_level
  jax.config.update('jax_optimization_level', 'O1')
  try:
    assert kept.key(lowered, {}, 'v4:2x2x4') != before
  finally:
    jax.config.update('jax_optimization_level', old)


def test_another_effort_of_the_compiler_is_named():
  assert compilers.effort() == ''
  level = jax.config.jax_optimization_level
  try:
    jax.config.update('jax_optimization_level', 'O1')
    assert compilers.effort() == ', optimization level O1'
  finally:
    jax.config.update('jax_optimization_level', level)


def test_a_folder_that_cannot_be_written_keeps_nothing(tmp_path):
  (tmp_path / 'file').touch()
  kept = Kept(tmp_path / 'file' / 'folder', '')
  kept.keep('key', compiled())
  assert kept.find('key') is None


def test_the_state_and_batch_of_a_device_are_counted():
  config = digits.get_config()
  config.batch_size = 8
  programs = lower(config, jax.devices()[:1])
  # 8 images of 28 x 28 numbers, labels and weights of 4 bytes each.
  assert programs.batch == 8 * 4 * (28 * 28 + 1 + 1)
  assert 'stablehlo.dot_general' in programs.evaluation.as_text()


def test_an_evaluation_has_all_outputs_where_a_step_has_some():
  config = kinetics.get_config()
  config.batch_size = 2
  config.encoder.self_attends_per_block = 1
  programs = lower(config, jax.devices()[:1])
  update, evaluation = (
    jax.tree.leaves(program.args_info[0])
    for program in (programs.update, programs.evaluation)
  )
  assert len(update) > len(evaluation)
  _, found = programs.evaluation.out_info
  kept = found.kept['metrics']
  # An error of each example, over all its pixels.
  assert kept['image'].shape[-1] == 2


def test_an_evaluation_knows_the_recordings_of_its_clips():
  config = audioset.get_config()
  config.batch_size = 2
  config.encoder.self_attends_per_block = 1
  programs = lower(config, jax.devices()[:1])
  _, found = programs.evaluation.out_info
  kept = found.kept['metrics']
  assert kept['recording'].shape[-1] == 2


def test_a_model_without_a_loss_is_one_line():
  with pytest.raises(ValueError, match="'entity_encoding' has a model but no"):
    lower(starcraft.get_config(), jax.devices()[:1])


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


def test_the_extras_that_messages_name_are_there():
  setup = (ROOT / 'setup.py').read_text()
  assert "'preflight-tpu': ['jax[tpu]']" in setup
  assert "'preflight-gpu': ['jax[cuda13-local]']" in setup


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
