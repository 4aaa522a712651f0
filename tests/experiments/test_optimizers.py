"""Schedules in written-out numbers; optimizers against optax and by hand."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from experiments import optimizers

# 120 epochs of 10 steps; the paper lowers the rate at 84, 102 and 114.
PAPER_STEPS = functools.partial(
  optimizers.step,
  1200,
  learning_rate=4e-3,
  boundaries=(84 / 120, 102 / 120, 114 / 120),
)


def normal(seed, *shape):
  rng = np.random.default_rng(seed)
  return jnp.asarray(rng.normal(size=shape), jnp.float32)


def assert_trees_close(actual, expected, **tolerance):
  assert jax.tree.structure(actual) == jax.tree.structure(expected)
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, **tolerance), actual, expected
  )


def run(optimizer, params, num_steps=5):
  """Parameters after steps with fixed random gradients of every size."""
  state = optimizer.init(params)
  leaves, structure = jax.tree.flatten(params)
  for i in range(num_steps):
    gradients = structure.unflatten(
      10.0 ** (j - 1) * normal(100 * i + j, *x.shape)
      for j, x in enumerate(leaves)
    )
    updates, state = optimizer.update(gradients, state, params)
    params = optax.apply_updates(params, updates)
  return params


# Schedules.


@pytest.mark.parametrize('count', [0, 1, 99, 100, 10_000])
def test_constant(count):
  assert optimizers.constant(100, learning_rate=0.25)(count) == 0.25


@pytest.mark.parametrize(
  ('count', 'expected'),
  [
    (0, 4e-3),
    (839, 4e-3),
    (840, 4e-4),
    (1019, 4e-4),
    (1020, 4e-5),
    (1139, 4e-5),
    (1140, 4e-6),
    (1199, 4e-6),
  ],
)
def test_step_of_the_paper(count, expected):
  np.testing.assert_allclose(PAPER_STEPS()(count), expected, rtol=1e-6)


def test_step_rounds_boundaries_to_whole_steps():
  # 0.66 and 0.84 of 10 steps are 6.6 and 8.4: steps 7 and 8.
  schedule = optimizers.step(
    10, learning_rate=8.0, boundaries=(0.66, 0.84), factor=0.5
  )
  values = [float(schedule(i)) for i in range(10)]
  assert values == [8.0] * 7 + [4.0] + [2.0] * 2


def test_step_keeps_boundaries_that_round_to_the_same_step():
  # A short trial of a long config: 0.70 and 0.72 of 10 steps are both step 7.
  schedule = optimizers.step(
    10, learning_rate=8.0, boundaries=(0.70, 0.72), factor=0.5
  )
  assert [float(schedule(i)) for i in (6, 7, 9)] == [8.0, 2.0, 2.0]


@pytest.mark.parametrize(
  ('count', 'expected'),
  [(0, 2.0), (25, 1.7071068), (50, 1.0), (75, 0.2928932), (100, 0.0)],
)
def test_cosine(count, expected):
  schedule = optimizers.cosine(100, learning_rate=2.0)
  np.testing.assert_allclose(schedule(count), expected, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(
  ('count', 'expected'),
  [
    (0, 2.0),
    (39, 2.0),
    (40, 2.0),
    (55, 1.7071068),
    (70, 1.0),
    (85, 0.2928932),
    (100, 0.0),
  ],
)
def test_flat_then_cosine(count, expected):
  schedule = optimizers.flat_then_cosine(100, learning_rate=2.0, flat=0.4)
  np.testing.assert_allclose(schedule(count), expected, rtol=1e-5, atol=1e-7)


def test_flat_then_cosine_is_flat_for_half_the_run_by_default():
  schedule = optimizers.flat_then_cosine(8, learning_rate=1.0)
  values = [float(schedule(i)) for i in (4, 5, 6)]
  np.testing.assert_allclose(values, [1.0, 0.8535534, 0.5], rtol=1e-6)


def test_flat_then_cosine_without_room_for_the_cosine_is_flat():
  # 0.99 of 10 steps rounds to all of them.
  schedule = optimizers.flat_then_cosine(10, learning_rate=1.0, flat=0.99)
  assert [float(schedule(i)) for i in (0, 9)] == [1.0, 1.0]


def test_flat_then_cosine_without_a_flat_part_is_cosine():
  flat = optimizers.flat_then_cosine(20, learning_rate=1.0, flat=0.0)
  cosine = optimizers.cosine(20, learning_rate=1.0)
  for count in (0, 3, 19):
    assert float(flat(count)) == float(cosine(count))


def test_warm_up_of_a_constant():
  schedule = optimizers.constant(10, learning_rate=0.8, warmup_steps=4)
  values = [float(schedule(i)) for i in range(6)]
  np.testing.assert_allclose(values, [0.2, 0.4, 0.6, 0.8, 0.8, 0.8], rtol=1e-6)


@pytest.mark.parametrize(
  'schedule',
  [
    PAPER_STEPS,
    functools.partial(optimizers.cosine, 100, learning_rate=2.0),
    functools.partial(optimizers.flat_then_cosine, 100, learning_rate=2.0),
  ],
)
def test_warm_up_multiplies_every_schedule(schedule):
  plain, warm = schedule(), schedule(warmup_steps=10)
  for count, ramp in [(0, 0.1), (4, 0.5), (9, 1.0), (10, 1.0), (60, 1.0)]:
    np.testing.assert_allclose(warm(count), ramp * plain(count), rtol=1e-6)


@pytest.mark.parametrize('name', sorted(optimizers.SCHEDULES))
def test_schedules_are_the_same_compiled(name):
  extra = {'boundaries': (0.5,)} if name == 'step' else {}
  schedule = optimizers.SCHEDULES[name](
    20, learning_rate=0.1, warmup_steps=5, **extra
  )
  for count in (0, 4, 9, 10, 19):
    compiled = jax.jit(schedule)(jnp.int32(count))
    np.testing.assert_allclose(compiled, schedule(count), rtol=1e-5)


@pytest.mark.parametrize('boundaries', [(84, 102), (0.5, 1.0), (0.0,), (-0.1,)])
def test_boundaries_outside_the_run(boundaries):
  with pytest.raises(ValueError, match=r'schedule\.boundaries') as error:
    optimizers.step(120, learning_rate=1.0, boundaries=boundaries)
  assert str(boundaries) in str(error.value)


@pytest.mark.parametrize('flat', [-0.1, 1.0, 55])
def test_flat_outside_the_run(flat):
  with pytest.raises(ValueError, match=rf'schedule\.flat .*got {flat}'):
    optimizers.flat_then_cosine(120, learning_rate=1.0, flat=flat)


@pytest.mark.parametrize('name', sorted(optimizers.SCHEDULES))
def test_negative_warm_up(name):
  # Accepted, it would be a negative learning rate: uphill from step one.
  extra = {'boundaries': (0.5,)} if name == 'step' else {}
  with pytest.raises(ValueError, match='warmup_steps'):
    optimizers.SCHEDULES[name](20, learning_rate=0.1, warmup_steps=-1, **extra)


# What decays.


def haiku_tree():
  """Parameters named as those of our models, with a stack of three layers."""
  return {
    'classifier/encoder': {'latents': normal(0, 4, 6)},
    'classifier/positions': {'positions': normal(1, 9, 5)},
    'classifier/encoder/cross_attend_0/query': {
      'w': normal(2, 6, 5),
      'b': normal(3, 5),
    },
    'classifier/encoder/latent_block_0/layers/norm': {
      'scale': normal(4, 3, 6),
      'offset': normal(5, 3, 6),
    },
    'classifier/encoder/latent_block_0/layers/mlp/output': {
      'w': normal(6, 3, 6, 6),
      'b': normal(7, 3, 6),
    },
  }


HAIKU_TREE_DECAYS = {
  'classifier/encoder': {'latents': True},
  'classifier/positions': {'positions': True},
  'classifier/encoder/cross_attend_0/query': {'w': True, 'b': False},
  'classifier/encoder/latent_block_0/layers/norm': {
    'scale': False,
    'offset': False,
  },
  'classifier/encoder/latent_block_0/layers/mlp/output': {
    'w': True,
    'b': False,
  },
}


def test_matrices_latents_and_positions_decay_and_stacked_biases_do_not():
  assert optimizers.decayed(haiku_tree()) == HAIKU_TREE_DECAYS


# Optimizers.

SETTINGS = {'weight_decay': 0.3, 'b1': 0.8, 'b2': 0.95}


def learning_rate(count):
  return 0.1 / (1.0 + count)


def test_adamw_is_that_of_optax_with_the_same_mask():
  params = haiku_tree()
  ours = optimizers.adamw(learning_rate, epsilon=1e-3, **SETTINGS)
  theirs = optax.adamw(
    learning_rate, eps=1e-3, mask=HAIKU_TREE_DECAYS, **SETTINGS
  )
  assert_trees_close(run(ours, params), run(theirs, params), rtol=1e-6)


def test_adamw_with_its_defaults():
  params = haiku_tree()
  ours = optimizers.adamw(learning_rate, weight_decay=0.2)
  theirs = optax.adamw(learning_rate, weight_decay=0.2, mask=HAIKU_TREE_DECAYS)
  assert_trees_close(run(ours, params), run(theirs, params), rtol=1e-6)


@pytest.mark.parametrize('settings', [{'weight_decay': 0.2}, SETTINGS])
def test_lamb_without_biases_and_stacks_is_that_of_optax(settings):
  params = {
    'encoder': {'latents': normal(0, 4, 6)},
    'encoder/query': {'w': 3.0 * normal(1, 6, 5)},
    'preprocessor/conv': {'w': 0.1 * normal(2, 3, 3, 2, 4)},
  }
  ours = optimizers.lamb(learning_rate, **settings)
  theirs = optax.lamb(learning_rate, **settings)
  assert_trees_close(
    run(ours, params), run(theirs, params), rtol=1e-5, atol=1e-7
  )


@pytest.mark.parametrize('name', ['b', 'scale', 'offset'])
@pytest.mark.parametrize('module', ['encoder/norm', 'encoder/layers/norm'])
def test_lamb_moves_biases_and_norms_as_plain_adam(module, name):
  params = {module: {name: normal(0, 3, 6)}}
  ours = optimizers.lamb(learning_rate, **SETTINGS)
  adam = optax.adam(learning_rate, b1=0.8, b2=0.95, eps=1e-6)
  assert_trees_close(run(ours, params), run(adam, params), rtol=1e-6)


def stack_and_gradients():
  """Three layers of very different norms, and five gradients."""
  scales = jnp.array([0.1, 1.0, 10.0])[:, None, None]
  gradients = [normal(10 + i, 3, 4, 5) / scales for i in range(5)]
  return normal(1, 3, 4, 5) * scales, gradients


def run_one(module, w, gradients):
  """Runs LAMB on a single tensor."""
  optimizer = optimizers.lamb(learning_rate, **SETTINGS)
  params = {module: {'w': w}}
  state = optimizer.init(params)
  for gradient in gradients:
    updates, state = optimizer.update({module: {'w': gradient}}, state, params)
    params = optax.apply_updates(params, updates)
  return params[module]['w']


def test_lamb_of_a_stack_is_that_of_each_layer_alone():
  w, gradients = stack_and_gradients()
  stacked = run_one('encoder/block/layers/mlp', w, gradients)
  alone = [
    run_one('encoder/block/mlp', w[i], [g[i] for g in gradients])
    for i in range(3)
  ]
  np.testing.assert_allclose(stacked, np.stack(alone), rtol=1e-5, atol=1e-6)


def test_lamb_of_a_stack_is_not_one_ratio_for_all_layers():
  w, gradients = stack_and_gradients()
  stacked = run_one('encoder/block/layers/mlp', w, gradients)
  together = run_one('encoder/block/mlp', w, gradients)
  steps = np.linalg.norm((stacked - w).reshape(3, -1), axis=-1)
  steps_together = np.linalg.norm((together - w).reshape(3, -1), axis=-1)
  # Norms are 1 : 10 : 100, and so are the moves; with one ratio they are alike
  # but for the weight decay.
  assert steps[2] > 30 * steps[0]
  assert steps_together[2] < 10 * steps_together[0]


@pytest.mark.parametrize('module', ['norm/layers_of_it', 'my_layers/mlp'])
def test_only_the_scope_called_layers_is_a_stack(module):
  w, gradients = stack_and_gradients()
  actual = run_one(module, w, gradients)
  np.testing.assert_array_equal(actual, run_one('mlp', w, gradients))


def trust_ratio(module, update, param):
  optimizer = optimizers.scale_by_trust_ratio()
  update, param = jnp.array(update), jnp.array(param)
  result, _ = optimizer.update(
    {module: {'w': update}}, optimizer.init(None), {module: {'w': param}}
  )
  return result[module]['w'].tolist()


def test_trust_ratio_in_numbers():
  # |param| = 10, |update| = 5: the update doubles.
  update = [[3.0, 0.0], [0.0, 4.0]]
  param = [[6.0, 0.0], [8.0, 0.0]]
  assert trust_ratio('mlp', update, param) == [[6.0, 0.0], [0.0, 8.0]]
  # Layer by layer: 6 / 3 and 8 / 4, then 6 / 3 and 2 / 4.
  assert trust_ratio('layers/mlp', update, param) == [[6.0, 0.0], [0.0, 8.0]]
  param = [[6.0, 0.0], [2.0, 0.0]]
  assert trust_ratio('layers/mlp', update, param) == [[6.0, 0.0], [0.0, 2.0]]


def test_a_tensor_of_norm_zero_keeps_its_update():
  update = [[3.0, 0.0], [0.0, 4.0]]
  assert trust_ratio('mlp', update, np.zeros((2, 2))) == update
  # In a stack this is said of each layer: the second has norm zero.
  param = [[6.0, 0.0], [0.0, 0.0]]
  assert trust_ratio('layers/mlp', update, param) == [[6.0, 0.0], [0.0, 4.0]]


def test_an_update_of_norm_zero_stays_zero():
  update = [[3.0, 0.0], [0.0, 0.0]]
  param = [[6.0, 0.0], [8.0, 0.0]]
  assert trust_ratio('layers/mlp', update, param) == [[6.0, 0.0], [0.0, 0.0]]
  zeros = np.zeros((2, 2))
  assert trust_ratio('mlp', zeros, param) == zeros.tolist()


def test_trust_ratio_needs_the_parameters():
  with pytest.raises(ValueError, match='params'):
    optimizers.scale_by_trust_ratio().update({'m': {'w': jnp.ones(2)}}, None)


@pytest.mark.parametrize('name', sorted(optimizers.OPTIMIZERS))
@pytest.mark.parametrize(
  ('clip_norm', 'expected'),
  [
    # Adam's first step is g / (|g| + epsilon); here epsilon is 1. The gradient
    # (3, 4) of norm 5 becomes (0.6, 0.8), or stays.
    (1.0, (-0.6 / 1.6, -0.8 / 1.8)),
    (10.0, (-3.0 / 4.0, -4.0 / 5.0)),
    (None, (-3.0 / 4.0, -4.0 / 5.0)),
  ],
)
def test_clipping_takes_the_norm_over_all_tensors(name, clip_norm, expected):
  optimizer = optimizers.OPTIMIZERS[name](
    optax.constant_schedule(1.0),
    weight_decay=0.0,
    epsilon=1.0,
    clip_norm=clip_norm,
  )
  # Biases: LAMB scales them by nothing.
  params = {'one': {'b': jnp.zeros(1)}, 'two': {'b': jnp.zeros(1)}}
  gradients = {'one': {'b': jnp.array([3.0])}, 'two': {'b': jnp.array([4.0])}}
  updates, _ = optimizer.update(gradients, optimizer.init(params), params)
  actual = [updates['one']['b'][0], updates['two']['b'][0]]
  np.testing.assert_allclose(actual, expected, rtol=1e-5)
