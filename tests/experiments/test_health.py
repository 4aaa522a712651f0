"""Steps whose numbers are not finite: left out, reported, kept for a look."""

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from experiments.stepping.health import (
  HealthWatch,
  describe,
  first_bad_operation,
)
from experiments.stepping.parallelism import ALONE, Replicated
from experiments.stepping.steps import Health, make_update
from experiments.stepping.train_state import init_state
from perceiver_jax.metrics import weighted_mean

RNG = np.random.default_rng(0)


def make_batch(value):
  x = RNG.normal(size=(4, 3)).astype(np.float32)
  x[2, 1] = value
  return {'x': x, 'weight': np.ones(4, np.float32)}


def forward(batch, is_training):
  scale = hk.get_parameter('scale', (3,), init=jnp.ones)
  other = hk.get_parameter('other', (), init=jnp.ones)
  seen = hk.get_state('seen', (), init=jnp.zeros)
  if is_training:
    hk.set_state('seen', seen + batch['x'].sum())
  return jnp.log(jnp.square(batch['x'] * scale[None])).sum(axis=1) + other


def loss_function(predictions, batch):
  loss = weighted_mean(predictions, batch['weight'])
  return [loss], {'loss': loss}


MODEL = hk.transform_with_state(forward)
OPTIMIZER = optax.adam(0.1)
UPDATE = make_update(
  MODEL,
  loss_function,
  OPTIMIZER,
  optax.constant_schedule(0.1),
  seed=0,
  collectives=ALONE,
  ema_decay=0.5,
)
GOOD, BAD = make_batch(1.0), make_batch(0.0)


@pytest.fixture(scope='module')
def steps():
  """The state before, and (state, report) after a good and a bad step."""
  state = init_state(MODEL, OPTIMIZER, 0, GOOD, has_ema=True)
  update = jax.jit(UPDATE)
  good, good_report = update(state, GOOD)
  bad, bad_report = update(good, BAD)
  return state, (good, good_report), (bad, bad_report)


def test_a_bad_step_counts_and_changes_nothing_else(steps):
  state, (good, _), (bad, _) = steps
  assert (int(good.step), int(bad.step)) == (1, 2)
  jax.tree.map(
    np.testing.assert_array_equal,
    good._replace(step=0),
    bad._replace(step=0),
  )
  changed = jax.tree.map(
    lambda x, y: bool((x != y).any()), state._replace(step=0), good
  )
  assert all(jax.tree.leaves(changed))


def test_the_next_good_step_is_as_without_the_bad_one(steps):
  _, (good, _), (bad, _) = steps
  update = jax.jit(UPDATE)
  expected, _ = update(good._replace(step=bad.step), GOOD)
  actual, _ = update(bad, GOOD)
  jax.tree.map(np.testing.assert_array_equal, expected, actual)


def test_metrics_of_a_bad_step_have_no_weight(steps):
  _, (_, good), (_, bad) = steps
  assert bool(good.health.is_finite) and not bool(bad.health.is_finite)
  for mean in good.metrics.values():
    assert np.isfinite(mean.total) and float(mean.weight) > 0.0
  for mean in bad.metrics.values():
    assert (float(mean.total), float(mean.weight)) == (0.0, 0.0)


def test_the_gradient_that_is_not_finite_is_named(steps):
  health = steps[2][1].health
  assert np.isinf(health.loss)
  text = describe(health)
  assert 'the loss is -inf' in text
  assert 'not finite is the gradient of ~/scale' in text
  assert '~/other' not in text  # Its gradient is one.


def test_many_names_are_cut_short():
  norms = {f'module_{i}': {'w': np.float32(np.nan)} for i in range(8)}
  text = describe(Health(np.False_, np.float32(np.nan), norms))
  assert 'module_4/w and 3 more' in text and 'module_5' not in text


def watch_of(workdir, said, *, rerun=None, bad_steps=0):
  return HealthWatch(
    workdir, Replicated(), said.append, rerun, bad_steps=bad_steps
  )


def check(watch, step, steps, batch=BAD):
  state, report = steps[2] if batch is BAD else steps[1]
  placed = Replicated().place_batch(batch)
  watch.check(step, state, placed, report.health)


def test_the_first_bad_step_stops_and_its_batch_is_kept(steps, tmp_path):
  said = []
  watch = watch_of(tmp_path, said)
  check(watch, 1, steps, GOOD)
  assert not (tmp_path / 'bad_batches').exists()
  with pytest.raises(ValueError, match=r'Step 2: the loss is -inf') as error:
    check(watch, 2, steps)
  assert '--config.numbers.bad_steps = 0' in str(error.value)
  assert not said
  with np.load(tmp_path / 'bad_batches' / 'step_2.npz') as batch:
    assert set(batch) == {'x', 'weight'}
    np.testing.assert_array_equal(batch['x'], BAD['x'])


def test_bad_steps_are_left_out_up_to_a_limit(steps, tmp_path):
  said = []
  watch = watch_of(tmp_path, said, bad_steps=2)
  check(watch, 2, steps)
  check(watch, 5, steps)
  assert watch.bad_steps == 2
  assert 'bad step 1 of at most 2' in said[0] and 'Step 5' in said[1]
  with pytest.raises(ValueError, match='bad step 3, and'):
    check(watch, 6, steps)
  kept = sorted(path.name for path in (tmp_path / 'bad_batches').iterdir())
  assert kept == ['step_2.npz', 'step_5.npz', 'step_6.npz']


def test_later_steps_are_looked_at_later(steps, tmp_path):
  """As on an accelerator, which must not wait for each step."""
  watch = watch_of(tmp_path, [])
  watch._steps_ahead = 2
  check(watch, 2, steps)
  check(watch, 3, steps, GOOD)
  with pytest.raises(ValueError, match='Step 2:'):
    check(watch, 4, steps, GOOD)
  watch = watch_of(tmp_path, [])
  watch._steps_ahead = 2
  check(watch, 7, steps)
  with pytest.raises(ValueError, match='Step 7:'):
    watch.settle(steps[2][0])


def test_the_operation_is_found(steps, tmp_path):
  state = jax.tree.map(np.asarray, steps[1][0])
  found = first_bad_operation(UPDATE, state, BAD)
  assert 'encountered in log' in found
  # The last place in code of ours; here, that of the update.
  assert 'experiments/' in found and 'site-packages' not in found
  assert 'all numbers are finite' in first_bad_operation(UPDATE, state, GOOD)
  said = []
  check(watch_of(tmp_path, said, rerun=UPDATE, bad_steps=1), 2, steps)
  assert 'operation by operation: ' in said[0]
  assert 'encountered in log' in said[0]


def test_the_limit_must_not_be_negative(tmp_path):
  with pytest.raises(ValueError, match='bad_steps must not be negative'):
    watch_of(tmp_path, [], bad_steps=-1)
