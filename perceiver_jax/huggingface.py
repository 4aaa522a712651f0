"""The config.json of Hugging Face `transformers`, as sections of our models.

Weights alone do not tell heads, activations or residuals. `model` takes them
from the config that `save_pretrained` writes beside the weights, and what the
released classes fix in their code (64 bands, 8 heads of 32 channels, ...) from
there; the result has the form of the models in `published`.

What acts in training alone is left out: `attention_probs_dropout_prob` drops
attention weights only, which no model here does.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from perceiver_jax import published
from perceiver_jax.published import Model

# What a config.json that does not say it means, where we read it.
_DEFAULTS = {
  'num_latents': 256,
  'd_latents': 1280,
  'd_model': 768,
  'num_blocks': 1,
  'num_self_attends_per_block': 26,
  'num_self_attention_heads': 8,
  'num_cross_attention_heads': 8,
  'qk_channels': None,
  'v_channels': None,
  'cross_attention_shape_for_attention': 'kv',
  'self_attention_widening_factor': 1,
  'cross_attention_widening_factor': 1,
  'hidden_act': 'gelu',
  'use_query_residual': True,
  'vocab_size': 262,
  'max_position_embeddings': 2048,
  'image_size': 56,
  'train_size': (368, 496),
  'num_frames': 16,
  'audio_samples_per_frame': 1920,
  'samples_per_patch': 16,
  'output_shape': (1, 16, 224, 224),
  'output_num_channels': 512,
  '_label_trainable_num_channels': 1024,
}
_OPTIONAL = ('qk_channels', 'v_channels')
_PAIRS = {'train_size': 2, 'output_shape': 4}
# Whether an activation is the tanh approximation of GELU.
_GELUS = {
  'gelu': False,
  'gelu_python': False,
  'gelu_new': True,
  'gelu_fast': True,
  'gelu_accurate': True,
  'gelu_pytorch_tanh': True,
}
_ATTENTION_SHAPES = ('kv', 'q')


class HuggingFaceModel(NamedTuple):
  """What a config.json says.

  Attributes:
    architecture: one of `pretrained.ARCHITECTURES['huggingface']`.
    sections: of the model, as in `published`.
    labels: names of the classes, in order of their numbers.
    example: sizes of an input, by the names that they have in configs.
  """

  architecture: str
  sections: Model
  labels: tuple[str, ...]
  example: dict[str, int]


def model(config: Mapping[str, Any]) -> HuggingFaceModel:
  """Describes the model of a config.json.

  Args:
    config: its content.

  Returns:
    Values; nothing is built.

  Raises:
    ValueError: it is of no Perceiver, of a class without a model here, or
      says something that no model here does.
  """
  if config.get('model_type') != 'perceiver':
    raise ValueError(
      f'model_type is {config.get("model_type")!r}, expected a Perceiver of '
      "transformers, 'perceiver'."
    )
  names = config.get('architectures') or ['nothing']
  if len(names) != 1 or names[0] not in _CLASSES:
    raise ValueError(
      f'architectures is {names!r}; the classes that there is a model for are '
      f'{sorted(_CLASSES)}.'
    )
  architecture, describe = _CLASSES[names[0]]
  config = {**config, **_checked(config)}
  sections, example = describe(config)
  return HuggingFaceModel(architecture, sections, _labels(config), example)


def _checked(config: Mapping[str, Any]) -> dict[str, Any]:
  """Returns what is read, with defaults, in its right type."""
  values = {key: config.get(key, each) for key, each in _DEFAULTS.items()}
  for key, default in _DEFAULTS.items():
    value = values[key]
    if key in _PAIRS:
      good = isinstance(value, list | tuple) and len(value) == _PAIRS[key]
      good = good and all(map(_is_size, value))
    elif isinstance(default, int) and not isinstance(default, bool):
      good = _is_size(value)
    elif key in _OPTIONAL:
      good = value is None or _is_size(value)
    else:
      good = isinstance(value, type(default))
    if not good:
      raise ValueError(
        f'{key} is {value!r}, expected a value such as {default!r}.'
      )
  _check_known('hidden_act', values['hidden_act'], tuple(_GELUS))
  key = 'cross_attention_shape_for_attention'
  _check_known(key, values[key], _ATTENTION_SHAPES)
  width = values['v_channels'] or values['qk_channels']
  if width not in (None, values['d_latents']):
    raise ValueError(
      f'Values have {width} channels (v_channels, qk_channels) and latents '
      f'd_latents = {values["d_latents"]}; transformers itself cannot add '
      'them. Set v_channels to d_latents.'
    )
  return values


def _is_size(value: Any) -> bool:
  return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _check_known(key: str, value: Any, known: tuple[str, ...]) -> None:
  if value not in known:
    raise ValueError(
      f'{key} is {value!r}, which no model here has; there are {known}.'
    )


def _labels(config: Mapping[str, Any]) -> tuple[str, ...]:
  """Returns names of classes; two are what a config without any means."""
  names = config.get('id2label') or {'0': 'LABEL_0', '1': 'LABEL_1'}
  try:
    return tuple(str(names[str(i)]) for i in range(len(names)))
  except (KeyError, TypeError) as error:
    raise ValueError(
      'id2label must name the classes from 0 on, such as '
      '{"0": "cat", "1": "dog"}.'
    ) from error


def _encoder(config: Mapping[str, Any]) -> Model:
  qk_channels = config['qk_channels']
  cross_qk_channels = qk_channels
  if config['cross_attention_shape_for_attention'] == 'q':
    cross_qk_channels = qk_channels or config['d_latents']
  return {
    'num_latents': config['num_latents'],
    'latent_channels': config['d_latents'],
    'cross_attends': (1,) + (0,) * (config['num_blocks'] - 1),
    'self_attends_per_block': config['num_self_attends_per_block'],
    'cross_attend_heads': config['num_cross_attention_heads'],
    'self_attend_heads': config['num_self_attention_heads'],
    'cross_attend_qk_channels': cross_qk_channels,
    'cross_attend_v_channels': config['v_channels'],
    'self_attend_qk_channels': qk_channels,
    'self_attend_v_channels': config['v_channels'],
    'cross_attend_widening_factor': config['cross_attention_widening_factor'],
    'self_attend_widening_factor': config['self_attention_widening_factor'],
    'query_residual': config['use_query_residual'],
    'approximate_gelu': _GELUS[config['hidden_act']],
  }


def _decoder(config: Mapping[str, Any], query_channels: int) -> Model:
  """A decoder of one head; the classes set nothing else."""
  shape = config['cross_attention_shape_for_attention']
  return {
    'num_heads': 1,
    'qk_channels': query_channels if shape == 'q' else None,
    'approximate_gelu': _GELUS[config['hidden_act']],
  }


def _classifier(config: Mapping[str, Any]) -> Model:
  """What is behind the inputs of all classifiers."""
  channels = config['d_latents']
  return {
    'encoder': _encoder(config),
    'queries': {**published.IMAGENET_IO['queries'], 'num_channels': channels},
    'decoder': {**_decoder(config, channels), 'query_residual': True},
  }


def _embedding(config: Mapping[str, Any]) -> Model:
  return {
    'vocab_size': config['vocab_size'],
    'num_channels': config['d_model'],
    'max_length': config['max_position_embeddings'],
  }


_Described = tuple[Model, dict[str, int]]


def _masked_lm(config: Mapping[str, Any]) -> _Described:
  length, channels = config['max_position_embeddings'], config['d_model']
  decoder = {
    **published.LANGUAGE['decoder'],
    'v_channels': channels,
    'approximate_gelu': _GELUS[config['hidden_act']],
  }
  return {
    'embedding': _embedding(config),
    'encoder': _encoder(config),
    'queries': {'num_queries': length, 'num_channels': channels},
    'decoder': decoder,
  }, {'length': length}


def _text_classification(config: Mapping[str, Any]) -> _Described:
  inputs = {'tokens': {'name': 'token_embedding', **_embedding(config)}}
  return {'inputs': inputs, **_classifier(config)}, {
    'length': config['max_position_embeddings']
  }


def _images(like: Model) -> Callable[[Mapping[str, Any]], _Described]:
  """Classifiers whose inputs the class fixes, images of 224 x 224."""

  def describe(config: Mapping[str, Any]) -> _Described:
    return {'inputs': like['inputs'], **_classifier(config)}, {
      'image_size': 224
    }

  return describe


def _image_learned(config: Mapping[str, Any]) -> _Described:
  sections, _ = _images(published.IMAGENET_IO_LEARNED)(config)
  return sections, {'image_size': config['image_size']}


def _optical_flow(config: Mapping[str, Any]) -> _Described:
  height, width = config['train_size']
  preprocessor = dict(published.FLOW['preprocessor'])
  positions = dict(preprocessor['positions'], max_resolution=(height, width))
  # Of a query: features, sines and cosines on both axes, the coordinates.
  channels = preprocessor['num_channels'] + 4 * positions['num_bands'] + 2
  return {
    **published.FLOW,
    'preprocessor': {**preprocessor, 'positions': positions},
    'encoder': _encoder(config),
    'decoder': {**published.FLOW['decoder'], **_decoder(config, channels)},
  }, {'height': height, 'width': width}


def _multimodal(config: Mapping[str, Any]) -> _Described:
  frames, samples = config['num_frames'], config['audio_samples_per_frame']
  samples *= frames
  per_patch, num_classes = config['samples_per_patch'], len(_labels(config))
  resolution = {
    'audio': (samples,),
    'image': (frames, config['image_size'], config['image_size']),
  }
  _, out_frames, height, width = config['output_shape']
  grids = {
    'audio': (samples // per_patch,),
    'image': (out_frames, height, width),
  }
  like = published.KINETICS
  inputs, queries, post = (
    {modality: dict(each) for modality, each in like[section].items()}
    for section in ('inputs', 'queries', 'postprocessors')
  )
  for modality, size in resolution.items():
    for section in (inputs, queries):
      section[modality]['positions'] = {
        **section[modality]['positions'],
        'max_resolution': size,
      }
    queries[modality]['grid_shape'] = grids[modality]
  inputs['audio']['samples_per_patch'] = per_patch
  post['audio']['samples_per_patch'] = per_patch
  inputs['label']['num_classes'] = post['label']['num_classes'] = num_classes
  queries['label']['num_channels'] = config['_label_trainable_num_channels']
  return {
    **like,
    'inputs': inputs,
    'encoder': _encoder(config),
    'queries': queries,
    'decoder': {
      **like['decoder'],
      **_decoder(config, _query_channels(queries, like)),
      'output_channels': config['output_num_channels'],
    },
    'postprocessors': post,
    'decoding': {**like['decoding'], 'num_chunks': 1},
  }, {
    'num_frames': out_frames,
    'height': height,
    'width': width,
    'num_samples': samples,
    'num_classes': num_classes,
  }


def _query_channels(queries: Model, like: Model) -> int:
  """Width of the packed queries: the widest modality and its padding."""
  widths = [queries['label']['num_channels']]
  for modality in ('audio', 'image'):
    positions = queries[modality]['positions']
    axes = len(positions['max_resolution'])
    widths.append(axes * (2 * positions['num_bands'] + 1))
  return max(widths) + like['decoding']['query_min_padding']


# By the class that wrote a config: the architecture, and its description.
_CLASSES = {
  'PerceiverForMaskedLM': ('masked_lm', _masked_lm),
  'PerceiverForSequenceClassification': (
    'text_classification',
    _text_classification,
  ),
  'PerceiverForImageClassificationLearned': ('image_learned', _image_learned),
  'PerceiverForImageClassificationFourier': (
    'image_fourier',
    _images(published.IMAGENET_IO),
  ),
  'PerceiverForImageClassificationConvProcessing': (
    'image_conv',
    _images(published.IMAGENET_IO_CONV),
  ),
  'PerceiverForOpticalFlow': ('optical_flow', _optical_flow),
  'PerceiverForMultimodalAutoencoding': ('multimodal', _multimodal),
}
