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
from experiments.experiment import bind
from experiments.measuring.memory import activation_bytes
from experiments.measuring.operations import count_operations
from experiments.parallelism import Replicated, Sharded, device_bytes
from experiments.train_state import state_shapes

CONFIGS = (
  ('imagenet', 'fourier'),
  ('imagenet_io', 'fourier'),
  ('language', 'bytes'),
  ('flow', 'patches'),
)
REMATERIALIZATIONS = ('none', 'elementwise', 'layers')
DEVICES = (1, 8, 16, 32)
_GIB = 2**30
# Of a chip's best rate. To be measured; 40 % is usual for large models.
_SHARE_OF_PEAK = 0.4
# Of a device's memory, what a step may take. The rest is for the backward
# pass, the compiler and the next batch.
_SHARE_OF_MEMORY = 0.7


class Machine(NamedTuple):
  """Devices as their makers describe them.

  Attributes:
    name: in words.
    devices: as jax counts them.
    memory: bytes of each.
    rate: bfloat16 operations a second of each, dense.
  """

  name: str
  devices: int
  memory: float
  rate: float


MACHINES = (
  Machine('TPU v4-32, 16 chips', 16, 32 * _GIB, 275e12),
  Machine('8 x H100 SXM', 8, 80e9, 989e12),
)


class Costs(NamedTuple):
  """What a step of a config costs.

  Attributes:
    name: of the config.
    batch_size: examples of a step.
    train_steps: of the published run.
    state: bytes of the train state on each device, by (parallelism, devices).
    operations: of a step, one example, by rematerialisation.
    activations: bytes kept of one example, likewise.
  """

  name: str
  batch_size: int
  train_steps: int
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
    config.batch_size,
    config.train_steps,
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


def step_rows(costs: Costs) -> Iterator[str]:
  """Yields the lines of a config in the table of steps on 1 to 32 devices."""
  form = 'elementwise'
  for devices in DEVICES:
    share = costs.batch_size // devices
    times = [
      _seconds(costs, form, machine._replace(devices=devices))
      for machine in MACHINES
    ]
    yield _line(
      costs.name,
      str(devices),
      str(share),
      _gib(share * costs.activations[form]),
      *(f'{seconds:,.2f}' for seconds in times),
    )


class Choice(NamedTuple):
  """How a config is run on a machine.

  Attributes:
    operations: of a step, one example.
    microbatches: of a device's examples.
    rematerialize: of the encoder.
    size: bytes of train state and activations on each device.
  """

  operations: int
  microbatches: int
  rematerialize: str
  size: int


def choose(costs: Costs, machine: Machine) -> Choice:
  """Returns the fastest way that fits into memory, with a sharded state.

  Of the rematerialisations and numbers of microbatches that fit, the least
  operations, then the fewest microbatches.

  Raises:
    ValueError: a single example does not fit.
  """
  share = costs.batch_size // machine.devices
  state = costs.state['sharded', machine.devices]
  options = [
    Choice(
      costs.operations[form],
      parts,
      form,
      state + share // parts * costs.activations[form],
    )
    for form in REMATERIALIZATIONS
    for parts in range(1, share + 1)
    if share % parts == 0
  ]
  room = _SHARE_OF_MEMORY * machine.memory
  fitting = [option for option in options if option.size <= room]
  if not fitting:
    raise ValueError(f'No example of {costs.name} fits on {machine.name}.')
  return min(fitting)


def example_of(costs: Costs, machine: Machine) -> str:
  """Returns the line of a config in the worked example of a machine."""
  choice = choose(costs, machine)
  seconds = _seconds(costs, choice.rematerialize, machine)
  return _line(
    costs.name,
    str(costs.batch_size // machine.devices),
    choice.rematerialize,
    str(choice.microbatches),
    _gib(choice.size),
    f'{seconds:,.2f}',
    f'{seconds * costs.train_steps / 86_400:,.1f}',
  )


def _seconds(costs: Costs, form: str, machine: Machine) -> float:
  """Seconds of a step, were it all products at the assumed share of peak."""
  rate = _SHARE_OF_PEAK * machine.rate * machine.devices
  return costs.batch_size * costs.operations[form] / rate


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
    'step': step_rows,
  }
  text = {
    name: '\n'.join(line for costs in every for line in rows(costs))
    for name, rows in tables.items()
  }
  for key, machine in zip(('tpu', 'gpu'), MACHINES, strict=True):
    text[key] = '\n'.join(example_of(costs, machine) for costs in every)
  tpu = choose(every[0], MACHINES[0])
  text['choice'] = (
    f'--config.encoder.rematerialize={tpu.rematerialize} '
    f'--config.microbatches={tpu.microbatches}'
  )
  print(HEAD, end='')
  print(NOTES.format(**text), end='')


if __name__ == '__main__':
  main()
