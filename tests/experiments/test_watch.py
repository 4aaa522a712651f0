"""Watch: subjects, windows, physics of the augmentation, the config."""

import importlib

import jax
import numpy as np
import pytest

from experiments.data.dataset import InMemory, Windows, batch_spec
from experiments.data.pipeline import evaluation_batches, train_batches
from experiments.datasets.embedded_builder import FILES
from experiments.datasets.watch import CLASSES, watch
from experiments.modalities.series.motion import (
  augment_motion,
  random_rotation,
  resample,
  turn,
)
from experiments.tasks import classification

STILL = dict(
  max_shift=0,
  max_speed=0.0,
  max_rotation=0.0,
  max_scale=0.0,
  noise=0.0,
  mirror_probability=0.0,
)
MOVING = dict(
  max_shift=25,
  max_speed=0.25,
  max_rotation=20.0,
  max_scale=0.1,
  noise=0.03,
  mirror_probability=1.0,
)
WINDOW = dict(num_steps=100, hop=50)


def rng(seed=0):
  return np.random.default_rng(seed)


def recording(num_steps=300, seed=0):
  return rng(seed).standard_normal((num_steps, 6)).astype(np.float32)


@pytest.fixture(scope='module')
def data_dir(tmp_path_factory):
  return str(tmp_path_factory.mktemp('data'))


@pytest.fixture(scope='module')
def still(data_dir):
  """Windows that training does not change."""
  return watch(data_dir, **WINDOW, **STILL).load()


@pytest.fixture(scope='module')
def embedded():
  """Recordings `[T, 6]` in g and rad/s, classes and subjects."""
  with np.load(FILES / 'watch.npz', allow_pickle=False) as arrays:
    motion = arrays['x'].astype(np.float64) * arrays['scale']
    recordings = np.split(motion, np.cumsum(arrays['length'])[:-1])
    return recordings, arrays['y'], arrays['subject']


# The data set.


@pytest.mark.parametrize(
  ('split', 'subjects', 'count'),
  [('train', range(1, 6), 2191), ('evaluation', range(6, 11), 2486)],
)
def test_windows_are_slices_of_the_recordings_of_their_subjects(
  still, embedded, split, subjects, count
):
  recordings, labels, of_subjects = embedded
  keys = list(zip(of_subjects, labels, map(len, recordings), strict=True))
  assert len(set(keys)) == 140
  source = getattr(still, split)
  assert len(source) == count
  found = set()
  for i in range(count):
    raw = source[i]
    start = raw['start']
    key = (raw['subject'], raw['label'], len(raw['motion']))
    motion = recordings[keys.index(key)]
    np.testing.assert_allclose(
      raw['motion'][start : start + 100], motion[start : start + 100], rtol=1e-6
    )
    found.add((*key, start))
  assert found == {
    (*key, start)
    for key in keys
    if key[0] in subjects
    for start in range(0, key[2] - 99, 50)
  }


def test_evaluation_examples_are_normalised_windows(still):
  for i in (0, 17, len(still.evaluation) - 1):
    raw = still.evaluation[i]
    example = still.prepare(raw)
    window = raw['motion'][raw['start'] : raw['start'] + 100]
    np.testing.assert_allclose(
      example['motion'],
      (window - [0, 0.4, -0.19, 0, 0, 0]) / [0.94, 0.52, 0.6, 1.1, 2.65, 1.16],
      atol=1e-5,
    )
    assert example['motion'].dtype == np.float32
    assert example['label'] == raw['label']
    assert example['label'].dtype == np.int32


def test_training_windows_have_about_zero_mean_and_unit_variance(still):
  windows = [still.prepare(still.train[i]) for i in range(len(still.train))]
  motion = np.concatenate([window['motion'] for window in windows])
  assert abs(motion.mean(axis=0)).max() < 0.05
  assert abs(motion.std(axis=0) - 1.0).max() < 0.05


def test_training_windows_that_do_not_move_are_evaluation_windows(still):
  for i in range(0, 2000, 100):
    raw = still.train[i]
    trained = still.augment(raw, rng(i))
    np.testing.assert_allclose(
      trained['motion'], still.prepare(raw)['motion'], atol=1e-6
    )


def test_training_windows_move_the_same_way_for_the_same_seed(data_dir):
  data = watch(data_dir, **WINDOW, **MOVING).load()
  raw = data.train[5]
  before = raw['motion'].copy()
  one, two, again = (data.augment(raw, rng(seed)) for seed in (1, 2, 1))
  np.testing.assert_array_equal(one['motion'], again['motion'])
  assert abs(one['motion'] - two['motion']).max() > 0.2
  assert one['label'] == raw['label']
  np.testing.assert_array_equal(raw['motion'], before)


def test_batches(still):
  batch = next(train_batches(still, 8, seed=0, position=0))
  assert batch['motion'].shape == (8, 100, 6)
  weights = [b['weight'].sum() for b in evaluation_batches(still, 512)]
  assert weights == [512] * 4 + [2486 - 4 * 512]


def test_windows_by_hand():
  source = InMemory([{'motion': recording(250)}, {'motion': recording(99)}])
  windows = Windows(source, 'motion', length=100, hop=60)
  assert [windows[i]['start'] for i in range(len(windows))] == [0, 60, 120]


@pytest.mark.parametrize('option', ['num_steps', 'hop'])
def test_a_window_of_no_steps_is_an_error(option):
  with pytest.raises(ValueError, match='positive'):
    watch(None, **WINDOW | {option: 0}, **STILL)


# Its augmentation.


def test_a_window_at_speed_one_is_a_slice():
  motion = recording()
  window = resample(motion, start=30, num_steps=100, speed=1.0)
  np.testing.assert_allclose(window, motion[30:130], atol=1e-6)


@pytest.mark.parametrize('speed', [0.5, 2.0])
def test_a_faster_window_covers_more_about_the_same_middle(speed):
  # Numbers that are their own times.
  motion = np.arange(300.0)[:, None].repeat(6, axis=1)
  window = resample(motion, start=100, num_steps=101, speed=speed)
  times = 150 + speed * np.arange(-50, 51)
  np.testing.assert_allclose(window[:, 0], times, rtol=1e-6)
  # What turns twice as fast has twice the rate.
  np.testing.assert_allclose(window[:, 3:], speed * window[:, :3], rtol=1e-6)


@pytest.mark.parametrize(('start', 'first'), [(-40, 0), (290, 200)])
def test_windows_stay_inside_the_recording(start, first):
  motion = recording()
  window = resample(motion, start=start, num_steps=100, speed=1.0)
  np.testing.assert_allclose(window, motion[first : first + 100], atol=1e-6)


def test_a_window_longer_than_the_recording_is_an_error():
  with pytest.raises(ValueError, match='does not fit into a recording of 120'):
    resample(recording(120), start=0, num_steps=100, speed=1.25)


def test_rotations_are_rotations_up_to_the_angle_asked_for():
  angles = []
  for seed in range(200):
    rotation = random_rotation(20.0, rng(seed))
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(rotation) == pytest.approx(1.0)
    cosine = min(1.0, (np.trace(rotation) - 1) / 2)
    angles.append(np.degrees(np.arccos(cosine)))
  assert 19.5 < max(angles) <= 20.001
  assert min(angles) < 1.0


def test_turning_turns_both_vectors_alike_and_keeps_their_norms():
  motion = recording()
  quarter = np.array([[0, -1, 0], [1, 0, 0], [0, 0, 1]])  # x to y, about z
  np.testing.assert_allclose(
    turn(motion, quarter),
    motion[:, [1, 0, 2, 4, 3, 5]] * np.array([-1, 1, 1, -1, 1, 1]),
    rtol=1e-6,
  )
  turned = turn(motion, random_rotation(90.0, rng()))
  for part in (slice(0, 3), slice(3, 6)):
    np.testing.assert_allclose(
      np.linalg.norm(turned[:, part], axis=1),
      np.linalg.norm(motion[:, part], axis=1),
      rtol=1e-5,
    )


def augmented(motion, seed=0, **options):
  return augment_motion(
    motion, rng(seed), start=50, num_steps=100, **STILL | options
  )


def test_the_mirror_moves_the_watch_to_the_other_arm():
  motion = recording()
  np.testing.assert_allclose(
    augmented(motion, mirror_probability=1.0),
    motion[50:150] * np.array([-1, 1, 1, 1, -1, -1]),
    rtol=1e-5,
  )


def test_mirrored_arms_of_the_data_look_like_the_other_arm(embedded):
  # Pendulum and row: x of gravity tells the arms of each subject apart.
  for motion, label, subject in zip(*embedded, strict=True):
    if CLASSES[label] not in ('PEN', 'ROW'):
      continue
    others = [
      other
      for other, same_label, same_subject in zip(*embedded, strict=True)
      if (same_label, same_subject) == (label, subject) and other is not motion
    ]
    (other,) = others
    assert motion[:, 0].mean() * other[:, 0].mean() < 0


def test_each_sensor_is_scaled_by_its_own_bounded_factor():
  motion = recording()
  factors = []
  for seed in range(100):
    ratio = augmented(motion, seed, max_scale=0.1) / motion[50:150]
    for part in (slice(0, 3), slice(3, 6)):
      assert np.ptp(ratio[:, part]) < 1e-4
    factors.append(ratio[0, [0, 3]])
  factors = np.array(factors)
  assert 0.9 <= factors.min() < 0.91
  assert 1.09 < factors.max() <= 1.1001
  assert abs(np.corrcoef(factors.T)[0, 1]) < 0.3


def test_shifts_are_bounded_and_go_both_ways():
  times = np.arange(300.0)[:, None].repeat(6, axis=1)
  starts = [augmented(times, seed, max_shift=25)[0, 0] for seed in range(200)]
  assert 25 <= min(starts) < 27
  assert 73 < max(starts) <= 75


def test_noise_has_its_standard_deviation():
  motion = recording()
  noise = augmented(motion, noise=0.5) - motion[50:150]
  assert abs(noise.std() - 0.5) < 0.05
  assert abs(noise.mean()) < 0.1


@pytest.mark.parametrize('option', list(STILL))
def test_every_option_is_read(option):
  motion = recording()
  changed = augmented(motion, **{option: MOVING[option]})
  assert abs(changed - augmented(motion)).max() > 0.01


# The config.


def test_the_config_makes_a_model_of_7_classes():
  config = importlib.import_module('experiments.configs.watch').get_config()
  task = classification.make_task(config, None)
  assert task.data.num_classes == len(CLASSES) == 7
  batch = batch_spec(task.data.example, 2)
  assert batch['motion'].shape == (2, 100, 6)
  key = jax.ShapeDtypeStruct((2,), np.uint32)
  params, state = jax.eval_shape(
    lambda key, batch: task.model.init(key, batch, True), key, batch
  )
  logits, _ = jax.eval_shape(
    lambda *args: task.model.apply(*args, False), params, state, key, batch
  )
  assert logits.shape == (2, 7)
