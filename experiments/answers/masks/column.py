"""Masks in a column of a table: `seg:mask(scan)`.

Shapes: B examples, S x S pixels, M cells of P x P pixels, C classes. An output
is of a cell; its F = P P C channels are the logits of its pixels.
"""

import collections
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.answers.arguments import read_arguments
from experiments.answers.elements import UNKNOWN, count_classes
from experiments.answers.head import Column, Head, HeadKind, Options
from experiments.answers.masks import held_out
from experiments.answers.masks.loss import mask_loss
from experiments.answers.masks.record import MASKS
from experiments.answers.masks.value import Mask
from experiments.data.dataset import Example, array_spec
from experiments.modalities.images.augmentation import (
  moved,
  moved_numbers,
  random_matrix,
)
from experiments.modalities.images.folder import patch_side
from experiments.modalities.images.label_images import (
  nearest,
  read_label_image,
  upright_size,
)
from experiments.modalities.images.view import to_pixels
from perceiver_jax.patches import depth_to_space

MOST_CLASSES = 256
# What many data sets have for borders and for what nobody labelled.
_IGNORED = 255
# Of width over height, between an image and its mask.
_MOST_ASPECT_CHANGE = 1.1
_NONE = 'none'


def suited(column: Column, arguments: Mapping[str, str]) -> dict[str, Any]:
  """Returns the classes of the training masks.

  Args:
    column: of files with a number a pixel, see `read_label_image`.
    arguments: `names`, of the classes in order of their numbers, as
      `background|cell`; `ignore`, the number of pixels that weigh nothing,
      `none` for none. Without it that is 255 where the other numbers are 0, 1,
      2 and so on without a gap; masks of 0 and 255 alone have two classes.

  Raises:
    ValueError: a mask cannot be read or has another shape than its image, there
      are fewer than two classes or more than 256, or an argument is wrong.
  """
  asked = f'{column.name}:mask'
  given = read_arguments(asked, arguments, values=('names', 'ignore'))
  counts: collections.Counter = collections.Counter()
  for cell, image in zip(column.cells, _images(column), strict=True):
    numbers = read_label_image(pathlib.Path(cell))
    _check_aspect(cell, numbers, image)
    values, sizes = np.unique(numbers, return_counts=True)
    # Each mask counts the same, however large it is.
    for value, size in zip(values.tolist(), sizes / numbers.size, strict=True):
      counts[value] += size
  ignore = _ignored(asked, given.get('ignore'), counts)
  counts.pop(ignore, None)
  numbers = sorted(counts)
  _check_classes(asked, numbers)
  names = _names(asked, given.get('names'), numbers)
  total = sum(counts.values())
  return {
    'numbers': numbers,
    'names': names,
    'ignore': ignore,
    'shares': [round(float(counts[each] / total), 6) for each in numbers],
  }


def _images(column: Column) -> Sequence[Any]:
  return column.inputs or [None] * len(column.cells)


def _check_aspect(cell: str, numbers: np.ndarray, image: Any) -> None:
  """Raises a ValueError where a mask cannot be of its image."""
  if not isinstance(image, str | pathlib.Path):
    return
  width, height = upright_size(pathlib.Path(image))
  rows, columns = numbers.shape
  change = (columns / rows) / (width / height)
  if not 1 / _MOST_ASPECT_CHANGE < change < _MOST_ASPECT_CHANGE:
    raise ValueError(
      f'The mask {cell} has {columns} x {rows} pixels, and its image {image} '
      f'has {width} x {height}: they must be of the same part of the scene.'
    )


def _ignored(
  asked: str, argument: str | None, counts: Mapping[int, float]
) -> int | None:
  if argument == _NONE:
    return None
  if argument is not None:
    if not argument.removeprefix('-').isdecimal():
      raise ValueError(
        f'{asked}: ignore must be a number of pixels, or {_NONE}, got '
        f'{argument!r}.'
      )
    return int(argument)
  others = sorted(set(counts) - {_IGNORED})
  has_no_gap = len(others) > 1 and others == list(range(len(others)))
  return _IGNORED if has_no_gap else None


def _check_classes(asked: str, numbers: Sequence[int]) -> None:
  if not 2 <= len(numbers) <= MOST_CLASSES:
    few = ', '.join(map(str, numbers[:5])) + ', ...' * (len(numbers) > 5)
    raise ValueError(
      f'{asked} has {len(numbers):,} numbers in its training masks, {few}: '
      f'expected are 2 to {MOST_CLASSES}, one for each class.'
    )
  if not 0 <= numbers[0] <= numbers[-1] < 2**16:
    raise ValueError(
      f'{asked} has the numbers {numbers[0]} to {numbers[-1]} in its training '
      'masks: expected are 0 to 65,535.'
    )


def _names(
  asked: str, argument: str | None, numbers: Sequence[int]
) -> list[str]:
  if argument is None:
    return [str(number) for number in numbers]
  names = [name.strip() for name in argument.split('|')]
  if len(names) != len(numbers) or len(set(names)) != len(names):
    raise ValueError(
      f'{asked}: names must be {len(numbers)} different ones with | between '
      f'them, of the numbers {", ".join(map(str, numbers))} of the training '
      f'masks; got {argument!r}.'
    )
  return names


def make(options: Options, asks: Options) -> Head:
  """Returns the head of a mask, which the cells of the image ask for.

  What is kept of examples is told in `held_out.py`.

  Args:
    options: see `suited`.
    asks: of the image column, see `image_files`.
  """
  size, numbers = asks['image_size'], options['numbers']
  cell = asks.get('cell') or patch_side(size, asks['max_patches'])
  num_classes = len(numbers)
  commonest = int(np.argmax(options['shares']))
  offset, scale = (np.array(asks[key], np.float32) for key in _STATISTICS)

  def logits_of(outputs: Any) -> Any:
    side = size // cell
    grid = outputs.reshape(-1, side, side, cell * cell * num_classes)
    return depth_to_space(grid, (cell, cell))

  def collect(
    outputs: jax.Array, target: Mapping[str, jax.Array]
  ) -> dict[str, jax.Array]:
    said, true = jnp.argmax(logits_of(outputs), axis=-1), target['label_image']
    return {
      **count_classes(said, true, num_classes),
      **held_out.small_masks(true, said),
    }

  def tell(outputs: np.ndarray, example: Example) -> Mask:
    return Mask(
      names=tuple(options['names']),
      numbers=tuple(numbers),
      classes=logits_of(outputs)[0].argmax(axis=-1).astype(np.int32),
      plain=commonest,
      image=to_pixels(example['image'] * scale + offset),
    )

  return Head(
    answer=MASKS,
    target={'label_image': array_spec(size, size, dtype=np.int32)},
    read=lambda path: _read(pathlib.Path(path), options, size),
    num_queries=None,
    channels=cell * cell * num_classes,
    loss=lambda outputs, target: mask_loss(
      logits_of(outputs), target['label_image']
    ),
    collect=collect,
    metrics=held_out.metrics,
    score='mean_iou',
    tell=tell,
    cells=_cells,
    caption=lambda kept: held_out.caption(options['names'], commonest, kept),
    sections=lambda kept, note: held_out.sections(options['names'], kept, note),
    columns=held_out.columns,
    baselines=lambda kept: held_out.baselines(commonest, kept),
    align=lambda kept, found, rng: _align(asks, kept, found, rng),
  )


_STATISTICS = ('mean', 'stddev')


def _read(path: pathlib.Path, options: Options, size: int) -> Example:
  """The class of each pixel of a square."""
  square = nearest(read_label_image(path), size)
  known = np.asarray(options['numbers'])
  classes = np.minimum(np.searchsorted(known, square), len(known) - 1)
  ignored = square == options['ignore']
  strange = (known[classes] != square) & ~ignored
  if strange.any():
    raise ValueError(
      f'{path} has the number {square[strange][0]}, which no training mask '
      f'has; they have {", ".join(map(str, options["numbers"]))}.'
    )
  classes = np.where(ignored, UNKNOWN, classes)
  return {'label_image': classes.astype(np.int32)}


def _align(
  asks: Options, kept: Example, found: Example, rng: np.random.Generator | None
) -> tuple[Example, Example]:
  """Changes an image as `image_files` does in training, and its mask."""
  if rng is None:
    return kept, found
  image, classes = kept['image'], found['label_image']
  matrix = random_matrix(
    image.shape[:2],
    rng,
    max_rotation=asks['max_rotation'],
    max_shear=asks['max_shear'],
    scale=(1.0 - asks['max_scale'], 1.0 + asks['max_scale']),
    max_shift=asks['max_shift'] * len(image),
  )
  image = moved(image, matrix)
  classes = moved_numbers(classes, matrix, outside=UNKNOWN)
  if rng.random() < asks['mirror_probability']:
    image, classes = image[:, ::-1], classes[:, ::-1]
  return {**kept, 'image': image}, {**found, 'label_image': classes}


def _cells(value: Mask) -> dict[str, float]:
  """The share of each class in the pixels."""
  shares = value.shares().tolist()
  return {
    f' share({name})': share
    for name, share in zip(value.names, shares, strict=True)
  }


# Each cell asks, in training too, for pixels of its own: few of them.
_CELLS = {'max_patches': 16, 'elements': {'drop_rate': 0.0, 'overviews': 0}}
MASK = HeadKind(suited, make, asks_of=('images',), needs={'images': _CELLS})
