"""What the compiler says of a step, against sums on paper."""

import jax
import jax.numpy as jnp
import pytest

from experiments.watching.compiled_step import (
  StepEstimate,
  describe_step,
  estimate_step,
)
from tests.simulated_devices import run_script

COMPILED = []
jax.monitoring.register_event_duration_secs_listener(
  lambda name, *_, **__: COMPILED.append('backend_compile' in name)
)


def make_update():
  """Ten products of [4, 8] with [8, 8] in a loop."""

  def update(weights, batch):
    x, _ = jax.lax.scan(
      lambda x, _: (jnp.tanh(x @ weights), None), batch['x'], None, length=10
    )
    return weights + x.sum(), {'loss': x.mean()}

  return jax.jit(update, donate_argnums=0)


def arguments():
  return jnp.ones((8, 8)), {'x': jnp.ones((4, 8))}


@pytest.fixture(scope='module')
def estimate():
  return estimate_step(make_update(), *arguments())


def test_memory(estimate):
  assert estimate.arguments == 4 * (8 * 8 + 4 * 8)
  assert estimate.in_place == 4 * 8 * 8  # The weights.
  # On the CPU, results are told with the table of pointers to them.
  assert 0 <= estimate.results - 4 * (8 * 8 + 1) <= 64
  assert estimate.temporaries >= 4 * 4 * 8  # x in the loop.


def test_operations(estimate):
  assert estimate.products == 10 * 2 * 4 * 8 * 8
  # One round of the loop, and what is not a product.
  assert 2 * 4 * 8 * 8 < estimate.compiler_operations < 2 * 2 * 4 * 8 * 8


def test_the_step_is_compiled_once():
  update = make_update()
  state, batch = arguments()
  before = sum(COMPILED)
  estimate_step(update, state, batch)
  assert sum(COMPILED) == before + 1
  for _ in range(2):
    state, metrics = update(state, batch)
  jax.block_until_ready(metrics)
  assert sum(COMPILED) == before + 1


def test_the_line():
  estimate = StepEstimate(
    arguments=3_000_000,
    results=2_500_000,
    in_place=2_000_000,
    temporaries=1_234_567,
    products=2_130_500_000.0,
    compiler_operations=420_000_000.0,
  )
  assert describe_step(estimate) == (
    'Compiled step, on each device: 4.7 MB of memory (3.0 MB state and batch, '
    '0.5 MB more for results, 1.2 MB temporaries), 2.131 billion operations, '
    '0.420 billion to the compiler, which counts loops once.'
  )


class Silent:
  """An update of a backend that says nothing, with a loop of unknown length."""

  def __init__(self, cost):
    self.cost = cost

  def __call__(self, state, batch):
    return jax.lax.while_loop(
      lambda x: x.sum() < 9.0, lambda x: x @ state, batch['x']
    )

  def lower(self, state, batch):
    return self

  def compile(self):
    return self

  def memory_analysis(self):
    return None

  def cost_analysis(self):
    return self.cost


@pytest.mark.parametrize('cost', [None, {}, {'flops': -1.0}, {'flops': 0.0}])
def test_a_backend_may_say_nothing(cost):
  estimate = estimate_step(Silent(cost), *arguments())
  assert estimate == StepEstimate(*[None] * 6)
  assert describe_step(estimate) == (
    'Compiled step, on each device: not known.'
  )


SCRIPT = """
import jax, jax.numpy as jnp, numpy as np
from experiments.watching.compiled_step import estimate_step
from experiments.stepping.parallelism import PARALLELISMS

compiled = []
jax.monitoring.register_event_duration_secs_listener(
  lambda name, *_, **__: compiled.append('backend_compile' in name)
)
for name, make in PARALLELISMS.items():
  parallelism = make()

  def gradients_of(weights, state, step, batch):
    total = (batch['x'] @ weights['w']).sum()
    return weights, parallelism.collectives.sum(total)

  def update(weights, batch):
    weights, total = parallelism.collectives.gradients(gradients_of)(
      weights, (), 0, batch
    )
    return weights, {'loss': total}

  state = parallelism.initialize(lambda: {'w': jnp.ones((8, 8))})
  batch = parallelism.place_batch({'x': np.ones((4, 8), np.float32)})
  update = parallelism.update(update)
  before = sum(compiled)
  estimate = estimate_step(update, state, batch)
  for _ in range(2):
    state, metrics = update(state, batch)
    jax.block_until_ready(metrics)
  # From a checkpoint.
  state = parallelism.place_state(jax.tree.map(np.asarray, state))
  jax.block_until_ready(update(state, batch))
  print(name, sum(compiled) - before, estimate.products, estimate.arguments)
"""


def test_each_of_two_devices_does_half_the_work():
  result = run_script(SCRIPT, devices=2)
  # Two examples a device; the state is whole on each, or halved.
  work, examples, state = 2 * 2 * 8 * 8, 4 * 2 * 8, 4 * 8 * 8
  assert result.stdout.splitlines() == [
    f'pmap 1 {float(work)} {examples + state}',
    f'sharded 1 {float(work)} {examples + state // 2}',
  ], result.stderr
