"""Parts to hand in, one by one and in whole encoders, against NumPy."""

import functools

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from perceiver_jax.attention import Attention
from perceiver_jax.decoder import Decoder
from perceiver_jax.encoder import Encoder
from perceiver_jax.masks import causal_mask
from perceiver_jax.transformer import CrossAttend, Parts
from perceiver_jax.variants import (
  GatedMLP,
  JoinedAttention,
  QueryKeyNorm,
  RMSNorm,
  RotaryPositions,
)
from tests.perceiver_jax import in_numpy

B, N, M, C, D, H = 2, 4, 6, 5, 8, 2


def normal(seed, *shape):
  return np.random.default_rng(seed).normal(size=shape)


def run(function, *arguments):
  """Parameters, all random, and the result, in float64."""
  module = hk.without_apply_rng(hk.transform(function))
  with jax.enable_x64(True):
    arguments = [jnp.asarray(x) for x in arguments]
    shapes = jax.eval_shape(module.init, jax.random.key(0), *arguments)
    leaves, tree = jax.tree.flatten(shapes)
    params = jax.tree.unflatten(
      tree, [0.5 * normal(i, *x.shape) for i, x in enumerate(leaves)]
    )
    return params, jax.jit(module.apply)(params, *arguments)


def close(result, expected):
  np.testing.assert_allclose(result, expected, rtol=1e-6, atol=1e-8)


def test_rms_norm():
  x = jnp.array([[3.0, -4.0, 0.0, 0.0]], jnp.bfloat16)
  norm = hk.without_apply_rng(hk.transform(lambda x: RMSNorm(name='n')(x)))
  params = {'n': {'scale': jnp.array([1.0, 1.0, 1.0, 2.0])}}
  result = norm.apply(params, x)
  assert result.dtype == jnp.bfloat16
  # Its mean square is 25 / 4.
  np.testing.assert_allclose(result[0], [1.2, -1.6, 0.0, 0.0], rtol=2**-8)
  params, result = run(lambda x: RMSNorm(name='n')(x), normal(0, B, N, D))
  close(result, in_numpy.rms_norm(params, 'n', normal(0, B, N, D)))


def test_gated_mlp():
  x = normal(0, B, N, D)
  params, result = run(
    lambda x: GatedMLP(widening_factor=1.5, name='mlp')(x), x
  )
  assert params['mlp/gate']['w'].shape == (D, 12)
  close(result, in_numpy.gated_mlp(params, 'mlp', x))


def test_query_key_norm():
  queries, inputs = normal(0, B, N, D), normal(1, B, M, C)
  norm = QueryKeyNorm(norm=RMSNorm)
  params, result = run(
    lambda x, y: Attention(
      num_heads=H, qk_channels=6, v_channels=4, process_heads=norm
    )(x, y),
    queries,
    inputs,
  )
  # By hand: a single query of a single head, whatever its scale was.
  params = dict(params)
  names = iter(('attention/query_norm', 'attention/key_norm'))
  expected = in_numpy.attention(
    params,
    'attention',
    queries,
    inputs,
    heads=H,
    process_heads=lambda x: in_numpy.rms_norm(params, next(names), x),
  )
  close(result, expected)


def test_rotary_positions():
  query, key = normal(0, B, N, H, D), normal(1, B, M, H, D)
  positions = np.array([0, 3, 4, 11])
  with jax.enable_x64(True):
    turned = RotaryPositions(queries=jnp.asarray(positions))(
      jnp.asarray(query), jnp.asarray(key)
    )
    # An example's own.
    own = RotaryPositions(inputs=jnp.arange(M)[None] + jnp.array([[0], [9]]))(
      jnp.asarray(query), jnp.asarray(key)
    )[1]
  close(turned[0], in_numpy.rotate(query, positions))
  close(turned[1], in_numpy.rotate(key))
  close(own[:1], in_numpy.rotate(key)[:1])
  close(own[1:], in_numpy.rotate(key, np.arange(M) + 9)[1:])


def test_rotary_scores_know_differences_of_positions_alone():
  query, key = (jnp.asarray(normal(i, B, M, H, D)) for i in range(2))

  def scores(shift):
    positions = jnp.arange(M) + shift
    turn = RotaryPositions(queries=positions, inputs=positions)
    return jnp.einsum('bnhd,bmhd->bhnm', *turn(query, key))

  np.testing.assert_allclose(scores(0), scores(25), atol=1e-3)
  assert (
    jnp.abs(scores(0) - jnp.einsum('bnhd,bmhd->bhnm', query, key)).max() > 1
  )


@pytest.mark.parametrize(
  ('arguments', 'channels', 'message'),
  [
    ({}, 5, 'a head has 5'),
    ({'queries': jnp.arange(3)}, 4, r'queries must be \[4\] or \[2, 4\]'),
    ({'inputs': jnp.zeros((3, 6))}, 4, r'inputs must be \[6\] or \[2, 6\]'),
  ],
)
def test_rotary_positions_that_do_not_fit(arguments, channels, message):
  with pytest.raises(ValueError, match=message):
    RotaryPositions(**arguments)(
      jnp.ones((B, N, H, channels)), jnp.ones((B, M, H, channels))
    )


def test_a_head_of_turned_queries_sees_projected_keys():
  """A single head would leave the inputs as they are."""
  queries, inputs = normal(0, B, N, 40), normal(1, B, 60, 40)
  parts = Parts(
    attention=functools.partial(Attention, process_heads=RotaryPositions())
  )
  params, result = run(
    lambda x, y: CrossAttend(parts=parts)(x, y, is_training=True),
    queries,
    inputs,
  )
  close(
    result,
    in_numpy.cross_attend(
      params,
      'cross_attend',
      queries,
      inputs,
      heads=1,
      process_heads=in_numpy.rotate,
    ),
  )


def test_joined_attention():
  queries, inputs = normal(0, B, N, D), normal(1, B, M, D)
  mask = np.random.default_rng(2).random((B, N, M)) < 0.5
  params, result = run(
    lambda x, y, mask: JoinedAttention(num_heads=H)(x, y, mask=mask),
    queries,
    inputs,
    mask,
  )
  expected = in_numpy.attention(
    params,
    'joined_attention',
    queries,
    np.concatenate([inputs, queries], axis=1),
    heads=H,
    mask=np.concatenate([mask, np.ones((B, N, N), bool)], axis=-1),
  )
  close(result, expected)
  with pytest.raises(ValueError, match='8 channels of queries and 5 of inputs'):
    run(lambda x, y: JoinedAttention()(x, y), queries, inputs[..., :5])


# What each variant is called in ours and in NumPy.
NORMAL = (Parts(), {})
SMALL = (
  Parts(norm=RMSNorm, mlp=GatedMLP),
  {'norm': in_numpy.rms_norm, 'ff': in_numpy.gated_mlp},
)
TURNED = (
  Parts(
    attention=functools.partial(Attention, process_heads=RotaryPositions())
  ),
  {'process_heads': in_numpy.rotate},
)
JOINED = (Parts(attention=JoinedAttention), {'joined': True})


@pytest.mark.parametrize(
  ('cross', 'own', 'causal', 'carried'),
  [
    (NORMAL, NORMAL, False, True),
    (SMALL, SMALL, False, False),
    (TURNED, TURNED, True, False),
    (JOINED, SMALL, False, True),
    (NORMAL, TURNED, True, True),
  ],
)
def test_encoders_of_handed_in_parts(cross, own, causal, carried):
  """Two stages of a cross-attend and two layers each."""
  inputs, latents = normal(20, B, M, D), normal(21, B, N, D)
  own_mask = np.asarray(causal_mask(N)) if causal else None
  cross_mask = np.asarray(causal_mask(N, M)) if causal else None

  def encode(inputs, latents):
    return Encoder(
      num_latents=N,
      latent_channels=D,
      cross_attends=(1, 1),
      self_attends_per_block=2,
      cross_attend_heads=H,
      self_attend_heads=H,
      cross_attend_parts=cross[0],
      self_attend_parts=own[0],
    )(
      inputs,
      is_training=False,
      latents=latents if carried else None,
      cross_attend_mask=cross_mask,
      self_attend_mask=own_mask,
    )

  params, result = run(encode, inputs, latents)
  assert carried == ('encoder' not in params)  # Nothing that is never read.
  expected = latents
  if not carried:
    expected = params['encoder']['latents'][None].repeat(B, axis=0)
  for i in range(2):
    expected = in_numpy.cross_attend(
      params,
      f'encoder/cross_attend_{i}',
      expected,
      inputs,
      heads=H,
      mask=cross_mask,
      **cross[1],
    )
    for number in range(2):
      expected = in_numpy.self_attend(
        in_numpy.layer(params, number),
        'encoder/latent_block_0/layers/self_attend',
        expected,
        heads=H,
        mask=own_mask,
        **own[1],
      )
  close(result, expected)


def encoder(**settings):
  return Encoder(
    num_latents=N,
    latent_channels=D,
    cross_attends=(1, 0),
    self_attends_per_block=1,
    self_attend_heads=H,
    **settings,
  )


def test_a_causal_encoder_does_not_look_ahead():
  """As in Perceiver AR: latents are the last inputs."""

  def encode(inputs):
    return encoder()(
      inputs,
      is_training=False,
      latents=inputs[:, M - N :],
      cross_attend_mask=causal_mask(N, M),
      self_attend_mask=causal_mask(N),
    )

  model = hk.without_apply_rng(hk.transform(encode))
  inputs = jnp.asarray(normal(0, B, M, D))
  params = model.init(jax.random.key(0), inputs)
  slopes = jax.jacrev(lambda x: model.apply(params, x)[0, :, 0])(inputs)[:, 0]
  slopes = np.abs(slopes).max(axis=-1)  # [N, M]
  ahead = ~np.asarray(causal_mask(N, M))[0]
  assert (slopes[ahead] == 0.0).all() and (slopes[~ahead] > 0.0).all()


@pytest.mark.parametrize('shape', [(B, N, D + 1), (3, N, D), (B, 1, D), (N, D)])
def test_latents_that_do_not_fit(shape):
  with pytest.raises(ValueError, match=r'latents must be \[2, 4, 8\].*got \('):
    run(
      lambda x, y: encoder()(x, is_training=False, latents=y),
      normal(0, B, M, C),
      normal(1, *shape),
    )


def test_a_decoder_of_several_layers():
  queries, latents = normal(0, 1, M, C), normal(1, B, N, D)

  def decode(queries, latents):
    decoder = Decoder(
      output_channels=3,
      num_layers=3,
      num_heads=H,
      query_residual=True,
      parts=SMALL[0],
    )
    return decoder(queries, latents, is_training=False)

  params, result = run(decode, queries, latents)
  expected = queries.repeat(B, axis=0)
  for name in ('cross_attend', 'cross_attend_1', 'cross_attend_2'):
    expected = in_numpy.cross_attend(
      params, f'decoder/{name}', expected, latents, heads=H, **SMALL[1]
    )
  close(result, in_numpy.linear(params, 'decoder/output', expected))


def test_a_decoder_has_a_layer():
  with pytest.raises(ValueError, match='num_layers of a decoder'):
    run(lambda x: Decoder(output_channels=3, num_layers=0)(x, x), np.ones(1))
