"""What the runner needs to know of an experiment."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import haiku as hk
import ml_collections

from experiments.answers.answer import Answer, DatasetMetrics
from experiments.data.dataset import DataSpec, Example
from experiments.stepping.train_state import LossFunction
from experiments.tasks.table.columns import Columns


class Task(NamedTuple):
  """A model, a loss and data, bound for one config.

  Attributes:
    model: pure functions; `apply(params, state, rng, batch, is_training)`.
    loss_function: `(predictions, batch) -> (loss, metrics)`; None where there
      is a model, but nothing yet to train it with.
    data: what an example is, and how to open the data set.
    answer: the kind of its answers.
    tell: the predictions of the examples of one input, each without a batch
      axis, and these examples, to what a person is told: a value of that kind.
    dataset_metrics: besides the means that the loss function returns; None for
      none.
    columns: of the table that examples are rows of; None of others.
  """

  model: hk.TransformedWithState
  loss_function: LossFunction | None
  data: DataSpec
  answer: Answer
  tell: Callable[[Sequence[Any], Sequence[Example]], Any]
  dataset_metrics: DatasetMetrics | None = None
  columns: Columns | None = None


class TaskKind(NamedTuple):
  """What a name of a task stands for.

  Attributes:
    sections: config to the names of its sections that the task reads.
    make_task: config and the folder of prepared data to the task. Raises a
      ValueError where the config is wrong; opens no data.
    answer: the kind of its answers, before a config refines it.
  """

  sections: Callable[[ml_collections.ConfigDict], Sequence[str]]
  make_task: Callable[[ml_collections.ConfigDict, str | None], Task]
  answer: Answer
