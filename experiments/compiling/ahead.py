"""The programs of a config, for devices that are not here."""

import math
import pathlib
from typing import Any, NamedTuple

import jax
import ml_collections

from experiments.compiling.compilation import (
  Compiled,
  Kept,
  compile_program,
)
from experiments.compiling.compilers import check_installed, effort
from experiments.compiling.stages import Stages
from experiments.compiling.topologies import GpuHosts, Topology
from experiments.data.dataset import (
  array_spec,
  batch_spec,
  evaluation_example,
)
from experiments.host.configuration import choose
from experiments.runs.evaluation import collect_of
from experiments.runs.experiment import (
  bind,
  check_run_options,
  settled,
  spike_guard,
  update_of,
)
from experiments.stepping.parallelism import (
  PARALLELISMS,
  device_bytes,
)
from experiments.stepping.steps import make_evaluation
from experiments.stepping.train_state import state_shapes

# A limit that every program exceeds: it ends a compilation for TPUs as soon as
# its memory is planned, and the refusal says how much that is.
_STOP_EARLY = {'xla_tpu_max_hbm_size_mib': '16'}


class Programs(NamedTuple):
  """What a config's runs consist of, lowered for devices of a topology.

  Attributes:
    update: of a step.
    evaluation: of a batch.
    state: bytes of the train state on each device.
    batch: bytes of its part of the batch.
  """

  update: jax.stages.Lowered
  evaluation: jax.stages.Lowered
  state: int
  batch: int


class Compiler:
  """Lowers and compiles programs of configs for one topology."""

  def __init__(self, topology: Topology, kept: Kept, stages: Stages):
    """Takes what it says on the way to, and where results are kept.

    Args:
      topology: to compile for.
      kept: compilations of earlier calls.
      stages: what it says meanwhile.
    """
    self._topology = topology
    self._devices = topology.devices()
    self._kept = kept
    self._stages = stages

  def lower(self, config: ml_collections.ConfigDict) -> Programs:
    """Returns the programs of a config.

    Raises:
      ValueError: the config is wrong, or its batch cannot be divided.
    """
    with self._stages.stage('Tracing update and evaluation'):
      return lower(config, self._devices)

  def whole(self, program: jax.stages.Lowered, name: str) -> Compiled:
    """Compiles a program to its end.

    Args:
      program: of `lower`.
      name: of it, for people.
    """
    compiled = self._compile(program, name, {})
    # Compilers for GPUs do not mind.
    fits = compiled.fits and compiled.peak <= self._topology.hardware.memory
    return compiled._replace(fits=fits)

  def memory(self, program: jax.stages.Lowered, name: str) -> Compiled:
    """Compiles a program as far as its memory is known.

    For TPUs that is a tenth of the time. It is about the least that the program
    can do with: a compiler that is short of memory computes again what it would
    keep otherwise. Of ImageNet's step in loops it was right to 12 %.

    Args:
      program: of `lower`.
      name: of it, for people.
    """
    if isinstance(self._topology, GpuHosts):
      return self.whole(program, name)
    compiled = self._compile(program, name, _STOP_EARLY)
    fits = compiled.peak <= self._topology.hardware.memory
    return compiled._replace(fits=fits)

  def _compile(
    self, program: jax.stages.Lowered, name: str, options: dict[str, str]
  ) -> Compiled:
    key = self._kept.key(program, options, self._topology.name)
    compiled = self._kept.find(key)
    if compiled is not None:
      self._stages.note(f'{name}: compiled before, in {compiled.seconds:.0f} s')
      return compiled
    with self._stages.stage(name):
      compiled = compile_program(program, options)
    self._kept.keep(key, compiled)
    return compiled


def installed_compiler(
  topology: Topology, stages: Stages, folder: pathlib.Path | None
) -> tuple[Compiler, str]:
  """Returns the compiler that is installed here, and its version and effort.

  Args:
    topology: to compile for.
    stages: what it says meanwhile.
    folder: of compilations of earlier calls; None keeps none.

  Raises:
    ValueError: it is not installed, or not in the version that jax asks for.
  """
  versions = f'jax {jax.__version__}, {check_installed(topology)}'
  kept = Kept(folder, versions)
  return Compiler(topology, kept, stages), versions + effort()


def lower(
  config: ml_collections.ConfigDict, devices: list[jax.Device]
) -> Programs:
  """Lowers the programs of a config for some devices.

  Args:
    config: of an experiment; its data need not be there.
    devices: that need not be here.

  Raises:
    ValueError: the config is wrong, or its batch cannot be divided.
  """
  config, _ = settled(config, None)
  check_run_options(config, len(devices))
  binding = bind(config, None)
  task = binding.task
  if task.loss_function is None:
    raise ValueError(
      f'The task {config.task!r} has a model but no loss: there are no steps '
      'to compile; experiments.describe tells what the model takes.'
    )
  weight = {'weight': array_spec()}
  shapes = state_shapes(
    task.model,
    binding.optimizer,
    batch_spec(task.data.example, 1),
    has_ema=config.ema_decay > 0.0,
    has_spikes=spike_guard(config) is not None,
  )
  global_batch = batch_spec(task.data.example | weight, config.batch_size)
  held_out = batch_spec(
    evaluation_example(task.data) | weight, config.batch_size
  )
  way = choose('parallelism', PARALLELISMS, config.parallelism, devices)
  state = way.template(shapes)
  batch = way.batch_template(global_batch)
  update = update_of(config, binding, way.collectives)
  evaluation = make_evaluation(
    task.model,
    task.loss_function,
    collect_of(task),
    collectives=way.collectives,
    microbatches=config.microbatches,
  )
  return Programs(
    way.update(update).lower(state, batch),
    way.evaluation(evaluation).lower(
      state.params, state.state, way.batch_template(held_out)
    ),
    device_bytes(state),
    _bytes(global_batch) // len(devices),
  )


def _bytes(tree: Any) -> int:
  return sum(
    math.prod(x.shape) * x.dtype.itemsize for x in jax.tree.leaves(tree)
  )
