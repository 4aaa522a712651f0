"""Classical features of a sound: statistics of its cepstrum."""

import numpy as np
import scipy.fft

from experiments.data.classical import Classical, support_vectors
from experiments.modalities.sound.view import Sound
from perceiver_jax.spectrogram import log_mel_spectrogram

_WINDOW_SECONDS, _LEAST_WINDOW, _MELS, _CEPSTRA = 0.032, 256, 40, 20


def cepstral_statistics(view: Sound) -> np.ndarray:
  """Returns means, deviations and quantiles of MFCC and of their changes.

  Args:
    view: of an example.
  """
  window = max(_LEAST_WINDOW, round(_WINDOW_SECONDS * view.rate))
  samples = np.asarray(view.samples, np.float32)
  samples = np.pad(samples, (0, max(0, 2 * window - samples.size)))
  mel = log_mel_spectrogram(
    samples[None],
    sample_rate=view.rate,
    window_size=window,
    hop_size=window // 3,
    num_mels=_MELS,
  )
  cepstra = scipy.fft.dct(np.asarray(mel)[0], norm='ortho')[:, :_CEPSTRA]
  changes = np.gradient(cepstra, axis=0)
  low, high = np.quantile(cepstra, [0.1, 0.9], axis=0)
  return np.concatenate(
    [
      *(cepstra.mean(axis=0), cepstra.std(axis=0), low, high),
      *(changes.mean(axis=0), changes.std(axis=0)),
    ]
  )


CEPSTRAL = Classical(
  'statistics of MFCC, support vectors', cepstral_statistics, support_vectors
)
