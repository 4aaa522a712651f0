"""Computing in bfloat16: what is cast, and how far the numbers are off."""

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.configs import digits
from experiments.data.dataset import blank_batch
from experiments.runs.experiment import bind
from experiments.stepping.precision import computing_in
from experiments.tasks import make_task
from perceiver_jax.byte_array import ByteArray
from perceiver_jax.decoder import Decoder
from perceiver_jax.encoder import Encoder
from perceiver_jax.layers import Linear

RNG = np.random.default_rng(0)
BATCH = {
  'features': RNG.normal(size=(2, 24, 5)).astype(np.float32),
  'positions': RNG.normal(size=(24, 6)).astype(np.float32),
}


def forward(batch, is_training):
  """All that a model has, and the dtypes inside it."""
  features = Linear(output_channels=8, name='before')(batch['features'])
  latents = Encoder(
    num_latents=4,
    latent_channels=16,
    cross_attends=(1, 1),
    self_attends_per_block=1,
    cross_attend_heads=1,
    self_attend_heads=2,
  )(ByteArray(features, batch['positions']), is_training=is_training)
  queries = hk.get_parameter('queries', (1, 3, 12), init=jnp.ones)
  outputs = Decoder(output_channels=7, num_heads=1, qk_channels=12)(
    queries, latents, is_training=is_training
  )
  return {'features': features, 'latents': latents, 'outputs': outputs}


MODEL = hk.transform_with_state(forward)


@pytest.fixture(scope='module')
def results():
  """Parameters, and the outputs in float32 and in bfloat16."""
  params, state = MODEL.init(jax.random.key(0), BATCH, is_training=True)

  def apply(dtype):
    model = computing_in(dtype, MODEL)
    run = jax.jit(
      lambda params: model.apply(params, state, None, BATCH, is_training=False)
    )
    return run(params)[0]

  return params, apply('float32'), apply('bfloat16')


def test_encoder_and_decoder_compute_in_bfloat16(results):
  _, wide, narrow = results
  assert {x.dtype.name for x in wide.values()} == {'float32'}
  assert narrow['features'].dtype == jnp.float32  # Before the door.
  assert narrow['latents'].dtype == jnp.bfloat16
  assert narrow['outputs'].dtype == jnp.bfloat16


def test_numbers_are_those_of_float32_to_its_precision(results):
  _, wide, narrow = results
  for name in ('latents', 'outputs'):
    difference = np.abs(np.float32(narrow[name]) - wide[name])
    scale = np.abs(wide[name]).max()
    # 8 bits are 0.4 % a rounding; that it is rounded must show, too.
    assert 1e-4 * scale < difference.max() < 0.03 * scale, name


def test_parameters_and_gradients_are_float32(results):
  params, _, _ = results
  model = computing_in('bfloat16', MODEL)

  def loss(params):
    outputs, _ = model.apply(params, {}, None, BATCH, is_training=True)
    return jnp.square(outputs['outputs'].astype(jnp.float32)).sum()

  gradients = jax.eval_shape(jax.grad(loss), params)
  shapes = jax.tree.map(lambda x: (x.shape, x.dtype), (params, gradients))
  assert shapes[0] == shapes[1]
  assert {x.dtype.name for x in jax.tree.leaves(params)} == {'float32'}


def test_positions_stay_in_float32():
  """Frequencies of many bands cannot be told apart in bfloat16."""
  seen = []

  class Looking(Encoder):
    """Looks at what comes through the door."""

    def __call__(self, byte_array, *, is_training):
      seen.append((byte_array.features.dtype, byte_array.positions.dtype))
      return byte_array.features

  model = hk.transform_with_state(
    lambda batch, is_training: Looking(
      num_latents=4,
      latent_channels=16,
      cross_attends=(1,),
      self_attends_per_block=1,
    )(
      ByteArray(
        jnp.asarray(batch['features']), jnp.asarray(batch['positions'])
      ),
      is_training=is_training,
    )
  )
  model = computing_in('bfloat16', model)
  outputs, _ = model.apply({}, {}, None, BATCH, is_training=False)
  assert seen == [(jnp.bfloat16, jnp.float32)]
  assert outputs.dtype == jnp.bfloat16


def test_a_config_says_so():
  config = digits.get_config()
  for dtype in ('float32', 'bfloat16'):
    config.compute_dtype = dtype
    model = bind(config, None).task.model
    spec = make_task(config, None).data.example
    batch = blank_batch(spec)
    params, state = jax.eval_shape(
      lambda model=model, batch=batch: model.init(
        jax.random.key(0), batch, is_training=True
      )
    )
    jaxpr = jax.make_jaxpr(
      lambda params, state, model=model, batch=batch: model.apply(
        params, state, None, batch, is_training=False
      )
    )(params, state)
    assert ('bf16' in str(jaxpr)) == (dtype == 'bfloat16')
  config = digits.get_config('resnet')
  config.compute_dtype = 'bfloat16'
  with pytest.raises(ValueError, match='ResNet computes in float32 only'):
    bind(config, None)


def test_there_is_no_other_dtype():
  with pytest.raises(ValueError, match="compute_dtype is 'float16'"):
    computing_in('float16', MODEL)
