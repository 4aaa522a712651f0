"""ResNet, ViT and Transformer on byte arrays, against other counts of them."""

import haiku as hk
import jax
import numpy as np
import pytest

from experiments.baselines.byte_arrays import to_grid
from experiments.baselines.resnet import ResNet
from experiments.baselines.transformer import Transformer
from experiments.baselines.vit import VisionTransformer
from experiments.configs import digits as digits_config
from experiments.configs import imagenet_baselines, modelnet40_baselines
from experiments.data.dataset import batch_spec
from experiments.tasks import make_task
from perceiver_jax.byte_array import ByteArray
from perceiver_jax.position_encoding import FourierPositions
from perceiver_jax.preprocessors import PermutedPixels, Points


def normal(*shape, seed=0):
  return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def num_parameters(config):
  task = make_task(config, None)
  params, _ = jax.eval_shape(
    lambda batch: task.model.init(jax.random.key(0), batch, is_training=True),
    batch_spec(task.data.example, 2),
  )
  return hk.data_structures.tree_size(params)


# Sizes. Those of RGB are what everybody counts.


@pytest.mark.parametrize(
  ('variant', 'size'),
  [
    ('resnet50_rgb', 25_557_032),
    # 258 more channels into 64 kernels of 7 x 7.
    ('resnet50_ff', 25_557_032 + 7 * 7 * 258 * 64),
    ('vit_b16_rgb', 86_567_656),
    ('vit_b16_ff', 86_567_656 + 16 * 16 * 258 * 768),
    # Layers of 6 D^2 + 10 D, from 261 channels to 1,000 classes.
    (
      'transformer64',
      262 * 512 + 8 * (6 * 512**2 + 10 * 512) + 513 * 1000,
    ),
  ],
)
def test_parameters_on_imagenet(variant, size):
  assert num_parameters(imagenet_baselines.get_config(variant)) == size


def test_parameters_on_modelnet40():
  def vit(patch_size, tokens):
    trunk = 12 * 7_087_872 + 2 * 768 + 768  # Layers, norm, class token.
    patches = patch_size**2 * 387 * 768 + 768
    return trunk + patches + (tokens + 1) * 768 + 769 * 40

  sizes = {
    'vit_b2': vit(2, 22**2),
    'vit_b16': vit(16, 3**2),  # Three patches of 16 cover 44.
    'resnet50': 25_557_032 + 7 * 7 * 384 * 64 - 2049 * 960,
  }
  for variant, size in sizes.items():
    config = modelnet40_baselines.get_config(variant)
    assert num_parameters(config) == size, variant


# What is permuted, and who minds.


def model_of(variant):
  """The model of digits, smaller."""
  config = digits_config.get_config(variant)
  config.data.image_size = 14
  if 'encoder' in config:
    config.encoder.num_latents = 8
    config.encoder.self_attends_per_block = 1
    config.encoder.cross_attends = (1,)
  elif config.baseline.name == 'resnet':
    config.baseline.grid_shape = (14, 14)
  elif config.baseline.name == 'vit':
    config.baseline.update(grid_shape=(14, 14), patch_size=7, num_layers=1)
  else:
    config.baseline.num_layers = 1
  return make_task(config, None).model


def random_state(variant):
  """Parameters, state and a batch; no parameter is zero."""
  batch = {'image': normal(2, 14, 14, 1)}
  shapes = jax.eval_shape(
    lambda batch: model_of(variant).init(
      jax.random.key(0), batch, is_training=True
    ),
    batch,
  )
  leaves, tree = jax.tree.flatten(shapes[0])
  params = [0.3 * normal(*leaf.shape, seed=i) for i, leaf in enumerate(leaves)]
  state = jax.tree.map(lambda leaf: np.ones(leaf.shape, leaf.dtype), shapes[1])
  return jax.tree.unflatten(tree, params), state, batch


def logits_of(variant, params, state, batch):
  model = model_of(variant)
  return jax.jit(
    lambda params: model.apply(params, state, None, batch, is_training=False)[0]
  )(params)


@pytest.mark.parametrize('variant', ['perceiver_learned', 'transformer'])
def test_inputs_are_a_set(variant):
  """Permuted images, the same parameters: the same logits."""
  arguments = random_state(variant)
  logits = logits_of(variant, *arguments)
  permuted = logits_of(f'{variant}_permuted', *arguments)
  assert np.ptp(logits) > 0.1
  np.testing.assert_allclose(permuted, logits, rtol=1e-4, atol=1e-4)


def test_training_knows_no_order_of_the_inputs():
  """Logits and gradient of the Perceiver, the same again."""
  params, state, batch = random_state('perceiver')

  def logits_and_gradient(variant):
    model = model_of(variant)

    def loss(params):
      logits, _ = model.apply(params, state, None, batch, is_training=True)
      return (logits**2).mean(), logits

    gradient, logits = jax.jit(jax.grad(loss, has_aux=True))(params)
    return logits, np.concatenate(
      list(map(np.ravel, jax.tree.leaves(gradient)))
    )

  logits, gradient = logits_and_gradient('perceiver')
  permuted, permuted_gradient = logits_and_gradient('perceiver_permuted')
  assert np.ptp(logits) > 0.1
  np.testing.assert_allclose(permuted, logits, rtol=1e-4, atol=1e-4)
  size = np.linalg.norm(gradient)
  assert size > 0.1
  assert np.linalg.norm(permuted_gradient - gradient) < 1e-4 * size


@pytest.mark.parametrize('variant', ['resnet', 'vit'])
def test_inputs_are_a_grid(variant):
  arguments = random_state(variant)
  logits = logits_of(variant, *arguments)
  permuted = logits_of(f'{variant}_permuted', *arguments)
  assert np.ptp(logits) > 0.1
  assert np.abs(permuted - logits).max() > 0.1 * np.ptp(logits)


def test_positions_move_with_their_pixels():
  positions = FourierPositions(num_bands=2, max_resolution=(4, 6))
  images = normal(2, 4, 6, 3)

  def forward(images):
    return to_grid(PermutedPixels(positions=positions, seed=5)(images), (4, 6))

  grid = hk.transform(forward).apply({}, None, images)
  assert grid.shape == (2, 4, 6, 3 + 10)
  order = np.random.default_rng(5).permutation(24)
  row, column = np.unravel_index(order[1 * 6 + 2], (4, 6))
  pixel = grid[1, 1, 2]  # What came to row 1, column 2.
  np.testing.assert_array_equal(pixel[:3], images[1, row, column])
  np.testing.assert_allclose(
    pixel[3:5], [-1 + 2 * row / 3, -1 + 2 * column / 5], rtol=1e-6
  )


def test_points_fill_a_grid_in_the_order_in_which_they_come():
  points = normal(2, 6, 3)

  def forward(points):
    byte_array = Points(num_bands=1, max_resolution=(2, 2, 2))(points)
    return to_grid(byte_array, (2, 3))

  grid = hk.transform(forward).apply({}, None, points)
  np.testing.assert_array_equal(grid[..., :3], points.reshape(2, 2, 3, 3))


# ViT against its definition in float64.


def small_vit(grid_shape, **fields):
  return hk.without_apply_rng(
    hk.transform(
      lambda features: VisionTransformer(
        grid_shape=grid_shape,
        num_classes=3,
        patch_size=2,
        num_channels=8,
        num_layers=1,
        num_heads=2,
        **fields,
      )(ByteArray(features), is_training=False)
    )
  )


def numpy_vit(params, grid):
  """One layer, two heads; grid `[H, W, C]` of even sides."""

  def get(path):
    values = {
      key: np.asarray(value, np.float64)[0] if '/layers/' in path else value
      for key, value in params[f'vision_transformer/{path}'].items()
    }
    return values

  def linear(path, x):
    return x @ get(path)['w'] + get(path)['b']

  def norm(path, x):
    centred = x - x.mean(-1, keepdims=True)
    x = centred / np.sqrt(x.var(-1, keepdims=True) + 1e-5)
    return x * get(path)['scale'] + get(path)['offset']

  height, width, _ = grid.shape
  patches = np.stack(
    [
      grid[i : i + 2, j : j + 2].ravel()
      for i in range(0, height, 2)
      for j in range(0, width, 2)
    ]
  )
  top = params['vision_transformer']
  x = np.concatenate([top['class_token'][0], linear('patches', patches)])
  x = x + top['positions'][0]
  layer = 'blocks/layers/self_attend'
  y = norm(f'{layer}/norm', x)
  heads = []
  for i in range(2):
    part = slice(4 * i, 4 * i + 4)
    q, k, v = (
      linear(f'{layer}/attention/{name}', y)[:, part]
      for name in ('query', 'key', 'value')
    )
    weights = np.exp(q @ k.T / 2)  # The root of 4 channels.
    heads.append(weights / weights.sum(-1, keepdims=True) @ v)
  x = x + linear(f'{layer}/attention/output', np.concatenate(heads, -1))
  y = linear(f'{layer}/mlp/hidden', norm(f'{layer}/mlp_norm', x))
  y = 0.5 * y * (1 + np.tanh(np.sqrt(2 / np.pi) * (y + 0.044715 * y**3)))
  x = x + linear(f'{layer}/mlp/output', y)
  return linear('logits', norm('norm', x[0]))


def random_params(model, *inputs):
  shapes = jax.eval_shape(model.init, jax.random.key(0), *inputs)
  leaves, tree = jax.tree.flatten(shapes)
  return jax.tree.unflatten(
    tree, [0.5 * normal(*leaf.shape, seed=i) for i, leaf in enumerate(leaves)]
  )


def test_vit_is_what_the_paper_says():
  grid = normal(2, 4, 6, 3)
  model = small_vit((4, 6))
  flat = grid.reshape(2, 24, 3)
  params = random_params(model, flat)
  expected = [numpy_vit(params, each.astype(np.float64)) for each in grid]
  np.testing.assert_allclose(
    model.apply(params, flat), expected, rtol=1e-4, atol=1e-5
  )


def test_patches_over_the_border_are_filled_with_zeros():
  grid = normal(2, 3, 5, 3)
  model = small_vit((3, 5))
  params = random_params(model, grid.reshape(2, 15, 3))
  padded = np.pad(grid, ((0, 0), (0, 1), (0, 1), (0, 0)))
  np.testing.assert_allclose(
    model.apply(params, grid.reshape(2, 15, 3)),
    small_vit((4, 6)).apply(params, padded.reshape(2, 24, 3)),
    rtol=1e-5,
  )


# Mistakes.


def baseline_error(baseline, byte_array):
  def forward(byte_array):
    return baseline()(byte_array, is_training=True)

  with pytest.raises(ValueError) as error:
    jax.eval_shape(
      hk.transform_with_state(forward).init, jax.random.key(0), byte_array
    )
  return str(error.value)


def test_inputs_that_do_not_fill_the_grid():
  byte_array = ByteArray(normal(2, 12, 3))
  for shape in ((3, 5), (12,), (2, 2, 3)):
    text = baseline_error(
      lambda shape=shape: ResNet(grid_shape=shape, num_classes=2), byte_array
    )
    assert f'baseline.grid_shape = {shape}' in text and '12' in text


def test_padding_is_refused():
  byte_array = ByteArray(normal(2, 12, 3), mask=np.ones((2, 12), np.bool_))
  text = baseline_error(
    lambda: Transformer(num_classes=2, num_channels=8, num_layers=1), byte_array
  )
  assert 'no masks' in text


def test_wrong_fields():
  byte_array = ByteArray(normal(2, 12, 3))
  text = baseline_error(
    lambda: ResNet(grid_shape=(3, 4), num_classes=2, blocks_per_group=(1, 1)),
    byte_array,
  )
  assert 'four groups' in text and '(1, 1)' in text
  text = baseline_error(
    lambda: VisionTransformer(grid_shape=(3, 4), num_classes=2, patch_size=0),
    byte_array,
  )
  assert 'patch_size must be at least 1' in text


@pytest.mark.parametrize('section', ['encoder', 'decoder', 'queries'])
def test_a_baseline_and_parts_of_a_perceiver_are_too_much(section):
  config = digits_config.get_config('vit')
  config[section] = {}
  with pytest.raises(ValueError, match=f"Unknown config key '{section}'"):
    make_task(config, None)


def test_unknown_baseline_and_variants():
  config = digits_config.get_config('vit')
  config.baseline.name = 'vitt'
  with pytest.raises(ValueError, match=r"did you mean 'vit'\?"):
    num_parameters(config)
  with pytest.raises(ValueError, match=r"'vit'.*got 'vitt'"):
    digits_config.get_config('vitt')
  with pytest.raises(ValueError, match="got 'ablation_permuted'"):
    digits_config.get_config('ablation_permuted')
  with pytest.raises(ValueError, match="got 'resnet50'"):
    imagenet_baselines.get_config('resnet50')
  with pytest.raises(ValueError, match="got 'vit'"):
    modelnet40_baselines.get_config('vit')
