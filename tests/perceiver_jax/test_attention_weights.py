"""Weights of attention against a model written out in float64."""

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from perceiver_jax.attention_weights import ONLY, with_lookups
from perceiver_jax.byte_array import ByteArray
from perceiver_jax.encoder import Encoder
from perceiver_jax.frame_preprocessors import FrameConvStem, FramePatches
from perceiver_jax.models import PerceiverClassifier
from perceiver_jax.multimodal import Multimodal
from perceiver_jax.position_encoding import FourierPositions
from perceiver_jax.preprocessors import (
  AudioPatches,
  Conv1x1,
  ConvStem,
  MelSpectrogram,
  OneHot,
  Patches,
  PermutedPixels,
  Pixels,
  Points,
)
from perceiver_jax.token_embedding import TokenEmbedding

HEADS = 2  # Of the latent Transformer.
ENCODER = {
  'num_latents': 5,
  'latent_channels': 8,
  'cross_attends': (1, 1, 1),
  'self_attends_per_block': 2,
  'self_attend_heads': HEADS,
}
POSITIONS = FourierPositions(num_bands=2, max_resolution=(4, 6))


def rng(seed=0):
  return np.random.default_rng(seed)


def classifier(preprocessor=None, **changes):
  def forward(inputs, mask=None):
    model = PerceiverClassifier(
      preprocessor=preprocessor() if preprocessor else None,
      encoder=Encoder(**(ENCODER | changes)),
      num_classes=3,
    )
    return model(inputs, is_training=False, input_mask=mask)

  return hk.transform(forward)


def random_params(model, *arguments):
  """Random values of about the initial scale, without compiling `init`."""
  generator = rng(7)
  shapes = jax.eval_shape(model.init, jax.random.key(0), *arguments)

  def draw(name, shape):
    noise = generator.normal(size=shape).astype(np.float32)
    if name == 'w':
      return 1.5 * noise / np.sqrt(shape[-2])
    return (1.0 if name == 'scale' else 0.0) + 0.3 * noise

  return {
    module: {name: draw(name, leaf.shape) for name, leaf in leaves.items()}
    for module, leaves in shapes.items()
  }


def observe(model, *arguments):
  params = random_params(model, *arguments)
  apply = jax.jit(with_lookups(model.apply))
  logits, lookups = apply(params, None, *arguments)
  return params, logits, lookups


class Written:
  """The encoder in numpy and float64, one operation after the other."""

  def __init__(self, params, heads):
    self.params, self.heads = params, heads

  def array(self, path, name, layer=None):
    array = np.float64(self.params[f'encoder/{path}'][name])
    return array if layer is None else array[layer]

  def linear(self, x, path, layer=None):
    return x @ self.array(path, 'w', layer) + self.array(path, 'b', layer)

  def norm(self, x, path, layer=None):
    x = x - x.mean(axis=-1, keepdims=True)
    x = x / np.sqrt((x**2).mean(axis=-1, keepdims=True) + 1e-5)
    return x * self.array(path, 'scale', layer) + self.array(
      path, 'offset', layer
    )

  def mlp(self, x, path, layer=None):
    hidden = self.norm(x, f'{path}/mlp_norm', layer)
    hidden = self.linear(hidden, f'{path}/mlp/hidden', layer)
    cubic = hidden + 0.044715 * hidden**3
    hidden *= 0.5 * (1 + np.tanh(np.sqrt(2 / np.pi) * cubic))
    return x + self.linear(hidden, f'{path}/mlp/output', layer)

  def attend(self, queries, inputs, path, heads, mask=None, layer=None):
    path = f'{path}/attention'

    def split(x):
      return x.reshape(*x.shape[:2], heads, -1).transpose(0, 2, 1, 3)

    q, k, v = (
      split(self.linear(x, f'{path}/{name}', layer))
      for x, name in ((queries, 'query'), (inputs, 'key'), (inputs, 'value'))
    )
    scores = q @ k.transpose(0, 1, 3, 2) / np.sqrt(q.shape[-1])
    if mask is not None:
      scores = np.where(mask[:, None, None], scores, -np.inf)
    weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
    weights /= weights.sum(axis=-1, keepdims=True)
    attended = (weights @ v).transpose(0, 2, 1, 3)
    attended = attended.reshape(*attended.shape[:2], -1)
    return weights, self.linear(attended, f'{path}/output', layer)

  def weights(self, inputs, mask, depths=3, layers=2):
    latents = np.float64(self.params['encoder']['latents'])
    latents = np.repeat(latents[None], len(inputs), axis=0)
    of_depths = []
    for depth in range(depths):
      path = f'cross_attend_{min(depth, 1)}'
      weights, attended = self.attend(
        self.norm(latents, f'{path}/norm'),
        self.norm(inputs, f'{path}/inputs_norm'),
        path,
        self.heads,
        mask,
      )
      of_depths.append(weights)
      latents = self.mlp(latents + attended, path)
      path = 'latent_block_0/layers/self_attend'
      for layer in range(layers):
        normalized = self.norm(latents, f'{path}/norm', layer)
        attended = self.attend(
          normalized, normalized, path, HEADS, layer=layer
        )[1]
        latents = self.mlp(latents + attended, path, layer)
    return of_depths


@pytest.fixture(scope='module')
def images():
  return rng(1).normal(size=(3, 4, 6, 3)).astype(np.float32)


@pytest.fixture(scope='module')
def mask():
  """Of the third example there is nothing."""
  return rng(2).random((3, 24)) < np.array([[0.7], [1.0], [0.0]])


@pytest.fixture(scope='module')
def model():
  return classifier(lambda: Pixels(positions=POSITIONS))


@pytest.fixture(scope='module')
def observed(model, images, mask):
  return observe(model, images, mask)


def byte_array_of(images):
  """Pixels and positions as one array, float64."""
  positions = np.repeat(np.asarray(POSITIONS((4, 6)))[None], 3, axis=0)
  pixels = images.reshape(3, 24, 3)
  return np.concatenate([pixels, positions], axis=-1, dtype=np.float64)


def test_weights_are_those_of_the_model_written_out(observed, images, mask):
  params, _, lookups = observed
  inputs = byte_array_of(images)[:2]
  expected = Written(params, 1).weights(inputs, mask[:2])
  assert lookups.keys_of == (0, 1, 1)
  for depth in range(3):
    weights = np.asarray(lookups.weights(depth))[:2]
    np.testing.assert_allclose(weights, expected[depth], atol=2e-5)
    np.testing.assert_allclose(weights.sum(axis=-1), 1.0, atol=1e-6)
    padding = np.broadcast_to(~mask[:2, None, None], weights.shape)
    assert not weights[padding].any()
  # They are of very different sizes, so that the comparison says something.
  assert expected[0].max() > 0.3
  # And they change from depth to depth.
  assert np.abs(expected[0] - expected[1]).max() > 0.05


def test_several_heads(images, mask):
  model = classifier(
    lambda: Pixels(positions=POSITIONS),
    cross_attends=(1,),
    self_attends_per_block=0,
    cross_attend_heads=2,
    cross_attend_qk_channels=16,
  )
  params, _, lookups = observe(model, images, mask)
  inputs = byte_array_of(images)[:2]
  (expected,) = Written(params, 2).weights(inputs, mask[:2], depths=1, layers=0)
  assert expected.shape == (2, 2, 5, 24)
  np.testing.assert_allclose(lookups.weights(0)[:2], expected, atol=2e-5)


def test_looking_does_not_change_the_model(observed, model, images, mask):
  params, logits, _ = observed
  plain = jax.jit(model.apply)(params, None, images, mask)
  np.testing.assert_allclose(logits, plain, rtol=1e-5)


def test_some_of_the_latents(observed):
  _, _, lookups = observed
  chosen = lookups.weights(2, jnp.array([3, 0]))
  np.testing.assert_allclose(
    chosen, lookups.weights(2)[:, :, [3, 0]], rtol=1e-6
  )
  assert (lookups.num_latents, lookups.num_inputs) == (5, 24)


def test_an_example_without_inputs_has_no_weights(observed):
  _, _, lookups = observed
  totals = np.asarray(lookups.weights(1)).sum(axis=-1)
  np.testing.assert_allclose(totals[:2], 1.0, atol=1e-6)
  np.testing.assert_array_equal(totals[2], 0.0)


def test_weighted_values_are_what_the_cross_attend_returns(images):
  """In the absorbed form, of a single head and more inputs than channels."""
  model = classifier(
    lambda: Pixels(positions=POSITIONS),
    cross_attends=(1,),
    self_attends_per_block=0,
  )
  seen = {}

  def keep(next_method, args, kwargs, context):
    result = next_method(*args, **kwargs)
    name = context.module.module_name
    if name.endswith('cross_attend_0/attention') and len(args) == 2:
      seen['attended'] = result
      seen['inputs'] = args[1].inputs.concatenate()
    return result

  def apply(params, images):
    with hk.intercept_methods(keep):
      _, lookups = with_lookups(model.apply)(params, None, images)
    return lookups, seen

  params = random_params(model, images)
  lookups, seen = jax.jit(apply)(params, images)
  written = Written(params, 1)
  values = written.linear(
    np.float64(seen['inputs']), 'cross_attend_0/attention/value'
  )
  attended = np.asarray(lookups.weights(0))[:, 0] @ values
  attended = written.linear(attended, 'cross_attend_0/attention/output')
  np.testing.assert_allclose(seen['attended'], attended, atol=1e-4)


def test_a_model_without_encoder_is_refused():
  model = hk.transform(lambda x: hk.Linear(2)(x))
  params = random_params(model, np.zeros((1, 3), np.float32))
  with pytest.raises(ValueError, match='has run 0'):
    with_lookups(model.apply)(params, None, np.zeros((1, 3), np.float32))


def test_permuted_pixels_are_put_back(images):
  """The same weights at the same pixels, whatever the order of the inputs."""
  maps = []
  for preprocessor in (
    lambda: Pixels(positions=POSITIONS),
    lambda: PermutedPixels(positions=POSITIONS, seed=3),
  ):
    model = classifier(
      preprocessor, cross_attends=(1, 1), self_attends_per_block=0
    )
    _, _, lookups = observe(model, images)
    maps.append(lookups.by_modality(lookups.weights(1))[ONLY])
  assert maps[0].shape == (3, 1, 5, 4, 6)
  np.testing.assert_allclose(maps[0], maps[1], atol=1e-5)
  assert lookups.layouts[ONLY].order is not None


GRID = FourierPositions(num_bands=1, max_resolution=(4, 4))
LINE = FourierPositions(num_bands=1, max_resolution=(4,))
SPACE = FourierPositions(num_bands=1, max_resolution=(4, 4, 4))
LAYOUTS = {
  'pixels': (lambda: Pixels(positions=GRID), (6, 4, 3), (6, 4)),
  'strides': (
    lambda: Pixels(positions=GRID, strides=(2, 3)),
    (6, 4, 3),
    (3, 2),
  ),
  'conv1x1': (
    lambda: Conv1x1(num_channels=4, positions=GRID),
    (6, 4, 3),
    (6, 4),
  ),
  'conv_stem': (
    lambda: ConvStem(num_channels=4, positions=GRID, use_batch_norm=False),
    (9, 8, 3),
    (3, 2),
  ),
  'patches': (
    lambda: Patches(patch_shape=(2, 2, 3), positions=SPACE),
    (4, 4, 6, 3),
    (2, 2, 2),
  ),
  'audio_patches': (
    lambda: AudioPatches(samples_per_patch=4, positions=LINE),
    (32,),
    (8,),
  ),
  'mel': (
    lambda: MelSpectrogram(
      positions=GRID,
      sample_rate=100.0,
      window_size=16,
      hop_size=8,
      num_mels=4,
    ),
    (64,),
    (8, 4),
  ),
  'points': (
    lambda: Points(num_bands=1, max_resolution=(4,) * 3),
    (7, 3),
    (7,),
  ),
  'one_hot': (lambda: OneHot(num_classes=4), (), (1,)),
  'tokens': (
    lambda: TokenEmbedding(vocab_size=9, num_channels=4, max_length=8),
    (6,),
    (6,),
  ),
  'frames_together': (
    lambda: FramePatches(
      patch_size=3, num_channels=4, concatenate_frames=True, positions=GRID
    ),
    (2, 6, 4, 3),
    (6, 4),
  ),
  'frames_apart': (
    lambda: FramePatches(
      patch_size=1, num_channels=4, concatenate_frames=False, positions=SPACE
    ),
    (2, 6, 4, 3),
    (2, 6, 4),
  ),
  'frames_stem': (
    lambda: FrameConvStem(
      num_channels=4,
      concatenate_frames=True,
      positions=GRID,
      use_batch_norm=False,
    ),
    (2, 8, 4, 3),
    (2, 1),
  ),
}


def shapes_of(preprocessor, raw):
  """The lookups' shapes; nothing is compiled."""
  model = classifier(preprocessor, cross_attends=(1, 1))
  params = jax.eval_shape(model.init, jax.random.key(0), raw)
  apply = with_lookups(model.apply)
  return jax.eval_shape(lambda p, x: apply(p, None, x)[1], params, raw)


def raw_array(shape, integer):
  dtype = jnp.int32 if integer else jnp.float32
  return jax.ShapeDtypeStruct((2, *shape), dtype)


@pytest.mark.parametrize('name', LAYOUTS)
def test_the_grid_of_each_preprocessor(name):
  preprocessor, shape, grid_shape = LAYOUTS[name]
  raw = raw_array(shape, name in ('one_hot', 'tokens'))
  lookups = shapes_of(preprocessor, raw)
  assert lookups.layouts[ONLY].grid_shape == grid_shape
  assert lookups.num_inputs == np.prod(grid_shape)
  values = lookups.layouts[ONLY].values
  assert (values is not None) == (name == 'mel')
  if values is not None:
    assert values.shape == (2, *grid_shape)


def test_modalities_are_taken_apart():
  names = ('patches', 'audio_patches', 'one_hot')
  raw = {n: raw_array(LAYOUTS[n][1], n == 'one_hot') for n in names}

  def preprocessor():
    return Multimodal(
      preprocessors={n: LAYOUTS[n][0]() for n in names}, min_padding=2
    )

  lookups = shapes_of(preprocessor, raw)
  assert list(lookups.layouts) == sorted(names)
  maps = jax.eval_shape(lambda x: x.by_modality(x.weights(1)), lookups)
  for name in names:
    assert maps[name].shape == (2, 1, 5, *LAYOUTS[name][2])
  # Eight patches of sound, a label, eight of video.
  numbers = lookups.by_modality(np.arange(17))
  np.testing.assert_array_equal(numbers['audio_patches'], np.arange(8))
  np.testing.assert_array_equal(numbers['one_hot'], [8])
  assert numbers['patches'][1, 0, 0] == 13


def test_a_byte_array_of_ones_own_is_a_row():
  raw = ByteArray(jax.ShapeDtypeStruct((2, 7, 3), jnp.float32))
  assert shapes_of(None, raw).layouts[ONLY].grid_shape == (7,)
