"""What a run says of itself before it starts."""

import json
import math
import pathlib
from collections import defaultdict
from typing import Any

import haiku as hk
import jax
import ml_collections

from experiments.experiment import Experiment


def describe_run(
  config: ml_collections.ConfigDict,
  experiment: Experiment,
  workdir: pathlib.Path,
) -> str:
  """Returns parameters by module, devices, batch sizes and the plan."""
  dataset = experiment.dataset
  devices = jax.device_count()
  epochs = config.train_steps * config.batch_size / len(dataset.train)
  return '\n'.join(
    [
      parameter_table(experiment.template.params),
      f'Devices: {devices} x {jax.devices()[0].device_kind}; batch of '
      f'{config.batch_size}, {config.batch_size // devices} a device.',
      f'Data: {len(dataset.train):,} training and '
      f'{len(dataset.evaluation):,} held-out examples of '
      f'{experiment.task.data.num_classes} classes.',
      f'Plan: {config.train_steps:,} steps ({epochs:.1f} epochs), evaluation '
      f'every {config.eval_every:,}, checkpoint every '
      f'{config.checkpoint_every:,}.',
      f'Workdir: {workdir.absolute()}',
    ]
  )


def parameter_table(params: hk.Params) -> str:
  """Returns a line a module, two levels deep, and the total."""
  sizes = parameter_sizes(params, depth=2)
  width = max(map(len, sizes))
  rows = [f'  {name:<{width}}  {size:>12,}' for name, size in sizes.items()]
  return '\n'.join(['Parameters:', *rows])


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
  config: ml_collections.ConfigDict, path: pathlib.Path
) -> list[str]:
  """Returns a line for each value that differs from an earlier config.json."""
  if not path.exists():
    return []
  before = _flatten(json.loads(path.read_text()))
  after = _flatten(json.loads(config.to_json()))
  return [
    f'{key}: {before.get(key)} before, {after.get(key)} now'
    for key in sorted(before.keys() | after.keys())
    if before.get(key) != after.get(key)
  ]


def _flatten(tree: Any, prefix: str = 'config') -> dict[str, Any]:
  if not isinstance(tree, dict):
    return {prefix: tree}
  flat = {}
  for key, value in tree.items():
    flat.update(_flatten(value, f'{prefix}.{key}'))
  return flat
