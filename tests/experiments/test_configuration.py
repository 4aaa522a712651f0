"""Mistakes in configs and what they are told; the configs we ship."""

import contextlib
import importlib
import inspect
import pathlib
from collections.abc import Sequence

import haiku as hk
import jax
import ml_collections
import numpy as np
import pytest

from experiments.answers.classes.losses import sigmoid_loss
from experiments.checkpointing.checkpoints import Checkpoints
from experiments.configs import digits as digits_config
from experiments.configs import folder as folder_config
from experiments.configs import imagenet as imagenet_config
from experiments.data.dataset import batch_spec
from experiments.datasets.digits import digits
from experiments.host.configuration import (
  RUN_DEFAULTS,
  check_keys,
  choose,
  construct,
  fill_defaults,
)
from experiments.stepping import optimizers, schedules
from experiments.tasks import classification, make_task
from perceiver_jax import published
from perceiver_jax.metrics import sum_of_means

CONFIGS = pathlib.Path(digits_config.__file__).parent


def build(
  steps: int,
  *,
  rate: float,
  heads: int = 1,
  label: str = 'x',
  shared: bool = True,
  norm: float | None = None,
  sizes: Sequence[int] = (1,),
  scales: Sequence[float] = (),
  name: str | None = None,
):
  """A constructor with a parameter of each kind that configs know."""
  del name
  return steps, rate, heads, label, shared, norm, sizes, scales


class Part:
  """A constructor that is a class."""

  def __init__(self, owner: str, *, width: int):
    self.owner, self.width = owner, width


def message(function, *arguments):
  with pytest.raises(ValueError) as error:
    function(*arguments)
  return str(error.value)


# construct


def test_construct_passes_the_section_on():
  built = construct('part', build, {'rate': 0.5, 'sizes': (1, 2)}, 7)
  assert built == (7, 0.5, 1, 'x', True, None, (1, 2), ())


def test_construct_takes_a_config_dict_and_a_class():
  section = ml_collections.ConfigDict({'width': 3})
  part = construct('part', Part, section, 'me')
  assert (part.owner, part.width) == ('me', 3)


def test_unknown_key_with_the_nearest_known():
  text = message(construct, 'part', build, {'rate': 1.0, 'head': 2}, 7)
  assert text == (
    "Unknown config key part.head; did you mean 'heads'? Known there: "
    "['heads', 'label', 'norm', 'rate', 'scales', 'shared', 'sizes']."
  )


@pytest.mark.parametrize('key', ['zzz', 'name', 'owner'])
def test_unknown_key_without_anything_near(key):
  # Haiku's `name` is a parameter, but not a config key.
  text = message(construct, 'part', build, {'rate': 1.0, key: 'x'}, 7)
  assert text.startswith(f'Unknown config key part.{key}. Known there:')


def test_positional_parameters_are_not_config_keys():
  text = message(construct, 'part', build, {'rate': 1.0, 'steps': 3}, 7)
  assert text.startswith('Unknown config key part.steps')


def test_all_missing_keys_are_named():
  def two(*, a: int, b: int = 1, c: int):
    return a, b, c

  assert message(construct, 'part', two, {'b': 2}) == (
    "config.part lacks ['a', 'c']."
  )


@pytest.mark.parametrize(
  ('key', 'value', 'expected', 'got'),
  [
    ('heads', '4', 'int', "'4' of type str"),
    ('heads', True, 'int', 'True of type bool'),
    ('heads', 4.0, 'int', '4.0 of type float'),
    ('heads', None, 'int', 'None of type NoneType'),
    ('rate', '0.1', 'float', "'0.1' of type str"),
    ('rate', False, 'float', 'False of type bool'),
    ('rate', None, 'float', 'None of type NoneType'),
    ('label', 3, 'str', '3 of type int'),
    ('shared', 1, 'bool', '1 of type int'),
    ('shared', 'no', 'bool', "'no' of type str"),
    ('norm', 'none', 'float | None', "'none' of type str"),
    ('sizes', 3, 'Sequence[int]', '3 of type int'),
    ('sizes', '123', 'Sequence[int]', "'123' of type str"),
    ('sizes', (1, 2.5), 'Sequence[int]', '(1, 2.5) of type tuple'),
    ('sizes', (1, True), 'Sequence[int]', '(1, True) of type tuple'),
    ('scales', (1.0, '2'), 'Sequence[float]', "(1.0, '2') of type tuple"),
  ],
)
def test_wrong_types(key, value, expected, got):
  text = message(construct, 'part', build, {'rate': 1.0, key: value}, 7)
  assert text == f'config.part.{key} must be {expected}, got {got}.'


@pytest.mark.parametrize(
  ('key', 'value'),
  [
    ('rate', 1),  # --config.schedule.learning_rate=1
    ('norm', None),
    ('norm', 2.0),
    ('norm', 2),
    ('sizes', [1, 2]),
    ('sizes', ()),
    ('scales', (1, 2.5)),
  ],
)
def test_types_that_will_do(key, value):
  built = construct('part', build, {'rate': 0.5, key: value}, 7)
  position = {'rate': 1, 'norm': 5, 'sizes': 6, 'scales': 7}[key]
  assert built[position] == value


# choose

PARTS = {'build': build, 'part': Part}


def test_choose_constructs_what_the_name_says():
  arguments = {'name': 'part', 'width': 3}
  part = choose('piece', PARTS, arguments, 'me')
  assert (part.owner, part.width) == ('me', 3)
  assert arguments == {'name': 'part', 'width': 3}  # not consumed


def test_choose_with_a_wrong_name():
  assert message(choose, 'piece', PARTS, {'name': 'biuld'}, 7) == (
    "config.piece.name is 'biuld'; did you mean 'build'? Choose one of "
    "['build', 'part']."
  )


def test_choose_without_a_name():
  assert message(choose, 'piece', PARTS, {'width': 3}, 7) == (
    "config.piece.name is None. Choose one of ['build', 'part']."
  )


def test_choose_checks_the_keys_of_the_chosen():
  arguments = {'name': 'part', 'widht': 3}
  text = message(choose, 'piece', PARTS, arguments, 'me')
  assert text.startswith(
    "Unknown config key piece.widht; did you mean 'width'?"
  )


# check_keys


def check(config):
  check_keys(config, classification.sections(config))


def test_every_config_has_the_options_of_the_runner():
  config = digits_config.get_config()
  config.ema_decay = 0.5
  filled = fill_defaults(config)
  assert filled.ema_decay == 0.5 and 'microbatches' not in config
  assert set(filled) == {*config, *RUN_DEFAULTS}
  assert filled.parallelism.name == 'pmap'
  check(filled)


@pytest.mark.parametrize(
  ('key', 'value', 'expected'),
  [
    ('microbatches', 1.5, 'config.microbatches must be int'),
    ('ema_decay', 'high', 'config.ema_decay must be float'),
    ('compute_dtype', 16, 'config.compute_dtype must be str'),
    ('parallelism', 'pmap', 'config.parallelism must be a section'),
  ],
)
def test_options_of_the_runner_have_their_types(key, value, expected):
  config = ml_collections.ConfigDict(digits_config.get_config().to_dict())
  config[key] = value
  assert expected in message(check, config)


def test_unknown_top_level_key():
  config = digits_config.get_config()
  config.batchsize = 32
  text = message(check, config)
  assert text.startswith(
    "Unknown config key 'batchsize'; did you mean 'batch_size'? Known at the "
    "top level: ['batch_size', 'checkpoint_every', 'checkpoints', "
    "'compute_dtype', 'data', 'data_faults',"
  )


@pytest.mark.parametrize('key', list(digits_config.get_config()))
def test_missing_top_level_key(key):
  config = digits_config.get_config()
  del config[key]
  assert message(check, config) == f"The config lacks ['{key}']."


@pytest.mark.parametrize(
  ('key', 'value', 'got'),
  [
    ('batch_size', '64', "'64' of type str"),
    ('train_steps', 10.0, '10.0 of type float'),
    ('log_every', True, 'True of type bool'),
    ('seed', None, 'None of type NoneType'),
  ],
)
def test_top_level_types(key, value, got):
  config = digits_config.get_config()
  with config.ignore_type():
    config[key] = value
  assert message(check, config) == f'config.{key} must be int, got {got}.'


@pytest.mark.parametrize(
  'key',
  [
    'batch_size',
    'train_steps',
    'log_every',
    'eval_every',
    'checkpoint_every',
  ],
)
@pytest.mark.parametrize('value', [0, -5])
def test_numbers_below_one(key, value):
  config = digits_config.get_config()
  config[key] = value
  assert message(check, config) == (
    f'config.{key} must be at least 1, got {value}.'
  )


@pytest.mark.parametrize('key', ['seed', 'data_workers'])
def test_may_be_zero_but_not_negative(key):
  # Grain takes no negative seed and says so only after the model compiled.
  config = digits_config.get_config()
  config[key] = 0
  check(config)
  config[key] = -1
  assert f'config.{key} must be in [0, ' in message(check, config)


def test_a_section_must_be_a_section():
  config = digits_config.get_config()
  with config.ignore_type():
    config.optimizer = 'adamw'
  assert 'config.optimizer' in message(check, config)


def test_unknown_task(tmp_path):
  config = digits_config.get_config()
  config.task = 'clasification'
  text = message(make_task, config, str(tmp_path))
  assert "'clasification'" in text
  assert "'classification'" in text


def test_a_mistake_in_the_positions_of_a_modality_is_named():
  config = digits_config.get_config()
  config.inputs.image.positions.num_band = 3
  with pytest.raises(ValueError, match=r'inputs\.image\.positions\.num_band'):
    shapes(config, (28, 28, 1), 10)


def test_positions_may_be_left_out():
  config = digits_config.get_config()
  config.inputs.image.positions = {'name': 'none'}
  params, _, logits = shapes(config, (28, 28, 1), 10)
  assert logits.shape == (2, 10)
  # The inputs are bare pixels, of one channel.
  assert params['encoder/cross_attend_0/attention/key']['w'].shape[0] == 1


# The configs we ship.

# File, variant, parameters. What the papers print stands in docs/models.md.
SHIPPED = [
  ('digits', None, 109_142),
  ('digits', 'perceiver_permuted', 109_142),
  ('digits', 'perceiver_learned', 105_836),
  ('digits', 'perceiver_learned_permuted', 105_836),
  ('digits', 'resnet', 313_434),
  ('digits', 'resnet_permuted', 313_434),
  ('digits', 'vit', 173_834),
  ('digits', 'vit_permuted', 173_834),
  ('digits', 'transformer', 103_818),
  ('digits', 'transformer_permuted', 103_818),
  ('digits', 'windows', 921_254),
  ('digits', 'ablation', 83_926),
  ('imagenet', 'fourier', 44_912_254),
  ('imagenet', 'learned', 48_189_577),
  ('imagenet', 'permuted', 44_912_254),
  ('imagenet_io', 'fourier', 48_440_627),
  ('imagenet_io', 'learned', 62_255_848),
  ('imagenet_io', 'conv', 48_646_522),
  ('imagenet_io', 'jft', 213_082_618),
  ('audioset', 'raw_audio_video', 28_787_139),
  ('audioset', 'mel_video', 28_787_137),
  ('audioset', 'mel_video_tuned', 28_787_137),
  ('audioset', 'raw_audio', 27_629_085),
  ('audioset', 'mel', 27_637_329),
  ('audioset', 'video', 28_763_153),
  ('audioset', 'io_raw_audio_video', 24_922_462),
  ('audioset', 'io_mel_video', 86_568_284),
  ('modelnet40', None, 44_772_202),
  ('imagenet_baselines', 'resnet50_rgb', 25_557_032),
  ('imagenet_baselines', 'resnet50_rgb_permuted', 25_557_032),
  ('imagenet_baselines', 'resnet50_ff', 26_366_120),
  ('imagenet_baselines', 'resnet50_ff_permuted', 26_366_120),
  ('imagenet_baselines', 'vit_b16_rgb', 86_567_656),
  ('imagenet_baselines', 'vit_b16_rgb_permuted', 86_567_656),
  ('imagenet_baselines', 'vit_b16_ff', 137_292_520),
  ('imagenet_baselines', 'vit_b16_ff_permuted', 137_292_520),
  ('imagenet_baselines', 'transformer64', 13_271_016),
  ('imagenet_baselines', 'transformer64_permuted', 13_271_016),
  ('modelnet40_baselines', 'transformer', 9_687_080),
  ('modelnet40_baselines', 'resnet50', 24_794_216),
  ('modelnet40_baselines', 'vit_b2', 86_649_640),
  ('modelnet40_baselines', 'vit_b4', 89_937_448),
  ('modelnet40_baselines', 'vit_b8', 104_138_536),
  ('modelnet40_baselines', 'vit_b16', 161_183_272),
  ('language', 'bytes', 201_108_230),
  ('language', 'sentencepiece', 223_155_456),
  ('language', 'plus', 425_607_430),
  ('glue', 'multitask', 204_278_288),
  ('glue', 'cola', 200_128_002),
  ('glue', 'mnli', 200_128_771),
  ('glue', 'mrpc', 200_128_002),
  ('glue', 'qnli', 200_128_002),
  ('glue', 'qqp', 200_128_002),
  ('glue', 'rte', 200_128_002),
  ('glue', 'sst2', 200_128_002),
  ('glue', 'stsb', 200_127_233),
  ('flow', 'patches', 41_057_134),
  ('flow', 'patches_separate', 41_720_272),
  ('flow', 'pixels', 41_054_062),
  ('flow', 'pixels_separate', 41_718_736),
  ('flow', 'conv', 41_119_070),
  ('flow', 'conv_separate', 41_793_104),
  ('flow', 'conv_light', 27_970_910),
  ('flow', 'embedded', 385_744),
  ('bunny', None, 686_668),
  ('kinetics', '784', 19_858_855),
  ('kinetics', '392', 19_658_151),
  ('kinetics', '196', 19_557_799),
  ('starcraft', None, 6_183_680),
  ('tones', 'raw', 384_082),
  ('tones', 'mel', 108_752),
  ('furniture', None, 106_363),
  ('watch', None, 107_395),
  ('declaration', 'language', 137_488),
  ('declaration', 'mlm', 449_030),
]
TRAINABLE = (
  'audioset',
  'bunny',
  'declaration',
  'digits',
  'flow',
  'furniture',
  'glue',
  'imagenet',
  'imagenet_baselines',
  'imagenet_io',
  'kinetics',
  'language',
  'modelnet40',
  'modelnet40_baselines',
  'tones',
  'watch',
)
# Variants without data, of configs that have some.
DESCRIBED_ONLY = (('language', 'sentencepiece'),)


def get_config(name, variant):
  module = importlib.import_module(f'experiments.configs.{name}')
  return module.get_config(*([variant] if variant else []))


def shapes(config, image_shape, num_classes):
  """Shapes of parameters, state and logits; nothing is computed."""
  model = classification.make_model(config, num_classes)
  batch = {'image': jax.ShapeDtypeStruct((2, *image_shape), np.float32)}
  return init_and_apply(model, batch)


def init_and_apply(model, batch):
  def function(batch):
    params, state = model.init(jax.random.key(0), batch, is_training=True)
    logits, _ = model.apply(params, state, None, batch, is_training=False)
    return params, state, logits

  return jax.eval_shape(function, batch)


def test_every_config_file_is_tested_here():
  files = {path.stem for path in CONFIGS.glob('*.py')} - {'__init__'}
  # The shapes of people's own data are not known before there are any: see
  # test_folders.py and test_table_runs.py.
  assert files - {'folder', 'table'} == {name for name, *_ in SHIPPED}


def test_every_published_model_has_a_config():
  shipped = [get_config(name, variant) for name, variant, _ in SHIPPED]
  for config in shipped:
    if 'encoder' in config:
      del config.encoder.rematerialize  # How it runs, not what it computes.
  sections = ('inputs', 'preprocessor', 'embedding', 'entities', 'encoder')
  for name, model in vars(published).items():
    if name.isupper() and not name.startswith('_') and name != 'GLUE_TASKS':
      values = ml_collections.ConfigDict(model)
      assert any(
        all(values.get(key) == config.get(key) for key in sections)
        for config in shipped
      ), name


@pytest.mark.parametrize(('name', 'variant', 'size'), SHIPPED)
def test_shipped_config_builds_model_and_optimizer(name, variant, size):
  config = get_config(name, variant)
  task = make_task(config, None)
  batch = batch_spec(task.data.example, 2)
  params, _, _ = init_and_apply(task.model, batch)
  assert hk.data_structures.tree_size(params) == size

  schedule = choose(
    'schedule', schedules.SCHEDULES, config.schedule, config.train_steps
  )
  assert 0.0 < schedule(0) <= config.schedule.learning_rate
  assert (
    0.0 <= schedule(config.train_steps - 1) <= config.schedule.learning_rate
  )
  optimizer = choose(
    'optimizer', optimizers.OPTIMIZERS, config.optimizer, schedule
  )

  def step(params):
    return optimizer.update(params, optimizer.init(params), params)[0]

  updates = jax.eval_shape(step, params)
  assert jax.tree.map(np.shape, updates) == jax.tree.map(np.shape, params)


@pytest.mark.parametrize(
  ('name', 'variant'),
  [
    row[:2]
    for row in SHIPPED
    if row[0] in TRAINABLE and get_config(*row[:2]).task == 'classification'
  ],
)
def test_shipped_config_has_a_loss_and_checkpoints(name, variant, tmp_path):
  config = get_config(name, variant)
  task = make_task(config, None)
  classes = task.data.num_classes
  label, expected = np.zeros(4, np.int32), np.log(classes)
  if config.loss.name == 'sigmoid':  # Each class is there or not.
    label, expected = np.zeros((4, classes), np.float32), np.log(2)
  batch = {'label': label, 'weight': np.ones(4, np.float32)}
  loss, metrics = task.loss_function(np.zeros((4, classes), np.float32), batch)
  np.testing.assert_allclose(sum_of_means(loss), expected, rtol=1e-6)
  names = {
    *metrics,
    *(task.dataset_metrics.names if task.dataset_metrics else ()),
  }
  assert config.checkpoints.best_metric in {f'eval/{name}' for name in names}
  checkpoints = construct(
    'checkpoints', Checkpoints, config.checkpoints, tmp_path
  )
  with contextlib.closing(checkpoints):
    assert checkpoints.latest_step() is None


def test_sigmoid_loss_against_its_definition():
  logits = np.array([[2.0, -1.0], [0.5, 3.0]], np.float32)
  labels = np.array([[1.0, 0.0], [0.0, 0.0]], np.float32)
  p = 1 / (1 + np.exp(-logits.astype(np.float64)))
  expected = -np.where(labels > 0, np.log(p), np.log(1 - p)).mean(axis=1)
  loss, metrics = sigmoid_loss()(
    logits, {'label': labels, 'weight': np.array([1.0, 0.0], np.float32)}
  )
  np.testing.assert_allclose(sum_of_means(loss), expected[0], rtol=1e-6)
  np.testing.assert_allclose(metrics['loss'].total, expected[0], rtol=1e-6)
  np.testing.assert_allclose(metrics['loss'].weight, 1.0)


@pytest.mark.parametrize(
  ('name', 'variant'),
  [
    row[:2]
    for row in SHIPPED
    if row[0] not in TRAINABLE or row[:2] in DESCRIBED_ONLY
  ],
)
def test_data_without_a_pipeline_says_so(name, variant):
  config = get_config(name, variant)
  task = make_task(config, None)
  with pytest.raises(
    ValueError, match=f'no input pipeline.*{config.data.name}'
  ):
    task.data.load()


def test_digits_config_has_the_keys_of_its_data():
  section = dict(digits_config.get_config().data)
  assert section.pop('name') == 'digits'
  bound = inspect.signature(digits).bind(None, **section)  # or a TypeError
  assert bound.kwargs == section


@pytest.mark.parametrize('variant', ['fourier', 'learned', 'permuted'])
def test_imagenet_config_fails_only_for_want_of_the_data(variant, tmp_path):
  config = imagenet_config.get_config(variant)
  with pytest.raises(FileNotFoundError, match='imagenet2012'):
    make_task(config, str(tmp_path)).data.load()


def test_unknown_variant():
  with pytest.raises(ValueError, match=r"'learned'.*got 'laerned'"):
    imagenet_config.get_config('laerned')


def test_what_a_config_leaves_open_can_be_set():
  filled = fill_defaults(folder_config.get_config('image'))
  assert filled.data.get_type('image_size') is int
  filled.data.image_size = 32
  with pytest.raises(TypeError):
    filled.data.image_size = 'large'
