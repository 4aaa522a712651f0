"""Sound on the host: codes, and random changes that keep what is said.

A sound is float32 samples `[T]`. Every random choice comes from the
`np.random.Generator` that the caller hands in, so an example depends on its
seed alone.
"""

import functools

import numpy as np

_MU = 255
# Of 16-bit samples; 1 itself is one code beyond the largest.
_FULL_SCALE = 32_768
# A random filter is made of this many waves along the frequencies. The shortest
# is a quarter of all frequencies long: 1 kHz at a rate of 8 kHz, about what
# formants are apart.
_NUM_WAVES = 8


def decode_mu_law(codes: np.ndarray) -> np.ndarray:
  """Expands 8 bits to samples: sign(q) (256^(|q| / 127) - 1) / 255.

  Args:
    codes: int8, any shape, from -127 to 127.

  Returns:
    float32 in [-1, 1] of the same shape.
  """
  codes = codes.astype(np.float64)
  size = np.expm1(np.abs(codes) / 127 * np.log1p(_MU)) / _MU
  return (np.sign(codes) * size).astype(np.float32)


def encode_int16(samples: np.ndarray) -> np.ndarray:
  """Returns samples in [-1, 1] as int16."""
  codes = np.round(samples * _FULL_SCALE)
  return codes.clip(-_FULL_SCALE, _FULL_SCALE - 1).astype(np.int16)


def decode_int16(codes: np.ndarray) -> np.ndarray:
  """Returns int16 as float32 samples in [-1, 1]."""
  return codes.astype(np.float32) / _FULL_SCALE


def centred(samples: np.ndarray, length: int) -> np.ndarray:
  """Cuts, or pads with silence, on both sides alike: `[length]`."""
  start = max(0, (len(samples) - length) // 2)
  samples = samples[start : start + length]
  before = (length - len(samples)) // 2
  return np.pad(samples, (before, length - len(samples) - before))


def random_warp(
  samples: np.ndarray,
  rng: np.random.Generator,
  *,
  max_shift: float,
  max_speed_change: float,
) -> np.ndarray:
  """Moves the sound in time and plays it faster or slower.

  Silence comes in where the sound is gone; what is moved out is lost. Samples
  between two are interpolated linearly.

  Args:
    samples: `[T]`.
    rng: of all choices.
    max_shift: samples to either side; also by fractions of one.
    max_speed_change: 0.1 is from 0.9 to 1.1 times the speed, and so the pitch.

  Returns:
    float32 `[T]`.
  """
  shift = rng.uniform(-max_shift, max_shift)
  speed = 1.0 + rng.uniform(-max_speed_change, max_speed_change)
  times = np.arange(samples.size)
  warped = np.interp((times - shift) * speed, times, samples, left=0, right=0)
  return warped.astype(np.float32)


def random_filter(
  samples: np.ndarray,
  rng: np.random.Generator,
  *,
  decibels: float,
  rotate_phase: bool,
) -> np.ndarray:
  """Colours the sound as another mouth, room or microphone would.

  Frequencies get louder and softer along a smooth random curve; the pitch
  stays.

  Args:
    samples: `[T]`.
    rng: of all choices.
    decibels: standard deviation of the curve at any frequency.
    rotate_phase: whether all frequencies are also moved by one random phase,
      which changes the waveform but nothing that is heard. Half a turn is the
      opposite sign.

  Returns:
    float32 `[T]`.
  """
  spectrum = np.fft.rfft(samples)
  waves = _waves(spectrum.size)
  weights = rng.standard_normal(len(waves)) * decibels / np.sqrt(_NUM_WAVES)
  turn = rng.uniform(0.0, 2.0 * np.pi) if rotate_phase else 0.0
  spectrum *= _amplitude(weights @ waves) * np.exp(1j * turn)
  return np.fft.irfft(spectrum, samples.size).astype(np.float32)


def random_gain(
  samples: np.ndarray, rng: np.random.Generator, *, max_decibels: float
) -> np.ndarray:
  """Makes the whole sound louder or softer by up to `max_decibels`."""
  gain = _amplitude(rng.uniform(-max_decibels, max_decibels))
  return (gain * samples).astype(np.float32)


def add_noise(
  samples: np.ndarray, rng: np.random.Generator, *, max_stddev: float
) -> np.ndarray:
  """Adds white noise of a random standard deviation up to `max_stddev`."""
  stddev = rng.uniform(0.0, max_stddev)
  noise = rng.standard_normal(samples.size, np.float32)
  return samples + np.float32(stddev) * noise


@functools.cache
def _waves(num_frequencies: int) -> np.ndarray:
  """Cosines and sines `[2 waves, frequencies]` float64, half periods apart."""
  frequencies = np.linspace(0.0, np.pi, num_frequencies)
  angles = np.arange(1, _NUM_WAVES + 1)[:, None] * frequencies
  return np.concatenate([np.cos(angles), np.sin(angles)])


def _amplitude(decibels: float | np.ndarray) -> float | np.ndarray:
  return np.exp(decibels * (np.log(10.0) / 20.0))
