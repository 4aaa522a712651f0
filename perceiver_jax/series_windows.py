"""Measurements over time as overlapping windows with their spectra.

Shapes: B batch, T steps, C channels, M inputs, W steps of a window.
"""

import dataclasses

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np

from perceiver_jax.byte_array import ByteArray
from perceiver_jax.patches import space_to_depth
from perceiver_jax.position_encoding import PositionEncoding
from perceiver_jax.preprocessors import grid_byte_array


def window_spectra(
  series: jax.Array, *, hop: int, window: int, floor: float
) -> tuple[jax.Array, jax.Array]:
  """Mean and spectrum of what is around each hop.

  Periodic Hann windows, centred on the middles of hops; the series goes on with
  its first and last values beyond its ends.

  Args:
    series: `[B, T, C]`; hop divides T.
    hop: steps from window to window.
    window: W.
    floor: added to the power before the logarithm.

  Returns:
    Means `[B, T / hop, C]`, and `[B, T / hop, C, W / 2]` the natural logarithm
    of the power of what is left without the mean, from one turn a window on. A
    sine of amplitude a has the power a^2 / 4 where it turns a whole number of
    times.
  """
  before = (window - hop) // 2
  after = max(0, window - hop - before)
  padded = jnp.pad(
    series, ((0, 0), (max(0, before), after), (0, 0)), mode='edge'
  )
  starts = np.arange(series.shape[1] // hop) * hop + max(0, -before)
  windows = padded[:, starts[:, None] + np.arange(window)]  # [B, M, W, C]
  hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(window) / window)
  hann = jnp.asarray(hann / hann.sum(), series.dtype)[None, None, :, None]
  means = (hann * windows).sum(axis=2)
  spectrum = jnp.fft.rfft(hann * (windows - means[:, :, None]), axis=2)
  power = jnp.square(spectrum.real) + jnp.square(spectrum.imag)
  logarithms = jnp.log(power[:, :, 1 : window // 2 + 1] + floor)
  return means, logarithms.swapaxes(2, 3)


def series_statistics(series: jax.Array) -> jax.Array:
  """What a series is like as a whole.

  Steps that are zero in all channels, as padding is, do not count.

  Args:
    series: `[B, T, C]`.

  Returns:
    `[B, 8 C]`: of each channel the mean and the standard deviation, the mean
    absolute change from a step to the next, and the quantiles at 0.05, 0.25,
    0.5, 0.75 and 0.95, each the nearest value that is there.
  """
  inside = (series != 0).any(axis=-1, keepdims=True)  # [B, T, 1]
  counts = jnp.maximum(inside.sum(axis=1), 1)  # [B, 1]
  mean = series.sum(axis=1) / counts
  squares = jnp.where(inside, jnp.square(series - mean[:, None]), 0)
  both = inside[:, 1:] & inside[:, :-1]
  changes = jnp.where(both, jnp.abs(series[:, 1:] - series[:, :-1]), 0)
  ordered = jnp.sort(jnp.where(inside, series, jnp.inf), axis=1)
  places = jnp.round(_QUANTILES * (counts - 1)).astype(jnp.int32)  # [B, 5]
  quantiles = jnp.take_along_axis(ordered, places[..., None], axis=1)
  quantiles = jnp.where(inside.any(axis=1)[..., None], quantiles, 0)
  return jnp.concatenate(
    [
      mean,
      jnp.sqrt(squares.sum(axis=1) / counts),
      changes.sum(axis=1) / jnp.maximum(both.sum(axis=1), 1),
      quantiles.reshape(len(series), -1),
    ],
    axis=-1,
  )


_QUANTILES = np.array([[0.05, 0.25, 0.5, 0.75, 0.95]], np.float32)


@dataclasses.dataclass(kw_only=True)
class SeriesWindows(hk.Module):
  """Parts of a series, with the mean and the spectrum of what is around them.

  An input has the values of its own part, which do not overlap, and of a longer
  window about it how much there is of each frequency: how something shakes,
  wherever in the part it does so.

  Attributes:
    patch: steps of a part.
    positions: encoding of the parts on one axis, or None.
    window: W.
    scale: the logarithm of the power is multiplied by it, to be of about unit
      size.
    floor: see `window_spectra`.
    statistics: whether each input also has `series_statistics`.
    name: Haiku name.
  """

  patch: int
  positions: PositionEncoding | None
  window: int
  scale: float = 0.25
  floor: float = 1e-4
  statistics: bool = False
  name: str | None = None

  def __call__(
    self, series: jax.Array, *, is_training: bool = False
  ) -> ByteArray:
    """Cuts `[B, T, C]` into T / patch inputs of (patch + 1 + W / 2) C channels.

    With statistics they are 8 C more.

    Args:
      series: of about unit variance; `patch` divides T.
      is_training: not read.
    """
    del is_training
    parts = space_to_depth(series, (self.patch,))
    means, spectra = window_spectra(
      series, hop=self.patch, window=self.window, floor=self.floor
    )
    spectra = self.scale * spectra.reshape(*spectra.shape[:2], -1)
    features = [parts, means, spectra]
    if self.statistics:
      whole = series_statistics(series)[:, None]
      features.append(
        jnp.broadcast_to(whole, (*parts.shape[:2], whole.shape[-1]))
      )
    return grid_byte_array(jnp.concatenate(features, axis=-1), self.positions)


def relative_series(
  series: jax.Array | np.ndarray,
) -> tuple[jax.Array | np.ndarray, ...]:
  """Returns a series as seen from its last step.

  Levels and trends that no training series had then look like those that they
  had (as in reversible instance normalisation, Kim et al., 2022).

  Args:
    series: `[..., T, C]`, of about unit variance.

  Returns:
    The differences `[..., T, C]` to the last step in standard deviations of
    this series; the last step and these deviations, `[..., 1, C]`, which are at
    least 0.01.
  """
  last = series[..., -1:, :]
  spread = series.std(axis=-2, keepdims=True).clip(_LEAST_SPREAD)
  return (series - last) / spread, last, spread


# Of a series that hardly changes, noise is not made large.
_LEAST_SPREAD = 0.01


@dataclasses.dataclass(kw_only=True)
class RelativeWindows(SeriesWindows):
  """Windows of a series as seen from its last step, for forecasts of it.

  Nothing is left that tells its level and its deviation: a model that sees them
  too, even bounded, leans on them, and fails where they are new to it.

  Attributes:
    patch: see `SeriesWindows`, like those that follow.
    positions: encoding of the parts.
    window: W.
    scale: of logarithms.
    floor: of powers.
    statistics: of the whole.
    name: Haiku name.
  """

  def __call__(
    self, series: jax.Array, *, is_training: bool = False
  ) -> ByteArray:
    """Cuts series, see `relative_series`, as `SeriesWindows` does.

    Args:
      series: `[B, T, C]` of about unit variance; `patch` divides T.
      is_training: not read.
    """
    relative, _, _ = relative_series(series)
    return super().__call__(relative, is_training=is_training)
