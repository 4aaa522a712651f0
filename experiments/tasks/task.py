"""What the runner needs to know of an experiment."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import haiku as hk
import jax
import numpy as np

from experiments.answers.kinds import Answer
from experiments.data.dataset import DataSpec, Example
from experiments.stepping.train_state import Batch, LossFunction


class DatasetMetrics(NamedTuple):
  """Metrics of all held-out examples together, which are no means.

  Attributes:
    names: of the metrics.
    collect: predictions and batch to arrays `[B, ...]`, kept of each held-out
      example; runs on the devices.
    compute: what was kept, `[n, ...]`, each example once, to the metrics; runs
      on the host.
  """

  names: tuple[str, ...]
  collect: Callable[[Any, Batch], Mapping[str, jax.Array]]
  compute: Callable[[Mapping[str, np.ndarray]], Mapping[str, float]]


class Task(NamedTuple):
  """A model, a loss and data, bound for one config.

  Attributes:
    model: pure functions; `apply(params, state, rng, batch, is_training)`.
    loss_function: `(predictions, batch) -> (loss, metrics)`; None where there
      is a model, but nothing yet to train it with.
    data: what an example is, and how to open the data set.
    answer: the predictions of the examples of one input, each without a batch
      axis, and these examples, to what a person is told.
    dataset_metrics: besides the means that the loss function returns; None for
      none.
  """

  model: hk.TransformedWithState
  loss_function: LossFunction | None
  data: DataSpec
  answer: Callable[[Sequence[Any], Sequence[Example]], Answer] | None = None
  dataset_metrics: DatasetMetrics | None = None
