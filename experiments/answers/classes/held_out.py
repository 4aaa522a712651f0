"""What a report says of the classes of held-out examples together."""

import html
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from experiments.answers.answer import HeldOut
from experiments.answers.classes.scores import (
  class_precisions,
  confusion_matrix,
  most_confused,
  scores_and_labels,
)
from experiments.answers.classes.value import Classes
from experiments.data.dataset import Example
from experiments.pages.axes import number
from experiments.pages.page import Section
from experiments.pages.tables import Html, bar, confusion_table, table

# Of so many classes a confusion matrix can still be read.
_MOST_CLASSES = 50
_MOST_PAIRS = 30
_TOP_CLASSES = 3


class Guess(NamedTuple):
  """What a model says of a held-out example, and what is true.

  Attributes:
    classes: what the model says.
    label: number of the true class, or `[C]`, 1 for each that is there.
    recording: the recording that it is a clip of; None where examples are no
      clips.
  """

  classes: Classes
  label: np.ndarray
  recording: int | None = None


def keep(classes: Classes, example: Example) -> Guess:
  """Returns what is remembered of a held-out example."""
  recording = example.get('recording')
  return Guess(
    classes,
    np.asarray(example['label']),
    None if recording is None else int(recording),
  )


def caption(guess: Guess) -> Html:
  """Returns what the model says and what is true."""
  if guess.label.ndim:
    return Html(_several(guess.classes, guess.label > 0.5))
  return Html(_one(guess.classes, int(guess.label)))


def sections(guesses: Sequence[Guess], note: str) -> list[Section]:
  """Returns the confusion matrix, or the precision of each class.

  Args:
    guesses: those of all examples.
    note: which examples these are.
  """
  if not guesses:
    return []
  names = guesses[0].classes.names
  scores, labels = scores_and_labels(
    np.stack([each.classes.probabilities for each in guesses]),
    np.stack([each.label for each in guesses]),
    [each.recording for each in guesses],
  )
  if labels.ndim == 2:
    return [_precisions(names, scores, labels, note)]
  counts = confusion_matrix(scores, labels)
  if len(names) <= _MOST_CLASSES:
    right = f'{np.trace(counts):,} of {counts.sum():,} are right'
    body = confusion_table(names, counts)
    return [Section('Confusion matrix', body, f'{note}; {right}.')]
  rows = [
    (each.true, each.predicted, f'{each.count:,}', f'{each.share:.0%}')
    for each in most_confused(counts, names, _MOST_PAIRS)
  ]
  head = ('class', 'taken for', 'examples', 'of its class')
  body = table(head, rows, numbers=False)
  return [Section('Classes most often confused', body, f'{note}.')]


HELD_OUT = HeldOut(keep, caption, sections)


def _precisions(
  names: tuple[str, ...], scores: np.ndarray, labels: np.ndarray, note: str
) -> Section:
  cells = [
    (
      each.name,
      bar(each.precision, number(each.precision)),
      f'{each.positives:,}',
    )
    for each in class_precisions(scores, labels, names)
  ]
  head = ('class', 'average precision', 'examples')
  body = table(head, cells, numbers=False)
  return Section('Average precision of each class', body, f'{note}.')


def _one(answer: Classes, label: int) -> str:
  """What the model says and what is true, of one class an example."""
  shares = answer.probabilities
  guess = int(np.argmax(shares))
  kind = '' if guess == label else ' class="wrong"'
  said = f'<b{kind}>{html.escape(answer.names[guess])}</b> {shares[guess]:.0%}'
  if guess == label:
    return said
  true = f'is {answer.names[label]}, given {shares[label]:.1%}'
  return f'{said}<br>{html.escape(true)}'


def _several(answer: Classes, has: np.ndarray) -> str:
  """The same of any number of classes an example."""
  true = ', '.join(answer.names[i] for i in np.flatnonzero(has)) or 'none'
  top = answer.top(max(_TOP_CLASSES, int(has.sum())))
  chances = ', '.join(f'{name} {share:.0%}' for name, share in top)
  return (
    f'<b>{html.escape(true)}</b>'
    f'<span class="said">{html.escape(chances)}</span>'
  )
