"""What the runner needs to know of an experiment."""

from typing import NamedTuple

import haiku as hk

from experiments.data.pipeline import DataSpec
from experiments.train_state import LossFunction


class Task(NamedTuple):
  """A model, a loss and data, bound for one config.

  Attributes:
    model: pure functions; `apply(params, state, rng, batch, is_training)`.
    loss_function: `(predictions, batch) -> (loss, metrics)`; None where there
      is a model, but nothing yet to train it with.
    data: what an example is, and how to open the data set.
  """

  model: hk.TransformedWithState
  loss_function: LossFunction | None
  data: DataSpec
