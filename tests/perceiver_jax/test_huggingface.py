"""What a config.json of transformers says, and what is refused."""

import pytest

from perceiver_jax import huggingface, pretrained, published
from tests.golden import saved_models

# Of the released models, as far as they are not the default.
IMAGENET = {
  'num_latents': 512,
  'd_latents': 1024,
  'num_blocks': 8,
  'num_self_attends_per_block': 6,
  'num_self_attention_heads': 8,
  'num_cross_attention_heads': 1,
}
LABELS = {'id2label': {str(i): f'name {i}' for i in range(1000)}}


def config_of(kind, **settings):
  return {
    'model_type': 'perceiver',
    'architectures': [f'PerceiverFor{kind}'],
    **settings,
  }


def same(sections, expected):
  """Whether all that is expected is said."""
  for section, values in expected.items():
    for key, value in values.items():
      assert sections[section][key] == value, f'{section}.{key}'


def test_the_released_models_are_those_that_are_published_here():
  model = huggingface.model(
    config_of('MaskedLM', qk_channels=256, v_channels=1280)
  )
  assert model.architecture == 'masked_lm'
  same(model.sections, published.LANGUAGE)
  model = huggingface.model(
    config_of('ImageClassificationConvProcessing', **IMAGENET, **LABELS)
  )
  assert (model.architecture, model.labels[999]) == ('image_conv', 'name 999')
  same(model.sections, published.IMAGENET_IO_CONV)
  flow = {
    'num_latents': 2048,
    'd_latents': 512,
    'num_self_attends_per_block': 24,
    'num_self_attention_heads': 16,
    'num_cross_attention_heads': 1,
  }
  model = huggingface.model(config_of('OpticalFlow', **flow))
  same(model.sections, published.FLOW)
  kinetics = {
    'num_latents': 784,
    'd_latents': 512,
    'num_self_attends_per_block': 8,
    'num_cross_attention_heads': 1,
    'id2label': {str(i): f'name {i}' for i in range(700)},
  }
  model = huggingface.model(config_of('MultimodalAutoencoding', **kinetics))
  for section in ('inputs', 'queries', 'postprocessors', 'encoder'):
    same(model.sections, {section: published.KINETICS[section]})


def test_all_classes_of_transformers_with_a_task_are_known():
  known = {
    huggingface.model(saved_models.load(name).config).architecture
    for name in saved_models.NAMES
  }
  assert known == set(pretrained.ARCHITECTURES['huggingface'])


@pytest.mark.parametrize(
  ('activation', 'approximate'),
  [('gelu', False), ('gelu_new', True), ('gelu_pytorch_tanh', True)],
)
def test_both_kinds_of_gelu_are_told_apart(activation, approximate):
  sections = huggingface.model(
    config_of('MaskedLM', hidden_act=activation)
  ).sections
  assert sections['encoder']['approximate_gelu'] is approximate
  assert sections['decoder']['approximate_gelu'] is approximate


@pytest.mark.parametrize(
  ('settings', 'message'),
  [
    ({'hidden_act': 'relu'}, "hidden_act is 'relu'"),
    ({'model_type': 'bert'}, "model_type is 'bert'"),
    ({'architectures': ['PerceiverModel']}, 'PerceiverModel'),
    ({'architectures': None}, 'architectures is'),
    ({'num_latents': 'many'}, "num_latents is 'many'"),
    ({'d_latents': True}, 'd_latents is True'),
    ({'use_query_residual': 1}, 'use_query_residual is 1'),
    ({'qk_channels': 0}, 'qk_channels is 0'),
    ({'qk_channels': 8}, 'Values have 8 channels'),
    ({'train_size': [3]}, r'train_size is \[3\]'),
    ({'cross_attention_shape_for_attention': 'v'}, "attention is 'v'"),
    ({'id2label': {'1': 'a', '2': 'b'}}, 'from 0 on'),
  ],
)
def test_what_no_model_has_is_refused_by_name(settings, message):
  with pytest.raises(ValueError, match=message):
    huggingface.model(config_of('MaskedLM') | settings)
