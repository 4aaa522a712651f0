"""Losses and metrics of reconstructions against their definitions."""

import math

import jax
import numpy as np
import pytest

from experiments.answers.reconstruction.loss import Grid, reconstruction_loss
from experiments.answers.reconstruction.metrics import reconstruction_psnr
from experiments.configs import bunny as bunny_config
from experiments.configs import kinetics as kinetics_config
from experiments.tasks.autoencoding import make_task
from perceiver_jax import metrics
from perceiver_jax.metrics import sum_of_means

GRIDS = {'audio': Grid(6), 'image': Grid(2 * 3 * 3)}
WEIGHTS = {'audio': 1.0, 'image': 0.03, 'label': 0.0001}


def rng(seed=0):
  return np.random.default_rng(seed)


def make_batch(weight=(1, 1)):
  """Six patches of 4 samples, two frames of 3 x 3, five classes."""
  random = rng(0)
  return {
    'audio': random.standard_normal((2, 24)).astype(np.float32),
    'image': random.random((2, 2, 3, 3, 3), np.float32),
    'label': np.array([3, 1], np.int32),
    'weight': np.array(weight, np.float32),
  }


def make_predictions():
  """Of the whole grids, shaped as the model shapes them."""
  random = rng(1)
  return {
    'audio': random.standard_normal((2, 24)).astype(np.float32),
    'image': random.random((2, 2, 3, 3, 3), np.float32),
    'label': random.standard_normal((2, 5)).astype(np.float32),
  }


def absolute_errors(predictions, batch, name):
  difference = predictions[name].astype(np.float64) - batch[name]
  return abs(difference).reshape(2, -1).mean(axis=1)


def entropies(predictions, batch):
  logits = predictions['label'].astype(np.float64)
  chances = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
  return -np.log(chances[np.arange(2), batch['label']])


def test_the_loss_is_the_weighted_sum_over_modalities():
  batch, predictions = make_batch(), make_predictions()
  loss, found = reconstruction_loss(WEIGHTS, GRIDS)(predictions, batch)
  audio = absolute_errors(predictions, batch, 'audio')
  image = absolute_errors(predictions, batch, 'image')
  label = entropies(predictions, batch)
  expected = (audio + 0.03 * image + 0.0001 * label).mean()
  np.testing.assert_allclose(sum_of_means(loss), expected, rtol=1e-6)
  found = metrics.compute([found])
  hits = predictions['label'].argmax(axis=1) == batch['label']
  assert found == pytest.approx(
    {
      'audio_l1': audio.mean(),
      'image_l1': image.mean(),
      'label_accuracy': hits.mean(),
      'loss': expected,
    },
    rel=1e-6,
  )


def test_only_the_modalities_that_are_there_count():
  batch, predictions = make_batch(), make_predictions()
  loss, found = reconstruction_loss({'image': 2.0}, {'image': Grid(18)})(
    {'image': predictions['image']}, batch
  )
  expected = 2.0 * absolute_errors(predictions, batch, 'image').mean()
  np.testing.assert_allclose(sum_of_means(loss), expected, rtol=1e-6)
  assert set(found) == {'image_l1', 'loss'}


def test_with_output_points_only_these_count():
  batch, predictions = make_batch(), make_predictions()
  points = {
    'audio': np.array([[5, 0], [2, 3]], np.int32),
    'image': np.array([[17, 4, 9], [0, 1, 2]], np.int32),
  }
  patches = predictions['audio'].reshape(2, 6, 4)
  pixels = predictions['image'].reshape(2, 18, 3)
  rows = np.arange(2)[:, None]
  some = {
    'audio': patches[rows, points['audio']].reshape(2, 8),
    'image': pixels[rows, points['image']],
  }
  weights = {'audio': 1.0, 'image': 0.5}
  loss, _ = reconstruction_loss(weights, GRIDS)(
    some, {**batch, 'output_points': points}
  )
  audio = patches - batch['audio'].reshape(2, 6, 4)
  image = pixels - batch['image'].reshape(2, 18, 3)
  expected = (
    abs(audio[rows, points['audio']]).mean()
    + 0.5 * abs(image[rows, points['image']]).mean()
  )
  np.testing.assert_allclose(sum_of_means(loss), expected, rtol=1e-6)


def test_examples_that_fill_up_a_batch_do_not_count():
  batch, predictions = make_batch(weight=(1, 0)), make_predictions()
  _, found = reconstruction_loss(WEIGHTS, GRIDS)(predictions, batch)
  found = metrics.compute([found])
  audio = absolute_errors(predictions, batch, 'audio')
  assert found['audio_l1'] == pytest.approx(audio[0], rel=1e-6)


def test_psnr_is_of_all_examples_together():
  batch, predictions = make_batch(), make_predictions()
  peaks = {'audio': 2.0, 'image': 1.0}
  psnr = reconstruction_psnr(peaks, with_gain=False)
  kept = jax.device_get(psnr.collect(predictions, batch))
  assert all(x.shape == (2,) for x in kept.values())
  found = psnr.compute(kept)
  assert set(found) == set(psnr.names) == {'audio_psnr', 'image_psnr'}
  for name, peak in peaks.items():
    errors = predictions[name].astype(np.float64) - batch[name]
    expected = 10 * math.log10(peak**2 / np.square(errors).mean())
    assert found[f'{name}_psnr'] == pytest.approx(expected, abs=1e-4)


def test_gain_is_over_the_mean_of_the_training_examples():
  psnr = reconstruction_psnr({'image': 1.0}, with_gain=True)
  batch = {
    'image': np.zeros((2, 4), np.float32),
    'mean_error': {'image': np.array([0.05, 0.15], np.float32)},
  }
  wrong = np.full((2, 4), 0.1, np.float32)  # 20 dB; the mean has 10.
  found = psnr.compute(jax.device_get(psnr.collect({'image': wrong}, batch)))
  assert set(found) == set(psnr.names)
  assert found['image_psnr'] == pytest.approx(20.0, abs=1e-4)
  assert found['image_psnr_gain'] == pytest.approx(10.0, abs=1e-4)


# Configs.


@pytest.mark.parametrize('config_file', [bunny_config, kinetics_config])
def test_the_configs_best_metric_is_one_of_the_task(config_file):
  config = config_file.get_config()
  task = make_task(config, None)
  names = {'loss', *task.dataset_metrics.names}
  assert config.checkpoints.best_metric.removeprefix('eval/') in names


def test_kinetics_takes_one_for_the_peaks():
  config = kinetics_config.get_config()
  assert dict(config.peaks) == {'audio': 1.0, 'image': 1.0}


def test_kinetics_has_the_papers_weights_and_points():
  config = kinetics_config.get_config()
  assert dict(config.loss) == WEIGHTS
  data = make_task(config, None).data
  points = {n: x.shape for n, x in data.example['output_points'].items()}
  assert points == {'audio': (512,), 'image': (512,)}
  assert data.num_classes == 700
  assert config.packing.mask_rates.label == 0.5
  assert tuple(config.packing.masked_in_evaluation) == ('label',)


def test_bunny_names_its_gain():
  task = make_task(bunny_config.get_config(), None)
  assert set(task.dataset_metrics.names) == {
    'audio_psnr',
    'audio_psnr_gain',
    'image_psnr',
    'image_psnr_gain',
  }


@pytest.mark.parametrize(
  ('change', 'text'),
  [
    (lambda c: c.loss.update(label=1.0), r"weights of \['audio', 'image', 'la"),
    (lambda c: c.queries.image.update(grid_shape=(5, 7)), '35 points'),
    (lambda c: c.peaks.update(label=1.0), r"peaks has \['audio', 'image', 'la"),
    (
      lambda c: c.inputs.update(video=c.inputs.image),
      "have no 'video', only .*'audio', 'image'",
    ),
  ],
)
def test_sections_that_do_not_fit_together(change, text):
  config = bunny_config.get_config()
  change(config)
  with pytest.raises(ValueError, match=text):
    make_task(config, None)


# The model's outputs and the targets have the same order.


@pytest.fixture(scope='module')
def tiny():
  """A small model of 2 x 4 x 4 pixels and 4 patches of 5 samples."""
  config = bunny_config.get_config()
  config.encoder.update(
    num_latents=3, latent_channels=8, self_attends_per_block=1
  )
  positions = dict(name='fourier', num_bands=2, max_resolution=(2, 4, 4))
  config.inputs.image.update(patch_shape=(1, 2, 2), positions=positions)
  config.inputs.audio.samples_per_patch = 5
  config.queries.audio.grid_shape = (4,)
  config.queries.image.update(grid_shape=(2, 2, 2), positions=positions)
  config.postprocessors.image.patch_shape = (1, 2, 2)
  config.postprocessors.audio.samples_per_patch = 5
  config.decoder.update(output_channels=8, qk_channels=8, v_channels=8)
  config.decoding.update(query_min_padding=2, num_chunks=2)
  batch = {
    'audio': rng(2).standard_normal((2, 20)).astype(np.float32),
    'image': rng(3).random((2, 2, 4, 4, 3), np.float32),
    'weight': np.ones(2, np.float32),
  }
  model = make_task(config, None).model
  params, state = jax.jit(model.init, static_argnames='is_training')(
    jax.random.key(0), batch, is_training=True
  )

  @jax.jit
  def predict(batch):
    return model.apply(params, state, None, batch, is_training=False)[0]

  return batch, lambda batch: jax.device_get(predict(batch))


def test_points_give_the_loss_of_their_part_of_all(tiny):
  batch, predict = tiny
  points = {
    'audio': np.array([[3, 1], [0, 2]], np.int32),
    'image': np.array([[7, 0, 4], [5, 6, 3]], np.int32),
  }
  grids = {'audio': Grid(4), 'image': Grid(8, (1, 2, 2))}
  loss_function = reconstruction_loss({'audio': 1.0, 'image': 1.0}, grids)
  some = {**batch, 'output_points': points}
  loss, _ = loss_function(predict(some), some)
  every = predict(batch)
  assert every['image'].shape == (2, 2, 4, 4, 3)
  rows = np.arange(2)[:, None]
  sound = abs(every['audio'] - batch['audio']).reshape(2, 4, 5)
  # Frame, row and column of 2 x 2 patches; then of the pixels inside.
  pixels = abs(every['image'] - batch['image']).reshape(2, 2, 2, 2, 2, 2, 3)
  patches = pixels.transpose(0, 1, 2, 4, 3, 5, 6).reshape(2, 8, 12)
  expected = (
    sound[rows, points['audio']].mean() + patches[rows, points['image']].mean()
  )
  np.testing.assert_allclose(sum_of_means(loss), expected, rtol=1e-5)
