"""Series as a whole: statistics that each element has, against numpy."""

import haiku as hk
import numpy as np

from perceiver_jax.series_windows import SeriesWindows, series_statistics


def applied(module, raw):
  return hk.transform(lambda x: module()(x)).apply({}, None, raw)


def test_statistics_are_those_of_numpy_without_padding():
  series = np.random.default_rng(0).normal(size=(2, 40, 3)).astype(np.float32)
  series[1, 21:] = 0.0
  ours = np.asarray(series_statistics(series))
  assert ours.shape == (2, 24)
  for found, values in zip(ours, (series[0], series[1, :21]), strict=True):
    expected = [
      values.mean(axis=0),
      values.std(axis=0),
      np.abs(np.diff(values, axis=0)).mean(axis=0),
      *np.quantile(
        values, [0.05, 0.25, 0.5, 0.75, 0.95], axis=0, method='nearest'
      ),
    ]
    np.testing.assert_allclose(found, np.concatenate(expected), atol=1e-5)


def test_statistics_of_nothing_are_zero():
  assert not np.asarray(series_statistics(np.zeros((1, 8, 2)))).any()


def test_each_part_has_the_statistics():
  series = np.random.default_rng(1).normal(size=(1, 24, 2)).astype(np.float32)

  def windows(**more):
    return lambda: SeriesWindows(patch=4, positions=None, window=8, **more)

  plain = applied(windows(), series)
  byte_array = applied(windows(statistics=True), series)
  assert byte_array.features.shape == (1, 6, plain.features.shape[-1] + 16)
  np.testing.assert_array_equal(byte_array.features[..., :-16], plain.features)
  np.testing.assert_allclose(
    byte_array.features[0, 3, -16:], series_statistics(series)[0], atol=1e-6
  )
