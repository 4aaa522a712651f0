"""The encoder: parameters, sharing, invariances, gradients."""

import math
import types

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from perceiver_jax.byte_array import ByteArray, permute
from perceiver_jax.encoder import Encoder
from perceiver_jax.models import PerceiverClassifier
from perceiver_jax.portability import traced_for
from perceiver_jax.position_encoding import (
  FourierPositions,
  LearnedPositions,
  fourier_features,
)
from perceiver_jax.preprocessors import Pixels
from perceiver_jax.stacking import REMATERIALIZATIONS, is_layer_stack
from perceiver_jax.transformer import CrossAttend, LatentBlock, SelfAttend

SMALL = {
  'num_latents': 6,
  'latent_channels': 16,
  'cross_attends': (1, 1, 1),
  'self_attends_per_block': 2,
  'self_attend_heads': 4,
}
POSITIONS = FourierPositions(num_bands=3, max_resolution=(4, 6))


def normal(seed, *shape):
  return jnp.asarray(np.random.default_rng(seed).normal(size=shape))


def classifier(preprocessor=None, num_classes=5, **changes):
  """The model as pure functions of its inputs and `is_training`."""

  def forward(inputs, is_training=False):
    model = PerceiverClassifier(
      preprocessor=preprocessor() if preprocessor else None,
      encoder=Encoder(**(SMALL | changes)),
      num_classes=num_classes,
    )
    return model(inputs, is_training=is_training)

  return hk.transform(forward)


def pixels():
  return Pixels(positions=POSITIONS)


def random_params(model, *arguments):
  """Random values everywhere, also where parameters start at zero or one.

  Of the scale of the initial ones, but without compiling `init`.
  """
  rng = np.random.default_rng(7)
  shapes = jax.eval_shape(model.init, jax.random.key(1), *arguments)

  def draw(name, shape):
    noise = rng.normal(size=shape).astype(np.float32)
    if name == 'w':
      return noise / np.sqrt(shape[-2])
    return (1.0 if name == 'scale' else 0.0) + 0.3 * noise

  return {
    module: {name: draw(name, leaf.shape) for name, leaf in leaves.items()}
    for module, leaves in shapes.items()
  }


@pytest.fixture(scope='module')
def images():
  return normal(0, 3, 4, 6, 2)


@pytest.fixture(scope='module')
def model():
  return classifier(pixels)


@pytest.fixture(scope='module')
def params(model, images):
  return random_params(model, images)


@pytest.fixture(scope='module')
def apply(model):
  return jax.jit(model.apply, static_argnums=3)


def count(model, inputs):
  params = jax.eval_shape(model.init, jax.random.key(0), inputs)
  return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(params))


# The closed forms of the paper's ImageNet model: a latent layer 6,301,696, a
# cross-attend 2,776,395, latents 524,288, head 1,025,000.
IMAGENET = {
  'num_latents': 512,
  'latent_channels': 1024,
  'cross_attends': (1,) * 8,
  'self_attends_per_block': 6,
  'self_attend_heads': 8,
}


@pytest.mark.parametrize(
  ('changes', 'parameters'),
  [
    ({}, 44_912_254),  # Printed as 44.9M (tables 6 and 7).
    ({'cross_attends': (1, 0, 0, 0, 0, 0, 0, 0)}, 42_135_859),  # 42.1M.
    ({'cross_attends': (8, 0, 0, 0, 0, 0, 0, 0)}, 44_912_254),
    (
      {'share_cross_attends': False, 'share_latent_blocks': False},
      326_241_856,  # 326.2M (table 7).
    ),
    (
      {
        'cross_attends': (1,) * 4,
        'self_attends_per_block': 0,
        'share_cross_attends': False,
      },
      12_654_868,  # 12.7M (table 5).
    ),
  ],
)
def test_parameters_of_the_imagenet_model(changes, parameters):
  imagenet = classifier(
    lambda: Pixels(
      positions=FourierPositions(num_bands=64, max_resolution=(224, 224))
    ),
    num_classes=1000,
    **(IMAGENET | changes),
  )
  images = jax.ShapeDtypeStruct((2, 224, 224, 3), jnp.float32)
  assert count(imagenet, images) == parameters
  params = jax.eval_shape(imagenet.init, jax.random.key(0), images)
  logits = jax.eval_shape(imagenet.apply, params, None, images)
  assert logits.shape == (2, 1000) and logits.dtype == jnp.float32


@pytest.fixture(scope='module')
def initial_params(model, images):
  return jax.jit(model.init)(jax.random.key(0), images)


def test_initial_values(model, images, initial_params):
  params = initial_params
  big = classifier(pixels, num_latents=512, latent_channels=256)
  # Nothing else of it is compiled.
  latents = jax.jit(lambda key: big.init(key, images)['encoder']['latents'])(
    jax.random.key(0)
  )
  # stddev 0.02 before truncation at two of them.
  np.testing.assert_allclose(latents.std(), 0.02 * 0.8796, rtol=0.01)
  assert 0.039 < np.abs(latents).max() <= 0.04
  head = params['perceiver_classifier/average_pool/logits']
  np.testing.assert_array_equal(head['w'], 0.0)
  np.testing.assert_array_equal(
    jax.jit(model.apply)(params, None, images), np.zeros((3, 5))
  )


def test_every_layer_of_a_stack_starts_apart(initial_params):
  stacks = {k: v for k, v in initial_params.items() if is_layer_stack(k)}
  weights = stacks['encoder/latent_block_0/layers/self_attend/mlp/hidden']['w']
  assert weights.shape == (2, 16, 16)
  assert not np.allclose(weights[0], weights[1])
  np.testing.assert_allclose(weights.std(), 0.25, rtol=0.1)


@pytest.mark.parametrize(
  ('changes', 'cross_attends', 'latent_blocks'),
  [
    ({}, 2, 1),
    ({'share_cross_attends': False}, 3, 1),
    ({'share_latent_blocks': False}, 2, 3),
    ({'share_cross_attends': False, 'share_latent_blocks': False}, 3, 3),
    ({'cross_attends': (1, 0, 0)}, 1, 1),
    ({'cross_attends': (3, 0, 0), 'share_latent_blocks': False}, 2, 3),
    ({'cross_attends': (0, 1, 1)}, 2, 1),
  ],
)
def test_shared_modules_count_once(
  changes, cross_attends, latent_blocks, images
):
  channels, width = 2 + 2 + 4 * 3, 16
  linear = lambda i, o: (i + 1) * o  # noqa: E731
  layer = 6 * linear(width, width) + 2 * 2 * width
  cross_attend = (
    linear(width, channels)
    + 2 * linear(channels, channels)
    + linear(channels, width)
    + 2 * linear(width, width)
    + 2 * channels
    + 2 * 2 * width
  )
  expected = (
    6 * width
    + cross_attends * cross_attend
    + latent_blocks * 2 * layer
    + linear(width, 5)
  )
  assert count(classifier(pixels, **changes), images) == expected


@pytest.mark.parametrize(
  'changes',
  [
    {},
    {'cross_attends': (1, 0, 0)},
    {'cross_attends': (2, 1, 1)},
    {'cross_attends': (0, 1, 0)},
    {'cross_attend_heads': 4},
    {'share_cross_attends': False, 'share_latent_blocks': False},
  ],
)
def test_encoder_is_its_modules_one_after_the_other(changes):
  """Stacks and scans against a loop over unstacked layers."""
  byte_array = ByteArray(normal(0, 3, 24, 2), POSITIONS((4, 6)))
  arguments = SMALL | changes
  encoder = hk.transform(lambda x: Encoder(**arguments)(x, is_training=False))
  params = random_params(encoder, byte_array)

  def part(module, prefix, layer=None):
    inner = {
      f'm{name.removeprefix(prefix)}': jax.tree.map(
        lambda x: x if layer is None else x[layer], leaves
      )
      for name, leaves in params.items()
      if name.startswith(prefix + '/')
    }
    return lambda *args: hk.transform(
      lambda *args: module(name='m')(*args, is_training=False)
    ).apply(inner, None, *args)

  def self_attend(name):
    return SelfAttend(num_heads=4, name=name)

  def cross_attend(name):
    heads = arguments.get('cross_attend_heads', 1)
    module = CrossAttend(num_heads=heads, name=name)

    def prepare_and_attend(latents, byte_array, *, is_training):
      inputs = module.prepare(
        byte_array, num_queries=6, is_training=is_training
      )
      return module(latents, inputs, is_training=is_training)

    return prepare_and_attend

  def one_after_the_other():
    latents = params['encoder']['latents'][None].repeat(3, axis=0)
    done = 0
    for block, number in enumerate(arguments['cross_attends']):
      for _ in range(number):
        shared = arguments.get('share_cross_attends', True)
        i = min(done, 1) if shared else done
        latents = part(cross_attend, f'encoder/cross_attend_{i}')(
          latents, byte_array
        )
        done += 1
      i = 0 if arguments.get('share_latent_blocks', True) else block
      for layer in range(2):
        prefix = f'encoder/latent_block_{i}/layers/self_attend'
        latents = part(self_attend, prefix, layer)(latents)
    return latents

  np.testing.assert_allclose(
    jax.jit(encoder.apply)(params, None, byte_array),
    jax.jit(one_after_the_other)(),
    rtol=2e-4,
    atol=2e-4,
  )


def test_order_of_the_inputs_does_not_matter():
  model = classifier()
  byte_array = ByteArray(normal(0, 3, 24, 2), POSITIONS((4, 6)))
  params = random_params(model, byte_array)
  apply = jax.jit(model.apply)
  logits = apply(params, None, byte_array)
  order = np.random.default_rng(2).permutation(24)
  np.testing.assert_allclose(
    apply(params, None, permute(byte_array, order)),
    logits,
    rtol=1e-4,
    atol=1e-4,
  )
  # Features alone in another order are another input.
  moved = byte_array._replace(features=byte_array.features[:, order])
  assert np.abs(apply(params, None, moved) - logits).max() > 0.1


def test_padding_is_as_if_cut_off_and_may_hold_anything():
  model = classifier()
  short = ByteArray(normal(0, 3, 20, 2), POSITIONS((4, 6))[:20])
  params = random_params(model, short)
  apply = jax.jit(model.apply)
  for filler in (0.0, 1e4, jnp.nan):
    padded = ByteArray(
      jnp.pad(short.features, ((0, 0), (0, 4), (0, 0)), constant_values=filler),
      POSITIONS((4, 6)),
      jnp.arange(24)[None].repeat(3, axis=0) < 20,
    )
    np.testing.assert_allclose(
      apply(params, None, padded),
      apply(params, None, short),
      rtol=1e-4,
      atol=1e-4,
    )
  nothing = padded._replace(mask=jnp.zeros((3, 24), bool))
  assert np.isfinite(apply(params, None, nothing)).all()


def test_positions_of_the_callers_own():
  """A position array for each example equals the same one shared."""
  model = classifier()
  features = normal(0, 3, 24, 2)
  shared = ByteArray(features, POSITIONS((4, 6)))
  params = random_params(model, shared)
  apply = jax.jit(model.apply)
  own = shared._replace(positions=jnp.tile(shared.positions[None], (3, 1, 1)))
  logits = apply(params, None, own)
  np.testing.assert_allclose(
    logits, apply(params, None, shared), rtol=1e-4, atol=1e-4
  )
  coordinates = np.random.default_rng(5).uniform(-1.0, 1.0, (24, 2))
  elsewhere = fourier_features(coordinates, num_bands=3, max_resolution=(4, 6))
  moved = own._replace(positions=own.positions.at[1].set(elsewhere))
  difference = np.abs(apply(params, None, moved) - logits).max(axis=1)
  assert difference[1] > 0.1
  np.testing.assert_allclose(difference[[0, 2]], 0.0, atol=1e-5)


def test_examples_do_not_mix(params, apply, images):
  together = apply(params, None, images, False)
  alone = jnp.concatenate(
    [apply(params, None, image[None], False) for image in images]
  )
  np.testing.assert_allclose(together, alone, rtol=1e-4, atol=1e-4)


def test_gradients_are_finite_and_reach_every_parameter(params, apply, images):
  gradients = jax.jit(
    jax.grad(lambda p: jnp.square(apply(p, None, images, True)).sum())
  )(params)
  for module, leaves in gradients.items():
    for name, gradient in leaves.items():
      assert np.isfinite(gradient).all(), (module, name)
      # The softmax does not see what a key bias adds to all scores.
      if not (module.endswith('attention/key') and name == 'b'):
        assert np.abs(gradient).max() > 0.0, (module, name)


def test_learned_positions_get_a_gradient(images):
  def preprocessor():
    return Pixels(positions=LearnedPositions(num_channels=6))

  model = classifier(preprocessor)
  params = random_params(model, images)

  @jax.jit
  def loss(params, images):
    return jnp.square(model.apply(params, None, images)).sum()

  gradients = jax.jit(jax.grad(loss))(params, images)
  table = gradients['learned_positions']['positions']
  assert table.shape == (24, 6) and np.abs(table).min() > 0.0
  # Against a finite difference.
  direction = normal(3, 24, 6)

  def along(step):
    table = params['learned_positions']['positions'] + step * direction
    return loss(params | {'learned_positions': {'positions': table}}, images)

  slope = (along(1e-2) - along(-1e-2)) / 2e-2
  np.testing.assert_allclose((table * direction).sum(), slope, rtol=0.02)


def test_dropout_is_there_and_off_by_default(images):
  model = classifier(pixels, dropout_rate=0.3)
  params = random_params(model, images)
  apply = jax.jit(model.apply, static_argnums=3)
  runs = [apply(params, jax.random.key(i), images, True) for i in (0, 0, 1)]
  np.testing.assert_array_equal(runs[0], runs[1])
  assert not np.allclose(runs[0], runs[2])
  # No key is needed at evaluation, nor without dropout in training.
  evaluated = apply(params, None, images, False)
  without = jax.jit(classifier(pixels).apply, static_argnums=3)
  np.testing.assert_allclose(
    evaluated, without(params, None, images, True), rtol=1e-4, atol=1e-4
  )


def test_bfloat16_inputs_stay_close(params, apply, images):
  half = apply(params, None, images.astype(jnp.bfloat16), False)
  full = apply(params, None, images, False)
  assert half.dtype == jnp.float32
  assert np.abs(half - full).max() < 0.05 * np.abs(full).max()


@pytest.mark.parametrize(
  ('changes', 'message'),
  [
    ({'cross_attends': (0, 0)}, r'at least one in all.*got \(0, 0\)'),
    ({'cross_attends': ()}, 'at least one in all'),
    ({'cross_attends': (1, -1)}, 'at least one in all'),
    ({'self_attend_heads': 3}, 'latent_channels = 16 .* 3 heads'),
    ({'cross_attend_heads': 3}, 'qk_channels = 16 .* num_heads = 3'),
    ({'dropout_rate': -0.1}, 'dropout_rate'),
  ],
)
def test_bad_arguments(changes, message, images):
  with pytest.raises(ValueError, match=message):
    classifier(pixels, **changes).init(jax.random.key(0), images)


def test_inputs_must_be_flat(images):
  with pytest.raises(ValueError, match='Flatten the spatial axes'):
    classifier().init(jax.random.key(0), ByteArray(images))


def test_rematerialised_layers_give_the_same_gradient_in_less_memory():
  byte_array = ByteArray(normal(0, 3, 24, 2), POSITIONS((4, 6)))

  def compiled(rematerialize):
    arguments = SMALL | {
      'cross_attends': (1, 0, 0),
      'num_latents': 32,
      'rematerialize': rematerialize,
    }
    encoder = hk.without_apply_rng(
      hk.transform(lambda x: Encoder(**arguments)(x, is_training=True))
    )
    params = random_params(encoder, byte_array)
    gradient = jax.jit(
      jax.grad(
        lambda params: jnp.square(encoder.apply(params, byte_array)).sum()
      )
    )
    run = gradient.lower(params).compile()
    return run(params), run.memory_analysis().temp_size_in_bytes

  expected, most = compiled('none')
  for rematerialize in ('elementwise', 'layers'):
    gradient, memory = compiled(rematerialize)
    jax.tree.map(
      lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-3, atol=1e-3),
      gradient,
      expected,
    )
    assert memory < 0.8 * most
    most = memory / 0.8  # Each keeps less than the one before.


def test_biases_are_not_added_again():
  def encode(latents, rematerialize='none'):
    return LatentBlock(num_layers=1, num_heads=2, rematerialize=rematerialize)(
      latents, is_training=True
    )

  block = hk.without_apply_rng(hk.transform(encode))
  latents = jnp.ones((2, 8, 16))
  params = random_params(block, latents)

  def vectors_added(rematerialize):
    def loss(params):
      return jnp.sin(block.apply(params, latents, rematerialize)).sum()

    with traced_for(TPU):
      text = jax.jit(jax.grad(loss)).lower(params).as_text()
    return text.count('(tensor<1x1x16xf32>) -> tensor<2x8x16xf32>')

  none, elementwise, layers = map(vectors_added, REMATERIALIZATIONS)
  # Scales and offsets of two norms; biases of queries, keys, values, both
  # outputs and the hidden layer, of which the last output is never wanted.
  assert elementwise - none == 4
  assert layers - elementwise == 5


def test_unknown_rematerialisation():
  with pytest.raises(ValueError, match=r"rematerialize.*'layers'.*got 'all'"):
    hk.testing.transform_and_run(
      lambda: Encoder(**SMALL, rematerialize='all')
    )()


# One for which there are no kernels.
TPU = types.SimpleNamespace(platform='tpu', device_kind='TPU v3')


@pytest.mark.parametrize('rematerialize', ['none', 'elementwise', 'layers'])
def test_layers_one_by_one_for_tpus_compute_what_scans_do(rematerialize):
  def encode(inputs):
    return Encoder(
      num_latents=8,
      latent_channels=16,
      cross_attends=(1, 0, 1),
      self_attends_per_block=2,
      self_attend_heads=2,
      rematerialize=rematerialize,
    )(ByteArray(inputs, None, None), is_training=True)

  model = hk.without_apply_rng(hk.transform(encode))
  inputs = jax.random.normal(jax.random.key(1), (2, 20, 6))

  def initial():
    return jax.jit(lambda: model.init(jax.random.key(0), inputs))()

  def loss(params):
    return jnp.sin(model.apply(params, inputs)).sum()

  params = initial()
  scans = jax.jit(jax.value_and_grad(loss))(params)
  with traced_for(TPU):
    jax.tree.map(np.testing.assert_array_equal, initial(), params)
    text = jax.jit(loss).lower(params).as_text()
    one_by_one = jax.jit(jax.value_and_grad(loss))(params)
  assert 'stablehlo.while' not in text
  largest = max(jnp.abs(x).max() for x in jax.tree.leaves(scans))
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5 * largest),
    one_by_one,
    scans,
  )


def test_layers_one_by_one_drop_what_a_stack_drops():
  def block(latents):
    block = LatentBlock(num_layers=3, num_heads=2, dropout_rate=0.3)
    return block(latents, is_training=True)

  model = hk.transform(block)
  latents = jax.random.normal(jax.random.key(1), (2, 8, 16))
  params = jax.jit(model.init)(jax.random.key(0), latents)

  def apply():
    return jax.jit(lambda: model.apply(params, jax.random.key(2), latents))()

  stack = apply()
  with traced_for(TPU):
    one_by_one = apply()
  np.testing.assert_allclose(one_by_one, stack, atol=1e-5)
