"""Published weights: what our models make of them, and what is refused."""

import jax
import numpy as np
import pytest

from perceiver_jax import pretrained
from tests.golden import parity

CASES = [
  (layout, architecture)
  for layout in pretrained.LAYOUTS
  for architecture in pretrained.ARCHITECTURES['released']
]


@pytest.mark.parametrize(('layout', 'architecture'), CASES)
def test_outputs_equal_those_of_the_published_code(layout, architecture):
  golden = parity.load(layout, architecture)
  for output, difference in parity.compare(golden).items():
    assert difference < 1e-5, output


def test_padding_is_the_authors_and_not_that_of_transformers():
  golden = parity.load('huggingface', 'image_conv')
  model = parity.make_model(golden)
  outputs, _ = jax.jit(model.apply)(
    *parity.converted(golden, model), None, golden.inputs
  )
  away = {
    name: parity.relative_difference(
      np.asarray(outputs['logits']), golden.outputs[name]
    )
    for name in ('logits', 'logits_same_padding')
  }
  assert away['logits_same_padding'] < 1e-6
  assert away['logits'] == pytest.approx(0.0141, abs=1e-4)


def test_positions_are_exact_where_float32_is_not():
  single, ours = parity.position_errors((56, 56), 64, (56, 56))
  assert ours <= 3e-8
  assert single == pytest.approx(8.2e-6, rel=0.1)


def test_gradients_equal_those_of_the_published_code():
  golden = parity.load('huggingface', 'image_fourier')
  model = parity.make_model(golden)
  params, state = parity.converted(golden, model)
  cotangent = golden.inputs['logits_cotangent'].astype(np.float32)

  def loss(params, images):
    outputs, _ = model.apply(params, state, None, {'images': images})
    return (cotangent * outputs['logits']).sum()

  gradients, images = jax.jit(jax.grad(loss, argnums=(0, 1)))(
    params, golden.inputs['images']
  )
  # The golden gradients, under our names: they convert as the weights do.
  expected, _ = pretrained.convert(
    {k: x for k, x in golden.gradients.items() if not k.startswith('inputs/')},
    {},
    gradients,
    {},
    layout='huggingface',
    architecture='image_fourier',
  )
  largest = max(np.abs(x).max() for x in jax.tree.leaves(expected))
  for module, leaves in expected.items():
    for name, values in leaves.items():
      np.testing.assert_allclose(
        gradients[module][name],
        values,
        rtol=1e-4,
        atol=1e-6 * largest,
        err_msg=f'{module}/{name}',
      )
  assert (
    parity.relative_difference(images, golden.gradients['inputs/images']) < 1e-5
  )


@pytest.mark.parametrize(('layout', 'architecture'), CASES)
def test_the_architecture_is_told_from_the_names(layout, architecture):
  golden = parity.load(layout, architecture)
  assert pretrained.architecture_of(golden.params, layout) == architecture


def test_unknown_weights_are_refused():
  with pytest.raises(ValueError, match=r'not weights of a known model.*resnet'):
    pretrained.architecture_of({'resnet.conv1.weight': 0}, 'huggingface')


@pytest.fixture(scope='module')
def learned():
  """Golden weights with learned positions, and the tree of the model."""
  golden = parity.load('huggingface', 'image_learned')
  model = parity.make_model(golden)
  params, state = jax.eval_shape(model.init, jax.random.key(0), golden.inputs)
  return golden, params, state


def convert(learned, source, **arguments):
  _, params, state = learned
  return pretrained.convert(
    source,
    {},
    params,
    state,
    layout='huggingface',
    architecture='image_learned',
    **arguments,
  )


def test_every_entry_that_does_not_fit_is_listed(learned):
  source = dict(learned[0].params)
  del source['perceiver.encoder.self_attends.1.mlp.dense1.bias']
  key = 'perceiver.encoder.cross_attention.mlp.dense1.weight'
  source[key] = np.zeros((16, 17))
  source['perceiver.pooler.weight'] = np.zeros(3)
  with pytest.raises(ValueError) as error:
    convert(learned, source)
  message = str(error.value)
  assert (
    'encoder/latent_block_0/layers/self_attend/mlp/hidden/b: '
    'perceiver.encoder.self_attends.1.mlp.dense1.bias is missing'
  ) in message
  assert f'{key} has shape (17, 16), the model (16, 16)' in message
  assert 'perceiver.pooler.weight: left over' in message
  assert len(message.splitlines()) == 4


def test_of_many_entries_some_are_listed(learned):
  source = {f'perceiver.pooler.{i}': np.zeros(3) for i in range(20)}
  with pytest.raises(ValueError, match='and 12 more') as error:
    convert(learned, source | dict(learned[0].params))
  assert len(str(error.value).splitlines()) == 10


def test_other_sizes_are_told_alone(learned):
  source = dict(learned[0].params)
  source['perceiver.embeddings.latents'] = np.zeros((6, 17))
  with pytest.raises(ValueError, match='width of latents 17, config says 16'):
    convert(learned, source)


def test_a_transposed_square_matrix_is_not_mistaken(learned):
  # PyTorch keeps [out, in]: swapping axes must happen for square ones too.
  source = dict(learned[0].params)
  key = 'perceiver.encoder.self_attends.0.mlp.dense1.weight'
  assert source[key].shape[0] == source[key].shape[1]
  params, _ = convert(learned, source)
  ours = params['encoder/latent_block_0/layers/self_attend/mlp/hidden']['w'][0]
  np.testing.assert_array_equal(ours, source[key].T)


def test_key_biases_land_where_they_belong(learned):
  # They cancel in the softmax, so that no output depends on them.
  source = learned[0].params
  params, _ = convert(learned, source)
  for ours, theirs in (
    ('encoder/cross_attend_0', 'perceiver.encoder.cross_attention'),
    (
      'decoder/cross_attend',
      'perceiver.decoder.decoder.decoding_cross_attention',
    ),
  ):
    np.testing.assert_array_equal(
      params[f'{ours}/attention/key']['b'],
      source[f'{theirs}.attention.self.key.bias'],
    )


def test_arrays_of_another_shape_go_through_resize(learned):
  source = dict(learned[0].params)
  key = 'perceiver.input_preprocessor.position_embeddings.position_embeddings'
  source[key] = np.ones((20, 10), np.float32)

  def resize(name, array, shape):
    assert name == ('learned_positions', 'positions')
    assert array.shape == (20, 10)
    return np.full(shape, 7.0)

  params, _ = convert(learned, source, resize=resize)
  assert (params['learned_positions']['positions'] == 7.0).all()
  with pytest.raises(ValueError, match=r'has shape \(20, 10\)'):
    convert(learned, source, resize=lambda *_: None)


def test_batch_norm_of_pytorch_does_not_start_its_correction_anew():
  # transformers' converted weights say that no batch was tracked.
  golden = parity.load('huggingface', 'image_conv')
  model = parity.make_model(golden)
  _, state = parity.converted(golden, model)
  module = 'conv_stem/convolutions/batch_norm_0/~/mean_ema'
  assert state[module]['counter'] > 1000
  np.testing.assert_array_equal(
    state[module]['hidden'], state[module]['average']
  )


def test_settings_differ_where_the_sources_do():
  assert pretrained.settings('released', 'image_learned') == {
    'encoder.approximate_gelu': True,
    'decoder.approximate_gelu': True,
    'decoder.query_residual': False,
  }
  assert pretrained.settings('huggingface', 'multimodal') == {
    'encoder.approximate_gelu': False,
    'decoder.approximate_gelu': False,
    'decoder.query_residual': False,
    'queries.audio.positions.include_end': False,
    'queries.image.positions.include_end': False,
  }
  with pytest.raises(ValueError, match='layout must be one of'):
    pretrained.settings('pytorch', 'masked_lm')
