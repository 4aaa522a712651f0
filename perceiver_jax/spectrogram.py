"""Log-mel spectrograms on the device.

Shapes: B batch, T samples, F frames, W samples of a window, m mel bands.
"""

import functools

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
