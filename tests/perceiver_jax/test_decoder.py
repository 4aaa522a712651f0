"""The decoder against a reference in float64, and what outputs may see."""

import functools

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from perceiver_jax.decoder import AveragePool, Decoder

QUERY_CHANNELS, OUTPUTS = 6, 7


def normal(seed, *shape):
  return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def decoder(**settings):
  """The decoder as pure functions of queries, latents and query mask."""
  settings = {'output_channels': 5} | settings

  def forward(queries, latents, query_mask=None, is_training=False):
    return Decoder(**settings)(
      queries, latents, is_training=is_training, query_mask=query_mask
    )

  return hk.transform(forward)


def random_params(model):
  """Random values everywhere; no initialiser is compiled."""
  shapes = jax.eval_shape(model.init, jax.random.key(0), QUERIES, LATENTS)
  rng = np.random.default_rng(7)
  return jax.tree.map(
    lambda x: rng.normal(0.2, 0.5, x.shape).astype(np.float32), shapes
  )


QUERIES = normal(1, 2, OUTPUTS, QUERY_CHANNELS)
LATENTS = normal(2, 2, 6, 8)
MASK = np.arange(2 * OUTPUTS).reshape(2, OUTPUTS) % 3 != 0


@pytest.fixture(scope='module')
def model():
  return decoder()


@pytest.fixture(scope='module')
def apply(model):
  return functools.partial(jax.jit(model.apply), random_params(model), None)


@pytest.fixture(scope='module')
def outputs(apply):
  return apply(QUERIES, LATENTS)


def reference(params, queries, latents, *, num_heads, query_residual):
  """The equations of Perceiver IO's appendix E, one head after the other."""
  params = jax.tree.map(lambda x: np.asarray(x, np.float64), params)
  queries, latents = np.float64(queries), np.float64(latents)

  def of(name):
    return params[f'decoder/{name}']

  def linear(x, name):
    return x @ of(name)['w'] + of(name)['b']

  def norm(x, name):
    centred = x - x.mean(axis=-1, keepdims=True)
    scaled = centred / np.sqrt(x.var(axis=-1, keepdims=True) + 1e-5)
    return scaled * of(name)['scale'] + of(name)['offset']

  def gelu(x):
    return x / 2 * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))

  inputs = norm(latents, 'cross_attend/inputs_norm')
  query = linear(
    norm(queries, 'cross_attend/norm'), 'cross_attend/attention/query'
  )
  key = linear(inputs, 'cross_attend/attention/key')
  value = linear(inputs, 'cross_attend/attention/value')
  heads = []
  for q, k, v in zip(
    *(np.split(x, num_heads, axis=-1) for x in (query, key, value)),
    strict=True,
  ):
    scores = q @ k.transpose(0, 2, 1) / np.sqrt(q.shape[-1])
    weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
    heads.append(weights / weights.sum(axis=-1, keepdims=True) @ v)
  result = linear(
    np.concatenate(heads, axis=-1), 'cross_attend/attention/output'
  )
  if query_residual:
    result = result + queries
  hidden = linear(
    norm(result, 'cross_attend/mlp_norm'), 'cross_attend/mlp/hidden'
  )
  result = result + linear(gelu(hidden), 'cross_attend/mlp/output')
  return linear(result, 'output') if 'decoder/output' in params else result


@pytest.mark.parametrize(
  'settings',
  [
    {},
    {'query_residual': True},
    {
      'num_heads': 2,
      'qk_channels': 4,
      'v_channels': 10,
      'widening_factor': 3,
      'output_channels': None,
      'query_residual': True,
    },
  ],
)
def test_decoder_is_the_reference(settings):
  model = decoder(**settings)
  params = random_params(model)
  expected = reference(
    params,
    QUERIES,
    LATENTS,
    num_heads=settings.get('num_heads', 1),
    query_residual=settings.get('query_residual', False),
  )
  outputs = jax.jit(model.apply)(params, None, QUERIES, LATENTS)
  assert outputs.shape == (2, OUTPUTS, settings.get('output_channels', 5) or 6)
  np.testing.assert_allclose(outputs, expected, rtol=2e-4, atol=2e-4)


def test_widths_of_keys_and_values_are_those_of_the_latents_by_default(model):
  params = random_params(model)
  attention = 'decoder/cross_attend/attention'
  assert params[f'{attention}/query']['w'].shape == (6, 8)
  assert params[f'{attention}/key']['w'].shape == (8, 8)
  assert params[f'{attention}/value']['w'].shape == (8, 8)
  assert params[f'{attention}/output']['w'].shape == (8, 6)


def test_some_of_the_queries_give_the_same_rows_as_all(apply, outputs):
  # So few queries take the absorbed form of attention, all take the plain one.
  some = np.array([6, 0, 3])
  np.testing.assert_allclose(
    apply(QUERIES[:, some], LATENTS), outputs[:, some], rtol=1e-4, atol=1e-4
  )


def test_shared_queries_are_as_if_repeated(apply):
  np.testing.assert_allclose(
    apply(QUERIES[:1], LATENTS),
    apply(QUERIES[:1].repeat(2, axis=0), LATENTS),
    rtol=1e-4,
    atol=1e-4,
  )


@pytest.mark.parametrize('filler', [0.0, 1e6, np.nan])
def test_masked_queries_give_zeros_and_change_no_other(apply, outputs, filler):
  queries = np.where(MASK[..., None], QUERIES, np.float32(filler))
  masked = np.asarray(apply(queries, LATENTS, MASK))
  np.testing.assert_array_equal(masked[~MASK], 0.0)
  np.testing.assert_allclose(masked[MASK], outputs[MASK], rtol=1e-4, atol=1e-4)


def test_shared_queries_may_be_masked_for_each_example(apply):
  repeated = QUERIES[:1].repeat(2, axis=0)
  np.testing.assert_allclose(
    apply(QUERIES[:1], LATENTS, MASK),
    np.where(MASK[..., None], apply(repeated, LATENTS), 0.0),
    rtol=1e-4,
    atol=1e-4,
  )


def test_masked_queries_have_no_influence_on_gradients(model):
  def loss(params, queries, latents):
    outputs = model.apply(params, None, queries, latents, MASK)
    return jnp.square(outputs - 1.0).sum()

  gradient = jax.jit(jax.grad(loss, argnums=(0, 1, 2)))
  params = random_params(model)
  filled = [
    gradient(params, np.where(MASK[..., None], QUERIES, filler), LATENTS)
    for filler in np.float32([0.0, np.nan])
  ]
  jax.tree.map(np.testing.assert_array_equal, *filled)
  _, queries, latents = filled[1]
  np.testing.assert_array_equal(queries[~MASK], 0.0)
  assert np.abs(queries[MASK]).min() > 0.0 and np.abs(latents).min() > 0.0


def test_zero_init_makes_all_outputs_zero_at_first(apply):
  def last_layer(model):
    params = jax.jit(
      lambda: model.init(jax.random.key(0), QUERIES, LATENTS)['decoder/output']
    )()
    return params['w'], params['b']

  w, b = last_layer(decoder(zero_init=True, output_channels=50))
  assert not w.any() and not b.any()
  w, b = last_layer(decoder(output_channels=500))
  np.testing.assert_allclose(w.std(), QUERY_CHANNELS**-0.5, rtol=0.05)
  assert not b.any()


def test_zero_init_needs_a_last_layer():
  model = decoder(zero_init=True, output_channels=None)
  with pytest.raises(ValueError, match='output_channels=None there is none'):
    jax.eval_shape(model.init, jax.random.key(0), QUERIES, LATENTS)


def test_dropout_needs_a_key_in_training_only():
  model = decoder(dropout_rate=0.5)
  params = random_params(model)

  def trace(key, is_training):
    return jax.eval_shape(
      lambda: model.apply(params, key, QUERIES, LATENTS, None, is_training)
    )

  assert trace(None, False).shape == (2, OUTPUTS, 5)
  assert trace(jax.random.key(0), True).shape == (2, OUTPUTS, 5)
  with pytest.raises(ValueError, match='non-None PRNGKey'):
    trace(None, True)


@pytest.mark.parametrize(
  'mask',
  [
    np.ones((2, OUTPUTS - 1), bool),
    np.ones((1, OUTPUTS), bool),
    np.ones((2, OUTPUTS, 1), bool),
    np.ones((2, OUTPUTS), np.float32),
  ],
)
def test_query_masks_that_do_not_fit(model, mask):
  with pytest.raises(ValueError, match=r'query_mask must be bool \[2, 7\]'):
    jax.eval_shape(model.init, jax.random.key(0), QUERIES, LATENTS, mask)


def test_average_pool_is_the_mean_of_the_latents_through_a_linear_layer():
  model = hk.transform(lambda x: AveragePool(num_outputs=3)(x))
  params = model.init(jax.random.key(0), LATENTS)
  w, b = normal(3, 8, 3), normal(4, 3)
  assert not params['average_pool/logits']['w'].any()
  logits = model.apply({'average_pool/logits': {'w': w, 'b': b}}, None, LATENTS)
  expected = np.float64(LATENTS).mean(axis=1) @ w + b
  np.testing.assert_allclose(logits, expected, rtol=1e-5, atol=1e-5)
