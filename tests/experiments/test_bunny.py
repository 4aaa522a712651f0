"""Bunny: the stretches, clips and sound of the film, its baseline, config."""

import importlib

import numpy as np
import pytest

from experiments.data.dataset import InMemory, Windows
from experiments.data.pipeline import evaluation_batches, train_batches
from experiments.datasets.bunny import (
  Bunny,
  bunny,
  cut_clip,
  means_of,
  squared_errors,
  stretches,
)
from experiments.datasets.embedded_builder import FILES, load_in_memory

OPTIONS = dict(num_frames=4)
STILL = dict(
  max_sound_shift=0,
  max_gain_decibels=0.0,
  random_polarity=False,
  extrapolation=0.0,
  blend_nodes=1,
)
MOVING = dict(
  max_sound_shift=320,
  max_gain_decibels=6.0,
  random_polarity=True,
  extrapolation=0.5,
  blend_nodes=3,
)
HELD_OUT = [*range(12, 20), *range(45, 53), *range(78, 86), *range(111, 119)]


def rng(seed=0):
  return np.random.default_rng(seed)


@pytest.fixture(scope='module')
def data_dir(tmp_path_factory):
  return str(tmp_path_factory.mktemp('data'))


@pytest.fixture(scope='module')
def still(data_dir):
  """Clips that training does not change."""
  return bunny(data_dir, **OPTIONS, **STILL).load()


@pytest.fixture(scope='module')
def moving(data_dir):
  return bunny(data_dir, **OPTIONS, **MOVING).load()


@pytest.fixture(scope='module')
def film():
  """Frames in [0, 1] and sound `[132, 640]`, the loudest sample 1 / 0.07."""
  with np.load(FILES / 'bunny.npz', allow_pickle=False) as arrays:
    assert arrays['frame_rate'] * 640 == arrays['sample_rate'] == 16_000
    audio = arrays['audio'].astype(np.float64)
    audio = (audio / abs(audio).max() / 0.07)[: 132 * 640].reshape(132, 640)
    return arrays['frames'] / 255, audio


def first_frame(raw):
  return raw['first_frame'] + raw['start']


def test_held_out_stretches_are_the_middle_of_each_quarter():
  assert [i for pair in stretches('test') for i in range(*pair)] == HELD_OUT
  for quarter, (start, end) in enumerate(stretches('test')):
    assert abs((start + end) / 2 - (quarter + 0.5) * 132 / 4) <= 0.5
  train = [i for pair in stretches('train') for i in range(*pair)]
  assert sorted(train + HELD_OUT) == list(range(132))


def test_the_sound_of_training_has_about_unit_variance(still):
  audio = [still.train[i] for i in range(len(still.train))]
  audio = np.concatenate([still.prepare(raw)['audio'] for raw in audio])
  assert abs(audio.std() - 1.0) < 0.1
  assert abs(audio.mean()) < 0.05


@pytest.mark.parametrize('split', ['train', 'evaluation'])
def test_clips_are_frames_with_their_sound(still, film, split):
  frames, audio = film
  source, found = getattr(still, split), []
  for i in range(len(source)):
    raw = source[i]
    start = first_frame(raw)
    clip = still.prepare(raw)
    np.testing.assert_allclose(
      clip['image'], frames[start : start + 4], atol=1e-6
    )
    np.testing.assert_allclose(
      clip['audio'], audio[start : start + 4].ravel(), atol=1e-5
    )
    assert clip['image'].dtype == clip['audio'].dtype == np.float32
    found.append(start)
  if split == 'evaluation':
    assert sorted(found) == HELD_OUT[::4]
  else:
    # Every start after which four training frames follow.
    assert sorted(found) == [
      start
      for start in range(129)
      if not set(range(start, start + 4)) & set(HELD_OUT)
    ]


def test_training_clips_that_do_not_move_are_evaluation_clips(still):
  raw = still.train[30]
  trained, prepared = still.augment(raw, rng()), still.prepare(raw)
  np.testing.assert_array_equal(trained['image'], prepared['image'])
  np.testing.assert_allclose(trained['audio'], prepared['audio'], rtol=1e-6)


def test_a_clip_has_the_frames_of_two_and_the_sound_of_one(moving, data_dir):
  clips = [moving.augment(moving.train[i], rng(i)) for i in (0, 40)]
  pair = {key: np.stack([clip[key] for clip in clips]) for key in clips[0]}
  mixed = moving.mix(7, pair, rng())
  np.testing.assert_array_equal(mixed['audio'], clips[0]['audio'])
  assert all((mixed['image'] != clip['image']).any() for clip in clips)
  means = means_of(load_in_memory(Bunny, data_dir)[0])
  assert mixed['mean_error'] == squared_errors(mixed, means)


def test_sound_moves_within_bounds_and_its_stretch(film):
  _, audio = film
  stretch = {'frames': np.zeros((10, 1)), 'audio': audio[:10].ravel()}
  for start in (0, 3, 6):
    for shift in (-320, 100, 320):
      clip = cut_clip({**stretch, 'start': start}, 4, shift)
      first = min(max(start * 640 + shift, 0), 6 * 640)
      np.testing.assert_array_equal(
        clip['audio'], stretch['audio'][first : first + 4 * 640] / 0.07
      )


def test_training_sound_is_changed_and_the_frames_are_not(moving, still):
  raw = still.train[30]
  prepared = still.prepare(raw)
  whole = raw['audio'] / 0.07
  signs, shifts, gains = set(), [], []
  for seed in range(60):
    example = moving.augment(raw, rng(seed))
    np.testing.assert_array_equal(example['image'], prepared['image'])
    # Where in the stretch it is from: the best match is exact.
    matches = []
    for shift in range(-320, 321):
      first = raw['start'] * 640 + shift
      if 0 <= first <= len(whole) - 2560:
        part = whole[first : first + 2560]
        matches.append(
          (abs(part @ example['audio']) / np.linalg.norm(part), shift)
        )
    _, shift = max(matches)
    part = whole[raw['start'] * 640 + shift :][:2560]
    gain = part @ example['audio'] / (part @ part)
    np.testing.assert_allclose(example['audio'], gain * part, atol=1e-4)
    signs.add(np.sign(gain))
    shifts.append(shift)
    gains.append(20 * np.log10(abs(gain)))
  assert signs == {-1.0, 1.0}
  assert min(shifts) < -200 and max(shifts) > 200
  assert -6.001 <= min(gains) < -4 and 4 < max(gains) <= 6.001


def test_the_same_seed_gives_the_same_example(moving):
  raw = moving.train[3]
  one, again, other = (moving.augment(raw, rng(seed)) for seed in (1, 1, 2))
  np.testing.assert_array_equal(one['audio'], again['audio'])
  assert abs(one['audio'] - other['audio']).max() > 0.01


def test_the_baseline_is_the_mean_of_the_training_frames(still, film):
  frames, audio = film
  train = np.setdiff1d(np.arange(132), HELD_OUT)
  mean = {'image': frames[train].mean(axis=0), 'audio': audio[train].mean()}
  for i in range(len(still.evaluation)):
    raw = still.evaluation[i]
    parts = slice(first_frame(raw), first_frame(raw) + 4)
    errors = still.prepare(raw)['mean_error']
    np.testing.assert_allclose(
      errors['image'],
      np.square(frames[parts] - mean['image']).mean(),
      rtol=1e-4,
    )
    np.testing.assert_allclose(
      errors['audio'], np.square(audio[parts] - mean['audio']).mean(), rtol=1e-4
    )


def test_means_by_hand():
  source = InMemory(
    [
      {'frames': np.full((1, 2), 51), 'audio': np.array([0.07, 0.14])},
      {'frames': np.full((3, 2), 153), 'audio': np.array([0.42])},
    ]
  )
  means = means_of(source)  # Of frames, not of stretches.
  np.testing.assert_allclose(means['image'], [0.5, 0.5])
  np.testing.assert_allclose(means['audio'], 3.0)
  means['audio'] = 3.0
  clip = {'image': np.array([[0.5, 1.0]]), 'audio': np.array([3.0, 5.0])}
  errors = squared_errors(clip, means)
  assert errors == {'image': np.float32(0.125), 'audio': np.float32(2.0)}


def test_batches(moving):
  batch = next(train_batches(moving, 8, seed=0, position=0))
  assert batch['image'].shape == (8, 4, 64, 64, 3)
  assert batch['audio'].shape == (8, 2560)
  assert batch['mean_error']['audio'].shape == (8,)
  (batch,) = evaluation_batches(moving, 16)
  assert batch['weight'].sum() == 8


def test_clips_by_hand():
  source = InMemory([{'frames': np.zeros(5)}, {'frames': np.zeros(3)}])
  clips = Windows(source, 'frames', length=3, hop=2)
  assert [clips[i]['start'] for i in range(len(clips))] == [0, 2, 0]


@pytest.mark.parametrize(
  ('option', 'value', 'text'),
  [
    ('num_frames', 9, 'from 1 to 8'),
    ('num_frames', 0, 'from 1 to 8'),
  ],
)
def test_clips_that_cannot_be(option, value, text):
  with pytest.raises(ValueError, match=text):
    bunny(None, **OPTIONS | {option: value}, **STILL)


def test_the_config_has_the_keys_of_its_data(data_dir):
  config = importlib.import_module('experiments.configs.bunny').get_config()
  section = dict(config.data)
  assert section.pop('name') == 'bunny'
  spec = bunny(data_dir, **section)
  assert spec.num_classes is None
  # The loudest sample of all is the peak.
  assert config.peaks.audio * 0.07 == pytest.approx(1.0)
