"""Sound as frames of its spectrogram: an input hears all bands at once.

Shapes: B batch, T samples, F frames, m mel bands, k frames of an input.
"""

import dataclasses

import einops
import haiku as hk
import jax
import jax.numpy as jnp

from perceiver_jax.byte_array import ByteArray
from perceiver_jax.position_encoding import PositionEncoding
from perceiver_jax.preprocessors import grid_byte_array
from perceiver_jax.spectrogram import log_mel_spectrogram, spec_augment


@dataclasses.dataclass(kw_only=True)
class MelFrames(hk.Module):
  """Frames of a log-mel spectrogram are the inputs, their bands the features.

  Each frame comes with its change over time, half the difference of its two
  neighbours. `MelSpectrogram` has the bins as inputs of one channel each: what
  a sound is then has to be put together by attention alone, which takes large
  data; whole frames are what small data can be learned from.

  The masks of training are SpecAugment's, see `spectrogram.mask_spectrogram`.

  Attributes:
    positions: encoding of the inputs on one axis, or None.
    sample_rate: of the sound, in Hz.
    window_size: samples of a frame.
    hop_size: samples from frame to frame.
    num_mels: m.
    frames_per_input: k.
    scale: the logarithm is multiplied by it, to be of about unit size.
    floor: of the power, see `log_mel_spectrogram`.
    time_masks: runs of frames that are masked in training.
    max_masked_frames: in such a run.
    frequency_masks: runs of bands that are masked in training.
    max_masked_bands: in such a run.
    name: Haiku name.
  """

  positions: PositionEncoding | None
  sample_rate: float
  window_size: int
  hop_size: int
  num_mels: int
  frames_per_input: int = 1
  scale: float = 0.25
  floor: float = 1e-3
  time_masks: int = 0
  max_masked_frames: int = 0
  frequency_masks: int = 0
  max_masked_bands: int = 0
  name: str | None = None

  def __call__(
    self, samples: jax.Array, *, is_training: bool = False
  ) -> ByteArray:
    """Maps samples `[B, T]` to F / k inputs of 2 k m channels.

    Args:
      samples: of about unit variance.
      is_training: whether parts are masked.

    Returns:
      F = T // hop_size, rounded up to whole inputs by repeating the last frame.
    """
    spectrogram = log_mel_spectrogram(
      samples,
      sample_rate=self.sample_rate,
      window_size=self.window_size,
      hop_size=self.hop_size,
      num_mels=self.num_mels,
      floor=self.floor,
    )
    if is_training:
      spectrogram = spec_augment(self, spectrogram)
    frames = self.scale * spectrogram
    missing = -frames.shape[1] % self.frames_per_input
    padded = jnp.pad(frames, ((0, 0), (1, 1 + missing), (0, 0)), mode='edge')
    change = (padded[:, 2:] - padded[:, :-2]) / 2
    features = jnp.concatenate([padded[:, 1:-1], change], axis=-1)
    features = einops.rearrange(
      features, 'b (f k) c -> b f (k c)', k=self.frames_per_input
    )
    return grid_byte_array(features, self.positions)
