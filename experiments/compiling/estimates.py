"""What compiled programs say of a run: memory, times, collectives."""

from collections.abc import Mapping
from typing import Any

import ml_collections

from experiments.compiling.ahead import Programs
from experiments.compiling.compilation import Compiled
from experiments.compiling.costs import (
  KERNELS,
  KINDS,
  Costs,
  Exchange,
  Kernel,
  count_costs,
)
from experiments.compiling.hlo import parse
from experiments.compiling.topologies import Topology

COLLECTIVES = 'collectives'
_MOST_PARTS = 10
_SECONDS_OF_A_DAY = 86_400
# Of a group of n devices, each sends so many times the bytes of the whole array
# in the usual algorithms, rings among them.
_SENT = {
  'all-reduce': lambda n: 2 * (n - 1) / n,
  'collective-permute': lambda n: 1.0,
}


def estimate(
  config: ml_collections.ConfigDict,
  topology: Topology,
  programs: Programs,
  update: Compiled,
  evaluation: Compiled,
  *,
  operations: int,
) -> dict[str, Any]:
  """Returns what the command prints.

  Args:
    config: of the run.
    topology: that it was compiled for.
    programs: that were compiled.
    update: of a step, compiled.
    evaluation: of a batch, compiled.
    operations: of one example's forward pass, as in the papers.
  """
  share = config.batch_size // topology.num_devices
  # As the papers count: a gradient is two forward passes more.
  least = 3 * operations * share / topology.hardware.rate
  found = {
    'topology': topology.name,
    'hardware': topology.description(),
    'settings': settings(config),
    'batch': {
      'global': config.batch_size,
      'devices': topology.num_devices,
      'per_device': share,
    },
    'fits': update.fits and evaluation.fits,
    'memory': {
      **_memory(update, programs),
      'usable': int(topology.hardware.memory),
      'evaluation_peak': evaluation.peak,
    },
    'operations': {'as_in_the_papers': operations, 'least_seconds': least},
    'compile_seconds': {
      'update': update.seconds,
      'evaluation': evaluation.seconds,
    },
    'train_steps': config.train_steps,
  }
  if not update.text:
    return found
  step = _times(count_costs(parse(update.text)), topology)
  if step['seconds'] is not None:
    seconds = step['seconds']
    step['examples_per_second'] = config.batch_size / seconds
    step['share_of_peak'] = least / seconds
    found['days'] = config.train_steps * seconds / _SECONDS_OF_A_DAY
  found['step'] = step
  if evaluation.text:
    costs = _times(count_costs(parse(evaluation.text)), topology)
    found['evaluation'] = {'seconds': costs['seconds']}
  return found


def settings(config: ml_collections.ConfigDict) -> dict[str, Any]:
  """Returns what of a config decides how its steps are computed."""
  return {
    'compute_dtype': config.compute_dtype,
    'rematerialize': config.get('encoder', {}).get('rematerialize'),
    'microbatches': config.microbatches,
    'parallelism': dict(config.parallelism),
  }


def seconds_of(compiled: Compiled, topology: Topology) -> float | None:
  """Returns the estimated seconds of a program; None where nobody says."""
  return _times(count_costs(parse(compiled.text)), topology)['seconds']


def _memory(update: Compiled, programs: Programs) -> dict[str, int]:
  return {
    'peak': update.peak,
    'state': programs.state,
    'batch': programs.batch,
    'temporaries': max(update.peak - programs.state - programs.batch, 0),
  }


def _times(costs: Costs, topology: Topology) -> dict[str, Any]:
  """Seconds of a program, or None of what the compiler does not estimate."""
  clock = getattr(topology.hardware, 'clock', None)
  exchanges = sorted(
    (
      _exchange(exchange, nbytes, times, topology)
      for exchange, (nbytes, times) in costs.exchanges.items()
    ),
    key=lambda row: -row['bytes'],
  )
  sent = sum(row['seconds'] for row in exchanges)
  found = {
    'seconds': None,
    'exchanged_bytes': sum(row['bytes'] for row in exchanges),
    'exchanges': exchanges,
    'calls_without_estimate': costs.calls,
  }
  if clock is None or not costs.cycles:
    return found | {'parts': {COLLECTIVES: sent}}
  parts = {
    name: {kind: cycles / clock for kind, cycles in kinds.items()}
    for name, kinds in costs.parts.items()
  }
  for kernel in costs.kernels:
    kinds = parts.setdefault(kernel.part, {})
    kinds[KERNELS] = kinds.get(KERNELS, 0.0) + _kernel(kernel, topology)
  sums = {
    kind: sum(kinds.get(kind, 0.0) for kinds in parts.values())
    for kind in KINDS
  }
  computing = sum(sums.values())
  return found | {
    'seconds': computing + sent,
    'parts': {k: v for k, v in sums.items() if v} | {COLLECTIVES: sent},
    'dearest': _dearest(parts, computing + sent),
  }


def _dearest(
  parts: Mapping[str, Mapping[str, float]], seconds: float
) -> list[dict[str, Any]]:
  rows = [
    {
      'part': name,
      'seconds': sum(kinds.values()),
      'share': sum(kinds.values()) / seconds,
      'kinds': dict(kinds),
    }
    for name, kinds in parts.items()
  ]
  return sorted(rows, key=lambda row: -row['seconds'])[:_MOST_PARTS]


def _kernel(kernel: Kernel, topology: Topology) -> float:
  """Seconds of a kernel, by its operations and bytes."""
  hardware = topology.hardware
  return max(
    kernel.operations / ((hardware.kernel_share or 1.0) * hardware.rate),
    kernel.moved / hardware.bandwidth,
  )


def _exchange(
  exchange: Exchange, nbytes: int, times: int, topology: Topology
) -> dict[str, Any]:
  """What a collective moves, and how long that takes over the links.

  All devices send at the same time, and nothing is computed meanwhile.
  """
  members = exchange.group or range(topology.num_devices)
  number, rate = len(members), topology.exchange_rate(members)
  if exchange.is_between_slices:
    # The sum within a slice is done; one device of each slice takes part.
    number = topology.slices
    rate = topology.hardware.network
  sent = _SENT.get(exchange.operation, lambda n: (n - 1) / n)(number)
  return {
    'operation': exchange.operation,
    'shapes': exchange.shapes,
    'part': exchange.part,
    'devices': number,
    'between_slices': exchange.is_between_slices,
    'bytes': nbytes,
    'times': times,
    'seconds': 0.0 if number == 1 else nbytes * sent / rate,
  }
