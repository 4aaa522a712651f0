"""Pictures to try masks with: digits pasted on parts of photographs.

A picture has 48 x 48 pixels and one to three digits of 1, 2 and 3 that do not
overlap; `seg` is a PNG of as many pixels, each with the digit that it belongs
to, 0 for the background, and `count` says how many there are. Test rows have
digits of `digits.py` that are held out, on the parts of the photographs that
`flow/photographs.py` holds out; validation rows have digits of their own.
"""

import pathlib
from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np

from experiments.datasets.digits import Digits
from experiments.datasets.examples.files import endless, write_rows
from experiments.datasets.flow.photographs import Photographs

NAMES = ('picture', 'seg', 'count', 'split')
KINDS = (1, 2, 3)
SIDE = 48
MOST_DIGITS = 3
NUM_ROWS = {'train': 1140, 'val': 120, 'test': 240}

_VALIDATION_SHARE = 0.12
# Of a digit, in pixels.
_LEAST_HEIGHT, _MOST_HEIGHT = 15, 22
# Of 255: what is less dark is no part of a digit.
_INK = 110
_GAP = 1


class Digit(NamedTuple):
  """A digit without the margin about it.

  Attributes:
    number: among those of its data set.
    kind: one of KINDS.
    ink: uint8 `[h, w]`.
  """

  number: int
  kind: int
  ink: np.ndarray


def digits_of(split: str) -> list[Digit]:
  """Returns the digits that pictures of a split may have.

  Args:
    split: 'train', 'val' or 'test'.
  """
  source = 'test' if split == 'test' else 'train'
  found = []
  for number, example in enumerate(Digits().examples(source)):
    if example['label'] in KINDS:
      rows, columns = (
        np.flatnonzero(example['image'].any(1 - i)) for i in (0, 1)
      )
      ink = example['image'][
        rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1
      ]
      found.append(Digit(number, example['label'], ink))
  if split == 'test':
    return found
  # They are stored in random order.
  first = round(_VALIDATION_SHARE * len(found))
  return found[:first] if split == 'val' else found[first:]


def write_pictures(folder: pathlib.Path, seed: int) -> list[pathlib.Path]:
  """Writes digits_in_pictures.csv and the files that it names.

  Args:
    folder: to write into; it is there.
    seed: of all that is drawn.

  Returns:
    The table.
  """
  rng = np.random.default_rng(seed)
  place = folder / 'digits_in_pictures'
  place.mkdir(exist_ok=True)
  table = []
  for split, count in NUM_ROWS.items():
    source = 'test' if split == 'test' else 'train'
    photographs = [
      example['image']
      for example in Photographs().examples(source)
      if min(example['image'].shape[:2]) >= SIDE
    ]
    digits = endless(digits_of(split), rng)
    for number in range(count):
      num_digits = 1 + number % MOST_DIGITS
      background = photographs[rng.integers(len(photographs))]
      picture, seg = _picture(
        background, [next(digits) for _ in range(num_digits)], rng
      )
      stem = f'{place.name}/{split}{number}'
      cv2.imwrite(str(folder / f'{stem}.png'), picture[..., ::-1])
      cv2.imwrite(str(folder / f'{stem}_seg.png'), seg)
      row = (f'{stem}.png', f'{stem}_seg.png', num_digits, split)
      table.append(dict(zip(NAMES, row, strict=True)))
  return [write_rows(folder / f'{place.name}.csv', NAMES, table)]


def _picture(
  photograph: np.ndarray, digits: Sequence[Digit], rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
  """Pastes digits on a part of a photograph.

  Returns:
    uint8 `[48, 48, 3]`, RGB, and the kind of each pixel, uint8 `[48, 48]`.
  """
  y, x = (rng.integers(size - SIDE + 1) for size in photograph.shape[:2])
  picture = photograph[y : y + SIDE, x : x + SIDE].astype(np.float32)
  while True:
    inks = [_resized(each.ink, rng) for each in digits]
    corners = _corners([ink.shape for ink in inks], rng)
    if corners is not None:
      break
  seg = np.zeros((SIDE, SIDE), np.uint8)
  # Dark on what is bright, and the other way round.
  is_bright = picture.mean() > 127.0
  for digit, ink, (top, left) in zip(digits, inks, corners, strict=True):
    part = np.s_[top : top + ink.shape[0], left : left + ink.shape[1]]
    colour = (
      rng.uniform(0.0, 60.0, 3) if is_bright else rng.uniform(195.0, 255.0, 3)
    )
    share = ink[..., None] / np.float32(255.0)
    picture[part] = (1.0 - share) * picture[part] + share * colour
    seg[part][ink >= _INK] = digit.kind
  return picture.round().astype(np.uint8), seg


def _resized(ink: np.ndarray, rng: np.random.Generator) -> np.ndarray:
  height = int(rng.integers(_LEAST_HEIGHT, _MOST_HEIGHT + 1))
  width = max(3, round(height * ink.shape[1] / ink.shape[0]))
  return cv2.resize(ink, (width, height), interpolation=cv2.INTER_AREA)


def _corners(
  sizes: Sequence[tuple[int, ...]], rng: np.random.Generator
) -> list[tuple[int, int]] | None:
  """Draws where boxes lie that do not touch; None where there was no room."""
  taken = np.zeros((SIDE, SIDE), np.bool_)
  corners = []
  for height, width in sizes:
    for _ in range(50):
      top = int(rng.integers(SIDE - height + 1))
      left = int(rng.integers(SIDE - width + 1))
      around = np.s_[
        max(0, top - _GAP) : top + height + _GAP,
        max(0, left - _GAP) : left + width + _GAP,
      ]
      if not taken[around].any():
        break
    else:
      return None
    taken[around] = True
    corners.append((top, left))
  return corners
