"""The same steps on one device and on several, in a process that has eight."""

import re

import pytest

from experiments.stepping.parallelism import check_batch_size
from tests.simulated_devices import run_script

# Prints numbers of the same 20 steps, run in several ways.
SCRIPT = """
import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments.stepping.parallelism import (
  ALONE, Replicated, Sharded, configure_backend, device_bytes,
)
from experiments.stepping.steps import make_update
from experiments.stepping.train_state import init_state, state_shapes
from perceiver_jax.metrics import weighted_mean

configure_backend()
rng = np.random.default_rng(0)
# Examples count differently, as do texts of which more or less is masked.
BATCHES = [
  {
    'x': rng.normal(size=(32, 6)).astype(np.float32),
    'y': rng.normal(size=(32,)).astype(np.float32),
    'count': rng.integers(0, 5, size=(32,)).astype(np.float32),
  }
  for _ in range(20)
]


def forward(batch, is_training):
  hidden = jax.nn.gelu(hk.Linear(16, name='hidden')(batch['x']))
  seen = hk.get_state('seen', (), init=jnp.zeros)
  if is_training:
    hk.set_state('seen', seen + batch['x'].mean())
  return hk.Linear(1, name='output')(hidden)[:, 0]


def loss_function(predictions, batch):
  error = weighted_mean(jnp.square(predictions - batch['y']), batch['count'])
  size = weighted_mean(jnp.abs(predictions), 5.0 - batch['count'])
  return [error, size], {'error': error, 'size': size}


model = hk.transform_with_state(forward)
schedule = optax.constant_schedule(1e-2)
optimizer = optax.adam(schedule)


def start(batch):
  return init_state(model, optimizer, 0, batch, has_ema=True)


def run(name, parallelism, microbatches=1):
  update = make_update(
    model, loss_function, optimizer, schedule, seed=0, ema_decay=0.9,
    collectives=ALONE if parallelism is None else parallelism.collectives,
    microbatches=microbatches,
  )
  if parallelism is None:
    advance, state = jax.jit(update), jax.jit(start)(BATCHES[0])
    place = lambda batch: batch
  else:
    advance = parallelism.update(update)
    state = parallelism.initialize(start, BATCHES[0])
    place = parallelism.place_batch
  losses = []
  for batch in BATCHES:
    before = state
    state, report = advance(state, place(batch))
    # Steps that are queued on simulated devices may wait for each other.
    assert parallelism is None or all(
      x.is_ready() for x in jax.tree.leaves((state, report))
    )
    losses.append(
      [float(m.total / m.weight) for m in report.metrics.values()]
    )
  # Its memory was given to the new state.
  assert parallelism is None or before.params['hidden']['w'].is_deleted()
  ema = np.asarray(state.ema['hidden']['w'])
  return np.array(losses), ema, float(state.state['~']['seen'])


expected = run('alone', None)
print('average', float(np.abs(expected[1]).mean()))
for name, parallelism, microbatches in [
  ('pmap', Replicated(), 1),
  ('sharded', Sharded(), 1),
  ('replicas', Sharded(shards=2), 1),
  ('layers', Sharded(layer_by_layer=True), 1),
  ('parts', None, 4),
  ('pmap-parts', Replicated(), 2),
  ('sharded-parts', Sharded(shards=4), 4),
]:
  losses, ema, seen = run(name, parallelism, microbatches)
  np.testing.assert_allclose(losses, expected[0], rtol=2e-5)
  np.testing.assert_allclose(ema, expected[1], rtol=1e-4, atol=1e-6)
  if microbatches == 1:
    np.testing.assert_allclose(seen, expected[2], rtol=1e-5, atol=1e-6)
  print('equal', name)

shapes = state_shapes(model, optimizer, BATCHES[0], has_ema=True)
for shards in (1, 2, 4, 8):
  print('bytes', device_bytes(Sharded(shards=shards).template(shapes)))
print('bytes', device_bytes(Replicated().template(shapes)))
state = Sharded().initialize(start, BATCHES[0])
weights = state.params['hidden']['w']
print('held', [x.data.shape for x in weights.addressable_shards][:2])
snapshot = Sharded().snapshot(state)
parts = zip(weights.addressable_shards,
            snapshot.params['hidden']['w'].addressable_shards)
assert all(a.data.unsafe_buffer_pointer() != b.data.unsafe_buffer_pointer()
           for a, b in parts)

# Nothing is copied any more when a step begins.
parallelism = Replicated()
update = parallelism.update(
  lambda state, batch: (
    state + parallelism.collectives.mean(batch['x'].sum()),
    parallelism.collectives.sum(batch['x'].sum()),
  )
)
batch = {'x': np.arange(16.0, dtype=np.float32).reshape(8, 2)}
placed = parallelism.place_batch(batch)
assert placed['x'].shape == (8, 1, 2)
state = parallelism.place_state(np.float32(0.0))
with jax.transfer_guard('disallow'):
  state, total = update(state, placed)
print('sums', float(state), float(total))
try:
  with jax.transfer_guard('disallow'):
    update(state, {'x': batch['x'].reshape(8, 1, 2)})
except jax.errors.JaxRuntimeError:
  print('guarded')

for parallelism in (Replicated(), Sharded()):
  evaluation = parallelism.evaluation(
    lambda params, state, batch: (
      parallelism.collectives.sum({'total': batch['x'].sum()}),
      {'twice': params * batch['x']},
    )
  )
  two = parallelism.place_state(np.float32(2.0))
  totals, examples = evaluation(two, (), parallelism.place_batch(batch))
  assert float(totals['total']) == 120.0
  kept = parallelism.gather_examples(examples)['twice']
  np.testing.assert_array_equal(kept, 2.0 * batch['x'])
  print('gathered')
try:
  Sharded(shards=3)
except ValueError as error:
  print('error', error)
"""


@pytest.fixture(scope='module')
def lines():
  """What the script prints, line by line."""
  result = run_script(SCRIPT, devices=8)
  assert result.returncode == 0, result.stderr
  return result.stdout.splitlines()


@pytest.mark.parametrize(
  'name',
  [
    'pmap',
    'sharded',
    'replicas',
    'layers',
    'parts',
    'pmap-parts',
    'sharded-parts',
  ],
)
def test_steps_are_those_of_one_device(lines, name):
  """Also where devices and parts of a batch have unequal weights."""
  assert f'equal {name}' in lines


def test_the_average_is_no_zero(lines):
  (average,) = [line for line in lines if line.startswith('average')]
  assert float(average.split()[1]) > 0.1


def test_a_sharded_state_is_smaller_on_each_device(lines):
  sizes = [int(x.split()[1]) for x in lines if x.startswith('bytes')]
  one, two, four, eight, replicated = sizes
  assert one == replicated > two > four > eight
  # Parameters, two moments and the average: 6 * 16 + 16 + 16 of each divide by
  # eight; the last bias, three counts and the Haiku state do not.
  assert eight == 4 * 4 * (128 // 8 + 1) + 4 * 4
  assert 'held [(6, 2), (6, 2)]' in lines


def test_a_placed_batch_is_on_its_devices_before_the_step(lines):
  assert 'sums 15.0 120.0' in lines and 'guarded' in lines


def test_examples_come_back_in_their_order(lines):
  assert lines.count('gathered') == 2


def test_shards_must_divide_the_devices(lines):
  (error,) = [line for line in lines if line.startswith('error')]
  assert re.search(r'shards = 3 does not divide the 8 devices', error)


def test_a_batch_that_cannot_be_divided():
  with pytest.raises(ValueError, match='among 1 devices times 3 microbatches'):
    check_batch_size(32, 3)
  with pytest.raises(ValueError, match=r'--config.batch_size=33\.'):
    check_batch_size(32, 3)
  check_batch_size(33, 3)
