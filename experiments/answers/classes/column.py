"""Classes in a column of a table, one a row: `diagnosis:class`.

Shapes: B examples, C classes, n examples that have the answer.
"""

import collections
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments.answers.answer import Kept
from experiments.answers.arguments import number_argument, read_arguments
from experiments.answers.classes.held_out import (
  answer_columns,
  caption,
  sections,
)
from experiments.answers.classes.metrics import in_top
from experiments.answers.classes.names import (
  check_count,
  class_name,
  in_order,
  number_of,
)
from experiments.answers.classes.record import CLASSES
from experiments.answers.classes.scores import (
  area_under_roc,
  balanced_accuracy,
)
from experiments.answers.classes.value import Classes, chances
from experiments.answers.head import Column, Head, HeadKind, Options, Rivals
from experiments.data.classical_rows import of_classes
from experiments.data.dataset import Example, array_spec

# As the configs of folders have it.
LABEL_SMOOTHING = 0.1


def suited(column: Column, arguments: Mapping[str, str]) -> dict[str, Any]:
  """Returns the classes of the training rows, and how they are learned.

  Args:
    column: of classes.
    arguments: `smoothing`, see `losses.softmax_loss`.

  Raises:
    ValueError: a cell is no class, there are fewer than two or too many, or an
      argument is wrong.
  """
  asked = f'{column.name}:class'
  given = read_arguments(asked, arguments, values=('smoothing',))
  counts = collections.Counter(map(class_name, column.cells))
  names = in_order(counts)
  check_count(asked, names, least=2)
  smoothing = given.get('smoothing', str(LABEL_SMOOTHING))
  return {
    'classes': names,
    'most_frequent': max(names, key=counts.__getitem__),
    'smoothing': number_argument(asked, 'smoothing', smoothing, 0.0, 1.0),
  }


def make(options: Options, asks: Options) -> Head:
  """Returns the head of one class a row, which one learned query asks for.

  What is kept of examples is `scores` `[n, C]`, probabilities, and `labels`
  `[n]` int.

  Args:
    options: see `suited`.
    asks: {}.
  """
  del asks
  names, smoothing = tuple(options['classes']), options['smoothing']
  numbers = {name: i for i, name in enumerate(names)}

  def loss(outputs: jax.Array, target: Mapping[str, jax.Array]) -> jax.Array:
    shares = jax.nn.one_hot(target['label'], len(names))
    shares = optax.smooth_labels(shares, smoothing)
    return optax.softmax_cross_entropy(outputs[:, 0], shares)

  def tell(outputs: np.ndarray, example: Example) -> Classes:
    del example
    return Classes(names, np.asarray(jax.nn.softmax(outputs[0])))

  return Head(
    answer=CLASSES,
    target={'label': array_spec(dtype=np.int32)},
    read=lambda cell: {'label': np.int32(number_of(numbers, class_name(cell)))},
    num_queries=1,
    channels=len(names),
    loss=loss,
    collect=_collect,
    metrics=_metrics,
    score='accuracy',
    tell=tell,
    cells=lambda value: {'': value.top(1)[0][0], **chances(value)},
    caption=lambda kept: caption(names, kept),
    sections=lambda kept, note: sections(names, kept, note),
    columns=lambda kept: answer_columns(names, kept),
    baselines=lambda kept: _baselines(numbers[options['most_frequent']], kept),
    rivals=Rivals(
      of_classes(len(names)),
      'label',
      lambda scores, labels: {'scores': scores, 'labels': labels},
    ),
  )


def _collect(
  outputs: jax.Array, target: Mapping[str, jax.Array]
) -> dict[str, jax.Array]:
  scores = jax.nn.softmax(outputs[:, 0].astype(jnp.float32))
  return {'scores': scores, 'labels': target['label']}


def _metrics(kept: Kept) -> dict[str, float]:
  scores, labels = kept['scores'], kept['labels']
  found = {
    'accuracy': float(np.mean(in_top(scores, labels, 1))),
    'balanced_accuracy': balanced_accuracy(scores, labels),
  }
  if scores.shape[1] == 2:
    found['auc'] = area_under_roc(scores[:, 1], labels == 1)
  return found


def _baselines(most_frequent: int, kept: Kept) -> list[tuple[str, str, float]]:
  share = float(np.mean(kept['labels'] == most_frequent))
  return [('most frequent class', 'accuracy', share)]


CLASS = HeadKind(suited, make)
