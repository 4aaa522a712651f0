"""Tries settings of a config on a topology, with its compiler."""

from collections.abc import Sequence

import ml_collections

from experiments.compiling import fitting
from experiments.compiling.ahead import Compiler, Programs
from experiments.compiling.compilation import Compiled, CompilerFailure
from experiments.compiling.estimates import seconds_of
from experiments.compiling.fitting import Memory, Setting
from experiments.compiling.stages import Stages
from experiments.compiling.topologies import Topology

# A state that takes less of the memory is not worth dividing.
_SMALL_STATE = 0.05
_MOST_WHOLE = 3
_GIB = 2**30


def fit(
  config: ml_collections.ConfigDict,
  topology: Topology,
  compiler: Compiler,
  stages: Stages,
) -> list[fitting.Tried]:
  """Tries settings; see `fitting.search`.

  Args:
    config: whose settings are changed.
    topology: to fit.
    compiler: for it.
    stages: where it says what it tries.

  Raises:
    ValueError: the config is wrong, or its batch cannot be divided.
  """
  own = fitting.own_setting(config)
  # The whole state on each device, for what it takes.
  whole = own._replace(microbatches=1, shards=None)
  state = compiler.lower(fitting.with_setting(config, whole)).state
  is_small = state < _SMALL_STATE * topology.hardware.memory
  settings = fitting.families(
    own,
    1 if is_small else topology.num_neighbours,
    takes_dtypes=config.get('baseline', {}).get('name') != 'resnet',
  )
  return try_settings(
    settings, config, topology, compiler, stages, most_whole=_MOST_WHOLE
  )


def try_settings(
  settings: Sequence[Setting],
  config: ml_collections.ConfigDict,
  topology: Topology,
  compiler: Compiler,
  stages: Stages,
  *,
  most_whole: int,
  fewest: int = 1,
) -> list[fitting.Tried]:
  """Tries some settings with the fewest microbatches; see `fitting.search`.

  Args:
    settings: whose microbatches do not matter.
    config: whose settings are changed.
    topology: to fit.
    compiler: for it.
    stages: where it says what it tries.
    most_whole: settings to compile to the end at the most.
    fewest: microbatches to begin with.

  Raises:
    ValueError: the config is wrong, or its batch cannot be divided.
  """
  trials = _Trials(config, topology, compiler, stages)
  examples = config.batch_size // topology.num_devices
  return fitting.search(
    settings,
    [n for n in fitting.possible_microbatches(examples) if n >= fewest],
    trials.memory_of,
    trials.seconds_of,
    most_whole=most_whole,
  )


class _Trials:
  """Asks a compiler, and says what it answers."""

  def __init__(
    self,
    config: ml_collections.ConfigDict,
    topology: Topology,
    compiler: Compiler,
    stages: Stages,
  ):
    self._config = config
    self._topology = topology
    self._compiler = compiler
    self._stages = stages

  def memory_of(self, setting: Setting) -> Memory:
    """Returns what update and evaluation need."""
    programs = self._lower(setting)
    ask = self._compiler.memory
    try:
      compiled = ask(programs.update, 'Memory of the update')
      memory = self._memory(compiled)
      if memory.fits:
        evaluation = ask(programs.evaluation, 'Memory of the evaluation')
        memory = self._memory(max(compiled, evaluation, key=lambda x: x.peak))
    except CompilerFailure as failure:
      return self._failed(failure)
    fits = 'fits' if memory.fits else 'does not fit'
    self._stages.note(f'  {memory.peak / _GIB:,.2f} GiB: {fits}')
    return memory

  def seconds_of(self, setting: Setting) -> tuple[Memory, float | None]:
    """Returns the memory and the time of an update."""
    update = self._lower(setting).update
    try:
      compiled = self._compiler.whole(update, 'Compiling the update')
    except CompilerFailure as failure:
      return self._failed(failure), None
    memory = self._memory(compiled)
    if not memory.fits:
      self._stages.note('  does not fit, compiled to the end')
      return memory, None
    seconds = seconds_of(compiled, self._topology)
    if seconds is not None:
      self._stages.note(f'  {seconds:,.3f} s a step')
    return memory, seconds

  def _failed(self, failure: CompilerFailure) -> Memory:
    # Another setting may be none of its problems.
    self._stages.note(f'  {failure}')
    return Memory(None, fits=False)

  def _memory(self, compiled: Compiled) -> Memory:
    most = fitting.MOST_MEMORY * self._topology.hardware.memory
    return Memory(compiled.peak, compiled.fits and compiled.peak <= most)

  def _lower(self, setting: Setting) -> Programs:
    self._stages.note(f'Trying {fitting.setting_text(setting)}')
    return self._compiler.lower(fitting.with_setting(self._config, setting))
