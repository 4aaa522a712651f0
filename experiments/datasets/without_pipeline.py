"""What an example is, for data sets without an input pipeline here.

Enough to describe a published model, and to import and apply its weights.
Arguments are those that shape an example; opening such a data set is an error
that says so.
"""

import numpy as np

from experiments.data.dataset import Dataset, DataSpec, array_spec


def masked_pieces(data_dir: str | None, *, length: int) -> DataSpec:
  """Pieces of words, masked (Perceiver IO, table 1, 'SentencePiece').

  Args:
    data_dir: not read.
    length: tokens of an example.
  """
  del data_dir
  return without_pipeline('masked_pieces', _tokens(length))


def starcraft(data_dir: str | None, *, num_entities: int) -> DataSpec:
  """Units of a StarCraft II game (Perceiver IO, appendix B).

  Args:
    data_dir: not read.
    num_entities: 512 slots in the paper.
  """
  del data_dir
  example = {
    'entities': array_spec(num_entities, 256),
    'mask': array_spec(num_entities, dtype=np.bool_),
  }
  return without_pipeline('starcraft', example)


def _tokens(length: int) -> dict:
  return {
    'tokens': array_spec(length, dtype=np.int32),
    'mask': array_spec(length, dtype=np.bool_),
  }


def without_pipeline(name: str, example: dict) -> DataSpec:
  """Returns data of which only the shapes are known.

  Args:
    name: in configs, for the error of who opens it.
    example: see `DataSpec`.
  """

  def load() -> Dataset:
    raise ValueError(
      f'There is no input pipeline for the data {name!r} yet: its model can be '
      'described (experiments.describe) and published weights can be imported '
      '(experiments.import_weights), but it cannot be trained or evaluated.'
    )

  return DataSpec(example=example, num_classes=None, load=load)
