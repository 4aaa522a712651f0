"""Steps that are left out because a loss or a gradient leaps."""

import json

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from experiments.stepping.parallelism import ALONE
from experiments.stepping.spikes import SpikeGuard, no_spikes
from experiments.stepping.steps import make_update
from experiments.stepping.train_state import init_state
from perceiver_jax.metrics import compute, weighted_mean
from tests.simulated_devices import run_script

GUARD = SpikeGuard(factor=3.0, window=4)


def judged(losses, norms=None, guard=GUARD):
  """Which steps are spikes, and what is known at the end."""
  judge, known, spikes = jax.jit(guard.judge), no_spikes(), []
  for loss, norm in zip(losses, norms or [1.0] * len(losses), strict=True):
    is_spike, known = judge(known, jnp.float32(loss), jnp.float32(norm))
    spikes.append(bool(is_spike))
  return spikes, known


def test_means_and_spikes_by_hand():
  spikes, known = judged([9.0, 1.0, 1.0, 1.0, 8.9, 12.0, 1.0])
  # Never before 4 steps; their mean is 3, so 8.9 is none. Then the mean is 3 +
  # (8.9 - 3) / 4 = 4.475, and 12 is none; 6.35625, and then 1.
  assert spikes == [False] * 7
  assert float(known.loss) == pytest.approx(5.0171875)
  spikes, known = judged([2.0, 2.0, 2.0, 2.0, 6.1, 2.0, 7.6])
  # The spike enters as 6: a mean of 3, then 2.75; 7.6 is none.
  assert spikes == [False, False, False, False, True, False, False]
  assert float(known.loss) == pytest.approx(2.75 + (7.6 - 2.75) / 4)
  assert (int(known.skipped), int(known.steps)) == (1, 7)


def test_a_gradient_may_be_the_spike():
  spikes, known = judged([1.0] * 6, [2.0, 2.0, 2.0, 2.0, 6.1, 6.1])
  assert spikes == [False, False, False, False, True, False]
  assert int(known.skipped) == 1


def test_where_losses_stay_high_they_are_soon_taken_for_usual():
  spikes, _ = judged([1.0] * 4 + [100.0] * 20)
  # Each makes the mean half as large again: 3 x 1.5 ** n passes 100 at n = 9.
  assert spikes == [False] * 4 + [True] * 9 + [False] * 11


def test_losses_below_zero_are_no_spikes():
  assert not any(judged([-2.0] * 4 + [5.0, -9.0])[0])


@pytest.mark.parametrize('factor', [1.0, 0.5, -2.0])
def test_a_factor_out_of_its_range(factor):
  with pytest.raises(ValueError, match=f'factor must be above 1, got {factor}'):
    SpikeGuard(factor=factor)
  assert not SpikeGuard().is_on
  with pytest.raises(ValueError, match='window must be at least 1, got 0'):
    SpikeGuard(window=0)


def forward(batch, is_training):
  return hk.Linear(1, name='output')(batch['x'])[:, 0]


def loss_function(predictions, batch):
  error = jnp.square(predictions - batch['y'])
  loss = weighted_mean(error, jnp.ones(error.shape))
  return [loss], {'loss': loss}


MODEL = hk.transform_with_state(forward)
OPTIMIZER = optax.adam(0.01)
RNG = np.random.default_rng(0)
BATCHES = [
  {
    'x': RNG.normal(size=(8, 3)).astype(np.float32),
    'y': RNG.normal(size=8).astype(np.float32) * (100.0 if i == 6 else 1.0),
  }
  for i in range(10)
]


def start(guard):
  return init_state(
    MODEL, OPTIMIZER, 0, BATCHES[0], has_ema=True, has_spikes=guard is not None
  )


def update_with(guard):
  return make_update(
    MODEL,
    loss_function,
    OPTIMIZER,
    optax.constant_schedule(0.01),
    seed=0,
    collectives=ALONE,
    ema_decay=0.9,
    guard=guard,
  )


def test_a_spike_counts_and_changes_nothing_else():
  update, state = jax.jit(update_with(GUARD)), start(GUARD)
  for i, batch in enumerate(BATCHES):
    before, (state, report) = state, update(state, batch)
    assert int(report.health.skipped) == int(i >= 6)
    assert int(state.step) == i + 1
    same = jax.tree.map(
      np.array_equal,
      before._replace(step=0, spikes=None),
      state._replace(step=0, spikes=None),
    )
    assert all(jax.tree.leaves(same)) == (i == 6)
    assert float(report.metrics['loss'].weight) == (0.0 if i == 6 else 8.0)
  assert np.isfinite(compute([report.metrics])['loss'])


def test_a_step_that_is_not_finite_leaves_what_is_known():
  update, state = jax.jit(update_with(GUARD)), start(GUARD)
  state, _ = update(state, BATCHES[0])
  bad = {**BATCHES[1], 'y': np.full(8, np.nan, np.float32)}
  after, report = update(state, bad)
  assert not bool(report.health.is_finite)
  jax.tree.map(np.testing.assert_array_equal, after.spikes, state.spikes)


def test_where_none_are_left_out_the_program_is_that_of_before():
  lowered = [
    jax.jit(update_with(guard)).lower(start(guard), BATCHES[0]).as_text()
    for guard in (None, GUARD)
  ]
  assert lowered[0] != lowered[1]
  assert start(None).spikes is None
  assert (
    len(jax.tree.leaves(start(GUARD))) == len(jax.tree.leaves(start(None))) + 4
  )


SCRIPT = """
import json

import jax
import numpy as np

from experiments.stepping.parallelism import (
  Replicated,
  Sharded,
  configure_backend,
)
from tests.experiments import test_spikes as here
from experiments.stepping.steps import make_update

configure_backend()
for parallelism in (Replicated(), Sharded()):
  update = parallelism.update(make_update(
    here.MODEL, here.loss_function, here.OPTIMIZER, lambda _: 0.01, seed=0,
    collectives=parallelism.collectives, ema_decay=0.9, guard=here.GUARD,
  ))
  state = parallelism.initialize(lambda: here.start(here.GUARD))
  for batch in here.BATCHES:
    state, report = update(state, parallelism.place_batch(batch))
  skipped = {int(x.data) for x in state.spikes.skipped.addressable_shards}
  params = parallelism.fetch_state(state).params['output']['w']
  shards = len(state.spikes.skipped.addressable_shards)
  print(json.dumps([shards, list(skipped), params.tolist()]))
"""


@pytest.mark.slow
def test_all_devices_decide_alike_and_as_one():
  result = run_script(SCRIPT, devices=8)
  assert result.returncode == 0, result.stderr
  update, state = jax.jit(update_with(GUARD)), start(GUARD)
  for batch in BATCHES:
    state, _ = update(state, batch)
  for line in result.stdout.splitlines():
    shards, skipped, params = json.loads(line)
    assert (shards, skipped) == (8, [1])
    np.testing.assert_allclose(params, state.params['output']['w'], rtol=1e-4)
