"""Tables of a page. All that they are given is escaped here."""

import html
from collections.abc import Sequence

import numpy as np

from experiments.pages.axes import number

# From so many classes on, counts no longer fit into the cells.
_COUNTED = 26


class Html(str):
  """Text that is HTML already, and not to be escaped again."""


def as_html(text: str) -> str:
  """Escapes a text, unless it is `Html`."""
  return text if isinstance(text, Html) else html.escape(text)


def table(
  head: Sequence[str], rows: Sequence[Sequence[str]], *, numbers: bool = True
) -> Html:
  """Returns a table with the first column as the names of the rows.

  Args:
    head: names of the columns.
    rows: cells; those that are `Html` are taken as they are.
    numbers: whether all columns but the first have numbers, and stand right.
  """
  top = ''.join(f'<th scope="col">{as_html(each)}</th>' for each in head)
  body = ''.join(
    f'<tr><th scope="row">{as_html(name)}</th>'
    + ''.join(f'<td>{as_html(cell)}</td>' for cell in cells)
    + '</tr>'
    for name, *cells in rows
  )
  kind = 'numbers' if numbers else 'words'
  return Html(
    f'<div class="wide"><table class="{kind}"><thead><tr>{top}</tr></thead>'
    f'<tbody>{body}</tbody></table></div>'
  )


def pairs(rows: Sequence[tuple[str, str]]) -> Html:
  """Returns a list of names, and what belongs to each."""
  inner = ''.join(
    f'<dt>{as_html(name)}</dt><dd>{as_html(value)}</dd>' for name, value in rows
  )
  return Html(f'<dl>{inner}</dl>')


def bar(share: float, label: str) -> Html:
  """Returns a bar that is full for a share of 1, and a label beside it."""
  width = 100 * float(np.clip(share, 0.0, 1.0))
  return Html(
    f'<span class="bar"><i style="width:{width:.1f}%"></i></span> '
    f'{as_html(label)}'
  )


def confusion_table(names: Sequence[str], counts: np.ndarray) -> Html:
  """Returns a heat table: a row a true class, a column a predicted one.

  What the cells say of themselves is shown when one points at them.

  Args:
    names: of the classes.
    counts: int `[C, C]`.
  """
  rotated = max(map(len, names)) > 3
  head = ''.join(
    f'<th scope="col"><span>{as_html(name)}</span></th>' for name in names
  )
  body = ''.join(
    f'<tr><th scope="row">{as_html(name)}</th>'
    + ''.join(_cell(names, counts, i, j) for j in range(len(names)))
    + '</tr>'
    for i, name in enumerate(names)
  )
  kind = 'confusion turned' if rotated else 'confusion'
  if len(names) >= _COUNTED:
    kind += ' dense'
  return Html(
    f'<div class="wide"><table class="{kind}"><thead><tr>'
    f'<td class="corner">true ↓ predicted →</td>{head}</tr></thead>'
    f'<tbody>{body}</tbody></table></div>'
  )


def _cell(names: Sequence[str], counts: np.ndarray, i: int, j: int) -> str:
  count, total = int(counts[i, j]), int(counts[i].sum())
  share = count / max(total, 1)
  told = (
    f'{names[i]} taken for {names[j]}' if i != j else f'{names[i]} recognised'
  )
  title = html.escape(f'{told}: {count:,} of {total:,} ({share:.1%})')
  shown = f'{count:,}' if count and len(names) < _COUNTED else ''
  kind = 'hit' if i == j else 'miss'
  # A few mistakes among many are what one looks for.
  strength = share if i == j else min(1.0, 2.0 * share**0.5)
  filled = f' style="--strength:{strength:.3f}"' if count else ''
  return f'<td class="{kind}" title="{title}"{filled}>{shown}</td>'


def metric_cell(value: float | None, *, is_best: bool = False) -> Html:
  """Returns a number, in bold where it is the best of its row."""
  shown = html.escape(number(value))
  return Html(f'<b>{shown}</b>' if is_best else shown)
