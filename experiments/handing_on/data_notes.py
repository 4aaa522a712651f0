"""What is known of a data set without reading it: its docstrings and NOTICE."""

import importlib.metadata
import inspect
import pathlib
import re
from typing import NamedTuple

from experiments.data.dataset import DataSpec

_PACKAGE = 'perceiver-haiku'
_NOTICE = pathlib.Path(__file__).parents[2] / 'NOTICE'
_EMBEDDED = 'experiments/datasets/embedded/'
# Of the data sets whose embedded files have other names than their modules.
_FILES = {'photographs': ('china', 'flower', 'astronaut')}


class DataNotes(NamedTuple):
  """What a data set says of itself.

  Attributes:
    about: what the data are, where they come from, how they are split.
    examples: the arrays of an example, and how they are normalised.
    notices: sources and licences of what is embedded of it; none for others.
  """

  about: str
  examples: str
  notices: list[str]


def data_notes(data: DataSpec) -> DataNotes:
  """Returns what the module of a data set says of it.

  Args:
    data: whose `maker` it is, or else whose `load` is defined in its maker.
  """
  maker, load = data.maker, data.load
  module = inspect.getmodule(maker or load)
  if maker is None:
    maker = vars(module).get(load.__qualname__.partition('.')[0])
  name = module.__name__.rpartition('.')[2]
  notices = [
    notice
    for notice in _read_notice().split('\n\n')
    for stem in _FILES.get(name, (name,))
    if f'{_EMBEDDED}{stem}.' in notice
  ]
  return DataNotes(
    inspect.getdoc(module) or '',
    _section(inspect.getdoc(maker) or '', 'Returns'),
    list(dict.fromkeys(notices)),
  )


def _section(docstring: str, title: str) -> str:
  """Returns a section of a docstring in Google's style, as one paragraph."""
  found = re.search(rf'^{title}:\n((?:  .*\n?|\n)+)', docstring, re.MULTILINE)
  return ' '.join(found[1].split()) if found else ''


def _read_notice() -> str:
  """Returns NOTICE, of the checkout or of the installed package."""
  if _NOTICE.is_file():
    return _NOTICE.read_text(encoding='utf-8')
  try:
    package = importlib.metadata.distribution(_PACKAGE)
  except importlib.metadata.PackageNotFoundError:
    return ''
  return package.read_text('licenses/NOTICE') or ''
