"""What the classes of all held-out examples come to: report and table.

Everything that is kept of examples is `scores`, `labels` and, of clips,
`recording`; see `collect_classes`.
"""

import html
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from experiments.answers.answer import HeldOut, Kept
from experiments.answers.classes.calibration import (
  reliability,
  reliability_diagram,
  statements,
)
from experiments.answers.classes.metrics import average_recordings
from experiments.answers.classes.scores import (
  class_scores,
  confusion_matrix,
  found,
  mean_scores,
  most_confused,
)
from experiments.answers.classes.value import Classes
from experiments.pages.axes import number
from experiments.pages.page import Section
from experiments.pages.tables import Html, bar, confusion_table, table
from experiments.stepping.train_state import Collect

# Of so many classes a confusion matrix can still be read.
_MOST_CLASSES = 50
_MOST_PAIRS = 30
_TOP_CLASSES = 3


def held_out_classes(names: tuple[str, ...], collect: Collect) -> HeldOut:
  """Returns what is told of examples that have classes.

  Args:
    names: of the classes.
    collect: see the head of this file.
  """
  return HeldOut(
    collect,
    caption=lambda kept: caption(names, kept),
    sections=lambda kept, note: sections(names, kept, note),
    columns=lambda numbers, kept: columns(names, numbers, kept),
  )


def caption(names: tuple[str, ...], kept: Kept) -> Html:
  """Returns what the model says of one example and what is true."""
  answer = Classes(names, kept['scores'])
  if np.ndim(kept['labels']):
    return Html(_several(answer, kept['labels'] > 0.5))
  return Html(_one(answer, int(kept['labels'])))


def sections(names: tuple[str, ...], kept: Kept, note: str) -> list[Section]:
  """Returns confusions, scores of each class, and calibration.

  Args:
    names: of the classes.
    kept: of all examples, at least one; clips of a recording are averaged.
    note: says which examples these are.
  """
  has_recordings = 'recording' in kept
  kept = average_recordings(kept)
  scores, labels = kept['scores'], kept['labels']
  if has_recordings:
    note = f'{note}, in {len(labels):,} recordings'
  bins = reliability(*statements(scores, labels))
  calibration = Section(
    'Calibration',
    reliability_diagram(bins),
    f'{note}. The expected calibration error is {bins.error():.1%}: so far is '
    'what the model says from what is so, over bins of equal width.',
  )
  confusions = [] if labels.ndim == 2 else [_confusions(names, kept, note)]
  return [*confusions, _scores_of_classes(names, kept, note), calibration]


def columns(
  names: tuple[str, ...], numbers: np.ndarray, kept: Kept
) -> Mapping[str, Sequence[Any]]:
  """Returns true and predicted classes, and the probability of each class.

  Args:
    names: of the classes.
    numbers: int `[n]`, of the examples.
    kept: of them; clips of a recording are averaged, and a row is a recording.
  """
  if 'recording' in kept:
    first = {'recording': np.unique(kept['recording'])}
  else:
    first = {'example': numbers}
  return {**first, **answer_columns(names, average_recordings(kept))}


def answer_columns(
  names: tuple[str, ...], kept: Kept
) -> Mapping[str, Sequence[Any]]:
  """Returns the same without what numbers the rows.

  Args:
    names: of the classes.
    kept: of the examples, which are no clips.
  """
  has, says = found(kept['scores'], kept['labels'])
  return {
    'true': [_names_of(names, row) for row in has],
    'predicted': [_names_of(names, row) for row in says],
    **{f'p({name})': kept['scores'][:, i] for i, name in enumerate(names)},
  }


def _names_of(names: tuple[str, ...], which: np.ndarray) -> str:
  return '|'.join(names[i] for i in np.flatnonzero(which))


def _confusions(names: tuple[str, ...], kept: Kept, note: str) -> Section:
  counts = confusion_matrix(kept['scores'], kept['labels'])
  if len(names) <= _MOST_CLASSES:
    right = f'{np.trace(counts):,} of {counts.sum():,} are right'
    body = confusion_table(names, counts)
    return Section('Confusion matrix', body, f'{note}; {right}.')
  rows = [
    (each.true, each.predicted, f'{each.count:,}', f'{each.share:.0%}')
    for each in most_confused(counts, names, _MOST_PAIRS)
  ]
  head = ('class', 'taken for', 'examples', 'of its class')
  body = table(head, rows, numbers=False)
  return Section('Classes most often confused', body, f'{note}.')


def _scores_of_classes(
  names: tuple[str, ...], kept: Kept, note: str
) -> Section:
  """A row a class, those that are found worst first, below their means."""
  classes = class_scores(kept['scores'], kept['labels'], names)
  # Those that no example has come last.
  worst = sorted(classes, key=lambda each: np.nan_to_num(each.f1, nan=2.0))
  means = [mean_scores(classes)] if any(x.positives for x in classes) else []
  rows = [
    (
      each.name,
      bar(np.nan_to_num(each.f1), number(each.f1)),
      number(each.precision),
      number(each.recall),
      number(each.average_precision),
      f'{each.positives:,}',
    )
    for each in [*means, *worst]
  ]
  head = ('class', 'F1', 'precision', 'recall', 'average precision', 'examples')
  several = kept['labels'].ndim == 2
  rule = ' A class is found where its probability is over 50%.' * several
  body = table(head, rows, numbers=False)
  return Section('Scores of each class', body, f'{note}.{rule}')


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
