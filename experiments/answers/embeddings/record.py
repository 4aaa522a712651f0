"""An embedding of each entity; the record of such answers."""

import pathlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from experiments.answers.answer import Answer, Panel
from experiments.data.dataset import Example
from experiments.pages.tables import Html


class Embeddings(NamedTuple):
  """An embedding of each entity that is there.

  Attributes:
    vectors: float32 `[N, C]`.
  """

  vectors: np.ndarray


def tell_embeddings(
  predictions: Sequence[np.ndarray], examples: Sequence[Example]
) -> Embeddings:
  """Returns the embeddings `[N, C]` of the only example, without padding."""
  (vectors,), (example,) = predictions, examples
  return Embeddings(np.asarray(vectors)[np.asarray(example['mask'], bool)])


def lines_of(answer: Embeddings, top: int) -> list[str]:
  """Returns a line on how many there are."""
  del top
  entities, channels = answer.vectors.shape
  return [f'{entities} entities, an embedding of {channels} numbers each']


def json_of(answer: Embeddings, top: int) -> dict[str, Any]:
  """Returns how many there are, and of how many numbers."""
  del top
  entities, channels = answer.vectors.shape
  return {'embeddings': {'entities': entities, 'channels': channels}}


def panels_of(answer: Embeddings) -> list[Panel]:
  """Returns a panel on how many there are."""
  return [Panel('Embeddings', Html(lines_of(answer, 1)[0]))]


def write(
  answer: Embeddings, folder: pathlib.Path, name: str
) -> list[pathlib.Path]:
  """Writes the embeddings as .npz."""
  folder.mkdir(parents=True, exist_ok=True)
  path = folder / f'{name}.npz'
  np.savez_compressed(path, embeddings=answer.vectors)
  return [path]


EMBEDDINGS = Answer(
  purpose='encoding of entities',
  outputs='An embedding of each entity; zeros where there is none.',
  lines=lines_of,
  json=json_of,
  panels=panels_of,
  write=write,
)
