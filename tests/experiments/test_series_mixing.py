"""Series of two, and how many patches are whose."""

import numpy as np
import pytest

from experiments.modalities.series.mixing import mix_series

_PATCH = 3


def pair_of(*patches_there, patches=8):
  """A series of ones and one of twos, zeros past their ends."""
  mask = np.arange(patches) < np.array(patches_there)[:, None]
  inside = np.repeat(mask, _PATCH, axis=1)[..., None]
  series = np.where(inside, np.array([[[1.0]], [[2.0]]]), 0.0)
  return {
    'series': np.broadcast_to(series, (*series.shape[:2], 2)).astype('f4'),
    'input_mask': mask,
    'label': np.array([3, 5], np.int32),
  }


@pytest.mark.parametrize('there', [(8, 8), (8, 4), (2, 8)])
def test_a_stretch_is_of_the_other_and_the_share_says_how_much(there):
  seen = set()
  for seed in range(60):
    rng = np.random.default_rng(seed)
    example = mix_series(0, pair_of(*there), rng, probability=1.0)
    patches = example['series'].reshape(8, _PATCH, 2)
    assert (patches == patches[:, :1, :1]).all()
    found = patches[:, 0, 0].astype(int)
    np.testing.assert_array_equal(example['input_mask'], found > 0)
    theirs, ours = (found == 2).sum(), (found == 1).sum()
    share = theirs / max(1, theirs + ours)
    assert example['mix_share'] == pytest.approx(share)
    # One stretch, so at most two seams.
    assert (np.diff(found == 2) != 0).sum() <= 2
    seen.add((ours, theirs))
  assert len(seen) > 5
  assert (example['label'], example['mix_label']) == (3, 5)


def test_without_a_stretch_the_first_stays():
  pair = pair_of(6, 8)
  example = mix_series(0, pair, np.random.default_rng(0), probability=0.0)
  np.testing.assert_array_equal(example['series'], pair['series'][0])
  np.testing.assert_array_equal(example['input_mask'], pair['input_mask'][0])
  assert example['mix_share'] == 0.0
