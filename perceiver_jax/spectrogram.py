"""Log-mel spectrograms on the device.

Shapes: B batch, T samples, F frames, W samples of a window, m mel bands.
"""

import functools
from typing import Protocol

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np


def mel_filters(
  sample_rate: float,
  window_size: int,
  num_mels: int,
  min_frequency: float = 0.0,
  max_frequency: float | None = None,
) -> np.ndarray:
  """Triangular filters, equally spaced on Slaney's mel scale, of equal area.

  Args:
    sample_rate: in Hz.
    window_size: W.
    num_mels: m.
    min_frequency: where the first triangle begins, in Hz.
    max_frequency: where the last one ends, in Hz; default half the rate.

  Returns:
    `[W // 2 + 1, m]` float64, from power spectrum to mel bands.

  Raises:
    ValueError: an argument is out of its range, or a filter has no bin.
  """
  if max_frequency is None:
    max_frequency = sample_rate / 2
  if not 0.0 <= min_frequency < max_frequency <= sample_rate / 2:
    raise ValueError(
      'Frequencies must satisfy 0 <= min_frequency < max_frequency <= '
      f'sample_rate / 2, got {min_frequency}, {max_frequency} and a rate of '
      f'{sample_rate} Hz.'
    )
  mels = np.linspace(
    _to_mel(min_frequency), _to_mel(max_frequency), num_mels + 2
  )
  edges = _from_mel(mels)  # [m + 2] Hz
  bins = np.fft.rfftfreq(window_size, 1 / sample_rate)[:, None]
  left, centre, right = edges[:-2], edges[1:-1], edges[2:]
  rising = (bins - left) / (centre - left)
  falling = (right - bins) / (right - centre)
  filters = np.maximum(0.0, np.minimum(rising, falling))
  if not filters.any(axis=0).all():
    raise ValueError(
      f'num_mels = {num_mels} is too many for a window of {window_size} '
      f'samples at {sample_rate} Hz: some bands fall between two frequencies. '
      'Ask for fewer bands or a longer window.'
    )
  return filters * (2.0 / (right - left))


def log_mel_spectrogram(
  samples: jax.Array,
  *,
  sample_rate: float,
  window_size: int,
  hop_size: int,
  num_mels: int,
  min_frequency: float = 0.0,
  max_frequency: float | None = None,
  floor: float = 1e-5,
) -> jax.Array:
  """Natural logarithm of the mel bands' power.

  Periodic Hann windows, centred on every hop-th sample, the sound mirrored at
  its ends; the same numbers as librosa's `melspectrogram` with power 2.

  Args:
    samples: `[B, T]`, in [-1, 1].
    sample_rate: in Hz.
    window_size: W.
    hop_size: samples from frame to frame.
    num_mels: m.
    min_frequency: in Hz.
    max_frequency: in Hz; default half the rate.
    floor: added to the power before the logarithm.

  Returns:
    `[B, T // hop_size, m]`, in float32 or wider; the frame centred on the very
    end, if the hop divides T, is left out.

  Raises:
    ValueError: the sound is shorter than half a window.
  """
  samples = samples.astype(jnp.promote_types(samples.dtype, jnp.float32))
  if min(hop_size, num_mels) < 1:
    raise ValueError(
      f'hop_size and num_mels must be at least 1, got {hop_size}, {num_mels}.'
    )
  num_samples = samples.shape[-1]
  if num_samples <= window_size // 2:
    raise ValueError(
      f'{num_samples} samples are too few for a window of {window_size}.'
    )
  filters = mel_filters(
    sample_rate, window_size, num_mels, min_frequency, max_frequency
  )
  half = window_size // 2
  padded = jnp.pad(samples, ((0, 0), (half, half)), mode='reflect')
  starts = np.arange(num_samples // hop_size) * hop_size
  frames = padded[:, starts[:, None] + np.arange(window_size)]  # [B, F, W]
  window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(window_size) / window_size)
  window = jnp.asarray(window, samples.dtype)
  spectrum = jnp.fft.rfft(frames * window[None, None], axis=-1)
  power = jnp.square(spectrum.real) + jnp.square(spectrum.imag)
  mel = jnp.einsum(
    'bfw,wm->bfm',
    power,
    jnp.asarray(filters, power.dtype),
    precision='highest',
  )
  return jnp.log(mel + floor)


def mask_spectrogram(
  spectrogram: jax.Array,
  rng: jax.Array,
  *,
  time_masks: int,
  max_masked_frames: int,
  frequency_masks: int,
  max_masked_bands: int,
) -> jax.Array:
  """SpecAugment's masks: random runs of frames and of bands become the mean.

  The length of each run is uniform from 0 to the largest, and so is where it
  begins; runs may overlap (Park et al., arXiv 1904.08779, section 2, which
  warps the time besides).

  Args:
    spectrogram: `[B, F, m]`.
    rng: key of the masks, other ones for each example.
    time_masks: runs of frames.
    max_masked_frames: in such a run, at most F.
    frequency_masks: runs of bands.
    max_masked_bands: in such a run, at most m.

  Returns:
    `[B, F, m]`; what is masked has the mean of the example's spectrogram.

  Raises:
    ValueError: a number is negative, or a run is longer than its axis.
  """
  batch, frames, bands = spectrogram.shape
  time_key, frequency_key = jax.random.split(rng)
  in_time = _random_runs(
    time_key, batch, frames, time_masks, max_masked_frames, 'max_masked_frames'
  )
  in_frequency = _random_runs(
    frequency_key,
    batch,
    bands,
    frequency_masks,
    max_masked_bands,
    'max_masked_bands',
  )
  mean = spectrogram.mean(axis=(1, 2), keepdims=True)
  masked = in_time[:, :, None] | in_frequency[:, None, :]
  return jnp.where(masked, mean, spectrogram)


class HasMasks(Protocol):
  """What has the settings of `mask_spectrogram` as attributes."""

  time_masks: int
  max_masked_frames: int
  frequency_masks: int
  max_masked_bands: int


def spec_augment(settings: HasMasks, spectrogram: jax.Array) -> jax.Array:
  """Masks parts of `[B, F, m]` with a random key of Haiku's.

  Without masks no key is taken.

  Args:
    settings: the module whose spectrogram it is.
    spectrogram: in training.
  """
  if not settings.time_masks and not settings.frequency_masks:
    return spectrogram
  return mask_spectrogram(
    spectrogram,
    hk.next_rng_key(),
    time_masks=settings.time_masks,
    max_masked_frames=settings.max_masked_frames,
    frequency_masks=settings.frequency_masks,
    max_masked_bands=settings.max_masked_bands,
  )


def _random_runs(
  rng: jax.Array, batch: int, size: int, number: int, longest: int, name: str
) -> jax.Array:
  """Returns `[B, size]` bool: what lies in any of `number` random runs."""
  if number < 0 or not 0 <= longest <= size:
    raise ValueError(
      f'{name} must be from 0 to {size}, the length of its axis, and the '
      f'number of masks at least 0; got {longest} and {number}.'
    )
  length_key, start_key = jax.random.split(rng)
  lengths = jax.random.randint(length_key, (batch, number, 1), 0, longest + 1)
  starts = jax.random.randint(start_key, lengths.shape, 0, size - lengths + 1)
  places = jnp.arange(size)[None, None]
  inside = (places >= starts) & (places < starts + lengths)
  return inside.any(axis=1)


# Slaney's mel scale: linear below 1 kHz, logarithmic above.
_BREAK_HZ, _HZ_A_MEL, _LOG_STEP = 1000.0, 200.0 / 3.0, np.log(6.4) / 27.0


@functools.partial(np.vectorize, otypes=[float])
def _to_mel(frequency: float) -> float:
  if frequency < _BREAK_HZ:
    return frequency / _HZ_A_MEL
  return _BREAK_HZ / _HZ_A_MEL + np.log(frequency / _BREAK_HZ) / _LOG_STEP


def _from_mel(mels: np.ndarray) -> np.ndarray:
  break_mel = _BREAK_HZ / _HZ_A_MEL
  above = _BREAK_HZ * np.exp(_LOG_STEP * (mels - break_mel))
  return np.where(mels < break_mel, mels * _HZ_A_MEL, above)
