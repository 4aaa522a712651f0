"""Prints docs/scaling.md: `python -m docs.make_scaling > docs/scaling.md`.

All of its tables but the first are computed from shapes: operations of a step
as it is traced, bytes as `experiments.describe` counts them. Nothing is
compiled, and nothing runs on the devices that it speaks of.
"""

import importlib
from collections.abc import Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp

from docs.scaling_text import HEAD, NOTES
from experiments.data.dataset import batch_spec
from experiments.measuring.memory import activation_bytes
from experiments.measuring.operations import count_operations
from experiments.runs.experiment import bind
from experiments.stepping.parallelism import Replicated, Sharded, device_bytes
from experiments.stepping.train_state import state_shapes

CONFIGS = (
  ('imagenet', 'fourier'),
  ('imagenet_io', 'fourier'),
  ('language', 'bytes'),
  ('flow', 'patches'),
)
REMATERIALIZATIONS = ('none', 'elementwise', 'layers')
DEVICES = (1, 8, 16, 32)
_GIB = 2**30


class Costs(NamedTuple):
  """What a step of a config costs.

  Attributes:
    name: of the config.
    state: bytes of the train state on each device, by (parallelism, devices).
    operations: of a step, one example, by rematerialisation.
    activations: bytes kept of one example, likewise.
  """

  name: str
  state: dict[tuple[str, int], int]
  operations: dict[str, int]
  activations: dict[str, int]


def costs_of(name: str, variant: str) -> Costs:
  """Counts what a step of a published config costs, in bfloat16.

  Args:
    name: of its file.
    variant: of the config.
  """
  operations, activations = {}, {}
  for rematerialize in REMATERIALIZATIONS:
    config = _get_config(name, variant)
    config.encoder.rematerialize = rematerialize
    loss, params, inputs = _loss(config)
    activations[rematerialize] = activation_bytes(loss, params, *inputs)
    counts = count_operations(jax.value_and_grad(loss), params, *inputs)
    operations[rematerialize] = sum(counts.values())
  config = _get_config(name, variant)
  return Costs(
    f'{name}:{variant}',
    _state(config),
    operations,
    activations,
  )


def _get_config(name: str, variant: str):
  module = importlib.import_module(f'experiments.configs.{name}')
  config = module.get_config(variant)
  config.compute_dtype = 'bfloat16'
  return config


def _loss(config):
  """A loss of one example, and the shapes of what it takes."""
  task, _, optimizer = bind(config, None)
  batch = batch_spec(task.data.example, 1)
  shapes = state_shapes(task.model, optimizer, batch)

  def loss(params, state, batch):
    predictions, _ = task.model.apply(
      params, state, jax.random.key(0), batch, is_training=True
    )
    # As in `experiments.describe`: any loss will do.
    return sum(jnp.square(x).sum() for x in jax.tree.leaves(predictions))

  return loss, shapes.params, (shapes.state, batch)


def _state(config) -> dict[tuple[str, int], int]:
  task, _, optimizer = bind(config, None)
  batch = batch_spec(task.data.example, 1)
  shapes = state_shapes(task.model, optimizer, batch)
  sizes = {
    ('sharded', devices): device_bytes(Sharded(shards=devices).template(shapes))
    for devices in DEVICES
  }
  replicated = device_bytes(Replicated().template(shapes))
  return sizes | {('pmap', devices): replicated for devices in DEVICES}


def state_rows(costs: Costs) -> Iterator[str]:
  """Yields the line of a config in the table of train states."""
  sharded = [_gib(costs.state['sharded', n]) for n in DEVICES]
  yield _line(costs.name, _gib(costs.state['pmap', 1]), *sharded[1:])


def example_rows(costs: Costs) -> Iterator[str]:
  """Yields the lines of a config in the table of one example."""
  for form in REMATERIALIZATIONS:
    yield _line(
      costs.name,
      form,
      f'{costs.operations[form] / 1e12:,.2f}',
      f'{costs.activations[form] / 2**20:,.0f}',
    )


def _gib(size: float) -> str:
  return f'{size / _GIB:,.2f}'


def _line(*cells: str) -> str:
  return f'| {" | ".join(cells)} |'


def main() -> None:
  """Prints the page."""
  jax.config.update('jax_platforms', 'cpu')
  jax.config.update('jax_num_cpu_devices', max(DEVICES))
  every = [costs_of(*config) for config in CONFIGS]
  tables = {
    'state': state_rows,
    'example': example_rows,
  }
  text = {
    name: '\n'.join(line for costs in every for line in rows(costs))
    for name, rows in tables.items()
  }
  print(HEAD, end='')
  print(NOTES.format(**text), end='')


if __name__ == '__main__':
  main()
