"""Flow as a task: its loss, tiles of large frames, a step, what is shown."""

import haiku as hk
import jax
import numpy as np
import pytest

from experiments.answers.flow.loss import flow_loss
from experiments.configs import flow as flow_config
from experiments.data.dataset import Dataset, batch_spec, blank_batch
from experiments.datasets.flow.motorcycle import motorcycle, motorcycle_of
from experiments.modalities.frames.colours import colour_wheel, flow_colours
from experiments.reporting.examples import example_cards
from experiments.reporting.held_out import gallery, look_at
from experiments.runs.trained import TrainedRun
from experiments.tasks import make_task
from experiments.tasks.optical_flow import estimate_flow
from perceiver_jax.metrics import sum_of_means
from perceiver_jax.tiling import tiled
from tests.pages import Page


def rng(seed):
  return np.random.default_rng(seed)


# Loss and metrics.


def random_batch(seed):
  draws = rng(seed)
  return {
    'flow': draws.normal(0, 40, (3, 4, 5, 2)).astype(np.float32),
    'valid': (draws.random((3, 4, 5)) < 0.7).astype(np.float32),
    'weight': np.array([1.0, 1.0, 0.0], np.float32),
  }


def test_loss_and_metrics_against_loops():
  batch = random_batch(0)
  predictions = batch['flow'] + rng(1).normal(0, 4, (3, 4, 5, 2))
  wrong, motion, outliers, count = 0.0, 0.0, 0, 0
  for index in np.ndindex(2, 4, 5):  # The third example is padding.
    if batch['valid'][index]:
      error = np.hypot(*(predictions[index] - batch['flow'][index]))
      size = np.hypot(*batch['flow'][index])
      wrong, motion, count = wrong + error, motion + size, count + 1
      outliers += error > 3 and error > 0.05 * size
  loss, metrics = flow_loss(predictions.astype(np.float32), batch)
  np.testing.assert_allclose(sum_of_means(loss), wrong / count, rtol=1e-5)
  expected = {
    'loss': wrong / count,
    'end_point_error': wrong / count,
    'outliers': outliers / count,
    'relative_error': wrong / motion,
  }
  assert 0.2 < expected['outliers'] < 0.95
  assert set(metrics) == set(expected)
  for name, value in expected.items():
    mean = metrics[name]
    np.testing.assert_allclose(mean.total / mean.weight, value, rtol=1e-5)


def test_an_outlier_is_wrong_by_three_pixels_and_five_percent():
  flow = np.array([[[[100.0, 0], [100.0, 0], [10.0, 0], [10.0, 0]]]])
  wrong = np.array([[[[4.9, 0], [5.1, 0], [2.9, 0], [0, 3.1]]]])
  batch = {
    'flow': flow.astype(np.float32),
    'valid': np.ones((1, 1, 4), np.float32),
    'weight': np.ones(1, np.float32),
  }
  _, metrics = flow_loss((flow + wrong).astype(np.float32), batch)
  assert float(metrics['outliers'].total) == 2.0


def test_no_motion_has_a_relative_error_of_one():
  batch = random_batch(2)
  _, metrics = flow_loss(np.zeros_like(batch['flow']), batch)
  total, weight = metrics['relative_error']
  np.testing.assert_allclose(total / weight, 1.0, rtol=1e-6)


def test_gradients_are_finite_where_the_error_is_zero_or_nothing_is_known():
  batch = random_batch(3)
  gradient = jax.grad(lambda x: sum_of_means(flow_loss(x, batch)[0]))
  exact = gradient(batch['flow'])
  np.testing.assert_array_equal(exact, 0.0)
  off = np.asarray(gradient(batch['flow'] + np.float32(1)))
  known = (batch['valid'] * batch['weight'][:, None, None]) > 0
  np.testing.assert_allclose(
    np.linalg.norm(off[known], axis=-1), 1 / known.sum(), rtol=1e-5
  )
  assert not off[~known].any()
  batch['valid'][:] = 0
  assert not np.asarray(gradient(batch['flow'] + np.float32(1))).any()


# The model, tile by tile.


def small_config():
  config = flow_config.get_config('embedded')
  config.data.update(height=16, width=24)
  config.preprocessor.num_channels = 8
  config.preprocessor.positions.update(num_bands=2, max_resolution=(4, 6))
  config.encoder.update(
    num_latents=4, latent_channels=8, self_attends_per_block=1
  )
  config.decoder.update(qk_channels=8, v_channels=8)
  return config


@pytest.fixture(scope='module')
def task():
  return make_task(small_config(), None)


@pytest.fixture(scope='module')
def trained(task):
  """Parameters and state after being moved off their initial values."""
  batch = blank_batch(task.data.example)
  params, state = jax.jit(
    lambda batch: task.model.init(jax.random.key(0), batch, is_training=True)
  )(batch)
  draws = rng(0)
  move = lambda x: np.asarray(x) + draws.normal(0, 0.1, x.shape)  # noqa: E731
  return jax.tree.map(lambda x: move(x).astype(x.dtype), params), state


@pytest.fixture(scope='module')
def predict(task, trained):
  @jax.jit
  def predict(frames):
    return task.model.apply(
      *trained, None, {'frames': frames}, is_training=False
    )[0]

  return predict


@pytest.fixture(scope='module')
def frames():
  return rng(5).uniform(-1, 1, (2, 2, 25, 43, 3)).astype(np.float32)


def test_larger_frames_are_predicted_in_tiles_of_the_training_size(
  predict, frames
):
  flow = np.asarray(predict(frames))
  assert flow.shape == (2, 25, 43, 2) and flow.std() > 1e-3
  # Small tiles overlap by half their side.
  expected = tiled(predict, frames, tile_shape=(16, 24), min_overlap=8)
  np.testing.assert_allclose(flow, expected, rtol=1e-5, atol=1e-5)


def test_frames_of_the_training_size_are_one_tile():
  calls = []

  def model(frames, *, is_training):
    calls.append((frames.shape, is_training))
    return frames[:, 0, ..., :2]

  frames = np.zeros((1, 2, 30, 40, 3), np.float32)
  flow = estimate_flow(model, frames, is_training=True, tile_shape=(30, 40))
  assert calls == [((1, 2, 30, 40, 3), True)] and flow.shape == (1, 30, 40, 2)


@pytest.mark.parametrize(
  ('size', 'tiles'), [((436, 1024), 6), ((376, 1242), 6), ((368, 500), 2)]
)
def test_a_frame_of_sintel_or_kitti_is_six_tiles(size, tiles):
  shapes = []

  def model(frames, *, is_training):
    assert not is_training
    shapes.append(frames.shape)
    return frames[:, 0, ..., :2]

  def forward(frames):
    return estimate_flow(
      model, frames, is_training=False, tile_shape=(368, 496)
    )

  frames = rng(0).normal(size=(1, 2, *size, 3)).astype(np.float32)
  transformed = hk.without_apply_rng(hk.transform(forward))
  flow = transformed.apply({}, frames)
  np.testing.assert_allclose(flow, frames[:, 0, ..., :2], atol=1e-5)
  assert set(shapes) == {(1, 2, 368, 496, 3)}
  text = str(jax.make_jaxpr(lambda x: transformed.apply({}, x))(frames))
  assert f'length={tiles}' in text


def test_a_step_lowers_the_loss(task, trained):
  batch = {
    **jax.tree.map(
      lambda x: rng(7).uniform(-1, 1, x.shape).astype(x.dtype),
      batch_spec(task.data.example, 4),
    ),
    'weight': np.ones(4, np.float32),
  }
  batch['valid'] = np.ones_like(batch['valid'])

  @jax.jit
  def loss_and_gradient(params):
    def loss_of(params):
      predictions, _ = task.model.apply(
        params, trained[1], None, batch, is_training=True
      )
      return sum_of_means(task.loss_function(predictions, batch)[0])

    return jax.value_and_grad(loss_of)(params)

  params = trained[0]
  before, gradient = loss_and_gradient(params)
  params = jax.tree.map(lambda p, g: p - 0.01 * g, params, gradient)
  after, _ = loss_and_gradient(params)
  assert np.isfinite(before) and after < before


def test_the_published_variants_are_trained_on_autoflow(tmp_path):
  config = flow_config.get_config('conv_light')
  data = make_task(config, str(tmp_path)).data
  assert data.example['frames'].shape == (2, 368, 496, 3)
  with pytest.raises(FileNotFoundError, match='Autoflow is not prepared'):
    data.load()


def test_unknown_variant():
  with pytest.raises(ValueError, match=r"'embedded'.*got 'patch'"):
    flow_config.get_config('patch')


# Pictures.


def test_the_wheel_of_colours():
  wheel = colour_wheel()
  assert wheel.shape == (55, 3)
  corners = wheel[[0, 15, 21, 25, 36, 49]]
  expected = [[1, 0, 0], [1, 1, 0], [0, 1, 0], [0, 1, 1], [0, 0, 1], [1, 0, 1]]
  np.testing.assert_allclose(corners, expected)
  np.testing.assert_allclose(wheel[3], [1, 0.2, 0])
  np.testing.assert_allclose(wheel[-1], [1, 0, 1 / 6])


def test_colours_of_flow():
  flow = np.array([[[0.0, 0], [4, 0], [2, 0], [8, 0], [-4, 0], [0, 4], [9, 9]]])
  valid = np.array([[True] * 6 + [False]])
  colours = flow_colours(flow, max_motion=4.0, valid=valid)
  assert colours.dtype == np.uint8
  # Rest, full speed to the right, half, double; left is between cyan and blue,
  # (55 / 2 - 25) / 11 of the way; down between red and yellow.
  np.testing.assert_array_equal(
    colours[0],
    [
      [255, 255, 255],
      [255, 0, 0],
      [255, 128, 128],
      [191, 0, 0],
      [0, round(255 * (1 - 2.5 / 11)), 255],
      [255, round(255 * 13.75 / 15), 0],
      [0, 0, 0],
    ],
  )


@pytest.mark.parametrize(
  ('shape', 'reduction', 'corner'),
  [((32, 48), 15, (0, 0)), ((368, 496), 1, (66, 122)), ((600, 600), None, ())],
)
def test_the_motorcycle_is_cut_to_a_frame(shape, reduction, corner):
  pair = motorcycle_of(shape)
  if reduction is None:
    assert pair is None
    return
  whole = motorcycle(reduction)
  (top, left), (height, width) = corner, shape
  rows, columns = slice(top, top + height), slice(left, left + width)
  np.testing.assert_array_equal(pair.frames, whole.frames[:, rows, columns])
  np.testing.assert_array_equal(pair.flow, whole.flow[rows, columns])
  np.testing.assert_array_equal(pair.valid, whole.valid[rows, columns])
  assert pair.flow.shape == (*shape, 2) and pair.valid.mean() > 0.5


def test_a_report_shows_extremes_the_middle_and_the_motorcycle(task, trained):
  """Errors of single pairs are computed by hand; nothing else is compiled."""
  draws = rng(11)
  examples = [
    {
      'frames': draws.uniform(-1, 1, (2, 16, 24, 3)).astype(np.float32),
      'flow': (i * draws.normal(size=(16, 24, 2))).astype(np.float32),
      'valid': np.ones((16, 24), np.float32),
    }
    for i in range(14)
  ]
  dataset = Dataset([], None, examples, lambda example: example)
  run = TrainedRun(None, None, 3, task, *trained)
  evaluate, look = look_at(run, dataset)
  shown = gallery(evaluate, look, task, dataset)
  order = np.argsort(look.each.metrics['loss'])
  assert shown.worst[0].name == f'no. {order[-1]}'
  assert shown.best[0].name == f'no. {order[0]}'
  assert list(map(len, shown)) == [4, 4, 4, 1]
  names = [each.name for each in (*shown.worst, *shown.typical, *shown.best)]
  assert len(set(names)) == 12
  (motorcycle,) = shown.besides
  assert motorcycle.name == 'motorcycle'
  assert motorcycle.example['frames'].shape == (2, 16, 24, 3)
  for each in (*shown.worst[:1], motorcycle):
    valid = each.example['valid'] > 0
    wrong = (each.prediction - each.example['flow'])[valid]
    error = np.linalg.norm(wrong, axis=-1).mean()
    assert each.metrics['end_point_error'] == pytest.approx(error, rel=1e-4)
    moved = np.linalg.norm(each.example['flow'][valid], axis=-1).mean()
    assert each.metrics['relative_error'] == pytest.approx(
      error / moved, rel=1e-4
    )
  card = Page(example_cards(task, shown.besides)).words
  assert 'True motion' in card and 'Estimated motion' in card
  assert f'end point error {motorcycle.metrics["loss"]:.3g}' in card
