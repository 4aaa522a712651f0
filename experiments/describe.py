"""Describes the model of a config; nothing is computed or allocated.

  python -m experiments.describe --config=experiments/configs/imagenet.py
  python -m experiments.describe --config=... --devices=64 --json

Operations are multiplications and additions of one example's forward pass.
Those 'as in the papers' project keys and values plainly; 'as run' are those of
the cheaper form of attention that is chosen here. Memory is that of a training
step on one device: what the forward pass keeps for the gradient, and the
replicated train state. A compiler may need less or more: what those of TPUs and
GPUs plan, `experiments.preflight` tells.
"""

import math
from typing import Any

import haiku as hk
import jax
import jax.numpy as jnp
import ml_collections
from absl import flags

from experiments.baselines.resnet import ResNet
from experiments.baselines.transformer import Transformer
from experiments.baselines.vit import VisionTransformer
from experiments.data.dataset import all_outputs, batch_spec
from experiments.host import command_line
from experiments.host.output import print_result
from experiments.measuring.memory import activation_bytes, state_bytes
from experiments.measuring.operations import count_forward, sum_parts
from experiments.runs.experiment import bind
from experiments.runs.summary import count_table, parameter_sizes
from experiments.stepping.train_state import Batch, init_shapes, state_shapes
from experiments.tasks.task import Task
from perceiver_jax.decoder import AveragePool, Decoder
from perceiver_jax.encoder import Encoder
from perceiver_jax.portability import plain_forms

_Baseline = ResNet | Transformer | VisionTransformer
_DEVICES = flags.DEFINE_integer(
  'devices', None, 'Devices that share the batch. Default: those here.'
)


def describe(
  config: ml_collections.ConfigDict, num_devices: int
) -> dict[str, Any]:
  """Returns what the command prints.

  Args:
    config: of an experiment; its data need not be there.
    num_devices: that share the batch.

  Raises:
    ValueError: the config is wrong, or devices do not divide the batch.
  """
  if num_devices < 1 or config.batch_size % num_devices:
    raise ValueError(
      f'batch_size = {config.batch_size} cannot be divided among '
      f'{num_devices} devices.'
    )
  task, _, optimizer = bind(config, None)
  one, share = (
    batch_spec(task.data.example, size)
    for size in (1, config.batch_size // num_devices)
  )
  train_state = state_shapes(task.model, optimizer, one)
  params, state = train_state.params, train_state.state
  return {
    'parameters': parameter_sizes(params, depth=3),
    **_sizes(task, one),
    'operations': _operations(task, params, state, one),
    'batch': {
      'global': config.batch_size,
      'devices': num_devices,
      'per_device': config.batch_size // num_devices,
    },
    'bytes_per_device': {
      'activations': _activations(task, params, state, share),
      'train_state': state_bytes(train_state),
    },
  }


def _sizes(task: Task, batch: Batch) -> dict[str, Any]:
  """Shapes of byte array, latents and outputs, without the batch axis."""
  sizes = {}

  def record(call, args, kwargs, context):
    result = call(*args, **kwargs)
    if context.method_name == '__call__':
      if isinstance(context.module, Encoder | _Baseline):
        features = args[0].features.shape[1:-1]
        sizes['inputs'] = [*features, args[0].num_channels]
      if isinstance(context.module, Encoder):
        sizes['latents'] = list(result.shape[1:])
      if isinstance(context.module, _Baseline):
        sizes['outputs'] = list(result.shape[1:])
      if isinstance(context.module, Decoder):
        sizes['queries'] = list(args[0].shape[1:])
        sizes['outputs'] = list(result.shape[1:])
      if isinstance(context.module, AveragePool):
        sizes['outputs'] = list(result.shape[1:])
    return result

  # At this time all outputs are decoded at once.
  with hk.intercept_methods(record):
    init_shapes(task.model, all_outputs(batch))
  return sizes


def _operations(
  task: Task, params: hk.Params, state: hk.State, batch: Batch
) -> dict[str, Any]:
  every = all_outputs(batch)
  with plain_forms():
    parts = count_forward(task.model, params, state, every)
  as_run = count_forward(task.model, params, state, every)
  operations = {
    'as_in_the_papers': sum(parts.values()),
    'as_run': sum(as_run.values()),
    'parts': sum_parts(_without_model(parts), 2),
  }
  if 'output_points' in batch:
    with plain_forms():
      some = count_forward(task.model, params, state, batch)
    operations['as_in_the_papers_with_points'] = sum(some.values())
  return operations


def _without_model(parts: dict[str, int]) -> dict[str, int]:
  """Takes the name of the model, first in all paths, off them."""
  counts: dict[str, int] = {}
  for path, count in parts.items():
    name = path.partition('/')[2] or path
    counts[name] = counts.get(name, 0) + count
  return counts


def _activations(
  task: Task, params: hk.Params, state: hk.State, batch: Batch
) -> int:
  def loss(params: hk.Params, state: hk.State, batch: Batch):
    predictions, _ = task.model.apply(
      params, state, jax.random.key(0), batch, is_training=True
    )
    # Any loss will do: it keeps little beside the predictions.
    return sum(jnp.square(x).sum() for x in jax.tree.leaves(predictions))

  return activation_bytes(loss, params, state, batch)


def render(description: dict[str, Any]) -> str:
  """Returns the description as text."""
  operations = description['operations']
  memory, batch = description['bytes_per_device'], description['batch']
  lines = ['Shapes of one example (elements x channels):']
  for name in ('inputs', 'latents', 'queries', 'outputs'):
    if name in description:
      shape = ' x '.join(f'{size:,}' for size in description[name])
      lines.append(f'  {name:<8} {shape}')
  lines += ['Parameters:', *count_table(description['parameters'])]
  parts = {
    name or '(outside modules)': count
    for name, count in operations['parts'].items()
  }
  lines += [
    'Operations of one forward pass, multiplications and additions apart:',
    *count_table(parts),
    f'  as in the papers: {operations["as_in_the_papers"] / 1e9:,.1f} billion',
  ]
  if 'as_in_the_papers_with_points' in operations:
    some = operations['as_in_the_papers_with_points'] / 1e9
    lines.append(f'  with the outputs of training only: {some:,.1f} billion')
  lines += [
    f'  as run here: {operations["as_run"] / 1e9:,.1f} billion',
    f'Memory of a training step, {batch["per_device"]:,} of '
    f'{batch["global"]:,} examples on each of {batch["devices"]} devices:',
    f'  activations kept for the gradient: {_size(memory["activations"])}',
    f'  parameters, state and optimizer:   {_size(memory["train_state"])}',
  ]
  return '\n'.join(lines)


def _size(size: int) -> str:
  units = ('bytes', 'KiB', 'MiB', 'GiB', 'TiB')
  exponent = min(int(math.log(size, 1024)), len(units) - 1) if size else 0
  return f'{size / 1024**exponent:,.1f} {units[exponent]}'


def main() -> None:
  """Prints the description of --config."""
  devices = _DEVICES.value
  description = describe(
    command_line.config(), jax.device_count() if devices is None else devices
  )
  print_result(description, render)


if __name__ == '__main__':
  command_line.run(main)
