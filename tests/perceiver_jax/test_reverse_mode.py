"""Forward-mode differentiation: in plain forms, and refused in the others."""

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from perceiver_jax.attention import Attention
from perceiver_jax.encoder import Encoder
from perceiver_jax.models import PerceiverClassifier
from perceiver_jax.portability import plain_forms
from perceiver_jax.reverse_mode import reverse_mode


@jax.custom_vjp
def sine(x):
  return jnp.sin(x)


sine.defvjp(lambda x: (jnp.sin(x), x), lambda x, bar: (jnp.cos(x) * bar,))
X = jnp.arange(3.0)


def loop(function):
  """What models have around it: a scan, rematerialisation, a batch."""

  def looped(x):
    def step(x, _):
      return jax.vmap(jax.checkpoint(function))(2 * x), None

    return jax.lax.scan(step, x, None, length=3)[0].sum()

  return looped


def test_backwards_nothing_is_left_of_the_mark():
  for function in (lambda f: lambda x: f(x).sum(), loop):
    marked, bare = (
      str(jax.make_jaxpr(jax.value_and_grad(function(f)))(X))
      for f in (reverse_mode(sine), sine)
    )
    assert marked == bare


def test_second_derivatives():
  slope = jax.grad(lambda x: reverse_mode(sine)(x).sum())
  _, second = jax.jvp(slope, (X,), (jnp.ones(3),))
  np.testing.assert_allclose(second, -np.sin(X), atol=1e-6)


@pytest.mark.parametrize(
  'forwards',
  [
    lambda f: jax.jvp(f, (X,), (X,)),
    lambda f: jax.jit(lambda x: jax.jvp(f, (x,), (x,)))(X),
    lambda f: jax.jvp(jax.jit(f), (X,), (X,)),
    lambda f: jax.jvp(loop(f), (X,), (X,)),
    lambda f: jax.jacfwd(f)(X),
    lambda f: jax.linearize(f, X)[1](X),
  ],
)
def test_forwards_it_says_which_form_to_take(forwards):
  with pytest.raises(TypeError, match=r'perceiver_jax\.plain_forms'):
    forwards(reverse_mode(sine))


def classify(inputs):
  encoder = Encoder(
    num_latents=4,
    latent_channels=8,
    cross_attends=(1, 1),
    self_attends_per_block=2,
    self_attend_heads=2,
  )
  model = PerceiverClassifier(preprocessor=None, encoder=encoder, num_classes=3)
  return model(inputs, is_training=True)


def test_a_model_in_both_directions():
  """<v, J u> is <J^T v, u>."""
  rng = np.random.default_rng(0)
  inputs, tangent = rng.normal(size=(2, 2, 12, 5))
  cotangent = rng.normal(size=(2, 3))
  model = hk.without_apply_rng(hk.transform(classify))
  with jax.enable_x64(True):
    inputs, tangent = jnp.asarray(inputs), jnp.asarray(tangent)
    shapes = jax.eval_shape(model.init, jax.random.key(0), inputs)
    params = jax.tree.map(lambda x: rng.normal(size=x.shape) / 3, shapes)
    apply = lambda x: model.apply(params, x)  # noqa: E731
    with pytest.raises(TypeError, match=r'perceiver_jax\.plain_forms'):
      jax.jvp(apply, (inputs,), (tangent,))
    with plain_forms():
      _, forwards = jax.jit(lambda x, u: jax.jvp(apply, (x,), (u,)))(
        inputs, tangent
      )
    _, pull = jax.vjp(jax.jit(apply), inputs)
    (backwards,) = pull(jnp.asarray(cotangent, jnp.float32))  # Logits are.
  np.testing.assert_allclose(
    (cotangent * forwards).sum(), (backwards * tangent).sum(), rtol=1e-5
  )


def test_attention_with_keys_and_values_refuses_too():
  module = hk.without_apply_rng(
    hk.transform(lambda x: Attention(num_heads=2)(x))
  )
  x = jnp.ones((1, 4, 6))
  params = module.init(jax.random.key(0), x)
  with pytest.raises(TypeError, match=r'perceiver_jax\.plain_forms'):
    jax.jvp(lambda x: module.apply(params, x), (x,), (x,))
