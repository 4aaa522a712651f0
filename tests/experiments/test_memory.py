"""Memory against sums on paper, and activations against the compiler."""

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.measuring.memory import (
  activation_bytes,
  memory_in_use,
  state_bytes,
)
from perceiver_jax.byte_array import ByteArray
from perceiver_jax.encoder import Encoder


def spec(*shape, dtype=jnp.float32):
  return jax.ShapeDtypeStruct(shape, dtype)


def test_state_is_all_arrays_in_their_dtypes():
  tree = {
    'w': spec(3, 5),
    'half': (spec(7, dtype=jnp.bfloat16), None),
    'mask': spec(2, 3, dtype=jnp.bool_),
    'step': jnp.zeros((), jnp.int32),
    'key': jax.eval_shape(jax.random.key, 0),  # Two 32-bit words.
  }
  assert state_bytes(tree) == 4 * 15 + 2 * 7 + 6 + 4 + 8


def mlp_loss(params, x):
  """Two layers with a sine between and a squared error."""
  w, v = params
  return jnp.square(jnp.sin(x @ w) @ v).sum()


MLP_PARAMS = (spec(3, 5), spec(5, 2))
# For a batch of 7: the cosine, which is the derivative of the sine; the sine,
# which the gradient of v takes; twice the error. The gradients of w and of the
# hidden layer take x and v, which are there anyway.
MLP_BYTES = 4 * 7 * (5 + 5 + 2)


def test_mlp():
  assert activation_bytes(mlp_loss, MLP_PARAMS, spec(7, 3)) == MLP_BYTES


def test_a_function_that_is_compiled_as_one_keeps_the_same():
  loss = jax.jit(mlp_loss)
  assert activation_bytes(loss, MLP_PARAMS, spec(7, 3)) == MLP_BYTES


def test_what_the_loss_returns_besides_does_not_change_it():
  def loss(params, x):
    return mlp_loss(params, x), {'inputs': x, 'output': jnp.exp(x)}

  count = activation_bytes(loss, MLP_PARAMS, spec(7, 3), has_aux=True)
  assert count == MLP_BYTES


def test_nothing_is_allocated():
  huge = spec(2**24, 3)
  assert activation_bytes(
    mlp_loss, (spec(3, 2**24), spec(2**24, 2)), huge
  ) == 4 * 2**24 * (2 * 2**24 + 2)


def test_an_array_that_is_kept_twice_counts_once():
  def loss(params, x):
    w, v = params
    hidden = jnp.sin(x @ w)  # [7, 5]
    folded = hidden.T.reshape(5, 7, 1)
    return (hidden @ v).sum() + (folded * v[:, None]).sum() + hidden.sum()

  # Cosine and sine as above; there is no squared error.
  assert activation_bytes(loss, MLP_PARAMS, spec(7, 3)) == 4 * 7 * (5 + 5)


@pytest.mark.parametrize('wrap', [lambda f: f, jax.jit])
def test_parameters_count_neither_reshaped_nor_broadcast(wrap):
  @wrap
  def loss(params, x):
    scaled = x * jnp.broadcast_to(params['scale'], x.shape)
    return (scaled @ params['w'].reshape(5, 2)).sum()

  params = {'scale': spec(5), 'w': spec(10)}
  # The scaled inputs.
  assert activation_bytes(loss, params, spec(7, 5)) == 4 * 7 * 5


def test_parameters_in_another_dtype_count():
  def loss(params, x):
    w, v = params
    return (x @ w @ v.astype(jnp.bfloat16)).sum()

  half = jnp.bfloat16
  params = (spec(3, 5, dtype=half), spec(5, 2))
  # The hidden layer and the parameters that it was multiplied with.
  assert activation_bytes(loss, params, spec(7, 3, dtype=half)) == 2 * (35 + 10)


def scanned_loss(params, x, *, wrap=lambda f: f):
  """As many layers as params has rows, each x' = sin(x w)."""

  @wrap
  def layer(x, w):
    return jnp.sin(x @ w)

  return jax.lax.scan(lambda x, w: (layer(x, w), None), x, params)[0].sum()


def test_a_scan_keeps_for_every_step():
  # The input and the cosine of each of 6 layers.
  count = activation_bytes(scanned_loss, spec(6, 3, 3), spec(7, 3))
  assert count == 6 * 4 * 7 * (3 + 3)


def test_of_layers_that_are_made_again_only_the_inputs_are_kept():
  count = activation_bytes(
    lambda *args: scanned_loss(*args, wrap=jax.checkpoint),
    spec(6, 3, 3),
    spec(7, 3),
  )
  assert count == 6 * 4 * 7 * 3


def test_the_compiler_takes_about_as_much_for_an_encoder():
  def loss(features):
    encoder = Encoder(
      num_latents=32,
      latent_channels=64,
      cross_attends=(1,),
      self_attends_per_block=2,
    )
    return encoder(ByteArray(features), is_training=True).sum()

  model = hk.transform(loss)
  features = spec(4, 256, 21)
  params = jax.eval_shape(model.init, jax.random.key(0), features)

  def loss_of(params, features):
    return model.apply(params, None, features)

  counted = activation_bytes(loss_of, params, features)
  compiled = jax.jit(jax.grad(loss_of)).lower(params, features).compile()
  taken = compiled.memory_analysis().temp_size_in_bytes
  print(f'Counted {counted:,} bytes, the compiler takes {taken:,}.')
  # It needs room for the backward pass besides, and makes again some of what
  # is kept between layers.
  assert taken == pytest.approx(1.4 * counted, rel=0.4)


class Device:
  """A device that says what its memory holds."""

  def __init__(self, stats):
    self.stats = stats

  def memory_stats(self):
    return self.stats


def test_memory_in_use_is_that_of_the_fullest_device(monkeypatch):
  stats = [
    {'bytes_in_use': 3 * 2**30, 'peak_bytes_in_use': 5 * 2**30},
    {'bytes_in_use': 4 * 2**30, 'peak_bytes_in_use': 4 * 2**30},
    None,
  ]
  monkeypatch.setattr(jax, 'local_devices', lambda: [*map(Device, stats)])
  sizes = memory_in_use()
  assert sizes['memory_in_use'] == 4 * 2**30
  assert sizes['memory_peak'] == 5 * 2**30


def test_memory_of_the_process_grows_by_what_it_takes():
  assert set(memory_in_use()) == {'host_memory'}  # The CPU tells nothing else.
  before = memory_in_use()['host_memory']
  taken = np.ones(2**26, np.uint8)
  grown = memory_in_use()['host_memory'] - before
  assert grown == pytest.approx(taken.nbytes, rel=0.1)
