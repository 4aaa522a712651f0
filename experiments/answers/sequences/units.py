"""Series of examples as a person had them."""

import numpy as np

from experiments.answers.head import Options
from experiments.data.dataset import Example
from experiments.modalities.series.folder import patch_steps


def patch_of(asks: Options) -> int:
  """Returns the steps of an element of a series.

  Args:
    asks: options of `series_files`, and of what makes elements.
  """
  size = asks['num_steps']
  return asks.get('patch') or patch_steps(size, asks['max_patches'])


def steps_of(asks: Options, example: Example) -> int:
  """Returns how many steps of a series there are, without padding.

  Of the last element that is there, steps that are zero in all channels at the
  end are taken for padding.

  Args:
    asks: see `patch_of`.
    example: with `series` `[W, C]` and `input_mask` `[M]`.
  """
  patch = patch_of(asks)
  most = int(example['input_mask'].sum()) * patch
  there = np.asarray(example['series'][:most] != 0).any(axis=1)
  last = int(np.flatnonzero(there).max(initial=-1)) + 1
  return max(last, most - patch + 1, 1)


def units_of(asks: Options, series: np.ndarray) -> np.ndarray:
  """Returns a series float64 `[T, C]` in the units of its file.

  Args:
    asks: see `patch_of`.
    series: in standard deviations.
  """
  mean, stddev = (np.array(asks[key], np.float64) for key in _STATISTICS)
  return np.asarray(series, np.float64) * stddev + mean


_STATISTICS = ('mean', 'stddev')
