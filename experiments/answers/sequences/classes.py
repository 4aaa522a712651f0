"""Heads of classes of elements: of the steps of a series, of bytes of a text.

Shapes: B examples, M elements that ask for P steps each, W = M P steps, C
classes. F = P C; a byte of a text is an element of one step.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments.answers.answer import Answer
from experiments.answers.classes.names import number_of
from experiments.answers.elements import UNKNOWN, count_classes
from experiments.answers.head import Head, Options
from experiments.answers.sequences import classes_held_out as held_out
from experiments.answers.sequences import record
from experiments.answers.sequences.aligned import aligned_series, aligned_text
from experiments.answers.sequences.cells import to_name, to_spans, to_steps
from experiments.answers.sequences.spans import count_spans
from experiments.answers.sequences.units import patch_of, steps_of, units_of
from experiments.answers.sequences.value import Span, StepClasses, TextSpans
from experiments.data.dataset import Example, array_spec
from experiments.modalities.text.attention import characters
from experiments.pages.strips import runs_of

Align = Callable[
  [Example, Example, np.random.Generator | None], tuple[Example, Example]
]


def element_loss(logits: jax.Array, classes: jax.Array) -> jax.Array:
  """Returns cross-entropy `[B]`, the mean over the elements that are known.

  Args:
    logits: `[B, W, C]`.
    classes: int `[B, W]`, `UNKNOWN` where they weigh nothing.
  """
  known = classes != UNKNOWN
  losses = optax.softmax_cross_entropy_with_integer_labels(
    logits.astype(jnp.float32), jnp.where(known, classes, 0)
  )
  total = jnp.where(known, losses, 0.0).sum(axis=1)
  return total / jnp.maximum(known.sum(axis=1), 1)


def head_of_steps(options: Options, asks: Options) -> Head:
  """Returns the head of the class of each step of a series.

  Args:
    options: `classes`, their names, and `shares`, of each in training.
    asks: of the series, see `series_files`.
  """
  names, size = tuple(options['classes']), asks['num_steps']
  numbers = {name: i for i, name in enumerate(names)}

  def read(cell: Any) -> Example:
    classes = [
      UNKNOWN if step is None else number_of(numbers, to_name(step))
      for step in to_steps(cell)
    ]
    return {'classes': np.array(classes, np.int32)}

  def align(
    kept: Example, found: Example, rng: np.random.Generator | None
  ) -> tuple[Example, Example]:
    kept, classes = aligned_series(asks, kept, found['classes'], UNKNOWN, rng)
    return kept, {'classes': classes}

  def tell(outputs: np.ndarray, example: Example) -> StepClasses:
    count = steps_of(asks, example)
    said = outputs.reshape(size, len(names)).argmax(axis=-1)[:count]
    series = units_of(asks, example['series'][:count])
    return StepClasses(names, said.astype(np.int32), series)

  return _head(
    options,
    size,
    patch_of(asks),
    'steps',
    answer=record.STEP_CLASSES,
    read=read,
    keeps={'classes': jax.ShapeDtypeStruct((None,), np.int32)},
    align=align,
    tell=tell,
    cells=record.cells_of_classes,
  )


def head_of_bytes(options: Options, asks: Options) -> Head:
  """Returns the head of the class of each byte of a text.

  Args:
    options: `classes`, their names, of which the first is that of what lies in
      no part, and `shares`, of each in training.
    asks: of the text, see `text_files`.
  """
  names = tuple(options['classes'])
  numbers = {name: i for i, name in enumerate(names)}

  def read(cell: Any) -> Example:
    spans = [
      (start, end, number_of(numbers, name))
      for start, end, name in to_spans(cell)
    ]
    return {'spans': np.array(spans, np.int32).reshape(-1, 3)}

  def align(
    kept: Example, found: Example, rng: np.random.Generator | None
  ) -> tuple[Example, Example]:
    kept, classes = aligned_text(asks, kept, found['spans'], UNKNOWN, rng)
    return kept, {'classes': classes}

  return _head(
    options,
    asks['length'],
    1,
    'bytes',
    answer=record.TEXT_SPANS,
    read=read,
    keeps={'spans': jax.ShapeDtypeStruct((None, 3), np.int32)},
    align=align,
    tell=lambda outputs, example: _spans(names, outputs, example),
    cells=record.cells_of_spans,
  )


def _spans(
  names: Sequence[str], logits: np.ndarray, example: Example
) -> TextSpans:
  """The bytes of a character are of the class that they agree on most."""
  count = int(np.sum(example['mask']))
  pieces, firsts = characters(example['tokens'][:count])
  if not pieces:
    return TextSpans(names, '', ())
  odds = np.asarray(jax.nn.log_softmax(logits[:count]))
  classes = np.add.reduceat(odds, firsts, axis=0).argmax(axis=-1)
  # A special token is a piece of one character, as all are.
  text = ''.join(piece[:1] for piece in pieces)
  spans = [Span(*run) for run in runs_of(classes) if run[2] > 0]
  return TextSpans(names, text, spans)


def _head(
  options: Options,
  size: int,
  patch: int,
  elements: str,
  *,
  answer: Answer,
  read: Callable[[Any], Example],
  keeps: Mapping[str, jax.ShapeDtypeStruct],
  align: Align,
  tell: Callable[[np.ndarray, Example], Any],
  cells: Callable[[Any], Mapping[str, Any]],
) -> Head:
  """What steps of series and bytes of texts have in common.

  Args:
    options: see `head_of_steps`.
    size: W.
    patch: P.
    elements: what they are, in the plural: of bytes parts are counted.
    answer: see `Head`, like all that follow.
    read: of a cell.
    keeps: of what is read.
    align: of what is read and its input.
    tell: of outputs.
    cells: of a value.
  """
  names = tuple(options['classes'])
  commonest = int(np.argmax(options['shares']))

  def logits_of(outputs: jax.Array) -> jax.Array:
    return outputs.reshape(-1, size, len(names))

  def collect(
    outputs: jax.Array, target: Mapping[str, jax.Array]
  ) -> dict[str, jax.Array]:
    said, true = logits_of(outputs).argmax(axis=-1), target['classes']
    return {
      **count_classes(said, true, len(names)),
      **held_out.some_elements(true, said),
      **(count_spans(said, true) if elements == 'bytes' else {}),
    }

  return Head(
    answer=answer,
    target={'classes': array_spec(size, dtype=np.int32)},
    read=read,
    num_queries=None,
    channels=patch * len(names),
    loss=lambda outputs, target: element_loss(
      logits_of(outputs), target['classes']
    ),
    collect=collect,
    metrics=held_out.metrics,
    score='macro_f1',
    tell=tell,
    cells=cells,
    caption=lambda kept: held_out.caption(names, kept),
    sections=lambda kept, note: held_out.sections(names, elements, kept, note),
    columns=held_out.columns,
    baselines=lambda kept: held_out.baselines(commonest, kept),
    align=align,
    keeps=keeps,
  )
