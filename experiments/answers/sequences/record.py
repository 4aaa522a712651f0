"""Classes and numbers of elements as lines, JSON, pictures; their records."""

import csv
import html
import json
import pathlib
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from experiments.answers.answer import Answer, Panel
from experiments.answers.numbers.value import joined, shortened, told
from experiments.answers.sequences.value import (
  StepClasses,
  StepNumbers,
  TextSpans,
)
from experiments.modalities.senses import html_of
from experiments.modalities.series.view import Series
from experiments.pages.class_colours import class_colours, hex_colour, legend
from experiments.pages.curves import curves_html, predicted
from experiments.pages.strips import runs_of, strip_html
from experiments.pages.tables import Html

_MOST_RUNS = 8
_MOST_SPANS = 20
_OPACITY = 0.35


# Classes of steps.


def lines_of_classes(answer: StepClasses, top: int) -> list[str]:
  """Returns a line of the first runs of classes, with their lengths."""
  del top
  runs = runs_of(answer.classes)
  shown = [f'{answer.names[i]} {end - start}' for start, end, i in runs]
  more = len(shown) - _MOST_RUNS
  if more > 0:
    shown = [*shown[:_MOST_RUNS], f'and {more} more runs']
  return [f'{len(answer.classes)} steps: {", ".join(shown)}']


def json_of_classes(answer: StepClasses, top: int) -> dict[str, Any]:
  """Returns runs, as parts of texts are: first step, end and class."""
  del top
  return {
    'spans': [
      [start, end, answer.names[i]] for start, end, i in runs_of(answer.classes)
    ]
  }


def panels_of_classes(answer: StepClasses) -> list[Panel]:
  """Returns the series above its classes as a strip of colours."""
  there = np.unique(answer.classes)
  colours = class_colours(len(answer.names))
  names = [answer.names[i] for i in there]
  return [
    Panel(
      'Classes of steps',
      Html(
        html_of(Series(answer.series, None))
        + strip_html(answer.classes, answer.names, colours)
        + legend(names, colours[there])
      ),
    )
  ]


def cells_of_classes(answer: StepClasses) -> dict[str, str]:
  """Returns the class of each step as a list."""
  names = [answer.names[i] for i in answer.classes]
  return {'': json.dumps(names, ensure_ascii=False)}


def write_classes(
  answer: StepClasses, folder: pathlib.Path, name: str
) -> list[pathlib.Path]:
  """Writes a table with a row for each step."""
  rows = ((i, answer.names[each]) for i, each in enumerate(answer.classes))
  return [_table(folder, name, ('step', 'class'), rows)]


def _table(
  folder: pathlib.Path, name: str, head: Sequence[str], rows: Iterable[Any]
) -> pathlib.Path:
  folder.mkdir(parents=True, exist_ok=True)
  path = folder / f'{name}.csv'
  with path.open('w', encoding='utf-8', newline='') as file:
    writer = csv.writer(file)
    writer.writerow(head)
    writer.writerows(rows)
  return path


# Numbers of steps.


def lines_of_numbers(answer: StepNumbers, top: int) -> list[str]:
  """Returns a line with the mean of the numbers and where they lie."""
  del top
  mean, low, high = (
    told(each(answer.numbers), answer.spread)
    for each in (np.mean, np.min, np.max)
  )
  return [f'{len(answer.numbers)} steps: {mean} on average, {low} to {high}']


def json_of_numbers(answer: StepNumbers, top: int) -> dict[str, Any]:
  """Returns the numbers."""
  del top
  return {'numbers': [shortened(x, answer.spread) for x in answer.numbers]}


def panels_of_numbers(answer: StepNumbers) -> list[Panel]:
  """Returns the series above the numbers of its steps."""
  body = html_of(Series(answer.series, None))
  return [
    Panel(
      'Numbers of steps',
      Html(body + curves_html([predicted(answer.numbers)])),
    )
  ]


def cells_of_numbers(answer: StepNumbers) -> dict[str, str]:
  """Returns the numbers with | between them."""
  spreads = np.full(len(answer.numbers), answer.spread)
  return {'': str(joined(answer.numbers, spreads))}


def write_numbers(
  answer: StepNumbers, folder: pathlib.Path, name: str
) -> list[pathlib.Path]:
  """Writes a table with a row for each step."""
  numbers = json_of_numbers(answer, 1)['numbers']
  return [_table(folder, name, ('step', 'number'), enumerate(numbers))]


# Parts of texts.


def lines_of_spans(answer: TextSpans, top: int) -> list[str]:
  """Returns a line for each part, with its class."""
  del top
  if not answer.spans:
    return [f'no part of the text is other than {answer.names[0]}']
  lines = [
    f'{name}: {text!r} ({start} to {end})'
    for start, end, name, text in _parts(answer)
  ]
  more = len(lines) - _MOST_SPANS
  if more > 0:
    lines = [*lines[:_MOST_SPANS], f'and {more} more']
  return lines


def json_of_spans(answer: TextSpans, top: int) -> dict[str, Any]:
  """Returns parts, with their text."""
  del top
  keys = ('start', 'end', 'class', 'text')
  return {
    'spans': [dict(zip(keys, each, strict=True)) for each in _parts(answer)]
  }


def _parts(answer: TextSpans) -> list[tuple[int, int, str, str]]:
  return [
    (start, end, answer.names[which], answer.text[start:end])
    for start, end, which in answer.spans
  ]


def panels_of_spans(answer: TextSpans) -> list[Panel]:
  """Returns the text with its parts in colours."""
  colours = class_colours(len(answer.names))
  pieces, at = [], 0
  for start, end, which in answer.spans:
    pieces.append(html.escape(answer.text[at:start]))
    colour = f'{hex_colour(colours[which])}{round(255 * _OPACITY):02x}'
    pieces.append(
      f'<span style="background:{colour}" '
      f'title="{html.escape(answer.names[which])}">'
      f'{html.escape(answer.text[start:end])}</span>'
    )
    at = end
  pieces.append(html.escape(answer.text[at:]))
  # A page cannot hold a zero byte.
  text = ''.join(pieces).replace('\0', '\ufffd')
  there = sorted({each.which for each in answer.spans})
  names = [answer.names[i] for i in there]
  return [
    Panel(
      'Parts of the text',
      Html(
        '<pre style="margin:0;white-space:pre-wrap;overflow-wrap:anywhere">'
        f'{text}</pre>{legend(names, colours[there])}'
      ),
    )
  ]


def cells_of_spans(answer: TextSpans) -> dict[str, str]:
  """Returns the parts as a table has them."""
  spans = [[start, end, name] for start, end, name, _ in _parts(answer)]
  return {'': json.dumps(spans, ensure_ascii=False)}


def write_spans(
  answer: TextSpans, folder: pathlib.Path, name: str
) -> list[pathlib.Path]:
  """Writes a table with a row for each part."""
  head = ('start', 'end', 'class', 'text')
  return [_table(folder, name, head, _parts(answer))]


STEP_CLASSES = Answer(
  purpose='classes of the steps of a series',
  outputs='Logits of the classes, for each part of the series those of its '
  'steps one after the other: softmax makes probabilities of them.',
  lines=lines_of_classes,
  json=json_of_classes,
  panels=panels_of_classes,
  higher=('accuracy', 'f1'),
  write=write_classes,
)
STEP_NUMBERS = Answer(
  purpose='numbers of the steps of a series',
  outputs='For each part of the series the numbers of its steps, in standard '
  'deviations of the training rows from their mean.',
  lines=lines_of_numbers,
  json=json_of_numbers,
  panels=panels_of_numbers,
  lower=('loss', 'mae', 'rmse'),
  higher=('r2',),
  write=write_numbers,
)
TEXT_SPANS = Answer(
  purpose='parts of texts',
  outputs='Logits of the classes of each byte, the first of which is of what '
  'lies in no part: softmax makes probabilities of them.',
  lines=lines_of_spans,
  json=json_of_spans,
  panels=panels_of_spans,
  higher=('accuracy', 'f1'),
  write=write_spans,
)
