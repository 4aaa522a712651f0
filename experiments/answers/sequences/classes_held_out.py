"""What classes of the elements of held-out examples come to.

What is kept of examples is what `elements.count_classes` gives, of texts also
what `spans.count_spans` gives, and some of the elements: int16 `[n, e]`,
`true_classes` and `said_classes`.
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
from experiments.pages.class_colours import class_colours, legend
from experiments.pages.page import Section
from experiments.pages.strips import strip_html
from experiments.pages.tables import Html

# Elements of each example, evenly spread.
_MOST_KEPT = 256


def some_elements(true: jax.Array, said: jax.Array) -> dict[str, jax.Array]:
  """Returns classes `[B, E]` as they are kept; runs on the devices."""
  step = -(-true.shape[1] // _MOST_KEPT)
  return {
    'true_classes': true[:, ::step].astype(jnp.int16),
    'said_classes': said[:, ::step].astype(jnp.int16),
  }


def metrics(kept: Kept) -> dict[str, float]:
  """Returns scores over the elements of all examples together.

  `accuracy` is the share of elements that are right, `macro_f1` the mean of F1
  over the classes that occur. Of texts, `span_f1` is that of parts that are
  right from their first character to their last.

  Args:
    kept: of n examples.
  """
  found = _scores(counts_of(kept).summed())
  if 'span_hits' in kept:
    hits, said, true = (
      float(np.sum(kept[f'span_{name}'])) for name in ('hits', 'said', 'true')
    )
    found['span_f1'] = 2 * hits / max(said + true, 1.0)
  return found


def _scores(counts: Counts) -> dict[str, float]:
  return {
    'accuracy': float(counts.accuracy()),
    'macro_f1': mean_known(counts.f1()),
  }


def baselines(commonest: int, kept: Kept) -> list[tuple[str, str, float]]:
  """Returns what saying the same class of all elements reaches."""
  constant = of_a_constant(counts_of(kept).summed(), commonest)
  return [
    ('commonest class', name, score)
    for name, score in _scores(constant).items()
  ]


def columns(kept: Kept) -> dict[str, np.ndarray]:
  """Returns the scores of each of n examples."""
  counts = counts_of(kept)
  return {
    'accuracy': counts.accuracy(),
    'macro_f1': np.array([mean_known(each) for each in counts.f1()]),
  }


def caption(names: Sequence[str], kept: Kept) -> Html:
  """Returns how good one example is, what is said and what is true.

  Args:
    names: of the classes.
    kept: of the example.
  """
  true, said = kept['true_classes'], kept['said_classes']
  inside = true >= 0
  # Past the end there is nothing to say.
  length = int(np.flatnonzero(inside).max(initial=0)) + 1
  colours = class_colours(len(names))
  there = np.unique(np.concatenate([true[inside], said[inside]]))
  strips = ''.join(
    f'<div>{told}:{strip_html(classes[:length], names, colours)}</div>'
    for told, classes in (('Model', said), ('True', true))
  )
  share = float(counts_of(kept).accuracy())
  return Html(
    f'<b>{share:.1%}</b> right{strips}'
    + legend([names[i] for i in there], colours[there])
  )


def sections(
  names: Sequence[str], elements: str, kept: Kept, note: str
) -> list[Section]:
  """Returns scores of each class.

  Args:
    names: of the classes.
    elements: what they are, in the plural.
    kept: of n examples.
    note: says which examples these are.
  """
  found = metrics(kept)
  told = (
    f'{note}. {found["accuracy"]:.1%} of the {elements} are right, mean F1 '
    f'{found["macro_f1"]:.3f}.'
  )
  if 'span_f1' in found:
    told += (
      f' Of {np.sum(kept["span_true"]):,} parts and '
      f'{np.sum(kept["span_said"]):,} that are found, '
      f'{np.sum(kept["span_hits"]):,} are the same from end to end, F1 '
      f'{found["span_f1"]:.3f}.'
    )
  table = classes_table(names, counts_of(kept), elements)
  return [Section(f'Classes of {elements}', table, told)]
