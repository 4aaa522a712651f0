"""What a person reads of a text."""

import html
from typing import NamedTuple


class Text(NamedTuple):
  """A text.

  Attributes:
    data: UTF-8; a crop may begin and end inside a character.
  """

  data: bytes


def text_html(view: Text) -> str:
  """Returns it as it is, line by line."""
  # A page cannot hold a zero byte, whatever the file had.
  text = view.data.decode('utf-8', errors='replace').replace('\0', '\ufffd')
  return (
    '<pre style="margin:0;white-space:pre-wrap;overflow-wrap:anywhere">'
    f'{html.escape(text)}</pre>'
  )
