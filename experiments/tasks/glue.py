"""GLUE with Perceiver IO: one task, or several with a query for each."""

from collections.abc import Mapping, Sequence

import haiku as hk
import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
import optax

from experiments.answers.kinds import Classes, Judgements
from experiments.data.dataset import Example
from experiments.datasets.glue import (
  CLASS_NAMES,
  PARTS,
  glue,
  task_of,
  tasks_of,
)
from experiments.host.configuration import choose, construct
from experiments.stepping.train_state import Batch, Metrics
from experiments.tasks.glue_scores import glue_scores, score_names
from experiments.tasks.language import common_parts
from experiments.tasks.task import DatasetMetrics, Task
from perceiver_jax.metrics import Mean, weighted_mean
from perceiver_jax.models import TextClassifier
from perceiver_jax.published import GLUE_TASKS
from perceiver_jax.queries import LearnedQueries
from perceiver_jax.tokenizer import SEP


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
    answer=judge,
    dataset_metrics=DatasetMetrics(
      names=score_names(tasks), collect=collect, compute=glue_scores
    ),
  )


def judge(
  predictions: Sequence[Mapping[str, np.ndarray]], examples: Sequence[Example]
) -> Judgements:
  """Tells what the tasks that fit a text, or a pair of texts, say of it.

  Args:
    predictions: of its only example, of each task `[classes]`, or `[1]` for a
      value.
    examples: with `tokens`, a [SEP] among them where there are two texts.
  """
  (outputs,), (example,) = predictions, examples
  num_texts = 1 + int((example['tokens'] == SEP).sum())
  classes, values = {}, {}
  for task in tasks_of(num_texts, list(outputs)):
    if task in CLASS_NAMES:
      probabilities = np.asarray(jax.nn.softmax(outputs[task]))
      classes[task] = Classes(CLASS_NAMES[task], probabilities)
    else:
      values[task] = float(outputs[task][0])
  return Judgements(classes, values)


def glue_loss(
  predictions: Mapping[str, jax.Array], batch: Batch
) -> tuple[Sequence[Mean], Metrics]:
  """Returns the loss of each example in its own task, and metrics.

  It is cross-entropy, or the squared error of a value to regress; the mean is
  over examples, whatever their tasks.

  Args:
    predictions: of each task, `[B, classes]`, or `[B, 1]` for a value.
    batch: with `part` int32 `[B]`, `label` float32 `[B]` and `weight` `[B]`.
  """
  metrics = {}
  for task, outputs in predictions.items():
    weights = batch['weight'] * _is_of(task, batch)
    losses = _losses(outputs, batch['label'])
    metrics[f'{task}_loss'] = weighted_mean(losses, weights)
  total = sum(mean.total for mean in metrics.values())
  metrics['loss'] = Mean(total, batch['weight'].sum())
  return [metrics['loss']], metrics


def collect(
  predictions: Mapping[str, jax.Array], batch: Batch
) -> dict[str, jax.Array]:
  """Keeps of each example its class or value, as predicted and as it is."""
  kept = jnp.zeros_like(batch['label'])
  for task, outputs in predictions.items():
    if outputs.shape[-1] == 1:
      predicted = outputs[:, 0]
    else:
      predicted = outputs.argmax(axis=-1).astype(kept.dtype)
    kept = jnp.where(_is_of(task, batch), predicted, kept)
  return {'part': batch['part'], 'label': batch['label'], 'prediction': kept}


def _is_of(task: str, batch: Batch) -> jax.Array:
  """Which examples are of the task, `[B]` bool."""
  numbers = [i for i, part in enumerate(PARTS) if task_of(part) == task]
  return jnp.isin(batch['part'], jnp.array(numbers))


def _losses(outputs: jax.Array, labels: jax.Array) -> jax.Array:
  """Returns `[B]`; of no meaning where a label is of another task."""
  if outputs.shape[-1] == 1:
    return jnp.square(outputs[:, 0] - labels)
  return optax.softmax_cross_entropy_with_integer_labels(
    outputs, jnp.clip(labels.astype(jnp.int32), 0, outputs.shape[-1] - 1)
  )
