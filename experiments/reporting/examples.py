"""Held-out examples as a person sees them, with what the model says of them."""

import html
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from experiments.answers.kinds import (
  Answer,
  Classes,
  FilledText,
  Flow,
  Reconstruction,
)
from experiments.answers.panels import Panel, motion_panel, panels_of
from experiments.data.dataset import Dataset, Example
from experiments.data.modality import View
from experiments.modalities.senses import html_of, sense_of
from experiments.pages.tables import Html
from experiments.reporting.held_out import (
  Judged,
  Judgement,
  extremes,
  held_out,
  predictions_of,
)
from experiments.runs.trained import TrainedRun
from experiments.tasks.task import Task

# Of examples that take little room, and of those that take a row.
_MANY, _FEW = 12, 4
_TOP_CLASSES = 3


def example_cards(
  run: TrainedRun, dataset: Dataset, judgement: Judgement
) -> tuple[Html, Html]:
  """Returns the worst and the best examples, the most extreme first.

  Args:
    run: that judged them.
    dataset: of the run, opened.
    judgement: of held-out examples.
  """
  count = _MANY if judgement.class_names else _FEW
  worst, best = (
    _cards(run, dataset, judgement, some) for some in extremes(judgement, count)
  )
  return worst, best


def _cards(
  run: TrainedRun,
  dataset: Dataset,
  judgement: Judgement,
  some: Sequence[Judged],
) -> Html:
  examples = [held_out(dataset, judged.index) for judged in some]
  if not examples:
    return Html('')
  if judgement.class_names:
    view = run.task.data.view
    views = [{} if view is None else view(each) for each in examples]
    names = tuple(judgement.class_names)
    kind = _room_for(views[0])
    cards = [
      _class_card(shown, Classes(names, judged.scores), judged)
      for shown, judged in zip(views, some, strict=True)
    ]
  else:
    kind = 'examples full'
    made = predictions_of(run, examples, len(judgement.judged))
    cards = [
      _panel_card(example_panels(run.task, prediction, example), judged)
      for prediction, example, judged in zip(made, examples, some, strict=True)
    ]
  return Html(f'<div class="{kind}">{"".join(cards)}</div>')


def _room_for(views: Mapping[str, View]) -> str:
  """The class of a grid of examples: pictures need less room than texts."""
  is_small = all(sense_of(each).is_small for each in views.values())
  return 'examples' if is_small and len(views) < 2 else 'examples broad'


def _class_card(
  views: Mapping[str, View], answer: Classes, judged: Judged
) -> str:
  shown = ''.join(f'<div>{html_of(view)}</div>' for view in views.values())
  if judged.label.ndim:
    said = _several(answer, judged.label > 0.5)
  else:
    said = _one(answer, int(judged.label))
  return _card(shown, f'{said}{_footer(judged)}')


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


def example_panels(
  task: Task, prediction: Any, example: Example
) -> list[Panel]:
  """Returns what shows an example whose answer is no class.

  Args:
    task: of the model.
    prediction: of the example, without a batch axis.
    example: as held-out ones are.

  Returns:
    What the model sees; what is true, of flow and of masked text; its answer.
  """
  view = task.data.view
  seen = {} if view is None else view(example)
  inputs = [
    Panel(name.capitalize(), Html(html_of(each))) for name, each in seen.items()
  ]
  if task.answer is None:
    return inputs
  answer: Answer = task.answer([prediction], [example])
  panels = panels_of(answer)
  if isinstance(answer, Flow):
    valid = example['valid'] > 0
    fastest = np.linalg.norm(example['flow'][valid], axis=-1).max(initial=1e-6)
    true = motion_panel(
      'True motion', example['flow'], max_motion=fastest, valid=valid
    )
    made = motion_panel('Estimated motion', answer.flow, max_motion=fastest)
    return [*panels[:-1], true, made]
  if isinstance(answer, FilledText) and 'targets' in example:
    whole = view({**example, 'tokens': example['targets']})
    inputs += [Panel('True', Html(html_of(each))) for each in whole.values()]
  is_whole = isinstance(answer, Reconstruction)  # It has the inputs, too.
  return panels if is_whole else [*inputs, *panels]


def _panel_card(panels: Sequence[Panel], judged: Judged) -> str:
  shown = ''.join(
    f'<div><div class="panel-name">{html.escape(panel.name)}</div>'
    f'{panel.body}</div>'
    for panel in panels
  )
  return _card(shown, _footer(judged))


def _footer(judged: Judged) -> str:
  return (
    f'<span class="said">loss {judged.loss:.3g}, no. {judged.index:,}</span>'
  )


def _card(shown: str, caption: str) -> str:
  return (
    f'<figure class="example"><div class="views">{shown}</div>'
    f'<figcaption>{caption}</figcaption></figure>'
  )
