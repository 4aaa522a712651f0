"""One HTML page that needs nothing else: no network, no script, no files."""

import html
import importlib.resources
from collections.abc import Sequence
from typing import NamedTuple

from experiments.pages.tables import Html

_STYLE = importlib.resources.files('experiments.pages') / 'page.css'


class Section(NamedTuple):
  """A part of a page.

  Attributes:
    title: its heading.
    body: below it.
    note: a sentence between them; '' for none.
  """

  title: str
  body: Html
  note: str = ''


def page(
  title: str, subtitle: str, top: Html, sections: Sequence[Section]
) -> str:
  """Returns the page, light or dark as the reader's machine is.

  Args:
    title: its heading.
    subtitle: below it.
    top: before the sections.
    sections: those without a body are left out.
  """
  sections = [section for section in sections if section.body]
  links = ''.join(
    f'<a href="#{_anchor(each)}">{html.escape(each.title)}</a>'
    for each in sections
  )
  body = ''.join(map(_section, sections))
  title, subtitle = html.escape(title), html.escape(subtitle)
  return (
    '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
    '<meta name="viewport" content="width=device-width, initial-scale=1">'
    f'<title>{title}</title><link rel="icon" href="data:,">'
    f'<style>{_STYLE.read_text("utf-8")}</style></head>\n'
    f'<body><header><h1>{title}</h1><p class="subtitle">{subtitle}</p>'
    f'{top}<nav>{links}</nav></header>\n<main>{body}</main></body></html>\n'
  )


def tiles(numbers: Sequence[tuple[str, str]]) -> Html:
  """Returns a few large numbers.

  Args:
    numbers: each with what it is.
  """
  inner = ''.join(
    f'<div class="tile"><b>{html.escape(value)}</b>'
    f'<span>{html.escape(name)}</span></div>'
    for value, name in numbers
  )
  return Html(f'<div class="tiles">{inner}</div>' if inner else '')


def _section(section: Section) -> str:
  note = f'<p class="note">{html.escape(section.note)}</p>'
  return (
    f'<section id="{_anchor(section)}"><h2>{html.escape(section.title)}</h2>'
    f'{note if section.note else ""}{section.body}</section>\n'
  )


def _anchor(section: Section) -> str:
  return section.title.lower().replace(' ', '-')
