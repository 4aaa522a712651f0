"""MixUp and CutMix: one training image of two, with both labels.

Perceiver IO, appendix A.1, as in the released code: each half of a batch has
one of them, partners are images of their own, MixUp draws its share of
Beta(alpha, alpha), CutMix the area of its box uniformly.
"""

import math

import numpy as np

from experiments.data.dataset import Example


def mix_pair(
  number: int,
  pair: Example,
  rng: np.random.Generator,
  *,
  mixup_alpha: float,
  cutmix: bool,
) -> Example:
  """Mixes two examples, by MixUp and CutMix in turns where both are on.

  Args:
    number: of the pair in the stream; every other one is mixed by MixUp.
    pair: `image` float32 `[2, H, W, C]` and `label` int32 `[2]`.
    rng: source of randomness.
    mixup_alpha: of the distribution Beta(alpha, alpha); 0 for no MixUp.
    cutmix: whether to cut and paste too.

  Returns:
    `image` `[H, W, C]`, `label` and `mix_label` int32 scalars, and
    `mix_share` float32, the share of the image that is not `label`'s.
  """
  first, second = pair['image']
  if cutmix and (not mixup_alpha or number % 2):
    box = random_box(*first.shape[:2], rng)
    image = second.copy()
    image[box] = first[box]
    share = 1.0 - first[box][..., 0].size / first[..., 0].size
  else:
    kept = rng.beta(mixup_alpha, mixup_alpha)
    image = (kept * first + (1.0 - kept) * second).astype(first.dtype)
    share = 1.0 - kept
  return {
    'image': image,
    'label': pair['label'][0],
    'mix_label': pair['label'][1],
    'mix_share': np.float32(share),
  }


def random_box(
  height: int, width: int, rng: np.random.Generator
) -> tuple[slice, slice]:
  """Returns rows and columns of a box with the image's proportions.

  Its area is uniform before it is cut off at the image's edges, its centre
  uniform over the image.
  """
  length = math.sqrt(rng.random())

  def side(size: int) -> slice:
    centre, half = rng.integers(size), int(length * size) // 2
    return slice(max(0, centre - half), min(size, centre + half))

  return side(height), side(width)
