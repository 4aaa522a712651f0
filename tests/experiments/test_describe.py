"""Descriptions against the numbers that the papers print."""

import importlib
import json
import pathlib
import subprocess
import sys

import pytest

from docs.make_models import ROWS, format_row
from experiments.describe import describe, render

ROOT = pathlib.Path(__file__).parents[2]


def get_config(name, variant=None):
  module = importlib.import_module(f'experiments.configs.{name}')
  return module.get_config(*([variant] if variant else []))


@pytest.fixture(scope='module')
def descriptions():
  """Described once, when first asked for."""
  known = {}

  def description(name, variant=None):
    if (name, variant) not in known:
      config = get_config(name, variant)
      config.batch_size = 2
      known[name, variant] = describe(config, num_devices=1)
    return known[name, variant]

  return description


# Parameters in millions and operations in billions as printed. They include
# what is element by element, which is 0.3 % at most.
PRINTED = [
  ('imagenet', 'fourier', 44.9, 707.2),
  ('imagenet_io', 'fourier', 48.4, 407),
  ('imagenet_io', 'conv', 48.6, 369),
  ('audioset', 'io_raw_audio_video', None, 52.9),
  ('audioset', 'io_mel_video', None, 129.5),
  ('language', 'plus', None, 241),
]


@pytest.mark.parametrize(('name', 'variant', 'millions', 'billions'), PRINTED)
def test_counts_are_those_printed(
  descriptions, name, variant, millions, billions
):
  description = descriptions(name, variant)
  operations = description['operations']['as_in_the_papers']
  assert operations == pytest.approx(billions * 1e9, rel=4e-3)
  if millions is not None:
    assert round(description['parameters']['total'] / 1e6, 1) == millions


def test_one_cross_attend_has_the_operations_of_table_6():
  config = get_config('imagenet')
  config.encoder.cross_attends = (1, 0, 0, 0, 0, 0, 0, 0)
  config.batch_size = 1
  operations = describe(config, num_devices=1)['operations']
  assert operations['as_in_the_papers'] == pytest.approx(404.3e9, rel=2e-3)


def test_parts_add_up(descriptions):
  for name, variant, *_ in PRINTED:
    description = descriptions(name, variant)
    operations = description['operations']
    assert sum(operations['parts'].values()) == operations['as_in_the_papers']
    sizes = dict(description['parameters'])
    assert sizes.pop('total') == sum(sizes.values())


def test_absorbed_attention_shows_in_operations_as_run(descriptions):
  operations = descriptions('imagenet', 'fourier')['operations']
  assert operations['as_run'] < 0.9 * operations['as_in_the_papers']


def test_shapes_of_the_autoencoder_are_those_of_all_outputs(descriptions):
  description = descriptions('kinetics', '784')
  assert description['inputs'] == [52_097, 704]
  assert description['latents'] == [784, 512]
  assert description['queries'] == [804_737, 1026]
  operations = description['operations']
  some = operations['as_in_the_papers_with_points']
  assert some < 0.05 * operations['as_in_the_papers']


def test_memory_is_that_of_one_devices_share():
  config = get_config('imagenet_io', 'conv')
  config.batch_size = 8
  one, eight = (describe(config, num_devices=n) for n in (1, 8))
  one, eight = one['bytes_per_device'], eight['bytes_per_device']
  assert one['train_state'] == eight['train_state']
  # Parameters and LAMB's two moments, in float32; the rest is small.
  assert one['train_state'] == pytest.approx(3 * 4 * 48_646_522, rel=1e-3)
  assert one['activations'] == pytest.approx(
    8 * eight['activations'], rel=0.1
  )  # Some is shared by the batch.


def test_devices_must_divide_the_batch():
  with pytest.raises(ValueError, match=r'64.*7 devices'):
    describe(get_config('digits'), num_devices=7)


def test_text_names_what_was_counted(descriptions):
  text = render(descriptions('imagenet_io', 'conv'))
  assert '3,136 x 322' in text
  assert '48,646,522' in text
  assert 'as in the papers: 369.4 billion' in text


def test_command_prints_json():
  result = subprocess.run(
    [
      sys.executable,
      '-m',
      'experiments.describe',
      '--config=experiments/configs/modelnet40.py',
      '--devices=64',
      '--json',
    ],
    cwd=ROOT,
    capture_output=True,
    text=True,
    check=True,
  )
  description = json.loads(result.stdout)
  assert description['inputs'] == [2048, 387]
  assert description['batch']['per_device'] == 8


def test_the_table_of_models_is_up_to_date(descriptions):
  page = (ROOT / 'docs' / 'models.md').read_text()
  configs = {path.stem for path in (ROOT / 'experiments/configs').glob('*.py')}
  # What these build depends on the files that they are given.
  assert {row.name for row in ROWS} == configs - {
    *('__init__', 'folder', 'table')
  }
  for row in ROWS:
    if any((row.name, row.variant) == case[:2] for case in PRINTED):
      description = descriptions(row.name, row.variant)
      assert format_row(row, description) in page
    assert (
      f'| {row.name}{":" if row.variant else ""}{row.variant or ""}' in page
    )
