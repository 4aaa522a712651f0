"""Classes of the elements of an input: pixels of an image, steps of a series.

Shapes: B examples, E elements in any number of axes, C classes, n examples. The
class of an element that is not known, or is not there, is -1.
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.answers.answer import Kept
from experiments.pages.axes import number
from experiments.pages.tables import Html, bar, table

UNKNOWN = -1


class Counts(NamedTuple):
  """Elements of each class, int64 `[..., C]`.

  Attributes:
    hits: that are of the class and found to be.
    said: that are found to be of it.
    true: that are of it.
  """

  hits: np.ndarray
  said: np.ndarray
  true: np.ndarray

  def summed(self) -> 'Counts':
    """Returns those of all examples together, `[C]`."""
    return Counts(*(each.sum(axis=0) for each in self))

  def occur(self) -> np.ndarray:
    """Returns which classes are true or found of any element, bool."""
    return self.said + self.true > 0

  def iou(self) -> np.ndarray:
    """Returns intersection over union; NaN of classes that do not occur."""
    return _ratio(self.hits, self.said + self.true - self.hits)

  def f1(self) -> np.ndarray:
    """Returns the harmonic mean of precision and recall, NaN as for `iou`."""
    return _ratio(2 * self.hits, self.said + self.true)

  def accuracy(self) -> np.ndarray:
    """Returns the share of the known elements that are right, `[...]`."""
    return _ratio(self.hits.sum(axis=-1), self.true.sum(axis=-1))


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
  return np.where(whole > 0, part / np.maximum(whole, 1), np.nan)


def count_classes(
  said: jax.Array, true: jax.Array, num_classes: int
) -> dict[str, jax.Array]:
  """Counts the known elements of each example; runs on the devices.

  Args:
    said: int `[B, E]`, classes that are found.
    true: int `[B, E]`, `UNKNOWN` where they are not known.
    num_classes: C.

  Returns:
    `hits`, `said` and `true`, int32 `[B, C]`, see `Counts`.
  """

  def count(classes: jax.Array, counted: jax.Array) -> jax.Array:
    # Those that are not counted are one class more.
    classes = jnp.where(counted, classes, num_classes).reshape(len(classes), -1)
    return jax.vmap(lambda x: jnp.bincount(x, length=num_classes + 1))(classes)[
      :, :-1
    ].astype(jnp.int32)

  known = true != UNKNOWN
  return {
    'hits': count(true, known & (said == true)),
    'said': count(said, known),
    'true': count(true, known),
  }


def counts_of(kept: Kept) -> Counts:
  """Returns what `count_classes` gave, of n examples or of one."""
  return Counts(
    *(np.asarray(kept[name], np.int64) for name in ('hits', 'said', 'true'))
  )


def of_a_constant(counts: Counts, always: int) -> Counts:
  """Returns what saying the same class of all elements comes to.

  Args:
    counts: of any answers to the same elements.
    always: number of the class.
  """
  said, hits = np.zeros_like(counts.true), np.zeros_like(counts.true)
  said[..., always] = counts.true.sum(axis=-1)
  hits[..., always] = counts.true[..., always]
  return Counts(hits, said, counts.true)


def mean_known(values: np.ndarray) -> float:
  """Returns the mean of those that are no NaN; NaN where all are."""
  known = values[~np.isnan(values)]
  return float(known.mean()) if known.size else float('nan')


def classes_table(names: Sequence[str], counts: Counts, elements: str) -> Html:
  """Returns a row for each class, with its share of the elements.

  Args:
    names: of the classes.
    counts: int `[n, C]`, of each example.
    elements: what they are, in the plural.
  """
  total = counts.summed()
  iou, f1 = total.iou(), total.f1()
  precision = _ratio(total.hits, total.said)
  recall = _ratio(total.hits, total.true)
  share = _ratio(total.true, total.true.sum())
  examples = (counts.true > 0).sum(axis=0)
  rows = [
    (
      names[i],
      bar(np.nan_to_num(iou[i]), number(iou[i])),
      number(f1[i]),
      number(precision[i]),
      number(recall[i]),
      f'{share[i]:.2%}',
      f'{examples[i]:,}',
    )
    for i in range(len(names))
  ]
  head = ('class', 'IoU', 'F1', 'precision', 'recall')
  return table((*head, f'of all {elements}', 'examples'), rows, numbers=False)
