"""Sound on the host: mu-law, and random changes that keep what is said.

A sound is float32 samples `[T]`. Every random choice comes from the
`np.random.Generator` that the caller hands in, so an example depends on its
seed alone.
"""

import numpy as np

_MU = 255
# Of a random filter: cosines over the whole band, the first is half a period.
_FILTER_COSINES = 8


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
  max_decibels: float,
  rotate_phase: bool,
) -> np.ndarray:
  """Colours the sound as another mouth, room or microphone would.

  The frequencies are weighted by a smooth random curve, a sum of cosines. The
  pitch stays.

  Args:
    samples: `[T]`.
    rng: of all choices.
    max_decibels: by which any frequency gets louder or softer, at most.
    rotate_phase: whether all frequencies are also moved by one random phase,
      which changes the waveform and cannot be heard. Half a turn is the
      opposite sign.

  Returns:
    float32 `[T]`.
  """
  spectrum = np.fft.rfft(samples)
  weights = rng.uniform(-1.0, 1.0, _FILTER_COSINES)
  phases = rng.uniform(0.0, 2.0 * np.pi, _FILTER_COSINES)
  frequencies = np.linspace(0.0, np.pi, spectrum.size)
  waves = np.arange(1, _FILTER_COSINES + 1)
  curve = np.cos(frequencies[:, None] * waves + phases) @ weights
  decibels = max_decibels * curve / _FILTER_COSINES
  turn = rng.uniform(0.0, 2.0 * np.pi) if rotate_phase else 0.0
  spectrum *= 10.0 ** (decibels / 20.0) * np.exp(1j * turn)
  return np.fft.irfft(spectrum, samples.size).astype(np.float32)


def random_gain(
  samples: np.ndarray, rng: np.random.Generator, *, max_decibels: float
) -> np.ndarray:
  """Makes the whole sound louder or softer by up to `max_decibels`."""
  decibels = rng.uniform(-max_decibels, max_decibels)
  return (10.0 ** (decibels / 20.0) * samples).astype(np.float32)


def add_noise(
  samples: np.ndarray, rng: np.random.Generator, *, max_stddev: float
) -> np.ndarray:
  """Adds white noise of a random standard deviation up to `max_stddev`."""
  stddev = rng.uniform(0.0, max_stddev)
  noise = rng.standard_normal(samples.size, np.float32)
  return samples + np.float32(stddev) * noise
