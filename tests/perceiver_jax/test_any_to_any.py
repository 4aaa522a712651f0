"""Any inputs, any outputs: what is missing is as if it had never been."""

import chex
import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from perceiver_jax import AnyToAny, ByteArray, Decoder, Encoder, Multimodal
from perceiver_jax.models import Output

OUTPUTS = {
  'class': Output(num_channels=3),
  'labels': Output(num_channels=1, num_queries=4),
  'steps': Output(num_channels=2, num_queries=None, asks='a'),
}


def as_it_is(raw, *, is_training):
  del is_training
  return ByteArray(raw)


def forward(inputs, masks, outputs=None):
  model = AnyToAny(
    preprocessor=Multimodal(
      preprocessors={'a': as_it_is, 'b': as_it_is}, min_padding=2
    ),
    encoder=Encoder(
      num_latents=4,
      latent_channels=8,
      cross_attends=(1, 1),
      self_attends_per_block=1,
      self_attend_heads=2,
    ),
    outputs=outputs or OUTPUTS,
    query_channels=8,
    decoder=Decoder(output_channels=None, query_residual=True),
  )
  return model(inputs, is_training=False, masks=masks)


@pytest.fixture(scope='module')
def model():
  return hk.without_apply_rng(hk.transform(forward))


@pytest.fixture(scope='module')
def inputs():
  rng = np.random.default_rng(0)
  return {
    'a': rng.normal(size=(2, 5, 6)).astype(np.float32),
    'b': rng.normal(size=(2, 3, 4)).astype(np.float32),
  }


@pytest.fixture(scope='module')
def params(model, inputs):
  there = jnp.ones(2, bool)
  made = model.init(jax.random.key(0), inputs, {'a': there, 'b': there})
  keys = iter(jax.random.split(jax.random.key(1), 1000))
  # Also what starts at zero.
  return jax.tree.map(
    lambda x: x + 0.1 * jax.random.normal(next(keys), x.shape), made
  )


def test_each_output_has_its_shape(model, params, inputs):
  there = jnp.ones(2, bool)
  outputs = model.apply(params, inputs, {'a': there, 'b': there})
  assert {name: x.shape for name, x in outputs.items()} == {
    'class': (2, 1, 3),
    'labels': (2, 4, 1),
    'steps': (2, 5, 2),
  }


def test_a_missing_modality_is_as_if_it_had_no_elements(model, params, inputs):
  there, missing = jnp.ones(2, bool), jnp.zeros(2, bool)
  without = {**inputs, 'b': np.zeros((2, 0, 4), np.float32)}
  expected = model.apply(params, without, {'a': there, 'b': there})
  for content in (inputs['b'], np.full((2, 3, 4), np.nan, np.float32)):
    made = model.apply(
      params, {**inputs, 'b': content}, {'a': there, 'b': missing}
    )
    chex.assert_trees_all_close(made, expected, atol=1e-6)
  both = model.apply(params, inputs, {'a': there, 'b': there})
  assert np.abs(both['class'] - expected['class']).max() > 1e-3


def test_examples_miss_what_they_miss_each_by_itself(model, params, inputs):
  there = jnp.ones(2, bool)
  made = model.apply(
    params, inputs, {'a': there, 'b': jnp.array([True, False])}
  )
  both = model.apply(params, inputs, {'a': there, 'b': there})
  none = model.apply(params, inputs, {'a': there, 'b': ~there})
  chex.assert_trees_all_close(made['class'][0], both['class'][0], atol=1e-6)
  chex.assert_trees_all_close(made['class'][1], none['class'][1], atol=1e-6)


def test_elements_that_are_missing_are_not_asked_about(model, params, inputs):
  there = jnp.ones(2, bool)
  few = jnp.arange(5)[None] < jnp.array([[5], [2]])
  made = model.apply(params, inputs, {'a': few, 'b': there})
  cut = {name: x[1:] for name, x in inputs.items()}
  cut['a'] = cut['a'][:, :2]
  alone = model.apply(params, cut, {'a': there[1:], 'b': there[1:]})
  np.testing.assert_array_equal(made['steps'][1, 2:], 0.0)
  np.testing.assert_allclose(made['steps'][1, :2], alone['steps'][0], atol=1e-6)
  np.testing.assert_allclose(made['class'][1], alone['class'][0], atol=1e-6)


def test_nothing_at_all_gives_finite_answers(model, params, inputs):
  missing = jnp.zeros(2, bool)
  made = model.apply(params, inputs, {'a': missing, 'b': missing})
  chex.assert_tree_all_finite(made)


def test_an_output_asks_with_an_input_that_there_is(model, inputs):
  there = jnp.ones(2, bool)
  asking = {'x': Output(num_channels=1, num_queries=None, asks='c')}
  with pytest.raises(ValueError, match="'x' asks with the elements of 'c'"):
    model.init(
      jax.random.key(0), inputs, {'a': there, 'b': there}, outputs=asking
    )
