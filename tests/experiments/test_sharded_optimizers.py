"""Every optimizer moves a divided state as it moves a whole one."""

import pytest

from experiments.stepping.optimizers import OPTIMIZERS
from tests.simulated_devices import run_script

pytestmark = pytest.mark.slow

SCRIPT = """
import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments.stepping.optimizers import OPTIMIZERS
from experiments.stepping.parallelism import (
  Replicated,
  Sharded,
  configure_backend,
)
from experiments.stepping.steps import make_update
from experiments.stepping.train_state import init_state
from perceiver_jax.metrics import weighted_mean

configure_backend()
jax.config.update('jax_disable_most_optimizations', True)
rng = np.random.default_rng(0)
BATCHES = [
  {
    'x': rng.normal(size=(16, 8)).astype(np.float32),
    'y': rng.normal(size=(16,)).astype(np.float32),
  }
  for _ in range(4)
]


def forward(batch, is_training):
  x = hk.Linear(16, name='input')(batch['x'])
  layer = lambda x: x + hk.Linear(16, name='mlp')(jnp.tanh(x))
  x = hk.layer_stack(3, name='layers')(layer)(x)
  return hk.Linear(1, name='output')(x)[:, 0]


def loss_function(predictions, batch):
  error = weighted_mean(
    jnp.square(predictions - batch['y']), jnp.ones(predictions.shape)
  )
  return [error], {'error': error}


model = hk.transform_with_state(forward)
schedule = optax.constant_schedule(1e-2)


def run(parallelism, optimizer):
  advance = parallelism.update(make_update(
    model, loss_function, optimizer, schedule, seed=0,
    collectives=parallelism.collectives,
  ))
  state = parallelism.initialize(
    lambda batch: init_state(model, optimizer, 0, batch), BATCHES[0]
  )
  for batch in BATCHES:
    state, _ = advance(state, parallelism.place_batch(batch))
  return state


def stacked(tree):
  return {k: v for k, v in tree.items() if 'layers' in k.split('/')}


for name, make in OPTIMIZERS.items():
  extra = {'least_factored': 4} if name == 'adafactor' else {}
  optimizer = make(schedule, weight_decay=0.1, clip_norm=1.0, **extra)
  whole, divided = run(Replicated(), optimizer), run(Sharded(), optimizer)
  assert stacked(whole.params)
  a, b = (jax.tree.map(np.asarray, x.params) for x in (whole, divided))
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-3, atol=2e-5), a, b
  )
  # What is as long as eight devices is divided, moments too.
  parts = [
    x.sharding.shard_shape(x.shape) != x.shape
    for x in jax.tree.leaves(divided.opt_state)
    if any(n % 8 == 0 for n in x.shape)
  ]
  assert all(parts) and len(parts) > 4, parts
  print('equal', name, len(parts))
"""


@pytest.fixture(scope='module')
def lines():
  result = run_script(SCRIPT, devices=8)
  assert result.returncode == 0, result.stderr
  return result.stdout.splitlines()


@pytest.mark.parametrize('name', sorted(OPTIMIZERS))
def test_sharded_is_replicated(lines, name):
  assert [line for line in lines if line.startswith(f'equal {name} ')]
