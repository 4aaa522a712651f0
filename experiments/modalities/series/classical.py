"""Classical features of a series: statistics and spectra of its channels."""

import numpy as np

from experiments.data.classical import Classical, trees
from experiments.modalities.series.view import Series


def series_statistics(view: Series) -> np.ndarray:
  """Returns statistics and power in octaves of each channel.

  Args:
    view: of an example.
  """
  values = np.asarray(view.values, np.float64)
  spectrum = np.fft.rfft(values - values.mean(axis=0), 256, axis=0)
  power = np.square(np.abs(spectrum))
  bands = [power[2**i : 2 ** (i + 1)].mean(axis=0) for i in range(7)]
  steps = np.abs(np.diff(values, axis=0, append=values[-1:]))
  return np.concatenate(
    [
      *(values.mean(axis=0), values.std(axis=0), steps.mean(axis=0)),
      *np.quantile(values, [0.05, 0.25, 0.5, 0.75, 0.95], axis=0),
      *(np.log(band + 1e-9) for band in bands),
    ]
  )


STATISTICS = Classical(
  'statistics and spectra, trees', series_statistics, trees
)
