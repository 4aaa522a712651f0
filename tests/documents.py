"""Markdown of this repository, taken apart: blocks, links, headings."""

import pathlib
import re
import textwrap
from collections.abc import Iterator
from typing import NamedTuple

ROOT = pathlib.Path(__file__).parents[1]
DOCUMENTS = [
  ROOT / 'README.md',
  ROOT / 'CONTRIBUTING.md',
  *sorted((ROOT / 'docs').rglob('*.md')),
]

_FENCE = re.compile(r'^( *)(`{3,}|~{3,}) *(\S*) *$')
_HEADING = re.compile(r'^#{1,6} +(.+?) *$')
_LINK = re.compile(r'!?\[(?:[^\[\]]|\[[^\]]*\])*\]\(<?([^()\s>]+)>?\)')
_CODE = re.compile(r'(`+)(.+?)\1')


class Block(NamedTuple):
  """A fenced block of code.

  Attributes:
    language: after the fence; '' without.
    code: without the indentation of the fence.
    line: number of its first line in the file, from 1.
    section: how many headings come before it.
  """

  language: str
  code: str
  line: int
  section: int


class Document(NamedTuple):
  """A Markdown file.

  Attributes:
    path: of it.
    blocks: of code, in order.
    headings: in order, as written.
    text: lines outside of blocks.
  """

  path: pathlib.Path
  blocks: list[Block]
  headings: list[str]
  text: list[str]

  @property
  def name(self) -> str:
    """Path from the root of the repository."""
    return self.path.relative_to(ROOT).as_posix()

  def links(self) -> Iterator[str]:
    """Yields where links and pictures point, code left out."""
    for line in self.text:
      yield from _LINK.findall(_CODE.sub('', line))

  def spans(self) -> Iterator[str]:
    """Yields code within the text."""
    for line in self.text:
      yield from (code for _, code in _CODE.findall(line))

  def anchors(self) -> set[str]:
    """Returns the names that headings can be linked by."""
    return {_anchor(heading) for heading in self.headings}


def parse(path: pathlib.Path, text: str) -> Document:
  """Takes a file apart.

  Args:
    path: of the file.
    text: what is in it.

  Raises:
    ValueError: a block is not closed.
  """
  document = Document(path, [], [], [])
  lines = enumerate(text.splitlines(), start=1)
  for number, line in lines:
    fence = _FENCE.match(line)
    if fence is None:
      if heading := _HEADING.match(line):
        document.headings.append(heading[1])
      document.text.append(line)
      continue
    code = []
    for _, inner in lines:
      if inner.strip() == fence[2]:
        break
      code.append(inner)
    else:
      raise ValueError(f'{path}, line {number}: the block has no end.')
    document.blocks.append(
      Block(
        fence[3],
        textwrap.dedent('\n'.join(code)) + '\n',
        number + 1,
        len(document.headings),
      )
    )
  return document


def read(path: pathlib.Path) -> Document:
  """Reads a file and takes it apart."""
  return parse(path, path.read_text(encoding='utf-8'))


def _anchor(heading: str) -> str:
  plain = re.sub(r'<[^>]+>|[`*]', '', _LINK.sub(_text_of, heading)).lower()
  return re.sub(r'[^\w\- ]', '', plain).strip().replace(' ', '-')


def _text_of(link: re.Match) -> str:
  return link[0].lstrip('!')[1:].partition('](')[0]
