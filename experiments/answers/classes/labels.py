"""Any number of classes a row, in a column of a table: `findings:labels`.

Shapes: B examples, C labels, n examples that have the answer.
"""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments.answers.answer import Kept
from experiments.answers.arguments import read_arguments
from experiments.answers.classes.held_out import (
  answer_columns,
  caption,
  sections,
)
from experiments.answers.classes.metrics import mean_average_precision
from experiments.answers.classes.names import (
  check_count,
  class_name,
  in_order,
  number_of,
)
from experiments.answers.classes.record import SEVERAL_CLASSES
from experiments.answers.classes.scores import THRESHOLD, f1_macro, f1_micro
from experiments.answers.classes.value import Classes, chances
from experiments.answers.head import Column, Head, HeadKind, Options, Rivals
from experiments.data.classical_rows import of_labels
from experiments.data.dataset import Example, array_spec
from experiments.table.cells import to_list


def suited(column: Column, arguments: Mapping[str, str]) -> dict[str, Any]:
  """Returns the labels of the training rows.

  Args:
    column: of lists of labels; an empty list says that there is none.
    arguments: none are known.

  Raises:
    ValueError: an element is no label, there are none or too many, or there is
      an argument.
  """
  asked = f'{column.name}:labels'
  read_arguments(asked, arguments)
  names = in_order(name for cell in column.cells for name in _names(cell))
  check_count(asked, names, least=1)
  return {'labels': names}


def _names(cell: Any) -> list[str]:
  return [class_name(each) for each in to_list(cell) or []]


def make(options: Options, asks: Options) -> Head:
  """Returns the head of labels, each of which a learned query asks for.

  What is kept of examples is `scores` `[n, C]`, probabilities, and `labels`
  bool `[n, C]`.

  Args:
    options: see `suited`.
    asks: {}.
  """
  del asks
  names = tuple(options['labels'])
  numbers = {name: i for i, name in enumerate(names)}

  def read(cell: Any) -> dict[str, np.ndarray]:
    labels = np.zeros(len(names), np.float32)
    labels[[number_of(numbers, name) for name in _names(cell)]] = 1.0
    return {'labels': labels}

  def tell(outputs: np.ndarray, example: Example) -> Classes:
    del example
    return Classes(names, np.asarray(jax.nn.sigmoid(outputs[:, 0])))

  return Head(
    answer=SEVERAL_CLASSES,
    target={'labels': array_spec(len(names))},
    read=read,
    num_queries=len(names),
    channels=1,
    loss=_loss,
    collect=_collect,
    metrics=_metrics,
    score='mean_average_precision',
    tell=tell,
    cells=_cells,
    caption=lambda kept: caption(names, kept),
    sections=lambda kept, note: sections(names, kept, note),
    columns=lambda kept: answer_columns(names, kept),
    baselines=_baselines,
    rivals=Rivals(
      of_labels(len(names)),
      'labels',
      lambda scores, labels: {'scores': scores, 'labels': labels > 0.5},
    ),
  )


def _loss(outputs: jax.Array, target: Mapping[str, jax.Array]) -> jax.Array:
  losses = optax.sigmoid_binary_cross_entropy(outputs[..., 0], target['labels'])
  return losses.mean(axis=-1)


def _collect(
  outputs: jax.Array, target: Mapping[str, jax.Array]
) -> dict[str, jax.Array]:
  scores = jax.nn.sigmoid(outputs[..., 0].astype(jnp.float32))
  return {'scores': scores, 'labels': target['labels'] > 0.5}


def _metrics(kept: Kept) -> dict[str, float]:
  scores, labels = kept['scores'], kept['labels']
  return {
    'mean_average_precision': mean_average_precision(scores, labels),
    'f1_micro': f1_micro(scores, labels),
    'f1_macro': f1_macro(scores, labels),
  }


def _cells(value: Classes) -> dict[str, Any]:
  said = np.flatnonzero(value.probabilities > THRESHOLD)
  # An empty cell would be no answer.
  names = '|'.join(value.names[i] for i in said) or '[]'
  return {'': names, **chances(value)}


def _baselines(kept: Kept) -> list[tuple[str, str, float]]:
  """The precision of what scores all examples the same is a label's share."""
  shares = kept['labels'].mean(axis=0)
  there = shares[shares > 0.0]
  if not len(there):
    return []
  return [('chance', 'mean_average_precision', float(there.mean()))]


LABELS = HeadKind(suited, make)
