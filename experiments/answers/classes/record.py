"""Classes as lines, as JSON and on pages; the record of such answers."""

import html
from typing import Any

from experiments.answers.answer import Answer, Panel
from experiments.answers.classes.value import Classes
from experiments.pages.tables import Html, bar, table

_BAR_WIDTH = 30
_TOP = 3


def lines_of(answer: Classes, top: int) -> list[str]:
  """Returns a line for each of the likeliest classes."""
  classes = answer.top(top)
  width = max(len(name) for name, _ in classes)
  return [
    f'{probability:6.1%}  {name:{width}}  {_bar(probability)}'.rstrip()
    for name, probability in classes
  ]


def _bar(probability: float) -> str:
  return '█' * round(_BAR_WIDTH * probability)


def json_of(answer: Classes, top: int) -> dict[str, Any]:
  """Returns the likeliest classes."""
  return {
    'classes': [
      {'name': name, 'probability': probability}
      for name, probability in answer.top(top)
    ]
  }


def panels_of(answer: Classes) -> list[Panel]:
  """Returns a table of the likeliest classes."""
  rows = [
    (name, bar(probability, f'{probability:.1%}'))
    for name, probability in answer.top(_TOP)
  ]
  return [Panel('Model', table(('class', 'probability'), rows, numbers=False))]


def said_of(answer: Classes, top: int) -> Html:
  """Returns the likeliest class in large letters, and bars of some."""
  return Html(f'<div class="said">{bars_of(answer, top)}</div>')


def bars_of(answer: Classes, top: int) -> Html:
  """Returns what `said_of` has, without the element around it."""
  classes = answer.top(top)
  rows = ''.join(
    f'<li><span>{html.escape(name)}</span>'
    f'<span>{100 * probability:.1f}\N{NO-BREAK SPACE}%</span>'
    f'<i style="--share: {probability}"></i></li>'
    for name, probability in classes
  )
  return Html(
    f'<p class="first"><b>{html.escape(classes[0][0])}</b></p>'
    f'<ol class="classes">{rows}</ol>'
  )


def note_of(answer: Classes) -> str:
  """Returns the likeliest class in a sentence."""
  ((name, probability),) = answer.top(1)
  return f'The model says: {name} ({probability:.1%}).'


CLASSES = Answer(
  purpose='classification',
  outputs='Logits of the classes: softmax makes probabilities of them that sum '
  'to 1.',
  lines=lines_of,
  json=json_of,
  panels=panels_of,
  higher=('accuracy', 'precision', 'auc', 'f1_micro', 'f1_macro'),
  said=said_of,
  note=note_of,
)
SEVERAL_CLASSES = CLASSES._replace(
  outputs='Logits of the classes, any number of which can be there: sigmoid '
  'makes a probability of each.',
)
CLASSES_OF_TEXT = CLASSES._replace(
  purpose='classification of text',
  outputs='Logits of the classes: softmax makes probabilities of them that sum '
  'to 1. A token is a byte of UTF-8 plus 6; 0 is padding.',
)
