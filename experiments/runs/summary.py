"""What a run says of itself before it starts."""

import json
import math
import pathlib
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import haiku as hk
import jax
import ml_collections

from experiments.host.configuration import DamagedConfigError, read_config
from experiments.runs.experiment import Experiment
from experiments.stepping.parallelism import device_bytes


def describe_run(
  config: ml_collections.ConfigDict,
  experiment: Experiment,
  workdir: pathlib.Path,
) -> str:
  """Returns parameters by module, devices, batch sizes and the plan."""
  dataset = experiment.dataset
  devices = jax.device_count()
  epochs = config.train_steps * config.batch_size / len(dataset.train)
  num_classes = experiment.task.data.num_classes
  classes = '' if num_classes is None else f' of {num_classes} classes'
  validation = ''
  if dataset.validation is not None:
    validation = f'; {len(dataset.validation):,} more choose the checkpoint'
  return '\n'.join(
    [
      parameter_table(experiment.template.params),
      f'Devices: {devices} x {jax.devices()[0].device_kind}; batch of '
      f'{config.batch_size}, {config.batch_size // devices} a device; '
      f'{config.parallelism.name}, '
      f'{device_bytes(experiment.template) / 1e6:,.2f} MB of state a device.',
      f'Data: {len(dataset.train):,} training and '
      f'{len(dataset.evaluation):,} held-out examples{classes}{validation}.',
      f'Plan: {config.train_steps:,} steps ({epochs:.1f} epochs), evaluation '
      f'every {config.eval_every:,}, checkpoint every '
      f'{config.checkpoint_every:,}.',
      f'Workdir: {workdir.absolute()}',
    ]
  )


def parameter_table(params: hk.Params) -> str:
  """Returns a line a module, two levels deep, and the total."""
  return '\n'.join(
    ['Parameters:', *count_table(parameter_sizes(params, depth=2))]
  )


def count_table(counts: Mapping[str, int]) -> list[str]:
  """Returns a line for each count, numbers below each other."""
  width = max(map(len, counts))
  right = max(12, *(len(f'{count:,}') for count in counts.values()))
  return [
    f'  {name:<{width}}  {count:>{right},}' for name, count in counts.items()
  ]


def parameter_sizes(params: hk.Params, *, depth: int) -> dict[str, int]:
  """Returns the number of parameters of each module, and their 'total'.

  Args:
    params: of a model, or their shapes.
    depth: leading names of a module's path that tell modules apart.
  """
  sizes = defaultdict(int)
  for module, leaves in params.items():
    name = '/'.join(module.split('/')[:depth])
    sizes[name] += sum(math.prod(leaf.shape) for leaf in leaves.values())
  return {**sizes, 'total': sum(sizes.values())}


def describe_config_changes(
  config: ml_collections.ConfigDict, workdir: pathlib.Path
) -> list[str]:
  """Returns a line for each value that differs from that of the run there."""
  try:
    before = _flatten(_plain(read_config(workdir)))
  except FileNotFoundError:
    return []
  except DamagedConfigError:
    return ['config.json was damaged: it is now what --config says']
  after = _flatten(_plain(config))
  return [
    f'{key}: {before.get(key)} before, {after.get(key)} now'
    for key in sorted(before.keys() | after.keys())
    if before.get(key) != after.get(key)
  ]


def _plain(config: ml_collections.ConfigDict) -> dict[str, Any]:
  """As it is in config.json: a tuple is a list there."""
  return json.loads(config.to_json())


def _flatten(tree: Any, prefix: str = 'config') -> dict[str, Any]:
  if not isinstance(tree, dict):
    return {prefix: tree}
  flat = {}
  for key, value in tree.items():
    flat.update(_flatten(value, f'{prefix}.{key}'))
  return flat
