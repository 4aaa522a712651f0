"""An answer that stands in a column of a table: how it is asked, and told.

A kind of such answers is a folder of `experiments/answers/` with one
`HeadKind`. What a column has in its training rows is measured once, when a run
begins; these options, plain values, stand in the run's config, and make a
`Head`. A row may lack an answer: it then weighs nothing.

Shapes: B examples, O outputs asked of each, F channels of an output, n
examples that have the answer.
"""

import types
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from experiments.answers.answer import Answer, Kept
from experiments.data.classical_rows import Candidate
from experiments.data.dataset import Example
from experiments.pages.page import Section
from experiments.pages.tables import Html

# Settled options of a column: plain values, as JSON has them.
Options = Mapping[str, Any]


class Column(NamedTuple):
  """A column of answers, where its options are chosen.

  Attributes:
    name: of the column.
    cells: of the training rows that have one, at least one, in order: texts,
      numbers, lists, or absolute paths of files.
    asks: settled options of the column of inputs whose elements are asked
      about, with its `kind`; {} for none.
    inputs: the cells of that column in the same rows; None where one lacks.
  """

  name: str
  cells: Sequence[Any]
  asks: Options
  inputs: Sequence[Any] = ()


class Rivals(NamedTuple):
  """Cheap classical models of an answer, to compare with.

  Attributes:
    candidates: of which the best is taken.
    target: name of the target array that they are trained on.
    kept: what they predict of n rows, and that array of these, to what
      `Head.collect` keeps.
  """

  candidates: Sequence[Candidate]
  target: str
  kept: Callable[[np.ndarray, np.ndarray], Kept]


class Head(NamedTuple):
  """What is asked of the latents for one answer, and what becomes of it.

  Attributes:
    answer: the record of its kind, with what a person is told of a value.
    target: shape and dtype of each array that stands for a cell.
    read: cell of a row that has one to these arrays; raises a ValueError or an
      OSError that says what is wrong, without naming the row.
    num_queries: learned queries; None where the elements of an input ask, as
      those of optical flow do (Perceiver IO, section 4.4).
    channels: F.
    loss: outputs `[B, O, F]` and target arrays `[B, ...]` to `[B]`; rows that
      lack the answer are weighted with zero by the caller, and have zeros.
    collect: the same to arrays `[B, ...]` kept of each example.
    metrics: what was kept of n examples, at least one, to metrics by name.
    score: the metric of these that says how good the answers are; `answer`
      says which way it is better.
    tell: outputs `[O, F]` of one example and the example of the column that
      asks ({} for none) to a value of the kind.
    cells: value to cells of the table that `predict` writes, by what stands
      behind the column's name; '' for the answer itself.
    caption: what was kept of one example to what stands below it.
    sections: what was kept of n examples, and a note that says which they are,
      to sections of the report.
    columns: what was kept of n examples to columns of a table of predictions,
      `[n]` each, such as `true` and `predicted`.
    baselines: what was kept of n examples to what trivial predictors reach, as
      (predictor, metric, value), such as ('mean', 'mae', 3.2).
    split: for answers that are part of their input: what is kept of an input
      and a random generator, or None in evaluation, to what remains of it, for
      `prepare` of its sense as in `align`, and the target arrays. Raises a
      ValueError where too little would remain. None for others.
    whole: for the same at use: what is kept of an input to all that the model
      is shown of it, for `prepare`. None for others.
    align: for answers about the elements of an input, which move as it does:
      what is kept of the input, the arrays of `read`, and a random generator,
      or None in evaluation, to what remains of the input and the target arrays.
      What remains is for the `prepare` of its sense, in training too: all that
      `augment` would change is changed here. Generators of one state change the
      input alike, whatever the answer. None for others.
    keeps: shape and dtype of each array of `read`, where they become those of
      `target` only by `align`; an axis of any length is None.
    rivals: classical models of the answer; None where none are known.
  """

  answer: Answer
  target: Mapping[str, jax.ShapeDtypeStruct]
  read: Callable[[Any], Example]
  num_queries: int | None
  channels: int
  loss: Callable[[jax.Array, Mapping[str, jax.Array]], jax.Array]
  collect: Callable[
    [jax.Array, Mapping[str, jax.Array]], Mapping[str, jax.Array]
  ]
  metrics: Callable[[Kept], Mapping[str, float]]
  score: str
  tell: Callable[[np.ndarray, Example], Any]
  cells: Callable[[Any], Mapping[str, Any]]
  caption: Callable[[Kept], Html]
  sections: Callable[[Kept, str], list[Section]]
  columns: Callable[[Kept], Mapping[str, Sequence[Any]]]
  baselines: Callable[[Kept], Sequence[tuple[str, str, float]]] = lambda _: ()
  split: (
    Callable[[Example, np.random.Generator | None], tuple[Example, Example]]
    | None
  ) = None
  whole: Callable[[Example], Example] | None = None
  align: (
    Callable[
      [Example, Example, np.random.Generator | None], tuple[Example, Example]
    ]
    | None
  ) = None
  keeps: Mapping[str, jax.ShapeDtypeStruct] = types.MappingProxyType({})
  rivals: Rivals | None = None


class HeadKind(NamedTuple):
  """A kind of answers of a column.

  Attributes:
    suited: column and the arguments that a person wrote behind its kind, such
      as {'': '24'} of `load:forecast(24)`, to its options. Raises a ValueError
      that says what is wrong with the column.
    make: options, and settled options of the column that asks ({} for none), to
      the head.
    asks_of: kinds of inputs whose elements ask, or that the answer is part of;
      () for neither.
    needs: options of the input that is asked about, and of its preprocessor
      below `elements`, that the answer needs, by the kind of the input.
  """

  suited: Callable[[Column, Mapping[str, str]], dict[str, Any]]
  make: Callable[[Options, Options], Head]
  asks_of: tuple[str, ...] = ()
  needs: Mapping[str, Mapping[str, Any]] = types.MappingProxyType({})
