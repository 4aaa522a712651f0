"""What a person sees of a cell of a table."""

import html
from typing import NamedTuple


class Cell(NamedTuple):
  """A cell of a table.

  Attributes:
    text: what it says.
    kind: 'number', 'category', 'date' or 'list'.
  """

  text: str
  kind: str


def cell_html(view: Cell) -> str:
  """Returns a box with what the cell says."""
  return (
    f'<span title="{html.escape(view.kind)}" style="display:inline-block;'
    'padding:2px 8px;border:1px solid #8888;border-radius:4px;'
    f'overflow-wrap:anywhere">{html.escape(view.text)}</span>'
  )
