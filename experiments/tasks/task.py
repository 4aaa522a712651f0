"""What the runner needs to know of an experiment."""

from typing import NamedTuple

import haiku as hk

from experiments.data.pipeline import Dataset
from experiments.train_state import LossFunction


class Task(NamedTuple):
  """A model, a loss and data, bound for one config.

  Attributes:
    model: pure functions; `apply(params, state, rng, batch, is_training)`.
    loss_function: `(predictions, batch) -> (loss, metrics)`.
    dataset: examples to train and evaluate on.
  """

  model: hk.TransformedWithState
  loss_function: LossFunction
  dataset: Dataset
