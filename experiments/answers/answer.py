"""The record of a kind of answer: what everything else asks about it.

A kind is a folder of `experiments/answers/` with one `Answer`. What the model
says of one input is a value of the kind, such as `Classes`; `Task.tell` makes
it of predictions, and the functions of the record take it.
"""

import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from experiments.data.dataset import Example
from experiments.data.modality import View
from experiments.modalities.senses import html_of
from experiments.pages.page import Section
from experiments.pages.tables import Html
from experiments.stepping.train_state import Batch

# What a person sees or hears of an example; None where that is not known.
ViewOf = Callable[[Example], Mapping[str, View]] | None
# Arrays `[n, ...]` of held-out examples, or of one of them.
Kept = Mapping[str, np.ndarray]
# Of a table, by name.
Columns = Mapping[str, Sequence[Any]]


class DatasetMetrics(NamedTuple):
  """Metrics of all held-out examples together, which are no means.

  Attributes:
    names: the names of the metrics.
    collect: predictions and batch to arrays `[B, ...]`, kept of each held-out
      example; runs on the devices.
    compute: what was kept, `[n, ...]`, each example once, to the metrics; runs
      on the host.
  """

  names: tuple[str, ...]
  collect: Callable[[Any, Batch], Mapping[str, jax.Array]]
  compute: Callable[[Kept], Mapping[str, float]]


class Panel(NamedTuple):
  """A part of what is shown of an example.

  Attributes:
    name: its caption, such as 'Second frame'.
    body: the element.
  """

  name: str
  body: Html


class HeldOut(NamedTuple):
  """How all held-out examples are told together, in the report and as a table.

  Attributes:
    collect: predictions and batch to arrays `[B, ...]`, kept of each held-out
      example; runs on the devices, in the evaluation that computes metrics.
    caption: what was kept of one example to what stands below it.
    sections: what was kept of all, `[n, ...]`, in order of their numbers, and a
      note that says which they are, to sections of the report.
    columns: numbers `[n]` of all and what was kept of them to the columns of a
      table, by name; None for the metrics of each.
  """

  collect: Callable[[Any, Batch], Mapping[str, jax.Array]]
  caption: Callable[[Kept], Html]
  sections: Callable[[Kept, str], list[Section]]
  columns: Callable[[np.ndarray, Kept], Mapping[str, Sequence[Any]]] | None = (
    None
  )


class Answer(NamedTuple):
  """A kind of answer.

  Attributes:
    purpose: what a model is for, as in 'A Perceiver for ...'; for model cards.
    outputs: what the numbers are that the model gives; for model cards.
    lines: value, and how many choices to name, to lines to read.
    json: the same to what `json.dumps` takes.
    panels: value to what shows it in the report.
    lower: endings of the names of metrics of which lower is better.
    higher: endings of those of which higher is better.
    said: value, and how many choices to name, to what the page of the server
      says; None for the lines as they are.
    note: value to a sentence for the page of attention; '' for none.
    write: value, folder and name of files, without ending, to the files that
      were written; the folder is made if need be.
    drawn: value to panels that show the inputs, too; the page of the server has
      them in place of the inputs. [] where the inputs are shown alone.
    full: value, held-out example and its view to all panels of it; None for
      those of the inputs and then those of the value.
    held_out: None where there is nothing to say of examples together; each is
      then shown in full. What it depends on of a config is for tasks to bind.
  """

  purpose: str
  outputs: str
  lines: Callable[[Any, int], list[str]]
  json: Callable[[Any, int], dict[str, Any]]
  panels: Callable[[Any], list[Panel]]
  lower: tuple[str, ...] = ('loss',)
  higher: tuple[str, ...] = ()
  said: Callable[[Any, int], Html] | None = None
  note: Callable[[Any], str] = lambda _: ''
  write: Callable[[Any, pathlib.Path, str], list[pathlib.Path]] = lambda *_: []
  drawn: Callable[[Any], list[Panel]] = lambda _: []
  full: Callable[[Any, Example, ViewOf], list[Panel]] | None = None
  held_out: HeldOut | None = None

  def is_lower_better(self, metric: str) -> bool | None:
    """Returns whether lower is better; None where it is not known.

    Args:
      metric: name of the metric, such as 'eval/loss'.
    """
    name = metric.rpartition('/')[2]
    if name.endswith(self.lower):
      return True
    return False if name.endswith(self.higher) else None


def panels_of_inputs(example: Example, view: ViewOf) -> list[Panel]:
  """Returns what a person sees of an example."""
  views = {} if view is None else view(example)
  return [
    Panel(name.capitalize(), Html(html_of(each)))
    for name, each in views.items()
  ]
