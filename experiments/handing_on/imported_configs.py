"""Configs of models whose config.json is Hugging Face's."""

import ml_collections

from experiments.configs import flow, imagenet_io, kinetics, language
from perceiver_jax.huggingface import HuggingFaceModel
from perceiver_jax.tokenizer import ByteTokenizer

# What Kinetics is prepared for.
_KINETICS_CLASSES, _SAMPLES_PER_FRAME, _MOST_FRAMES = 700, 1920, 32
_IMAGENET_CLASSES, _FIRST_OF_IMAGENET = 1000, 'tench'
_PROBLEMS = {
  None: dict(name='softmax', label_smoothing=0.1),
  'single_label_classification': dict(name='softmax', label_smoothing=0.1),
  'multi_label_classification': dict(name='sigmoid'),
}


def config_of(
  model: HuggingFaceModel, problem_type: str | None
) -> ml_collections.ConfigDict:
  """Returns the published config of an architecture, with another model.

  Args:
    model: what a config.json says.
    problem_type: of that config.json: what the classes of a classifier are.

  Raises:
    ValueError: it is no classifier of classes.
  """
  config = {
    'masked_lm': _masked_lm,
    'text_classification': _text_classification,
    'optical_flow': _optical_flow,
    'multimodal': _multimodal,
  }.get(model.architecture, _image_classification)(model)
  with config.unlocked():
    for name, section in model.sections.items():
      config[name] = ml_collections.ConfigDict(section)
    config.encoder.rematerialize = 'elementwise'
    # In bfloat16 predictions would differ from those of the published code.
    config.compute_dtype = 'float32'
    if config.task == 'classification':
      if problem_type not in _PROBLEMS or len(model.labels) < 2:
        raise ValueError(
          f'problem_type is {problem_type!r} with {len(model.labels)} labels: '
          'a value to regress, which no classifier here tells.'
        )
      config.loss = ml_collections.ConfigDict(_PROBLEMS[problem_type])
      if problem_type == 'multi_label_classification':
        config.checkpoints.best_metric = 'eval/mean_average_precision'
  return config


def _masked_lm(model: HuggingFaceModel) -> ml_collections.ConfigDict:
  config = language.get_config()
  config.data.length = model.example['length']
  if model.sections['embedding']['vocab_size'] != ByteTokenizer().vocab_size:
    with config.unlocked():
      config.data = dict(name='masked_pieces', **model.example)
  return config


def _image_classification(
  model: HuggingFaceModel,
) -> ml_collections.ConfigDict:
  config = imagenet_io.get_config()
  config.data.image_size = model.example['image_size']
  if len(model.labels) != _IMAGENET_CLASSES or not model.labels[0].startswith(
    _FIRST_OF_IMAGENET
  ):
    with config.unlocked():
      config.data = dict(
        name='labelled_images', classes=model.labels, **model.example
      )
  return config


def _text_classification(
  model: HuggingFaceModel,
) -> ml_collections.ConfigDict:
  config = imagenet_io.get_config()
  with config.unlocked():
    config.data = dict(
      name='labelled_texts',
      classes=model.labels,
      vocab_size=model.sections['inputs']['tokens']['vocab_size'],
      **model.example,
    )
  return config


def _optical_flow(model: HuggingFaceModel) -> ml_collections.ConfigDict:
  config = flow.get_config()
  config.data.update(model.example)
  return config


def _multimodal(model: HuggingFaceModel) -> ml_collections.ConfigDict:
  config = kinetics.get_config()
  example = model.example
  per_patch = model.sections['inputs']['audio']['samples_per_patch']
  if _is_of_kinetics(example):
    config.data.update(
      num_frames=example['num_frames'],
      image_size=example['height'],
      num_samples=example['num_samples'],
      samples_per_patch=per_patch,
    )
    points = example['num_samples'] // per_patch
    config.data.audio_points = min(config.data.audio_points, points)
  else:
    with config.unlocked():
      config.data = dict(name='clips', **example)
  return config


def _is_of_kinetics(example: dict[str, int]) -> bool:
  frames = example['num_frames']
  return (
    example['num_classes'] == _KINETICS_CLASSES
    and example['height'] == example['width']
    and example['num_samples'] == frames * _SAMPLES_PER_FRAME
    and frames <= _MOST_FRAMES
  )
