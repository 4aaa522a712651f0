"""Compiles a config for TPUs or GPUs that are not here: does it fit, how fast.

  python -m experiments.preflight --config=experiments/configs/imagenet.py \\
    --topology=v4-32
  python -m experiments.preflight --config=... --topology=v4-8 --fit
  python -m experiments.preflight --config=... --topology=v4-8 --memory
  python -m experiments.preflight --config=... --topology=h100:8 --json

Update and evaluation are compiled as they would be on the devices, by the same
compiler, on any machine; that takes minutes, and what was compiled before is
kept. What is printed is estimated by the compiler: memory is what it has
planned, times are what its scheduler takes instructions to need, without
waiting for data or for other devices. For GPUs it estimates no times.

Topologies: v4:2x2x4 or v4-32, also v3, v5e (v5litepod-16), v5p, v6e; 2*v4:2x2x4
for two slices; h100:8, h200:8, h200:8x2 for two hosts. It takes the compiler of
the installed jax: pip install 'perceiver-haiku[preflight-tpu]', or
[preflight-gpu], best in an environment of its own.
"""

import sys
from typing import Any

import ml_collections
from absl import flags

from experiments.compiling import fitting, page
from experiments.compiling.ahead import (
  Compiler,
  installed_compiler,
)
from experiments.compiling.compilers import notes, use_cpu
from experiments.compiling.estimates import estimate
from experiments.compiling.stages import Stages
from experiments.compiling.topologies import Topology, find_topology
from experiments.compiling.trials import fit
from experiments.host import command_line
from experiments.host.compilation_cache import chosen_folder
from experiments.host.output import print_result
from experiments.measuring.forward_pass import forward_operations
from experiments.runs.experiment import bind

_TOPOLOGY = flags.DEFINE_string(
  'topology',
  None,
  'Devices to compile for, such as v4:2x2x4, v4-32, v5e-16, 2*v4-32, h100:8.',
)
_SLICES = flags.DEFINE_integer(
  'slices', 1, 'Slices of such TPUs, with a network between them.'
)
_FIT = flags.DEFINE_bool(
  'fit',
  False,
  'Look for the dtype, rematerialisation, shards and microbatches with which '
  'it fits and is fastest.',
)
_MEMORY = flags.DEFINE_bool(
  'memory',
  False,
  'Tell only whether it fits, by the least it needs; seconds, not minutes, '
  'for TPUs.',
)


def preflight(
  config: ml_collections.ConfigDict,
  topology: Topology,
  compiler: Compiler,
  *,
  memory_only: bool = False,
) -> dict[str, Any]:
  """Returns what the compiler estimates of a config, see `page.render`.

  Args:
    config: of an experiment; its data need not be there.
    topology: to compile for.
    compiler: for it.
    memory_only: whether to stop when the memory is known.

  Raises:
    ValueError: the config is wrong, or its batch cannot be divided.
  """
  programs = compiler.lower(config)
  ask = compiler.memory if memory_only else compiler.whole
  return estimate(
    config,
    topology,
    programs,
    ask(programs.update, 'Compiling the update'),
    ask(programs.evaluation, 'Compiling the evaluation'),
    operations=forward_operations(bind(config, None).task),
  )


def _command(flags_of_setting: list[str], topology: Topology) -> str:
  """The command that trains with a setting, and with --config.KEYs as given."""
  changed = {flag.partition('=')[0] for flag in flags_of_setting}
  if '--config.parallelism.name=pmap' in flags_of_setting:
    changed |= {'--config.parallelism.shards', '--config.parallelism.name'}
  given = [
    argument
    for argument in sys.argv[1:]
    if argument.startswith('--config.')
    and argument.partition('=')[0] not in changed
  ]
  hosts = {device.process_index for device in topology.devices()}
  words = [
    'python -m experiments.train',
    f'--config={command_line.config_file()}',
    *given,
    *flags_of_setting,
    *(['--multihost=auto'] if len(hosts) > 1 else []),
  ]
  return ' \\\n    '.join(words)


def main() -> None:
  """Prints what the compiler says of --config on --topology."""
  use_cpu()
  if _TOPOLOGY.value is None:
    raise ValueError(
      'Name the devices by --topology, such as --topology=v4-32 or h100:8.'
    )
  topology = find_topology(_TOPOLOGY.value, _SLICES.value)
  config = command_line.config()
  stages = Stages()
  folder = chosen_folder()
  compiler, versions = installed_compiler(
    topology, stages, folder and folder / 'preflight'
  )
  result: dict[str, Any] = {
    'config': command_line.config_name() or command_line.workdir().name,
    'estimated_by': versions,
  }
  result['notes'] = notes(topology)
  own = fitting.own_setting(config)
  if _FIT.value:
    tried = fit(config, topology, compiler, stages)
    result['tried'] = [page.tried_row(each) for each in tried]
    if not tried[0].memory.fits:
      raise ValueError(page.nothing_fits(tried, topology))
    config = fitting.with_setting(config, tried[0].setting)
  result |= preflight(config, topology, compiler, memory_only=_MEMORY.value)
  if _FIT.value and command_line.CONFIG.value is not None:
    result['command'] = _command(
      fitting.flags_of(tried[0].setting, own), topology
    )
  print_result(result, page.render)


if __name__ == '__main__':
  command_line.run(main)
