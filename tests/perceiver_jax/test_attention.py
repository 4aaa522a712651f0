"""Attention: closed forms, masks, and the absorbed form against the plain."""

from typing import NamedTuple

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from perceiver_jax import attention_forms, input_chunks
from perceiver_jax import recomputed_attention as module_of_recomputed
from perceiver_jax.absorbed_attention import (
  NormalizedByteArray,
  Unprojected,
  absorbed_attention,
  inverse_stddev,
)
from perceiver_jax.attention import Attention
from perceiver_jax.attention_forms import KeysValues, absorbing_pays, attend
from perceiver_jax.byte_array import ByteArray
from perceiver_jax.dot_product import dot_product_attention, masked_softmax
from perceiver_jax.numerics import affine
from perceiver_jax.portability import plain_forms
from perceiver_jax.position_encoding import FourierPositions, GridPositions
from perceiver_jax.preprocessors import Pixels
from perceiver_jax.recomputed_attention import recomputed_attention
from perceiver_jax.transformer import CrossAttend


def normal(seed, *shape):
  return jnp.asarray(np.random.default_rng(seed).normal(size=shape))


def test_dot_product_attention_closed_form():
  # Scores 0 and log 3 after scaling: weights 1/4 and 3/4.
  query = jnp.full((1, 1, 1, 4), jnp.log(3.0) / 2)
  key = jnp.stack([jnp.zeros(4), jnp.ones(4)])[None, :, None]
  value = jnp.array([[[[8.0, 0.0]], [[0.0, 8.0]]]])
  attended = dot_product_attention(query, key, value)
  np.testing.assert_allclose(attended[0, 0, 0], [2.0, 6.0], rtol=1e-6)


def test_heads_attend_apart():
  query, key, value = (normal(i, 2, 5, 3, 4) for i in range(3))
  together = dot_product_attention(query, key, value)
  for head in range(3):
    alone = dot_product_attention(
      *(x[:, :, head : head + 1] for x in (query, key, value))
    )
    np.testing.assert_allclose(
      together[:, :, head : head + 1], alone, rtol=1e-5
    )


def test_masked_softmax():
  scores = jnp.array([[1.0, 2.0, 3.0], [1.0, 2.0, 3.0]])
  mask = jnp.array([[True, True, False], [False, False, False]])
  weights = masked_softmax(scores, mask)
  e = np.exp(1.0)
  np.testing.assert_allclose(
    weights, [[1 / (1 + e), e / (1 + e), 0.0], [0.0, 0.0, 0.0]], rtol=1e-6
  )
  gradient = jax.grad(lambda s: (masked_softmax(s, mask) ** 2).sum())(scores)
  assert np.isfinite(gradient).all()
  np.testing.assert_array_equal(gradient[1], 0.0)


def make_inputs(
  batch, num_inputs, features, positions, mask, shared, dtype=jnp.float32
):
  """Inputs of uneven mean and scale, so that layer norm has work to do."""
  real = np.random.default_rng(3).random((batch, num_inputs)) < 0.6
  byte_array = ByteArray(
    (3.0 * normal(1, batch, num_inputs, features) + 1.0).astype(dtype),
    None
    if not positions
    else normal(2, *(() if shared else (batch,)), num_inputs, positions),
    jnp.asarray(real) if mask else None,
  ).zero_padding()
  channels = features + positions
  return NormalizedByteArray(
    byte_array, 1.0 + 0.3 * normal(4, channels), normal(5, channels)
  )


class Projections(NamedTuple):
  query: tuple[jax.Array, jax.Array]
  key: tuple[jax.Array, jax.Array]
  value: tuple[jax.Array, jax.Array]


def make_projections(query_channels, channels, qk, v):
  return Projections(
    query=(normal(6, query_channels, qk) / 3, normal(7, qk)),
    key=(normal(8, channels, qk) / 3, normal(9, qk)),
    value=(normal(10, channels, v) / 3, normal(11, v)),
  )


def plain(queries, inputs, projections):
  query = affine(queries, *projections.query)
  key, value = (
    affine(inputs.concatenate(), *projections.key),
    affine(inputs.concatenate(), *projections.value),
  )
  query = jnp.broadcast_to(query, (key.shape[0], *query.shape[1:]))
  return dot_product_attention(
    *(x[:, :, None] for x in (query, key, value)), mask=inputs.byte_array.mask
  )[:, :, 0]


def absorbed(queries, inputs, projections, chunk_size):
  return absorbed_attention(
    affine(queries, *projections.query),
    Unprojected(
      inputs,
      inverse_stddev(inputs.byte_array),
      projections.key,
      projections.value,
    ),
    chunk_size=chunk_size,
  )


CASES = [
  # batch, query batch, M, Cf, Cp, mask, positions shared, chunk size
  (2, 2, 20, 3, 10, False, True, 7),
  (3, 1, 20, 3, 10, True, True, 7),
  (2, 2, 12, 1, 6, True, False, 4),
  (3, 1, 12, 1, 6, False, False, 5),
  (2, 2, 9, 8, 0, True, True, 9),
  (3, 1, 9, 8, 0, False, True, 2),
  (2, 1, 1, 5, 4, False, True, 8),
]


# Many queries take chunks together; few leave positions that are shared apart.
@pytest.mark.parametrize(
  ('case', 'many_queries'),
  [(case, 128) for case in CASES] + [(CASES[i], 1) for i in (0, 1, 6)],
)
def test_absorbed_equals_plain_with_all_gradients(
  case, many_queries, monkeypatch
):
  monkeypatch.setattr(input_chunks, '_MANY_QUERIES', many_queries)
  batch, query_batch, num_inputs, cf, cp, mask, shared, chunk_size = case
  with jax.enable_x64(True):
    inputs = make_inputs(
      batch, num_inputs, cf, cp, mask, shared, dtype=jnp.float64
    )
    queries = normal(0, query_batch, 4, 6)
    projections = make_projections(6, cf + cp, 5, 7)

    def loss(form, queries, parts, scale, offset, projections):
      byte_array = ByteArray(*parts, inputs.byte_array.mask)
      attended = form(
        queries, NormalizedByteArray(byte_array, scale, offset), projections
      )
      return (attended * normal(12, batch, 4, 7)).sum(), attended

    arguments = (
      queries,
      inputs.byte_array[:2],
      inputs.scale,
      inputs.offset,
      projections,
    )
    results = [
      jax.jit(
        jax.value_and_grad(
          lambda *args, form=form: loss(form, *args),
          argnums=range(5),
          has_aux=True,
        )
      )(*arguments)
      for form in (plain, lambda *args: absorbed(*args, chunk_size))
    ]
  expected, actual = results
  jax.tree.map(
    lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-9, atol=1e-11),
    actual,
    expected,
  )


@pytest.mark.parametrize('form', ['plain', 'absorbed'])
def test_masked_inputs_are_as_if_cut_off(form):
  inputs = make_inputs(2, 10, 3, 4, False, True)
  queries, projections = normal(0, 2, 4, 6), make_projections(6, 7, 5, 5)
  attend = (
    plain if form == 'plain' else lambda *args: absorbed(*args, chunk_size=3)
  )

  def first_six(byte_array):
    return ByteArray(byte_array.features[:, :6], byte_array.positions[:6])

  cut = inputs._replace(byte_array=first_six(inputs.byte_array))
  mask = jnp.arange(10)[None].repeat(2, axis=0) < 6
  padded = inputs._replace(byte_array=inputs.byte_array._replace(mask=mask))
  np.testing.assert_allclose(
    jax.jit(attend)(queries, padded, projections),
    jax.jit(attend)(queries, cut, projections),
    rtol=2e-5,
    atol=2e-6,
  )


@pytest.mark.parametrize('chunk_size', [3, 10])
def test_an_example_of_padding_alone_gives_zeros_and_no_nan(chunk_size):
  inputs = make_inputs(2, 10, 3, 4, False, True)
  mask = jnp.stack([jnp.zeros(10, bool), jnp.ones(10, bool)])
  queries, projections = normal(0, 2, 4, 6), make_projections(6, 7, 5, 5)

  def attend(form, features):
    byte_array = ByteArray(features, inputs.byte_array.positions, mask)
    return form(queries, inputs._replace(byte_array=byte_array), projections)

  for form in (plain, lambda *args: absorbed(*args, chunk_size)):

    def loss(features, form=form):
      attended = attend(form, features)
      return (attended**2).sum(), attended

    gradient, attended = jax.jit(jax.grad(loss, has_aux=True))(
      inputs.byte_array.features
    )
    np.testing.assert_array_equal(attended[0], 0.0)
    assert np.abs(attended[1]).min() > 0.0
    assert np.isfinite(gradient).all()
    np.testing.assert_array_equal(gradient[0], 0.0)


# Few and many queries; chunks that leave a rest and that do not.
@pytest.mark.parametrize(('many_queries', 'chunk_size'), [(128, 7), (1, 6)])
def test_positions_on_demand_equal_those_in_an_array(
  many_queries, chunk_size, monkeypatch
):
  monkeypatch.setattr(input_chunks, '_MANY_QUERIES', many_queries)
  grid_positions = GridPositions(
    encoding=FourierPositions(num_bands=2, max_resolution=(4, 6)),
    grid_shape=(4, 6),
  )
  inputs = make_inputs(3, 24, 3, 10, True, True)
  queries, projections = normal(0, 3, 4, 6), make_projections(6, 13, 5, 7)

  def results(positions):
    def loss(queries, features):
      byte_array = inputs.byte_array._replace(
        features=features, positions=positions
      )
      attended = absorbed(
        queries,
        inputs._replace(byte_array=byte_array),
        projections,
        chunk_size,
      )
      return jnp.square(attended).sum(), attended

    return jax.jit(jax.value_and_grad(loss, (0, 1), has_aux=True))(
      queries, inputs.byte_array.features
    )

  jax.tree.map(
    lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-4, atol=1e-4),
    results(grid_positions),
    results(grid_positions.encode()),
  )


def test_a_large_grid_is_never_encoded_as_a_whole():
  size, channels = 256, 2 * (2 * 32 + 1)
  images = jax.ShapeDtypeStruct((1, size, size, 1), jnp.float32)

  def forward(images):
    byte_array = Pixels(
      positions=FourierPositions(num_bands=32, max_resolution=(size, size))
    )(images)
    latents = hk.get_parameter('latents', (1, 8, 16), init=jnp.ones)
    module = CrossAttend(name='cross_attend')
    inputs = module.prepare(byte_array, num_queries=8, is_training=True)
    return jnp.square(module(latents, inputs, is_training=True)).sum()

  model = hk.without_apply_rng(hk.transform(forward))
  params = jax.eval_shape(model.init, jax.random.key(0), images)
  run = jax.jit(jax.grad(model.apply)).lower(params, images).compile()
  temporaries = run.memory_analysis().temp_size_in_bytes
  assert temporaries < 4 * size**2 * channels / 5


def test_absorbed_stores_neither_scores_nor_keys():
  num_inputs, queries = 8192, 64
  inputs = make_inputs(1, num_inputs, 3, 32, False, True)
  projections = make_projections(16, 35, 35, 35)

  def memory(form):
    def loss(queries, projections):
      return (form(queries, inputs, projections) ** 2).sum()

    gradient = jax.jit(jax.grad(loss, argnums=(0, 1)))
    compiled = gradient.lower(normal(0, 1, queries, 16), projections).compile()
    return compiled.memory_analysis().temp_size_in_bytes

  scores = 4 * num_inputs * queries
  chunked = memory(lambda *args: absorbed(*args, chunk_size=512))
  assert chunked < scores < memory(plain)


def test_inverse_stddev_of_the_joint_channels():
  for positions, shared in ((6, True), (6, False), (0, True)):
    byte_array = make_inputs(2, 5, 3, positions, False, shared).byte_array
    expected = 1 / np.sqrt(
      np.var(np.float64(byte_array.concatenate()), axis=-1) + 1e-5
    )
    np.testing.assert_allclose(inverse_stddev(byte_array), expected, rtol=1e-5)


def test_absorbing_pays_when_it_takes_fewer_operations():
  # ImageNet, 261 channels: 512 latents to 50,176 inputs.
  assert absorbing_pays(512, 50_176, 261, 2 * 261)
  # As many queries as inputs and narrow projections: projecting is cheaper.
  assert not absorbing_pays(512, 512, 1024, 2 * 64)


def transform_attention(**arguments):
  def forward(queries, inputs, is_training):
    module = Attention(**arguments)
    inputs = module.prepare(
      inputs, num_queries=queries.shape[1], uses=1, is_training=is_training
    )
    return module(queries, inputs, is_training=is_training)

  return hk.transform(forward)


def test_module_chooses_a_form_and_both_agree():
  inputs = make_inputs(2, 64, 3, 8, True, True)
  queries = normal(0, 2, 4, 16)
  model = transform_attention()
  params = jax.jit(model.init, static_argnums=3)(
    jax.random.key(0), queries, inputs, False
  )
  projections = Projections(
    *(
      (params[f'attention/{name}']['w'], params[f'attention/{name}']['b'])
      for name in ('query', 'key', 'value')
    )
  )
  output = params['attention/output']
  expected = plain(queries, inputs, projections) @ output['w']
  jaxpr = jax.make_jaxpr(
    lambda: model.apply(params, None, queries, inputs, False)
  )()
  assert 'custom_vjp' in str(jaxpr), 'the absorbed form was not chosen'
  np.testing.assert_allclose(
    model.apply(params, None, queries, inputs, False),
    expected,
    rtol=1e-4,
    atol=1e-5,
  )


def test_attention_dropout_acts_in_training_alone():
  inputs = make_inputs(2, 64, 3, 8, False, True)
  queries = normal(0, 2, 4, 16)
  model = transform_attention(dropout_rate=0.5)
  params = jax.jit(model.init, static_argnums=3)(
    jax.random.key(0), queries, inputs, True
  )
  apply = jax.jit(model.apply, static_argnums=4)
  without = apply(params, None, queries, inputs, False)
  drops = jax.vmap(lambda key: apply(params, key, queries, inputs, True))(
    jax.random.split(jax.random.key(1), 400)
  )
  assert not np.allclose(drops[0], drops[1])
  # Dropout keeps the expectation; 6 standard errors of the mean of 400.
  deviation = np.abs(drops.mean(axis=0) - without)
  assert (deviation < 6 * drops.std(axis=0) / np.sqrt(400)).all()


def test_heads_must_divide_channels():
  model = transform_attention(num_heads=4)
  inputs = make_inputs(2, 6, 3, 7, False, True)
  with pytest.raises(ValueError, match=r'qk_channels = 10 .* num_heads = 4'):
    model.init(jax.random.key(0), normal(0, 2, 4, 16), inputs, False)


def test_bad_dropout_rate():
  model = transform_attention(dropout_rate=1.0)
  inputs = make_inputs(1, 2, 2, 2, False, True)
  with pytest.raises(ValueError, match=r'dropout_rate must be in \[0, 1\)'):
    model.init(jax.random.key(0), normal(0, 1, 2, 4), inputs, False)


@pytest.mark.parametrize('seed', range(6))
def test_random_shapes_masks_and_chunks(seed):
  """Values and gradients of inputs and queries, in float64."""
  rng = np.random.default_rng(seed)
  batch, num_inputs, cf = rng.integers(1, [4, 40, 7])
  cp = rng.integers(0, 9)
  shared, mask = rng.random(2) < 0.5
  chunk_size = int(rng.integers(1, num_inputs + 5))
  with jax.enable_x64(True):
    inputs = make_inputs(
      batch, num_inputs, cf, cp, mask, shared, dtype=jnp.float64
    )
    queries = normal(seed, batch if rng.random() < 0.5 else 1, 4, 6)
    projections = make_projections(6, cf + cp, 5, 7)

    def loss(form, queries, features):
      byte_array = inputs.byte_array._replace(features=features)
      attended = form(
        queries, inputs._replace(byte_array=byte_array), projections
      )
      return (attended * normal(12, batch, 4, 7)).sum()

    for expected, actual in zip(
      *(
        jax.jit(
          jax.value_and_grad(lambda *args, form=form: loss(form, *args), (0, 1))
        )(queries, inputs.byte_array.features)
        for form in (plain, lambda *args: absorbed(*args, chunk_size))
      ),
      strict=True,
    ):
      jax.tree.map(
        lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-8, atol=1e-10),
        actual,
        expected,
      )


# Scores for 2 queries at a time leave one over, for 1 and for 5 none.
@pytest.mark.parametrize('queries_at_a_time', [1, 2, 5, 100])
@pytest.mark.parametrize('masked', [False, True])
def test_recomputed_equals_plain_with_all_gradients(
  masked, queries_at_a_time, monkeypatch
):
  monkeypatch.setattr(
    module_of_recomputed, '_MOST_SCORES', 3 * 2 * 7 * queries_at_a_time
  )
  with jax.enable_x64(True):
    query, key = normal(0, 3, 5, 2, 4), normal(1, 3, 7, 2, 4)
    value, cotangent = normal(2, 3, 7, 2, 6), normal(3, 3, 5, 2, 6)
    # The second example has padding, the third nothing else.
    mask = jnp.arange(7)[None] < jnp.array([[7], [4], [0]]) if masked else None

    def results(attend):
      def loss(*arguments):
        attended = attend(*arguments, mask=mask)
        return (attended * cotangent).sum(), attended

      return jax.jit(jax.value_and_grad(loss, (0, 1, 2), has_aux=True))(
        query, key, value
      )

    jax.tree.map(
      lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-9, atol=1e-11),
      results(recomputed_attention),
      results(dot_product_attention),
    )


def test_the_gradient_of_recomputed_attention_keeps_no_weights():
  def kept(attend):
    arguments = (normal(0, 1, 64, 2, 4), normal(1, 1, 64, 2, 4)) * 2
    _, pull_back = jax.vjp(attend, *arguments[:3])
    return max(x.size for x in jax.tree.leaves(pull_back))

  assert kept(dot_product_attention) == 2 * 64 * 64
  assert kept(recomputed_attention) == 64 * 2 * 4


def test_the_gradient_never_holds_all_scores(monkeypatch):
  def memory(most_scores):
    monkeypatch.setattr(module_of_recomputed, '_MOST_SCORES', most_scores)

    def loss(query, key, value):
      return jnp.square(recomputed_attention(query, key, value)).sum()

    arguments = (
      jax.ShapeDtypeStruct((1, size, 1, 8), jnp.float32)
      for size in (8192, 256, 256)
    )
    gradient = jax.jit(jax.grad(loss, (0, 1, 2)))
    compiled = gradient.lower(*arguments).compile()
    return compiled.memory_analysis().temp_size_in_bytes

  all_scores = 4 * 8192 * 256
  assert memory(2**30) > all_scores
  assert memory(64 * 256) < all_scores / 4


def relative_error(actual, expected):
  difference = jnp.abs(actual.astype(jnp.float32) - expected).max()
  return float(difference / jnp.abs(expected).max())


def test_bfloat16_has_a_float32_softmax():
  """Scores of up to 100, which bfloat16 knows to 0.25, weights to 25 %."""
  query, key, value = (
    (scale * normal(i, 2, 40, 2, 16)).astype(jnp.bfloat16)
    for i, scale in enumerate((8.0, 8.0, 1.0))
  )
  wide = [x.astype(jnp.float32) for x in (query, key, value)]
  expected = dot_product_attention(*wide)
  for form in (dot_product_attention, recomputed_attention):
    attended = form(query, key, value)
    assert attended.dtype == jnp.bfloat16
    # The query is scaled in bfloat16 once: scores are off by 2^-9 of them.
    assert relative_error(attended, expected) < 0.1, form


@pytest.mark.parametrize('many_queries', [128, 1])
def test_bfloat16_features_stay_close_when_absorbed(many_queries, monkeypatch):
  monkeypatch.setattr(input_chunks, '_MANY_QUERIES', many_queries)
  inputs = make_inputs(2, 64, 3, 10, True, True)
  queries, projections = normal(0, 2, 4, 6), make_projections(6, 13, 5, 7)
  byte_array = inputs.byte_array
  half = byte_array._replace(features=byte_array.features.astype(jnp.bfloat16))
  rounded = half._replace(features=half.features.astype(jnp.float32))

  def results(queries, byte_array):
    def loss(queries):
      attended = absorbed(
        queries, inputs._replace(byte_array=byte_array), projections, 16
      )
      return jnp.square(attended.astype(jnp.float32)).sum(), attended

    gradient, attended = jax.jit(jax.grad(loss, has_aux=True))(queries)
    return attended, gradient

  expected = results(queries, rounded)
  actual = results(queries.astype(jnp.bfloat16), half)
  assert actual[0].dtype == jnp.bfloat16
  for x, y in zip(actual, expected, strict=True):
    assert relative_error(x, y) < 0.05


def test_the_plain_form_is_traced_while_asked_for(monkeypatch):
  def forbidden(*_):
    raise AssertionError('recomputed')

  monkeypatch.setattr(attention_forms, 'recomputed_attention', forbidden)
  query, key, value = (normal(i, 2, 8, 2, 4) for i in range(3))
  inputs = KeysValues(key, value, None)
  with plain_forms():
    attend(query, inputs)
  with pytest.raises(AssertionError, match='recomputed'):
    attend(query, inputs)


def test_projecting_once_pays_sooner_the_more_calls_there_are():
  arguments = (64, 1024, 128, 160)
  assert absorbing_pays(*arguments)
  assert absorbing_pays(*arguments, uses=2)
  # 8 (64 128 2208) > 163,840 (128 + 8 64).
  assert not absorbing_pays(*arguments, uses=8)


def test_dropped_weights_warn_once_that_all_are_kept():
  query, key, value = (normal(i, 2, 8, 2, 4) for i in range(3))
  forward = hk.transform(
    lambda: attend(
      query, KeysValues(key, value, None), dropout_rate=0.5, is_training=True
    )
  )
  with pytest.warns(UserWarning, match='training keeps them all'):
    forward.apply({}, jax.random.key(0))
