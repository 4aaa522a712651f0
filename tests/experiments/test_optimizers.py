"""Optimizers against optax and by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import optax.contrib
import pytest

from experiments.stepping import optimizers


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
def test_lamb_can_move_biases_and_norms_as_plain_adam(module, name):
  params = {module: {name: normal(0, 3, 6)}}
  ours = optimizers.lamb(learning_rate, trust_biases=False, **SETTINGS)
  adam = optax.adam(learning_rate, b1=0.8, b2=0.95, eps=1e-6)
  assert_trees_close(run(ours, params), run(adam, params), rtol=1e-6)


def released_lamb(learning_rate, weight_decay, clip_norm):
  """The authors' training code (perceiver/train/utils.py), for one layer."""
  return optax.chain(
    optax.clip_by_global_norm(clip_norm),
    optax.scale_by_adam(b1=0.9, b2=0.999, eps=1e-6),
    optax.add_decayed_weights(
      weight_decay,
      mask=lambda params: {
        module: {name: 'norm' not in module and name != 'b' for name in leaves}
        for module, leaves in params.items()
      },
    ),
    optax.scale_by_trust_ratio(),
    optax.scale_by_schedule(learning_rate),
    optax.scale(-1),
  )


def one_layer():
  """Of a model as it is initialised: biases zero, scales one."""
  return {
    'encoder': {'latents': 0.02 * normal(0, 4, 6)},
    'encoder/query': {'w': 0.4 * normal(1, 6, 5), 'b': jnp.zeros(5)},
    'encoder/norm': {'scale': jnp.ones(6), 'offset': jnp.zeros(6)},
  }


def test_lamb_is_that_of_the_released_training_code():
  settings = {'weight_decay': 0.1, 'clip_norm': 10.0}
  ours = run(optimizers.lamb(learning_rate, **settings), one_layer(), 20)
  theirs = run(released_lamb(learning_rate, **settings), one_layer(), 20)
  assert_trees_close(ours, theirs, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(
  ('trust_biases', 'moved'), [(True, 1e-3 * 1.001**199), (False, 0.2)]
)
def test_how_far_a_bias_goes_with_a_trust_ratio_and_without(
  trust_biases, moved
):
  # 200 equal steps of 1e-3, of one number in which Adam's own step is 1.
  optimizer = optimizers.lamb(
    lambda _: 1e-3, weight_decay=0.1, trust_biases=trust_biases
  )
  params = {'query': {'b': jnp.zeros(1)}}
  state = optimizer.init(params)
  update = jax.jit(optimizer.update)
  for _ in range(200):
    updates, state = update({'query': {'b': -jnp.ones(1)}}, state, params)
    params = optax.apply_updates(params, updates)
  # The first step is 1e-3 either way; then 1.001 ** 199 times as far.
  assert float(params['query']['b'][0]) == pytest.approx(moved, rel=1e-3)


def stack_and_gradients():
  """Three layers of very different norms, and five gradients."""
  scales = jnp.array([0.1, 1.0, 10.0])[:, None, None]
  gradients = [normal(10 + i, 3, 4, 5) / scales for i in range(5)]
  return normal(1, 3, 4, 5) * scales, gradients


def run_one(module, w, gradients, optimizer=None):
  """Runs an optimizer, LAMB by default, on a single tensor."""
  optimizer = optimizer or optimizers.lamb(learning_rate, **SETTINGS)
  params = {module: {'w': w}}
  state, update = optimizer.init(params), jax.jit(optimizer.update)
  for gradient in gradients:
    updates, state = update({module: {'w': gradient}}, state, params)
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
  optimizer = optimizers.scale_by_trust_ratio(biases=True)
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
    optimizers.scale_by_trust_ratio(biases=True).update(
      {'m': {'w': jnp.ones(2)}}, None
    )


@pytest.mark.parametrize('name', ['adamw', 'lamb'])
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


@pytest.mark.parametrize('name', sorted(optimizers.OPTIMIZERS))
def test_every_optimizer_sees_the_clipped_gradient(name):
  make = optimizers.OPTIMIZERS[name]
  params = haiku_tree()
  gradients = jax.tree.map(lambda x: 3.0 * x, params)
  norm = float(optax.tree.norm(gradients))
  clipped = jax.tree.map(lambda x: x * 0.5, gradients)
  got, expected = (
    make(optax.constant_schedule(0.1), weight_decay=0.2, clip_norm=clip_norm)
    for clip_norm in (0.5 * norm, None)
  )
  assert_trees_close(
    jax.jit(got.update)(gradients, got.init(params), params)[0],
    jax.jit(expected.update)(clipped, expected.init(params), params)[0],
    rtol=1e-4,
    atol=1e-6,
  )


def test_lion_is_that_of_optax_with_the_same_mask():
  params = haiku_tree()
  ours = optimizers.lion(learning_rate, weight_decay=0.3, b1=0.8, b2=0.95)
  theirs = optax.lion(
    learning_rate, b1=0.8, b2=0.95, weight_decay=0.3, mask=HAIKU_TREE_DECAYS
  )
  assert_trees_close(run(ours, params), run(theirs, params), rtol=1e-6)


@pytest.mark.parametrize('scale', [True, False])
def test_adafactor_without_stacks_is_that_of_optax(scale):
  params = {
    'encoder': {'latents': normal(0, 4, 6)},
    'encoder/query': {'w': 3.0 * normal(1, 6, 5), 'b': normal(2, 5)},
    'preprocessor/conv': {'w': 0.1 * normal(3, 3, 3, 4, 5)},
  }
  ours = optimizers.adafactor(
    learning_rate,
    weight_decay=0.0,
    least_factored=4,
    scale_by_parameters=scale,
  )
  theirs = optax.adafactor(
    learning_rate,
    min_dim_size_to_factor=4,
    multiply_by_parameter_scale=scale,
  )
  assert_trees_close(run(ours, params), run(theirs, params), rtol=1e-5)


def test_adafactor_keeps_rows_and_columns_of_each_layer():
  state = optimizers.adafactor(
    learning_rate, weight_decay=0.0, least_factored=4
  ).init({'block/layers/mlp': {'w': normal(0, 3, 4, 5)}})
  shapes = {x.shape for x in jax.tree.leaves(state)}
  assert {(3, 4), (3, 5)} < shapes and (3, 4, 5) not in shapes


def test_muon_of_matrices_is_that_of_optax_and_adamw_of_all_else():
  params = {
    'encoder': {'latents': normal(0, 4, 6)},
    'encoder/query': {'w': 3.0 * normal(1, 6, 5), 'b': normal(2, 5)},
    'preprocessor/conv': {'w': 0.1 * normal(3, 3, 3, 4, 5)},
  }
  settings = {'weight_decay': 0.3, 'b1': 0.8, 'b2': 0.95}
  got = run(optimizers.muon(learning_rate, momentum=0.9, **settings), params)
  muon = optax.contrib.muon(
    learning_rate, beta=0.9, weight_decay=0.3, consistent_rms=0.2
  )
  adamw = run(optimizers.adamw(learning_rate, **settings), params)
  expected = run(muon, params)['encoder/query']['w']
  # Sums in another order: the iteration makes more of it.
  np.testing.assert_allclose(got['encoder/query']['w'], expected, rtol=1e-3)
  got['encoder/query'].pop('w')
  adamw['encoder/query'].pop('w')
  assert_trees_close(got, adamw, rtol=1e-6)


def test_muon_moves_each_layer_by_an_orthogonal_matrix():
  w, gradients = stack_and_gradients()
  moved = w - run_one(
    'block/layers/mlp',
    w,
    gradients[:1],
    optimizers.muon(optax.constant_schedule(1.0), weight_decay=0.0),
  )
  for layer in np.asarray(moved):
    values = np.linalg.svd(layer, compute_uv=False) / (0.2 * 5**0.5)
    # Newton-Schulz brings them near 1, not to it.
    assert values.min() > 0.6 and values.max() < 1.3


@pytest.mark.parametrize('name', ['adafactor', 'muon', 'lion'])
def test_a_stack_is_each_layer_alone(name):
  extra = {'least_factored': 4} if name == 'adafactor' else {}
  make = optimizers.OPTIMIZERS[name]
  optimizer = make(learning_rate, weight_decay=0.1, **extra)
  w, gradients = stack_and_gradients()
  stacked = run_one('encoder/block/layers/mlp', w, gradients, optimizer)
  alone = [
    run_one('encoder/block/mlp', w[i], [g[i] for g in gradients], optimizer)
    for i in range(3)
  ]
  np.testing.assert_allclose(stacked, np.stack(alone), rtol=1e-3, atol=1e-5)
