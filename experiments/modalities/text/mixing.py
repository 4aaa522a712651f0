"""One training text of two, with both labels."""

import numpy as np

from experiments.data.dataset import Example
from experiments.modalities.text.examples import pad


def mix_texts(
  number: int,
  pair: Example,
  rng: np.random.Generator,
  *,
  probability: float,
) -> Example:
  """Puts a part of one text behind a part of another (CutMix, of texts).

  A model of few texts remembers each by a rare word. Of a mixed one it has to
  say how much of it speaks for which class.

  Args:
    number: not read.
    pair: `tokens` int32 `[2, M]`, `mask` bool `[2, M]`, True for the first
      tokens, which are no padding, and `label` int32 `[2]`.
    rng: source of randomness.
    probability: with which there is a part of the second text at all; its share
      is then uniform.

  Returns:
    `tokens` `[M]`, `mask` `[M]`, `label` and `mix_label` int32 scalars, and
    `mix_share` float32, the share of the tokens that is not `label`'s.
  """
  del number
  share = rng.random() if rng.random() < probability else 0.0
  parts = [
    _part(tokens[mask], part, rng)
    for tokens, mask, part in zip(
      pair['tokens'], pair['mask'], (1.0 - share, share), strict=True
    )
  ]
  length = pair['tokens'].shape[1]
  tokens = np.concatenate(parts)[:length]
  others = max(0, len(tokens) - len(parts[0]))
  return {
    'tokens': pad(tokens, length),
    'mask': np.arange(length) < len(tokens),
    'label': pair['label'][0],
    'mix_label': pair['label'][1],
    'mix_share': np.float32(others / max(1, len(tokens))),
  }


def _part(
  tokens: np.ndarray, share: float, rng: np.random.Generator
) -> np.ndarray:
  """Returns a share of tokens, from anywhere, in order."""
  count = round(share * len(tokens))
  start = rng.integers(len(tokens) - count + 1)
  return tokens[start : start + count]
