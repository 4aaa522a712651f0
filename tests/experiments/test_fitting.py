"""The search for settings that fit, with a compiler that is made up."""

import pathlib
import types

import pytest

from experiments.compiling import fitting, page
from experiments.compiling.compilation import Compiled, CompilerFailure
from experiments.compiling.fitting import Memory, Setting
from experiments.compiling.stages import Stages
from experiments.compiling.topologies import find_topology
from experiments.compiling.trials import fit
from experiments.configs import digits

GIB = 2**30
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
  text = page.nothing_fits(tried, find_topology('v5e-4'))
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


class MadeUpCompiler:
  """A program is its config; the state is of 2 GiB, divided or not."""

  hlo = pathlib.Path(__file__).parent / 'hlo' / 'tpu.txt'

  def __init__(self):
    self.asked = []

  def lower(self, config):
    self.asked.append(fitting.own_setting(config))
    return types.SimpleNamespace(update=config, evaluation=None, state=2 * GIB)

  def memory(self, config, name):
    del name
    if config is None:  # The evaluation.
      return Compiled(True, GIB, 0, '', 1.0)
    state = 2 / config.parallelism.get('shards', 1)
    kept = {'none': 60, 'elementwise': 40, 'layers': 20}
    kept = kept[config.encoder.rematerialize] / config.microbatches
    return Compiled(state + kept < 15, int((state + kept) * GIB), 0, '', 1.0)

  def whole(self, config, name):
    return self.memory(config, name)._replace(text=self.hlo.read_text())


class FailingCompiler(MadeUpCompiler):
  """Gives up on whole batches."""

  def memory(self, config, name):
    if config is not None and config.microbatches == 1:
      raise CompilerFailure('The compiler fails: INVALID_ARGUMENT')
    return super().memory(config, name)


def test_a_compiler_that_fails_is_asked_for_something_else(capsys):
  config = digits.get_config()
  config.compute_dtype, config.microbatches = 'bfloat16', 1
  config.parallelism = dict(name='pmap')
  topology = find_topology('v5e-4')
  tried = fit(config, topology, FailingCompiler(), Stages())
  assert tried[0].memory.fits and tried[0].setting.microbatches > 1
  failed = [each for each in tried if each.memory.peak is None]
  assert {each.setting.microbatches for each in failed} == {1}
  assert not any(each.memory.fits for each in failed)
  assert 'The compiler fails: INVALID_ARGUMENT' in capsys.readouterr().err
  text = page.nothing_fits(failed, topology)
  assert text.startswith('The compiler for v5e-4')


def test_a_state_that_is_large_is_divided_too(capsys):
  config = digits.get_config()
  config.compute_dtype, config.microbatches = 'bfloat16', 1
  config.parallelism = dict(name='pmap')
  compiler = MadeUpCompiler()
  tried = fit(config, find_topology('v5e-4'), compiler, Stages())
  # 2 GiB are more than 5 % of a v5e; divided by 4, two microbatches suffice.
  sharded = Setting('bfloat16', 'layers', 4, 2)
  assert sharded in compiler.asked
  assert Memory(int(10.5 * GIB), True) in [
    each.memory for each in tried if each.setting == sharded
  ]
  assert tried[0].memory.fits and tried[0].seconds > 0
  said = capsys.readouterr().err
  assert 'Trying bfloat16, rematerialize none, pmap, 1 microbatch' in said
  assert '62.00 GiB: does not fit' in said
