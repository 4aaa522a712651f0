"""Log-mel spectrograms against librosa and closed forms."""

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from perceiver_jax.preprocessors import MelSpectrogram
from perceiver_jax.spectrogram import (
  log_mel_spectrogram,
  mask_spectrogram,
  mel_filters,
)

RATE = 8000
FULL = {'window_size': 256, 'hop_size': 128, 'num_mels': 20}
LIMITED = {
  'window_size': 200,
  'hop_size': 100,
  'num_mels': 8,
  'min_frequency': 300.0,
  'max_frequency': 3000.0,
}
ODD = {'window_size': 101, 'hop_size': 64, 'num_mels': 6}


def chirp():
  """200 Hz at first, 3200 Hz after 1/8 of a second."""
  seconds = np.arange(1000) / RATE
  phase = 2 * np.pi * (200 * seconds + 12_000 * seconds**2)
  return jnp.asarray(0.5 * np.sin(phase)[None], jnp.float32)


def spectrogram(samples, **settings):
  return np.asarray(log_mel_spectrogram(samples, sample_rate=RATE, **settings))


# Of librosa 0.11.0, in float64: log(1e-5 + melspectrogram(y=chirp, sr=8000,
# n_fft=window_size, hop_length=hop_size, n_mels, fmin, fmax, power=2,
# center=True, pad_mode='reflect')). Frames 0, 3 and the last one, some bands.
@pytest.mark.parametrize(
  ('settings', 'frames', 'bands', 'librosa'),
  [
    (
      FULL,
      7,
      [0, 4, 8, 12, 16],
      [
        [0.75174, -2.11361, -5.99508, -7.71446, -9.09857],
        [-11.51274, -11.49173, -2.78726, -0.14351, -11.51243],
        [-11.51293, -11.51292, -11.5129, -11.50708, 1.28477],
      ],
    ),
    (
      LIMITED,
      10,
      [0, 1, 2, 3, 4, 7],
      [
        [-0.86411, -4.53736, -5.67733, -6.55613, -7.32683, -9.24618],
        [-10.83313, -5.23539, -0.33707, 1.05263, -0.57575, -11.51261],
        [-11.51292, -11.51292, -11.51291, -11.5129, -11.51284, -1.02279],
      ],
    ),
    (
      ODD,
      15,
      [0, 1, 2, 3, 4, 5],
      [
        [-0.98916, -4.03922, -6.77025, -8.17736, -9.30863, -10.09861],
        [-5.66775, -0.7392, -1.57005, -9.75977, -11.51095, -11.51289],
        [-11.51291, -11.51288, -11.51278, -11.5116, -6.09023, -1.49113],
      ],
    ),
  ],
)
def test_a_chirp_gives_the_numbers_of_librosa(settings, frames, bands, librosa):
  ours = spectrogram(chirp(), **settings)
  assert ours.shape == (1, frames, settings['num_mels'])
  np.testing.assert_allclose(
    ours[0, [0, 3, -1]][:, bands], librosa, rtol=0, atol=2e-4
  )


def test_a_pure_tone_is_loudest_in_the_band_around_it():
  # Below 1 kHz Slaney's scale is linear: bands around 100, 200, ..., 800 Hz.
  settings = {'window_size': 400, 'hop_size': 200, 'num_mels': 8}
  for band, frequency in ((0, 100), (4, 500), (7, 800)):
    tone = np.sin(2 * np.pi * frequency * np.arange(2000) / RATE)
    loudness = spectrogram(
      jnp.asarray(tone[None], jnp.float32), max_frequency=900.0, **settings
    )
    assert (loudness[0, 1:-1].argmax(axis=-1) == band).all()


def test_a_tone_in_the_middle_of_a_band_has_the_power_of_the_closed_form():
  # A cosine on a bin: the Hann window's sum is W/2, half of it at +f, and half
  # of that in each neighbour. The triangle from 400 to 600 Hz has height 2/200.
  window, frequency = 400, 500
  tone = np.cos(2 * np.pi * frequency * np.arange(2000) / RATE)
  loudness = spectrogram(
    jnp.asarray(tone[None], jnp.float32),
    window_size=window,
    hop_size=200,
    num_mels=8,
    max_frequency=900.0,
  )
  peak = (window / 4) ** 2
  # Bins are 20 Hz apart: 480 and 520 Hz have 0.8 of the triangle's height.
  power = 2 / 200 * (peak + 2 * 0.8 * peak / 4)
  np.testing.assert_allclose(loudness[0, 3, 4], np.log(power), atol=1e-4)


def test_filters_have_unit_area():
  filters = mel_filters(48_000, 16_384, 64)
  assert filters.shape == (8193, 64)
  hertz_a_bin = 48_000 / 16_384
  np.testing.assert_allclose(filters.sum(axis=0) * hertz_a_bin, 1.0, rtol=2e-3)


def test_bands_have_equal_width_below_1_khz_and_equal_ratios_above():
  centres = mel_filters(16_000, 16_384, 40).argmax(axis=0) * 16_000 / 16_384
  low, high = centres[centres < 950], centres[centres > 1050]
  np.testing.assert_allclose(np.diff(low), np.diff(low)[0], atol=1.5)
  ratios = high[1:] / high[:-1]
  np.testing.assert_allclose(ratios, ratios.mean(), rtol=2e-3)
  # Mels 0 to 15 are 1 kHz, 27 more make 6.4 kHz.
  mels = 15 + 27 * np.log(8.0) / np.log(6.4)
  np.testing.assert_allclose(np.diff(low)[0], mels / 41 * 200 / 3, rtol=0.01)


def test_silence_is_the_logarithm_of_the_floor():
  silence = jnp.zeros((2, 300))
  for floor in (1e-5, 1e-2):
    np.testing.assert_allclose(
      spectrogram(silence, floor=floor, **FULL), np.log(floor), rtol=1e-6
    )


def test_half_precision_sound_is_analysed_in_float32():
  samples = chirp().astype(jnp.bfloat16)
  ours = spectrogram(samples, **ODD)
  assert ours.dtype == np.float32
  np.testing.assert_array_equal(
    ours, spectrogram(samples.astype(jnp.float32), **ODD)
  )


def test_the_gradient_of_silence_is_finite():
  gradient = jax.jit(
    jax.grad(lambda x: log_mel_spectrogram(x, sample_rate=RATE, **ODD).sum())
  )(jnp.zeros((1, 200)))
  assert np.isfinite(gradient).all()


@pytest.mark.parametrize(
  ('change', 'message'),
  [
    ({'min_frequency': -1.0}, '0 <= min_frequency'),
    ({'min_frequency': 3000.0, 'max_frequency': 2000.0}, '3000.0, 2000.0'),
    ({'max_frequency': 4001.0}, 'a rate of 8000 Hz'),
    ({'num_mels': 300}, 'num_mels = 300 is too many for a window of 256'),
    ({'window_size': 2000}, '1000 samples are too few for a window of 2000'),
  ],
)
def test_bad_arguments(change, message):
  with pytest.raises(ValueError, match=message):
    spectrogram(chirp(), **(FULL | change))


# SpecAugment.


@pytest.fixture(scope='module')
def masks():
  """Where spectrograms of 20 frames and 10 bands are masked, of many seeds."""
  values = np.random.default_rng(0).standard_normal((4000, 20, 10))
  values = jnp.asarray(values, jnp.float32)

  def masked(**settings):
    numbers = dict(
      time_masks=0, max_masked_frames=5, frequency_masks=0, max_masked_bands=4
    )
    result = mask_spectrogram(values, jax.random.key(0), **numbers | settings)
    changed = np.asarray(result != values)
    means = np.broadcast_to(values.mean((1, 2), keepdims=True), values.shape)
    np.testing.assert_allclose(result[changed], means[changed], atol=1e-6)
    return changed

  return masked


def test_a_mask_of_frames_is_one_run_of_uniform_length(masks):
  masked = masks(time_masks=1)
  # All bands alike.
  np.testing.assert_array_equal(
    masked, np.broadcast_to(masked[..., :1], masked.shape)
  )
  frames = masked[..., 0]
  lengths = frames.sum(axis=1)
  counts = np.bincount(lengths, minlength=6) / len(lengths)
  np.testing.assert_allclose(counts, 1 / 6, atol=0.03)
  # One run: it begins once at most.
  begins = np.diff(frames.astype(int), axis=1, prepend=0) == 1
  np.testing.assert_array_equal(begins.sum(axis=1), lengths > 0)
  starts = np.bincount(begins[lengths == 5].argmax(axis=1), minlength=16)
  np.testing.assert_allclose(starts / starts.sum(), 1 / 16, atol=0.03)


def test_masks_of_bands_and_frames_are_drawn_for_each_on_its_own(masks):
  frames = masks(time_masks=2)[..., 0].mean()
  both = masks(time_masks=2, frequency_masks=2)
  # A band of 10 that is masked takes all frames with it.
  bands = both.all(axis=1).mean()
  expected = 1 - (1 - frames) * (1 - bands)
  np.testing.assert_allclose(both.mean(), expected, atol=0.01)
  assert 0.1 < frames < 0.25 and 0.2 < bands < 0.4


def test_masks_are_of_training_only():
  settings = dict(
    positions=None,
    sample_rate=8000.0,
    window_size=256,
    hop_size=100,
    num_mels=8,
  )
  masked = dict(
    time_masks=1, max_masked_frames=8, frequency_masks=1, max_masked_bands=4
  )
  model = hk.transform(
    lambda x, is_training, **more: (
      MelSpectrogram(**settings, **more)(x, is_training=is_training).features
    )
  )
  samples = jnp.repeat(chirp(), 8, axis=0)
  key = jax.random.key(1)
  plain = model.apply({}, None, samples, True)
  np.testing.assert_array_equal(
    plain, model.apply({}, None, samples, False, **masked)
  )
  changed = model.apply({}, key, samples, True, **masked) != plain
  shares = np.asarray(changed).mean(axis=(1, 2))
  assert len(np.unique(shares)) > 3 and shares.max() < 1.0


@pytest.mark.parametrize(
  ('change', 'message'),
  [
    ({'time_masks': 1, 'max_masked_frames': 21}, 'max_masked_frames.*0 to 20'),
    ({'max_masked_bands': 11}, 'max_masked_bands.*0 to 10'),
    ({'frequency_masks': -1}, 'at least 0; got 4 and -1'),
  ],
)
def test_masks_that_do_not_fit(masks, change, message):
  with pytest.raises(ValueError, match=message):
    masks(**change)
