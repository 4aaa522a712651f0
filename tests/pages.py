"""What a test reads of a page."""

import html.parser

# Elements that have no end.
_VOID = {'br', 'img', 'link', 'meta'}


class Page(html.parser.HTMLParser):
  """Elements and text of an HTML page.

  Attributes:
    tags: names of all elements, in order, with their attributes.
    links: all that attributes refer to.
    tables: rows of cells, as text, of each table.
    words: all text besides that of style sheets.
  """

  def __init__(self, text):
    super().__init__()
    self.tags, self.links, self.tables, self.words = [], [], [], ''
    self._open = []
    self.feed(text)
    self.close()
    assert not self._open, f'never closed: {self._open}'

  def handle_starttag(self, tag, attributes):
    attributes = dict(attributes)
    self.tags.append((tag, attributes))
    self.links += [attributes[x] for x in ('src', 'href') if x in attributes]
    if tag == 'table':
      self.tables.append([])
    if tag == 'tr':
      self.tables[-1].append([])
    if tag in ('td', 'th'):
      self.tables[-1][-1].append('')
    if tag not in _VOID:
      self._open.append(tag)

  def handle_startendtag(self, tag, attributes):
    self.tags.append((tag, dict(attributes)))

  def handle_endtag(self, tag):
    assert self._open.pop() == tag

  def handle_data(self, data):
    if 'style' in self._open:
      return
    self.words += data
    if {'td', 'th'} & set(self._open):
      self.tables[-1][-1][-1] += data

  def table_with(self, cell):
    """Returns the first table whose head has a cell."""
    return next(table for table in self.tables if cell in table[0])
