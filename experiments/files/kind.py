"""What people's files of a kind come to: read, kept, augmented, looked at."""

import pathlib
import types
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np

from experiments.data.dataset import Example
from experiments.data.modality import View

T = TypeVar('T')
# Reads some of the training files, spread evenly, to learn what they are.
Survey = Callable[[Callable[[Any], T]], list[T]]
Mix = Callable[[int, Example, np.random.Generator], Example]


class FileKind(NamedTuple):
  """Files of a kind, and what they come to. Examples have no `label` here.

  Attributes:
    read: a file to what is kept of it.
    features: TFDS features of that.
    options: that decide on how files are read, with the name of the kind.
    example: shape and dtype of each array of an example.
    augment: what is kept of a file, and random generator, to a training
      example.
    prepare: what is kept of a file to an evaluation example.
    view: see `DataSpec`.
    chosen: values that suit the files, see `DataSpec`.
    note: says in words what was chosen, and ends with a comma and a space.
    parts: what is kept of a file to evaluation examples of all of it, in order;
      None where it is one.
    mix: see `Dataset`.
    classical: an evaluation example to float `[features]` for classical models;
      None for those of its view, see `Modality.classical`.
  """

  read: Callable[[pathlib.Path], Example]
  features: Mapping[str, Any]
  options: Mapping[str, Any]
  example: Mapping[str, Any]
  augment: Callable[[Example, np.random.Generator], Example]
  prepare: Callable[[Example], Example]
  view: Callable[[Example], Mapping[str, View]]
  chosen: Mapping[str, Any] = types.MappingProxyType({})
  note: str = ''
  parts: Callable[[Example], Sequence[Example]] | None = None
  mix: Mix | None = None
  classical: Callable[[Example], np.ndarray] | None = None
