"""Numbers as lines, as JSON and on pages; the record of such answers."""

import html
from typing import Any

from experiments.answers.answer import Answer, Panel
from experiments.answers.numbers.value import (
  Numbers,
  joined,
  level_name,
  shortened,
  told,
)
from experiments.pages.tables import Html, table

# So many numbers make a sentence.
_SENTENCE = 3


def lines_of(answer: Numbers, top: int) -> list[str]:
  """Returns a line for each number, such as '3.2 (2.1 to 4.6)'."""
  del top
  lines = [_with_interval(answer, i) for i in range(len(answer.values))]
  if len(lines) == 1:
    return lines
  return [f'{i}: {line}' for i, line in enumerate(lines, start=1)]


def _with_interval(answer: Numbers, i: int) -> str:
  number = told(answer.values[i], answer.spreads[i])
  between = _interval(answer, i)
  return f'{number} ({between})' if between else number


def _interval(answer: Numbers, i: int) -> str:
  interval = answer.interval()
  if interval is None:
    return ''
  low, high = (told(side[i], answer.spreads[i]) for side in interval)
  return f'{low} to {high}'


def json_of(answer: Numbers, top: int) -> dict[str, Any]:
  """Returns the number, or a list of several, and the quantiles likewise."""
  del top
  is_one = len(answer.values) == 1

  def plain(values: Any) -> Any:
    numbers = [
      shortened(x, s) for x, s in zip(values, answer.spreads, strict=True)
    ]
    return numbers[0] if is_one else numbers

  quantiles = {level_name(q): plain(x) for q, x in answer.quantiles.items()}
  return {
    'number' if is_one else 'numbers': plain(answer.values),
    **({'quantiles': quantiles} if quantiles else {}),
  }


def panels_of(answer: Numbers) -> list[Panel]:
  """Returns the number and its interval, or a table of several."""
  if len(answer.values) == 1:
    (line,) = lines_of(answer, 1)
    return [Panel('Model', Html(html.escape(line)))]
  return [Panel('Model', _table(answer))]


def _table(answer: Numbers) -> Html:
  columns = [answer.values, *answer.quantiles.values()]
  rows = [
    (str(i + 1), *(told(x[i], answer.spreads[i]) for x in columns))
    for i in range(len(answer.values))
  ]
  return table(('', 'number', *map(level_name, answer.quantiles)), rows)


def said_of(answer: Numbers, top: int) -> Html:
  """Returns the number in large figures, or a table of several."""
  del top
  if len(answer.values) > 1:
    return Html(f'<div class="said">{_table(answer)}</div>')
  number = html.escape(told(answer.values[0], answer.spreads[0]))
  between = html.escape(_interval(answer, 0))
  between = f'<p>{between}</p>' if between else ''
  return Html(
    f'<div class="said"><p class="number">{number}</p>{between}</div>'
  )


def note_of(answer: Numbers) -> str:
  """Returns a few numbers in a sentence."""
  lines = [_with_interval(answer, i) for i in range(len(answer.values))]
  return (
    f'The model says: {", ".join(lines)}.' if len(lines) <= _SENTENCE else ''
  )


def cells_of(answer: Numbers) -> dict[str, Any]:
  """Returns cells of a table: the number below '', quantiles below ' 10%'."""
  columns = {'': answer.values}
  columns |= {f' {level_name(q)}': x for q, x in answer.quantiles.items()}
  return {name: joined(x, answer.spreads) for name, x in columns.items()}


NUMBERS = Answer(
  purpose='the prediction of numbers',
  outputs='Numbers in standard deviations of the training rows, from their '
  'mean.',
  lines=lines_of,
  json=json_of,
  panels=panels_of,
  lower=('loss', 'mae', 'rmse'),
  higher=('r2', 'spearman'),
  said=said_of,
  note=note_of,
)
QUANTILES = NUMBERS._replace(
  purpose='the prediction of numbers with their quantiles',
  outputs='Of each number the median, in standard deviations of the training '
  'rows from their mean; in its neighbours, the softplus of each channel is '
  'the distance to the next quantile, outwards.',
)
LOGARITHMS = ' The numbers are logarithms of what is predicted.'
