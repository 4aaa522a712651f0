"""Learning rates by prefix and by layer, against updates by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from experiments.configs import digits, flow, language
from experiments.data.dataset import batch_spec
from experiments.host.configuration import fill_defaults
from experiments.runs.experiment import bind
from experiments.runs.learning_rates import (
  LearningRates,
  apply_learning_rates,
  encoder_depths,
)
from experiments.stepping.optimizers import adamw
from experiments.stepping.train_state import init_shapes, state_shapes

LAYERS = 'encoder/latent_block_0/layers/self_attend'


def small(config=None, **learning_rates):
  config = config or digits.get_config()
  config = fill_defaults(config)
  config.learning_rates.update(learning_rates)
  return config


def shapes_of(task):
  return init_shapes(task.model, batch_spec(task.data.example, 1))


def factors_of(config):
  """What updates that are all 1 become."""
  task = bind(config, None).task
  optimizer = apply_learning_rates(config, task, optax.identity())
  params, _ = shapes_of(task)

  def updates():
    ones = jax.tree.map(lambda x: jnp.ones(x.shape, x.dtype), params)
    return optimizer.update(ones, optimizer.init(ones), ones)[0]

  return jax.jit(updates)()


def test_a_factor_multiplies_the_whole_update_by_hand():
  config = small(multipliers=(('a', 0.5), ('a/b', 3.0), ('c/w', 0.0)))
  rate = 0.1
  optimizer = apply_learning_rates(
    config,
    None,
    adamw(lambda _: rate, weight_decay=0.2, b1=0.0, b2=0.0, epsilon=0.0),
  )
  one = jnp.array([[2.0, -4.0]])
  params = {
    'a': {'w': one},
    'a/b': {'w': one, 'b': one},
    'a/bc': {'w': one},
    'c': {'w': one, 'b': one},
  }
  updates, _ = optimizer.update(params, optimizer.init(params), params)
  # Adam without memory moves by the sign of the gradient; biases do not decay.
  decayed = -rate * (np.sign(one) + 0.2 * one)
  bias = -rate * np.sign(one)
  expected = {
    'a': {'w': 0.5 * decayed},
    'a/b': {'w': 3.0 * decayed, 'b': 3.0 * bias},
    'a/bc': {'w': 0.5 * decayed},
    'c': {'w': 0.0 * decayed, 'b': bias},
  }
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), updates, expected
  )


def test_each_layer_of_a_stack_has_a_factor_of_its_own():
  got = factors_of(small(layer_decay=0.5, multipliers=(('encoder', 2.0),)))
  # The encoder of digits: cross-attends 0 and 1, then, for the last time, both
  # layers of the block that they share.
  expected = {
    'perceiver_classifier/average_pool/logits': 1.0,
    f'{LAYERS}/mlp/hidden': 2.0 * np.array([0.25, 0.5]),
    f'{LAYERS}/norm': 2.0 * np.array([0.25, 0.5]),
    'encoder/cross_attend_1/mlp/hidden': 2.0 * 0.125,
    'encoder/cross_attend_0/mlp/hidden': 2.0 * 0.0625,
    'encoder': 2.0 * 0.03125,
  }
  for module, factor in expected.items():
    for array in got[module].values():
      shape = np.shape(factor) + (1,) * (array.ndim - np.ndim(factor))
      np.testing.assert_array_equal(
        array, np.broadcast_to(np.reshape(factor, shape), array.shape)
      )


def depths_of(config):
  config = small(config)
  return encoder_depths(config, bind(config, None).task)


def test_depths_of_blocks_that_are_not_shared():
  config = digits.get_config()
  config.encoder.cross_attends = (1, 1, 0)
  config.encoder.share_latent_blocks = False
  found = depths_of(config)
  # cross 0, two layers, cross 1, two layers, two layers.
  assert found['encoder'] == 9
  assert found['encoder/cross_attend_0/attention/key'] == 8
  assert found['encoder/cross_attend_1/attention/key'] == 5
  for block, layers in enumerate([[7, 6], [4, 3], [2, 1]]):
    name = f'encoder/latent_block_{block}/layers/self_attend/norm'
    assert found[name].tolist() == layers
  assert 'perceiver_classifier/average_pool/output' not in found


def test_what_comes_before_the_encoder_is_deepest():
  found = depths_of(language.get_config())
  # One cross-attend and 26 layers, whatever is shared.
  assert found['token_embedding'] == found['encoder'] == 28
  assert found['token_embedding/positions'] == 28
  assert not [name for name in found if name.startswith('decoder')]
  assert not [name for name in found if name.startswith('learned_queries')]
  assert depths_of(flow.get_config())['frame_patches/patches'] == 26


def test_nothing_said_is_nothing_done():
  optimizer = optax.sgd(0.1)
  assert apply_learning_rates(small(), None, optimizer) is optimizer


def test_the_state_of_the_optimizer_is_the_same():
  with_rates = small(layer_decay=0.5, multipliers=(('encoder', 2.0),))
  structures = []
  for config in (small(), with_rates):
    task, _, optimizer = bind(config, None)
    shapes = state_shapes(
      task.model, optimizer, batch_spec(task.data.example, 1)
    )
    structures.append(jax.tree.structure(shapes))
  assert structures[0] == structures[1]


def test_a_prefix_that_stands_for_nothing():
  config = small(multipliers=(('encoder/cross_atend_0', 2.0),))
  task, _, optimizer = bind(config, None)
  with pytest.raises(
    ValueError,
    match=r"config\.learning_rates\.multipliers has 'encoder/cross_atend_0', "
    r"but nothing is called so; did you mean 'encoder/cross_attend_0'\?",
  ):
    jax.eval_shape(optimizer.init, shapes_of(task)[0])


@pytest.mark.parametrize(
  'pair', ['encoder', ('encoder',), (1, 'encoder'), ('encoder', -1.0)]
)
def test_multipliers_are_pairs_of_a_prefix_and_a_factor(pair):
  with pytest.raises(ValueError, match='pairs of a prefix of parameters'):
    LearningRates(multipliers=(pair,))


@pytest.mark.parametrize('decay', [0.0, -0.5, 1.5])
def test_a_layer_decay_out_of_its_range(decay):
  with pytest.raises(ValueError, match=r'layer_decay must be in \(0, 1\]'):
    LearningRates(layer_decay=decay)


def test_layers_without_an_encoder():
  config = small(digits.get_config('vit'), layer_decay=0.5)
  with pytest.raises(ValueError, match='layers of an encoder, and this config'):
    bind(config, None)
