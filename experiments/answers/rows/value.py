"""What a model says of rows of a table."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax

from experiments.answers.head import Head
from experiments.stepping.train_state import Batch


class Answered(NamedTuple):
  """A column of answers.

  Attributes:
    name: of the column.
    key: what arrays of it are called, in batches and predictions.
    head: what is asked.
    asks: key of the input whose elements ask; '' for none.
    weight: of its loss.
  """

  name: str
  key: str
  head: Head
  asks: str = ''
  weight: float = 1.0

  def target(self, batch: Batch) -> Mapping[str, jax.Array]:
    """Returns the target arrays of a batch."""
    return batch['answers'][self.key]


class RowAnswers(NamedTuple):
  """What a model says of rows.

  Attributes:
    rows: of each row the value of each answer, by the name of its column; None
      where the row lacks what the answer is about.
  """

  rows: Sequence[Mapping[str, Any]]
