"""One training series of two, with both labels."""

import numpy as np

from experiments.data.dataset import Example


def mix_series(
  number: int,
  pair: Example,
  rng: np.random.Generator,
  *,
  probability: float,
) -> Example:
  """Puts a stretch of one series in the place of that of another (CutMix).

  Args:
    number: not read.
    pair: `series` float32 `[2, T, C]`, `input_mask` bool `[2, M]`, True for
      the patches of T / M steps that are there, and `label` int32 `[2]`.
    rng: source of randomness.
    probability: with which there is a stretch of the second series at all; its
      share of the patches is then uniform, and it lies anywhere.

  Returns:
    `series` `[T, C]`, `input_mask` `[M]`, `label` and `mix_label` int32
    scalars, and `mix_share` float32, the share of the patches there that is
    not `label`'s.
  """
  del number
  first, second = pair['input_mask']
  patches = len(first)
  length = 0
  if rng.random() < probability:
    length = int(rng.integers(patches + 1))
  start = rng.integers(patches - length + 1)
  taken = np.zeros(patches, bool)
  taken[start : start + length] = True
  mask = np.where(taken, second, first)
  steps = np.repeat(taken, pair['series'].shape[1] // patches)[:, None]
  return {
    'series': np.where(steps, pair['series'][1], pair['series'][0]),
    'input_mask': mask,
    'label': pair['label'][0],
    'mix_label': pair['label'][1],
    'mix_share': np.float32((taken & mask).sum() / max(1, mask.sum())),
  }
