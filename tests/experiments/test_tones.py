"""Spoken tones: mu-law, syllables that are held out, changes of sounds."""

import collections

import numpy as np
import pytest

from experiments.data.pipeline import train_batches
from experiments.datasets.embedded_builder import FILES
from experiments.datasets.tones import held_out, tones
from experiments.modalities.sound.augmentation import (
  add_noise,
  decode_mu_law,
  random_filter,
  random_gain,
  random_warp,
)

STILL = dict(
  max_shift=0.0,
  max_speed_change=0.0,
  filter_decibels=0.0,
  rotate_phase=False,
  max_gain_decibels=0.0,
  max_noise=0.0,
)
CHANGES = dict(
  max_shift=400.0,
  max_speed_change=0.1,
  filter_decibels=6.0,
  rotate_phase=True,
  max_gain_decibels=6.0,
  max_noise=0.1,
)


def rng(seed):
  return np.random.default_rng(seed)


def noise(seed, size):
  return rng(seed).standard_normal(size).astype(np.float32)


# Sounds.


def test_mu_law_in_numbers():
  codes = np.int8([-127, -64, -1, 0, 1, 64, 127])
  samples = decode_mu_law(codes)
  # (256^(64 / 127) - 1) / 255 = (16.35314 - 1) / 255, and so on.
  expected = [-1.0, -0.06020841, -1.750198e-4, 0, 1.750198e-4, 0.06020841, 1.0]
  np.testing.assert_allclose(samples, expected, rtol=1e-5)
  assert samples.dtype == np.float32


def test_mu_law_is_the_inverse_of_its_compression():
  codes = np.arange(-127, 128).astype(np.int8)
  samples = decode_mu_law(codes).astype(np.float64)
  compressed = np.log1p(255 * np.abs(samples)) / np.log(256)
  np.testing.assert_allclose(
    127 * np.sign(samples) * compressed, codes, atol=1e-4
  )


def test_a_warp_is_a_line_of_times():
  # Interpolation is exact on a line, which shows where each sample came from.
  times = np.arange(1000.0)
  shifts, speeds = [], []
  for seed in range(60):
    warped = random_warp(times, rng(seed), max_shift=30.0, max_speed_change=0.1)
    inside = slice(100, 850)
    speed, start = np.polyfit(times[inside], warped[inside], 1)
    line = speed * times[inside] + start
    np.testing.assert_allclose(warped[inside], line, atol=1e-3)
    assert warped.dtype == np.float32
    speeds.append(speed)
    shifts.append(-start / speed)
  for values, low, high in [(shifts, -30.0, 30.0), (speeds, 0.9, 1.1)]:
    size = high - low
    assert low - 1e-3 < min(values) < low + 0.1 * size
    assert high + 1e-3 > max(values) > high - 0.1 * size


def test_silence_comes_in_where_the_sound_is_gone():
  warped = random_warp(
    np.ones(200, np.float32), rng(0), max_shift=50.0, max_speed_change=0.0
  )
  shift = rng(0).uniform(-50.0, 50.0)
  assert shift > 10
  np.testing.assert_array_equal(
    warped, np.where(np.arange(200) < shift, 0.0, 1.0)
  )


def spectrum(samples):
  return np.fft.rfft(samples.astype(np.float64))


def test_a_rotated_phase_leaves_the_loudness_of_each_frequency():
  samples = noise(0, 256)
  turns = set()
  for seed in range(5):
    rotated = random_filter(samples, rng(seed), decibels=0.0, rotate_phase=True)
    # The lowest and the highest frequency have no phase.
    ratio = (spectrum(rotated) / spectrum(samples))[1:-1]
    np.testing.assert_allclose(np.abs(ratio), 1.0, atol=1e-4)
    np.testing.assert_allclose(ratio, ratio[0], atol=1e-3)
    turns.add(round(float(np.angle(ratio[0])), 3))
  assert len(turns) == 5


def test_a_filter_weights_frequencies_smoothly_by_so_many_decibels():
  samples = noise(0, 512)
  curves = np.stack(
    [
      20
      * np.log10(
        np.abs(
          spectrum(
            random_filter(samples, rng(seed), decibels=6.0, rotate_phase=False)
          )
          / spectrum(samples)
        )
      )
      for seed in range(300)
    ]
  )
  assert abs(curves.mean()) < 0.4
  np.testing.assert_allclose(curves.std(axis=0), 6.0, rtol=0.2)
  # A step is 1/256 of all frequencies, the shortest wave 64 steps.
  assert np.abs(np.diff(curves)).max() < 3.0


def test_a_filter_of_no_decibels_changes_nothing():
  samples = noise(0, 512)
  same = random_filter(samples, rng(0), decibels=0.0, rotate_phase=False)
  np.testing.assert_allclose(same, samples, atol=1e-6)


def test_gains_are_within_their_decibels():
  samples = noise(0, 16)
  gains = []
  for seed in range(60):
    ratio = random_gain(samples, rng(seed), max_decibels=6.0) / samples
    np.testing.assert_allclose(ratio, ratio[0], rtol=1e-5)
    gains.append(20 * np.log10(ratio[0]))
  assert -6.0 <= min(gains) < -5.0
  assert 5.0 < max(gains) <= 6.0


def test_noise_is_white_and_of_at_most_its_deviation():
  silence = np.zeros(10_000, np.float32)
  sounds = [add_noise(silence, rng(seed), max_stddev=0.5) for seed in range(40)]
  deviations = [sound.std() for sound in sounds]
  assert 0.0 <= min(deviations) < 0.1
  assert 0.4 < max(deviations) < 0.51
  loudest = sounds[int(np.argmax(deviations))]
  assert abs(loudest.mean()) < 0.02
  neighbours = np.mean(loudest[1:] * loudest[:-1]) / loudest.var()
  assert abs(neighbours) < 0.05


# The data set.


@pytest.fixture(scope='module')
def data_dir(tmp_path_factory):
  return str(tmp_path_factory.mktemp('data'))


@pytest.fixture(scope='module')
def still(data_dir):
  """Tones that training does not change."""
  return tones(data_dir, **STILL).load()


@pytest.fixture(scope='module')
def changed(data_dir):
  return tones(data_dir, **CHANGES).load()


@pytest.fixture(scope='module')
def embedded():
  with np.load(FILES / 'tones.npz', allow_pickle=False) as arrays:
    return dict(arrays)


def examples(source):
  return [source[i] for i in range(len(source))]


def test_a_syllable_is_held_out_in_all_its_tones():
  syllables = np.array(['a', 'b', 'c', 'd', 'e', 'c', 'a', 'e', 'b', 'd'])
  chosen = held_out(syllables)
  assert len(set(syllables[chosen])) == 1
  assert not set(syllables[chosen]) & set(syllables[~chosen])
  np.testing.assert_array_equal(held_out(syllables[::-1]), chosen[::-1])


def test_no_syllable_is_in_training_and_test(still):
  train = {example['syllable'] for example in examples(still.train)}
  test = {example['syllable'] for example in examples(still.evaluation)}
  assert not train & test
  assert (len(train), len(test)) == (309, 77)


def test_tones_have_929_and_218_examples(still):
  # Another split is another task: the measured accuracies are of this one.
  for source, counts in [
    (still.train, [245, 192, 231, 261]),
    (still.evaluation, [58, 44, 57, 59]),
  ]:
    labels = [example['label'] for example in examples(source)]
    assert np.bincount(labels).tolist() == counts


def test_tones_are_those_of_the_embedded_file(still, embedded):
  audio = decode_mu_law(embedded['audio_mulaw'])
  np.testing.assert_allclose(np.abs(audio).max(axis=1), 1.0)
  expected = collections.Counter(
    (int(tone), sound.tobytes())
    for tone, sound in zip(embedded['tone'], audio, strict=True)
  )
  actual = collections.Counter(
    (int(example['label']), example['audio'].tobytes())
    for source in (still.train, still.evaluation)
    for example in examples(source)
  )
  assert actual == expected


def test_tones_have_about_zero_mean_and_unit_variance(still):
  audio = np.stack(
    [still.prepare(example)['audio'] for example in examples(still.train)]
  )
  assert audio.shape == (929, 4096)
  assert audio.dtype == np.float32
  assert abs(audio.mean()) < 0.02
  assert abs(audio.std() - 1.0) < 0.03


def test_an_evaluation_example_is_only_scaled(changed):
  example = changed.evaluation[3]
  prepared = changed.prepare(example)
  np.testing.assert_allclose(
    prepared['audio'], example['audio'] / 0.17, rtol=1e-6
  )
  assert prepared['label'] == example['label']
  assert prepared['label'].dtype == np.int32
  assert set(prepared) == {'audio', 'label'}


def test_training_sounds_without_changes_are_evaluation_sounds(still):
  for seed in range(10):
    example = still.train[seed]
    trained, prepared = (
      still.augment(example, rng(seed)),
      still.prepare(example),
    )
    np.testing.assert_allclose(trained['audio'], prepared['audio'], atol=1e-5)
    assert trained['label'] == prepared['label']


def test_training_sounds_change_with_the_generator_alone(changed):
  example = changed.train[0]
  one, two, again = (
    changed.augment(example, rng(seed))['audio'] for seed in (1, 2, 1)
  )
  np.testing.assert_array_equal(one, again)
  assert np.abs(one - two).max() > 1.0
  assert one.dtype == np.float32
  assert one.shape == (4096,)


@pytest.mark.parametrize('option', sorted(CHANGES))
def test_every_option_changes_training_sounds(data_dir, still, option):
  changing = tones(data_dir, **{**STILL, option: CHANGES[option]}).load()
  example = still.train[0]
  changed = changing.augment(example, rng(0))['audio']
  assert np.abs(changed - still.prepare(example)['audio']).max() > 0.1


@pytest.mark.parametrize(
  ('option', 'value', 'message'),
  [
    ('max_shift', -1.0, 'max_shift must not be negative, got -1.0'),
    ('max_speed_change', 1.0, r'max_speed_change must be in \[0, 1\), got 1.0'),
    ('filter_decibels', -3.0, 'filter_decibels must not be negative'),
    ('max_gain_decibels', -3.0, 'max_gain_decibels must not be negative'),
    ('max_noise', -0.1, 'max_noise must not be negative'),
  ],
)
def test_options_out_of_range_are_refused(option, value, message):
  with pytest.raises(ValueError, match=message):
    tones(None, **{**STILL, option: value})


def test_tones_train_in_batches(changed):
  batch = next(train_batches(changed, 8, seed=0, position=0))
  assert {key: value.shape for key, value in batch.items()} == {
    'audio': (8, 4096),
    'label': (8,),
    'weight': (8,),
  }
  assert batch['label'].dtype == np.int32
