"""What tasks say of a text, or of a pair; the record of such answers."""

import html
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from experiments.answers.answer import Answer, Panel
from experiments.answers.classes import record as of_classes
from experiments.answers.classes.value import Classes
from experiments.data.dataset import Example
from experiments.datasets.glue import CLASS_NAMES, tasks_of
from experiments.pages.axes import number
from experiments.pages.tables import Html
from perceiver_jax.tokenizer import SEP


class Judgements(NamedTuple):
  """What a model says of a text, or of a pair of texts, task by task.

  Attributes:
    classes: of tasks that choose a class.
    values: of tasks that give a number.
  """

  classes: Mapping[str, Classes]
  values: Mapping[str, float]


def judge(
  predictions: Sequence[Mapping[str, np.ndarray]], examples: Sequence[Example]
) -> Judgements:
  """Tells what the tasks that fit a text, or a pair of texts, say of it.

  Args:
    predictions: of its only example, of each task `[classes]`, or `[1]` for a
      value.
    examples: with `tokens`, a [SEP] among them where there are two texts.
  """
  (outputs,), (example,) = predictions, examples
  num_texts = 1 + int((example['tokens'] == SEP).sum())
  classes, values = {}, {}
  for task in tasks_of(num_texts, list(outputs)):
    if task in CLASS_NAMES:
      probabilities = np.asarray(jax.nn.softmax(outputs[task]))
      classes[task] = Classes(CLASS_NAMES[task], probabilities)
    else:
      values[task] = float(outputs[task][0])
  return Judgements(classes, values)


def lines_of(answer: Judgements, top: int) -> list[str]:
  """Returns the lines of each task below its name."""
  lines = []
  for task, classes in answer.classes.items():
    lines += [task, *(f'  {x}' for x in of_classes.lines_of(classes, top))]
  return [*lines, *(f'{task} {x:.2f}' for task, x in answer.values.items())]


def json_of(answer: Judgements, top: int) -> dict[str, Any]:
  """Returns classes or a value by task."""
  classes = {
    task: of_classes.json_of(each, top) for task, each in answer.classes.items()
  }
  values = {task: {'value': value} for task, value in answer.values.items()}
  return {'tasks': {**classes, **values}}


def panels_of(answer: Judgements) -> list[Panel]:
  """Returns a panel for each task."""
  panels = [
    panel._replace(name=task)
    for task, classes in answer.classes.items()
    for panel in of_classes.panels_of(classes)
  ]
  values = [
    Panel(task, Html(html.escape(number(value))))
    for task, value in answer.values.items()
  ]
  return panels + values


def said_of(answer: Judgements, top: int) -> Html:
  """Returns classes or a value below the name of each task."""
  said = {
    **{
      task: of_classes.bars_of(classes, top)
      for task, classes in answer.classes.items()
    },
    **{
      task: f'<p class="number">{value:.2f}</p>'
      for task, value in answer.values.items()
    },
  }
  return Html(
    ''.join(
      f'<div class="said"><h3>{html.escape(task)}</h3>{content}</div>'
      for task, content in said.items()
    )
  )


JUDGEMENTS = Answer(
  purpose='the tasks of GLUE',
  outputs='Logits of the classes of each task; one value where it is a '
  'regression.',
  lines=lines_of,
  json=json_of,
  panels=panels_of,
  higher=('score', 'accuracy', 'f1', 'matthews', 'pearson', 'spearman'),
  said=said_of,
)
