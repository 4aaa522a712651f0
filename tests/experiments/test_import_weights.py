"""Files of published weights in, runs out."""

import functools
import pathlib
import pickle
import subprocess
import sys
import types

import numpy as np
import pytest
import safetensors.numpy

from experiments.configs import imagenet_io
from experiments.datasets.imagenet import imagenet
from experiments.host.configuration import read_config
from experiments.import_weights import import_weights, read_source
from experiments.runs.experiment import open_checkpoints
from experiments.tasks import classification, make_task
from perceiver_jax.resample import resample_positions
from tests.golden import parity

ROOT = pathlib.Path(__file__).parents[2]


def small_config(golden):
  """ImageNet's config, made as small as the golden model."""
  variant = golden.config['architecture'].removeprefix('image_')
  config = imagenet_io.get_config(variant)
  config.encoder.num_latents = golden.config['num_latents']
  config.encoder.latent_channels = golden.config['latent_channels']
  config.encoder.cross_attends = (1, 0)
  config.encoder.self_attends_per_block = golden.config['num_layers']
  config.encoder.self_attend_heads = golden.config['self_attend']['num_heads']
  config.queries.num_channels = golden.config['decoder']['query_channels']
  config.data.image_size = 8
  features, positions = golden.config['input'], config.inputs.image.positions
  if variant == 'learned':
    config.inputs.image.num_channels = features['num_channels']
    positions.num_channels = features['positions']['num_channels']
    positions.projected_channels = features['positions']['projected_channels']
  else:
    positions.num_bands = features['positions']['num_bands']
    positions.max_resolution = tuple(features['positions']['max_resolution'])
  if variant == 'conv':
    config.inputs.image.num_channels = features['num_channels']
  return config


def write(golden, folder):
  """Writes golden weights as they are published."""
  if golden.layout == 'huggingface':
    path = folder / 'model.safetensors'
    safetensors.numpy.save_file(golden.params, path)
    return path
  trees = {}
  for name in ('params', 'state'):
    trees[name] = {}
    for key, array in getattr(golden, name).items():
      module, leaf = key.split('|')
      trees[name].setdefault(module, {})[leaf] = array
  path = folder / 'weights.pystate'
  path.write_bytes(pickle.dumps(trees if trees['state'] else trees['params']))
  return path


@pytest.fixture(autouse=True)
def five_classes(monkeypatch):
  """Golden models have 5 classes, not ImageNet's 1,000."""

  @functools.wraps(imagenet)
  def five_classes(*arguments, **options):
    return imagenet(*arguments, **options)._replace(num_classes=5)

  monkeypatch.setitem(classification._DATASETS, 'imagenet', five_classes)


def saved_run(workdir):
  """Returns config, and the train state of the run's only checkpoint."""
  config = read_config(workdir)
  checkpoints = open_checkpoints(config, workdir)
  params, state = checkpoints.restore_model(checkpoints.latest_step())
  checkpoints.close()
  return config, params, state


@pytest.mark.parametrize('layout', ['huggingface', 'released'])
@pytest.mark.parametrize('architecture', ['image_fourier', 'image_conv'])
def test_an_imported_run_computes_what_the_source_does(
  layout, architecture, tmp_path, capsys
):
  golden = parity.load(layout, architecture)
  workdir = tmp_path / 'run'
  import_weights(small_config(golden), write(golden, tmp_path), workdir)
  printed = capsys.readouterr().out
  assert f'{architecture} in the layout {layout!r}' in printed
  exact = layout == 'huggingface'
  assert f'config.encoder.approximate_gelu = {not exact}' in printed

  # A command that comes later knows the run from its folder alone.
  config, params, state = saved_run(workdir)
  assert config.encoder.approximate_gelu is not exact
  logits, _ = make_task(config, None).model.apply(
    params, state, None, {'image': golden.inputs['images']}, is_training=False
  )
  expected = parity.reference(golden, 'logits')
  assert parity.relative_difference(np.asarray(logits), expected) < 1e-5


@pytest.mark.parametrize('layout', ['huggingface', 'released'])
def test_learned_positions_are_resampled_to_the_images_of_the_config(
  layout, tmp_path, capsys
):
  golden = parity.load(layout, 'image_learned')  # Of a grid of 5 x 9.
  workdir = tmp_path / 'run'
  import_weights(
    small_config(golden),
    write(golden, tmp_path),
    workdir,
    source_grid=(5, 9),
  )
  printed = capsys.readouterr().out
  assert 'learned_positions/positions from a grid (5, 9) to (8, 8)' in printed
  config, params, _ = saved_run(workdir)
  # transformers adds the query in this model, the released code does not.
  assert config.decoder.query_residual is (layout == 'huggingface')
  (key,) = [key for key in golden.params if golden.params[key].shape[0] == 45]
  np.testing.assert_allclose(
    params['learned_positions']['positions'],
    resample_positions(golden.params[key], (5, 9), (8, 8)),
    rtol=1e-6,
  )


def test_a_table_that_is_no_square_needs_its_grid(tmp_path):
  golden = parity.load('released', 'image_learned')
  with pytest.raises(ValueError, match=r'45 positions.*--source_grid'):
    import_weights(
      small_config(golden), write(golden, tmp_path), tmp_path / 'run'
    )
  assert not (tmp_path / 'run').exists()


def test_weights_of_another_model_are_refused_and_nothing_is_written(tmp_path):
  golden = parity.load('huggingface', 'image_fourier')
  config = small_config(golden)
  config.encoder.num_latents = 7
  source = write(golden, tmp_path)
  with pytest.raises(ValueError, match='latents 6, config says 7'):
    import_weights(config, source, tmp_path / 'run')
  other = small_config(parity.load('huggingface', 'image_conv'))
  with pytest.raises(ValueError, match=r'conv_stem.*nothing of the kind'):
    import_weights(other, source, tmp_path / 'run')
  assert not (tmp_path / 'run').exists()


def test_a_run_is_not_overwritten(tmp_path):
  golden = parity.load('huggingface', 'image_fourier')
  source = write(golden, tmp_path)
  import_weights(small_config(golden), source, tmp_path / 'run')
  with pytest.raises(ValueError, match='holds a run already'):
    import_weights(small_config(golden), source, tmp_path / 'run')


@pytest.mark.parametrize(
  ('name', 'content', 'message'),
  [
    ('weights.npz', b'', 'must end in one of'),
    ('weights.safetensors', b'nonsense', 'is no safetensors.*damaged'),
    ('weights.pystate', b'nonsense', 'weights.pystate'),
  ],
)
def test_files_that_cannot_be_read_are_named(name, content, message, tmp_path):
  (tmp_path / name).write_bytes(content)
  golden = parity.load('huggingface', 'image_fourier')
  with pytest.raises(ValueError, match=message):
    import_weights(small_config(golden), tmp_path / name, tmp_path / 'run')


@pytest.mark.parametrize(
  ('version', 'message'),
  [('2.5.1+cpu', 'Install 2.6 or later'), ('2.6.0', 'no mapping of tensors')],
)
def test_pytorch_is_asked_only_where_it_is_safe(
  version, message, tmp_path, monkeypatch
):
  asked = []

  def load(path, map_location, weights_only):
    asked.append(weights_only)
    raise RuntimeError('a line\nand many more')

  stand_in = types.SimpleNamespace(__version__=version, load=load)
  monkeypatch.setitem(sys.modules, 'torch', stand_in)
  (tmp_path / 'x.bin').write_bytes(b'PK')
  with pytest.raises(ValueError, match=message) as error:
    read_source(tmp_path / 'x.bin')
  assert asked == ([True] if version == '2.6.0' else [])
  assert 'x.bin' in str(error.value) and '\n' not in str(error.value)


def test_the_command_says_what_is_wrong_and_writes_nothing(tmp_path):
  result = subprocess.run(
    [
      sys.executable,
      '-m',
      'experiments.import_weights',
      f'--source={tmp_path / "missing.pystate"}',
      '--config=experiments/configs/language.py',
      f'--workdir={tmp_path / "run"}',
    ],
    cwd=ROOT,
    capture_output=True,
    text=True,
    check=False,
  )
  assert result.returncode == 2
  assert result.stderr.strip().startswith('Error: There is no file')
  assert not (tmp_path / 'run').exists()
