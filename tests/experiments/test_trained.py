"""A trained run, loaded where its data is not, and asked about files."""

import contextlib
import json

import jax
import numpy as np
import PIL.Image
import pytest

from experiments.answers.classes.record import CLASSES
from experiments.answers.classes.value import Classes
from experiments.configs import digits
from experiments.data.dataset import blank_batch
from experiments.host.configuration import fill_defaults, write_config
from experiments.runs.experiment import bind, open_checkpoints
from experiments.runs.trained import load_run
from experiments.stepping.train_state import state_shapes


def small():
  config = fill_defaults(digits.get_config())
  config.ema_decay = 0.9
  config.data.image_size = 14
  config.inputs.image.positions.num_bands = 2
  config.encoder.num_latents = 4
  config.encoder.latent_channels = 8
  config.encoder.cross_attends = (1,)
  config.encoder.self_attends_per_block = 1
  return config


def write_run(config, workdir):
  """A run that was never trained: two checkpoints, the first is the best.

  Parameters are random; those of the second are half as large, and averages
  are twice those that they stand for.
  """
  workdir.mkdir()
  write_config(config, workdir)
  task, _, optimizer = bind(config, None)
  shapes = state_shapes(
    task.model, optimizer, blank_batch(task.data.example), has_ema=True
  )
  rng = np.random.default_rng(0)
  params = jax.tree.map(
    lambda x: rng.normal(scale=0.5, size=x.shape).astype(np.float32),
    shapes.params,
  )
  state = jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), shapes)
  with contextlib.closing(open_checkpoints(config, workdir)) as checkpoints:
    for step, size, accuracy in ((1, 1.0, 0.9), (2, 0.5, 0.8)):
      state = state._replace(
        step=np.int32(step),
        params=jax.tree.map(lambda x, size=size: size * x, params),
        ema=jax.tree.map(lambda x, size=size: 2.0 * size * x, params),
      )
      metrics = {'eval/accuracy': accuracy, 'eval_ema/accuracy': accuracy}
      checkpoints.save(state, 64 * step, metrics)
  return params


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
  return tmp_path_factory.mktemp('trained')


@pytest.fixture(scope='module')
def params(folder):
  return write_run(small(), folder / 'run')


@pytest.fixture(scope='module')
def run(folder, params):
  """Its data is not there, and is not prepared for it."""
  run = load_run(folder / 'run', data_dir=str(folder / 'nothing'))
  assert not (folder / 'nothing').exists()
  return run


@pytest.fixture(scope='module')
def digit_files(folder):
  """Four pictures of 28 x 28 pixels, light on dark."""
  rng = np.random.default_rng(1)
  paths = []
  for i in range(4):
    pixels = np.zeros((28, 28), np.uint8)
    pixels[4:24, 8:20] = rng.integers(0, 256, (20, 12))
    paths.append(folder / f'{i}.png')
    PIL.Image.fromarray(pixels).save(paths[-1])
  return paths


def first_weights(params):
  return np.asarray(jax.tree.leaves(params)[0])


# Loading.


def test_the_best_the_latest_and_a_step(folder, params, run):
  assert (run.step, run.workdir) == (1, folder / 'run')
  np.testing.assert_array_equal(
    first_weights(run.params), first_weights(params)
  )
  for choice, step, size in (('latest', 2, 0.5), ('1', 1, 1.0)):
    other = load_run(folder / 'run', checkpoint=choice)
    assert other.step == step
    np.testing.assert_array_equal(
      first_weights(other.params), size * first_weights(params)
    )


def test_averages_are_used_where_they_were_the_best(folder, params):
  config = small()
  config.checkpoints.best_metric = 'eval_ema/accuracy'
  averaged = load_run(folder / 'run', config=config)
  np.testing.assert_array_equal(
    first_weights(averaged.params), 2.0 * first_weights(params)
  )


def test_runs_that_are_not_there(folder, params, tmp_path):
  with pytest.raises((ValueError, OSError), match='There is no run'):
    load_run(tmp_path)
  with pytest.raises(ValueError, match='3'):
    load_run(folder / 'run', checkpoint='3')


# Files.


def test_a_file_is_answered_as_its_array(run, digit_files):
  answer = run.predict(digit_files[0])
  assert isinstance(answer, Classes)
  assert answer.names == tuple('0123456789')
  assert answer.probabilities.sum() == pytest.approx(1.0, abs=1e-5)
  (example,) = run.read(digit_files[0])
  logits = run({'image': example['image'][None]})
  np.testing.assert_allclose(
    answer.probabilities, jax.nn.softmax(logits[0]), rtol=1e-4, atol=1e-6
  )
  name, probability = answer.top(1)[0]
  assert name == str(int(np.argmax(logits[0])))
  assert probability == pytest.approx(float(answer.probabilities.max()))


def test_many_files_with_a_bad_one_among_them(run, digit_files, tmp_path):
  bad = tmp_path / 'bad.png'
  bad.write_bytes(b'no image')
  missing = tmp_path / 'missing.png'
  inputs = [*digit_files[:2], bad, missing, *digit_files[2:]]
  results = list(run.predict_many([path] for path in inputs))
  assert len(results) == 6
  assert isinstance(results[2], ValueError) and str(bad) in str(results[2])
  assert isinstance(results[3], OSError) and str(missing) in str(results[3])
  for path, answer in zip(
    digit_files, [*results[:2], *results[4:]], strict=True
  ):
    np.testing.assert_allclose(
      answer.probabilities,
      run.predict(path).probabilities,
      rtol=1e-4,
      atol=1e-6,
    )


def test_few_shapes_are_compiled(run, digit_files):
  sizes = []
  for count in (1, 3, 4, 1):
    assert len(list(run.predict_many([[p] for p in digit_files[:count]]))) == (
      count
    )
    sizes.append(run._apply._cache_size())
  assert sizes[0] >= 1
  assert sizes == [sizes[0], sizes[1], sizes[1], sizes[1]]  # Of 1 and of 4.
  assert sizes[1] <= 2


def test_what_is_no_input_of_the_run(run, digit_files, tmp_path):
  with pytest.raises(ValueError, match=r'x\.wav: this run reads \.jpg'):
    run.predict(tmp_path / 'x.wav')
  with pytest.raises(ValueError, match=r'is 1 file\(s\) of .*, got 2'):
    run.predict(*digit_files[:2])
  with pytest.raises(ValueError, match=r'takes no text: its inputs are \.jpg'):
    run.predict_text('seven')


def test_an_answer_in_words_and_in_json():
  answer = Classes(('cat', 'dog', 'owl'), np.array([0.2, 0.75, 0.05]))
  assert CLASSES.lines(answer, 2) == [
    ' 75.0%  dog  ' + 22 * '█',
    ' 20.0%  cat  ' + 6 * '█',
  ]
  assert json.loads(json.dumps(CLASSES.json(answer, 1))) == {
    'classes': [{'name': 'dog', 'probability': 0.75}]
  }
