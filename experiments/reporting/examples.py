"""Held-out examples as a person sees them, with what the model says of them."""

import html
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from experiments.answers.answer import Panel, panels_of_inputs
from experiments.data.dataset import Example
from experiments.data.modality import View
from experiments.modalities.senses import html_of, sense_of
from experiments.pages.tables import Html
from experiments.reporting.held_out import Shown
from experiments.tasks.task import Task


def example_cards(task: Task, some: Sequence[Shown]) -> Html:
  """Returns examples side by side, or below each other where they take room.

  Args:
    task: of the model.
    some: of the gallery; '' for none.
  """
  if not some:
    return Html('')
  if task.answer.held_out is None:
    cards = [
      _panel_card(example_panels(task, each.prediction, each.example), each)
      for each in some
    ]
    return Html(f'<div class="examples full">{"".join(cards)}</div>')
  view = task.data.view
  views = [{} if view is None else view(each.example) for each in some]
  cards = [
    _small_card(shown, task.answer.held_out.caption(each.kept), each)
    for shown, each in zip(views, some, strict=True)
  ]
  return Html(f'<div class="{_room_for(views[0])}">{"".join(cards)}</div>')


def _room_for(views: Mapping[str, View]) -> str:
  """The class of a grid of examples: pictures need less room than texts."""
  is_small = all(sense_of(each).is_small for each in views.values())
  return 'examples' if is_small and len(views) < 2 else 'examples broad'


def _small_card(views: Mapping[str, View], said: Html, shown: Shown) -> str:
  seen = ''.join(f'<div>{html_of(view)}</div>' for view in views.values())
  told = f'loss {shown.metrics["loss"]:.3g}, {shown.name}'
  return _card(seen, f'{said}{_said(told)}')


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


def _panel_card(panels: Sequence[Panel], shown: Shown) -> str:
  seen = ''.join(
    f'<div><div class="panel-name">{html.escape(panel.name)}</div>'
    f'{panel.body}</div>'
    for panel in panels
  )
  metrics = {
    name: value
    for name, value in shown.metrics.items()
    if np.isfinite(value) or name == 'loss'
  }
  told = ', '.join(
    f'{name.replace("_", " ")} {value:.3g}' for name, value in metrics.items()
  )
  return _card(seen, _said(f'{shown.name}: {told}'))


def _said(text: str) -> str:
  return f'<span class="said">{html.escape(text)}</span>'


def _card(shown: str, caption: str) -> str:
  return (
    f'<figure class="example"><div class="views">{shown}</div>'
    f'<figcaption>{caption}</figcaption></figure>'
  )
