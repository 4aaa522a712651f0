"""A config is checked before anything is looked at, and settled once."""

import importlib

import jax
import ml_collections
import pytest
from ml_collections.config_dict import placeholder

from experiments.configs import digits
from experiments.data import one_at_a_time
from experiments.files import listing
from experiments.host.configuration import RUN_DEFAULTS, fill_defaults
from experiments.host.ranges import check_ranges, range_of
from experiments.runs.experiment import (
  bind,
  build_experiment,
  plan_experiment,
  settled,
)
from experiments.tasks import check_config
from experiments.tasks.open_values import stand_in
from tests.experiments.test_configuration import SHIPPED

FOLDERS = ('image', 'audio', 'video', 'mesh', 'text', 'timeseries', 'events')
EVERY = [(name, variant) for name, variant, _ in SHIPPED] + [
  ('folder', variant) for variant in FOLDERS
]


def config_of(name, variant, **changes):
  module = importlib.import_module(f'experiments.configs.{name}')
  config = fill_defaults(module.get_config(*([variant] if variant else [])))
  if name == 'folder':
    config.data.root = '/there/is/none'
  config.unlock()
  for path, value in changes.items():
    *sections, key = path.split('__')
    section = config
    for each in sections:
      section = section[each]
    with section.ignore_type():
      section[key] = value
  return config


def message(function, *arguments):
  with pytest.raises(ValueError) as caught:
    function(*arguments)
  assert '\n' not in str(caught.value)
  return str(caught.value)


@pytest.fixture
def untouched(tmp_path, monkeypatch):
  """A --data_dir that stays empty, beside files that nobody looks at."""

  def look(*arguments, **options):
    raise AssertionError('Files were looked at.')

  for module in (listing, one_at_a_time):
    for name in ('list_folder', 'survey', 'check_root', 'one_at_a_time'):
      if hasattr(module, name):
        monkeypatch.setattr(module, name, look)
  data_dir = tmp_path / 'data'
  data_dir.mkdir()
  yield str(data_dir)
  assert not list(data_dir.iterdir())


# Keys, before data


@pytest.mark.parametrize(('name', 'variant'), EVERY)
def test_a_wrong_key_is_named_before_data_is_looked_at(
  name, variant, untouched
):
  section = 'baseline' if 'baseline' in config_of(name, variant) else 'encoder'
  config = config_of(name, variant, **{f'{section}__num_latent': 5})
  text = message(build_experiment, config, untouched)
  assert text.startswith(f'Unknown config key {section}.num_latent')


@pytest.mark.parametrize('variant', FOLDERS)
@pytest.mark.parametrize(
  ('changes', 'expected'),
  [
    ({'data__clases': 3}, 'Unknown config key data.clases'),
    ({'data__skip_unreadable': 3}, 'config.data.skip_unreadable must be bool'),
    ({'encoder__self_attend_heads': 5}, 'self_attend_heads = 5 heads'),
    ({'encoder__num_latents': 2.5}, 'config.encoder.num_latents must be int'),
    ({'checkpoints__best_metric': 'eval/f'}, 'is not a metric of this task'),
    ({'checkpoints__best_mode': 'most'}, "best_mode must be 'max' or 'min'"),
    ({'checkpoints__keep': 3}, 'Unknown config key checkpoints.keep'),
    ({'report__second': 3.0}, 'Unknown config key report.second'),
    ({'early_stop__patience': 1.5}, 'config.early_stop.patience must be int'),
    ({'optimizer__name': 'adam'}, "config.optimizer.name is 'adam'"),
  ],
)
def test_a_folder_is_not_read_for_a_config_that_is_wrong(
  variant, changes, expected, untouched
):
  config = config_of('folder', variant, **changes)
  assert expected in message(settled, config, untouched)


@pytest.mark.parametrize('variant', FOLDERS)
def test_what_stands_in_for_open_values_makes_a_model(variant):
  """All that a config leaves open has a value, whose shapes go together."""
  config = config_of('folder', variant)
  guess = stand_in(config)
  assert guess.fits
  assert stand_in(guess.config) is None
  assert config.data.classes is None  # It was not changed.
  config.data.classes = ('a', 'b', 'c')
  assert stand_in(config).config.data.classes == ('a', 'b', 'c')


def test_shapes_of_ones_own_are_left_to_the_data(tmp_path):
  """Cells of 5 pixels do not divide what stands in for the images."""
  config = config_of('folder', 'image', inputs__image__cell=5)
  assert not stand_in(config).fits
  with pytest.raises(FileNotFoundError, match='/there/is/none'):
    settled(config, str(tmp_path))
  config.encoder.num_latent = 3
  assert 'encoder.num_latent' in message(settled, config, str(tmp_path))


def test_what_is_typical_of_unknown_data_is_not_guessed():
  config = config_of('folder', 'image')
  config.data.kelvin = placeholder(int)
  assert stand_in(config) is None


def test_a_plan_has_all_but_the_data(untouched):
  plan = plan_experiment(config_of('digits', None), untouched)
  assert plan.dataset is None
  assert plan.batch['image'].shape == (1, 28, 28, 1)
  assert plan.template.step.shape == ()


def test_settled_fills_in_the_defaults(untouched):
  config, note = settled(digits.get_config(), untouched)
  assert set(config) == {*digits.get_config(), *RUN_DEFAULTS}
  assert note == ''
  assert settled(config, untouched)[0] == config


def test_parts_that_do_not_go_together_are_one_line(untouched):
  config = config_of('digits', None, inputs__image__positions=None)
  text = message(plan_experiment, config, untouched)
  assert 'config' in text


# Ranges


@pytest.mark.parametrize(
  ('path', 'value', 'expected'),
  [
    ('optimizer.weight_decay', -0.1, 'at least 0, got -0.1'),
    ('optimizer.b2', 1.0, 'in [0, 1), got 1.0'),
    ('optimizer.clip_norm', 0.0, 'above 0, got 0.0'),
    ('schedule.learning_rate', -1e-3, 'at least 0, got -0.001'),
    ('schedule.learning_rate', float('nan'), 'finite, got nan'),
    ('schedule.learning_rate', float('inf'), 'finite, got inf'),
    ('schedule.warmup_steps', -1, 'at least 0, got -1'),
    ('encoder.self_attend_heads', 0, 'at least 1, got 0'),
    ('encoder.num_latents', 0, 'at least 1, got 0'),
    ('encoder.cross_attends', (1, -1), 'in [0, 16384], got -1'),
    ('encoder.latents_init_stddev', -1.0, 'at least 0, got -1.0'),
    ('inputs.image.positions.num_bands', 0, 'in [1, 65536], got 0'),
    ('inputs.image.patch_shape', (4, 0), 'at least 1, got 0'),
    ('packing.mask_rates.audio', 1.5, 'in [0, 1], got 1.5'),
    ('peaks.image', 0.0, 'above 0, got 0.0'),
    ('loss.image', -1.0, 'at least 0, got -1.0'),
    ('loss.label_smoothing', 1.5, 'in [0, 1], got 1.5'),
    ('labels.label', 0, 'at least 1, got 0'),
    ('data.max_rotation', -1.0, 'at least 0, got -1.0'),
    ('data.max_shift', float('nan'), 'finite, got nan'),
    ('data.mirror_probability', 1.1, 'in [0, 1], got 1.1'),
    ('data.image_size', 0, 'at least 1, got 0'),
    ('data.sample_rate', 0, 'above 0, got 0'),
    ('data.stddev', (1.0, 0.0), 'above 0, got 0.0'),
    ('data.of_somebody', float('-inf'), 'finite, got -inf'),
    ('learning_rates.multipliers', (('a', -1.0),), 'at least 0, got -1.0'),
    ('train_steps', 10**20, f'at most {2**31 - 1}, got {10**20}'),
    ('seed', 2**32, f'in [0, {2**32 - 1}], got {2**32}'),
    ('seed', -1, f'in [0, {2**32 - 1}], got -1'),
    ('data_workers', 10**6, 'in [0, 1024], got 1000000'),
    ('ema_decay', 1.0, 'in [0, 1), got 1.0'),
    ('microbatches', 0, 'at least 1, got 0'),
  ],
)
def test_numbers_out_of_range_are_named(path, value, expected):
  config = ml_collections.ConfigDict()
  section = config
  *sections, key = path.split('.')
  for each in sections:
    section[each] = {}
    section = section[each]
  section[key] = value
  assert message(check_ranges, config) == f'config.{path} must be {expected}.'


@pytest.mark.parametrize(
  ('path', 'value'),
  [
    ('data.min_scale', -0.2),
    ('data.mean', (-1.5, 3)),
    ('data.of_somebody', -3.5),
    ('seed', 2**32 - 1),
    ('optimizer.clip_norm', None),
    ('data.max_rotation', 0),
    ('data.skip_unreadable', True),
  ],
)
def test_numbers_in_range_are_left_alone(path, value):
  section, _, key = path.rpartition('.')
  check_ranges({section: {key: value}} if section else {key: value})


def numbers(section, path=''):
  for key in section:
    value, place = section[key], f'{path}.{key}' if path else key
    if isinstance(value, ml_collections.ConfigDict):
      yield from numbers(value, place)
    elif isinstance(value, int | float) and not isinstance(value, bool):
      yield place
    elif isinstance(value, tuple) and value:
      yield from [place] * isinstance(value[0], int | float)


@pytest.mark.parametrize(('name', 'variant'), EVERY)
def test_every_number_of_every_config_has_a_range(name, variant):
  config = config_of(name, variant)
  check_config(config)
  assert [path for path in numbers(config) if range_of(path) is None] == []


def test_the_greatest_seed_makes_a_key_of_its_own():
  last, first = (jax.random.key_data(jax.random.key(x)) for x in (2**32 - 1, 0))
  assert last.tolist() != first.tolist()
  # The next would be the first again.
  assert jax.random.key_data(jax.random.key(2**32)).tolist() == first.tolist()


def test_the_number_of_a_wrong_config_is_named_by_all(untouched):
  config = config_of('digits', None, loss__label_smoothing=1.5)
  assert 'loss.label_smoothing' in message(bind, config, untouched)
  assert 'loss.label_smoothing' in message(plan_experiment, config, untouched)
