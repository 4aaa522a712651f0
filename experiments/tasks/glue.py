"""GLUE with Perceiver IO: one task, or several with a query for each."""

import haiku as hk
import jax
import ml_collections

from experiments.answers.answer import DatasetMetrics
from experiments.answers.judgements.loss import collect, glue_loss
from experiments.answers.judgements.record import JUDGEMENTS, judge
from experiments.answers.judgements.scores import glue_scores, score_names
from experiments.datasets.glue import glue
from experiments.host.configuration import choose, construct
from experiments.stepping.train_state import Batch
from experiments.tasks.language import common_parts
from experiments.tasks.task import Task
from perceiver_jax.models import TextClassifier
from perceiver_jax.published import GLUE_TASKS
from perceiver_jax.queries import LearnedQueries


def sections(_) -> tuple[str, ...]:
  """Returns the sections of the config that this task reads."""
  return ('data', 'embedding', 'encoder', 'queries', 'decoder')


def make_task(config: ml_collections.ConfigDict, data_dir: str | None) -> Task:
  """Binds a model with a query for each of `data.tasks` to them."""
  data = choose('data', {'glue': glue}, config.data, data_dir)
  tasks = tuple(config.data.tasks)

  def forward(batch: Batch, is_training: bool) -> dict[str, jax.Array]:
    queries = construct(
      'queries',
      LearnedQueries,
      config.queries,
      given={'num_queries': len(tasks)},
    )
    model = TextClassifier(
      queries=queries,
      tasks={task: GLUE_TASKS[task] for task in tasks},
      **common_parts(config),
    )
    return model(
      batch['tokens'], is_training=is_training, input_mask=batch['mask']
    )

  return Task(
    model=hk.transform_with_state(forward),
    loss_function=glue_loss,
    data=data,
    answer=JUDGEMENTS,
    tell=judge,
    dataset_metrics=DatasetMetrics(
      names=score_names(tasks), collect=collect, compute=glue_scores
    ),
  )
