"""How good the masks of held-out images are: metrics, report and table.

What is kept of examples is what `elements.count_classes` gives and, small, the
masks: int16 `[n, s, s]`, `true_mask` and `said_mask`.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from experiments.answers.answer import Kept
from experiments.answers.elements import (
  Counts,
  classes_table,
  counts_of,
  mean_known,
  of_a_constant,
)
from experiments.answers.masks.record import coloured
from experiments.pages.page import Section
from experiments.pages.tables import Html

# Of a side of the masks of each example.
_MOST_KEPT = 48


def metrics(kept: Kept) -> dict[str, float]:
  """Returns scores over the pixels of all examples together.

  `mean_iou` is the mean over the classes that occur in truth or answers of
  intersection over union, `pixel_accuracy` the share of pixels that are right.

  Args:
    kept: of n examples.
  """
  return _scores(counts_of(kept).summed())


def _scores(counts: Counts) -> dict[str, float]:
  return {
    'mean_iou': mean_known(counts.iou()),
    'pixel_accuracy': float(counts.accuracy()),
  }


def baselines(commonest: int, kept: Kept) -> list[tuple[str, str, float]]:
  """Returns what saying the same class of all pixels reaches.

  Args:
    commonest: class of the training masks.
    kept: of n examples.
  """
  constant = of_a_constant(counts_of(kept).summed(), commonest)
  return [
    ('commonest class', name, score)
    for name, score in _scores(constant).items()
  ]


def small_masks(true: jax.Array, said: jax.Array) -> dict[str, jax.Array]:
  """Returns masks `[B, S, S]` as they are kept; runs on the devices."""
  step = -(-true.shape[-1] // _MOST_KEPT)
  return {
    'true_mask': true[:, ::step, ::step].astype(jnp.int16),
    'said_mask': said[:, ::step, ::step].astype(jnp.int16),
  }


def caption(names: Sequence[str], plain: int, kept: Kept) -> Html:
  """Returns how good the mask of one example is, the mask and the true one.

  Args:
    names: of the classes.
    plain: see `Mask`.
    kept: of the example.
  """
  scores = _scores(counts_of(kept))
  masks = ''.join(
    f'<div>{told}:{coloured(names, plain, kept[name])}</div>'
    for told, name in (('Model', 'said_mask'), ('True', 'true_mask'))
  )
  return Html(
    f'<b>IoU {scores["mean_iou"]:.2f}</b>, '
    f'{scores["pixel_accuracy"]:.1%} of pixels'
    f'<div style="display:flex;gap:10px">{masks}</div>'
  )


def sections(names: Sequence[str], kept: Kept, note: str) -> list[Section]:
  """Returns scores of each class.

  Args:
    names: of the classes.
    kept: of n examples.
    note: says which examples these are.
  """
  counts = counts_of(kept)
  told = _scores(counts.summed())
  note = (
    f'{note}. Mean IoU {told["mean_iou"]:.3f}; '
    f'{told["pixel_accuracy"]:.1%} of the pixels are right. IoU, intersection '
    'over union, is the share that the two have in common of all that is of a '
    'class in the true mask or in the one of the model.'
  )
  return [
    Section('Classes of pixels', classes_table(names, counts, 'pixels'), note)
  ]


def columns(kept: Kept) -> dict[str, np.ndarray]:
  """Returns the scores of each of n examples."""
  counts = counts_of(kept)
  return {
    'mean_iou': np.array([mean_known(each) for each in counts.iou()]),
    'pixel_accuracy': counts.accuracy(),
  }
