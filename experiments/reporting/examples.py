"""Held-out examples as a person sees them, with what the model says of them."""

import html
from collections.abc import Mapping, Sequence
from typing import Any

from experiments.answers.answer import Panel, panels_of_inputs
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


def example_cards(
  run: TrainedRun, dataset: Dataset, judgement: Judgement
) -> tuple[Html, Html]:
  """Returns the worst and the best examples, the most extreme first.

  Args:
    run: that judged them.
    dataset: of the run, opened.
    judgement: of held-out examples.
  """
  count = _MANY if run.task.answer.held_out else _FEW
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
  together = run.task.answer.held_out
  if together is not None:
    view = run.task.data.view
    views = [{} if view is None else view(each) for each in examples]
    kind = _room_for(views[0])
    cards = [
      _small_card(shown, together.caption(judged.kept), judged)
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


def _small_card(
  views: Mapping[str, View], caption: Html, judged: Judged
) -> str:
  shown = ''.join(f'<div>{html_of(view)}</div>' for view in views.values())
  return _card(shown, f'{caption}{_footer(judged)}')


def example_panels(
  task: Task, prediction: Any, example: Example
) -> list[Panel]:
  """Returns what shows an example in full.

  Args:
    task: what the model was trained for.
    prediction: the prediction of the example, without a batch axis.
    example: as held-out ones are.

  Returns:
    What the model sees, its answer and, where it can be shown, what is true.
  """
  kind, view = task.answer, task.data.view
  answer = task.tell([prediction], [example])
  if kind.full is not None:
    return kind.full(answer, example, view)
  return [*panels_of_inputs(example, view), *kind.panels(answer)]


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
