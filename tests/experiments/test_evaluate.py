"""Metrics over all held-out examples, in numbers."""

import haiku as hk
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.answers.answer import DatasetMetrics
from experiments.data.dataset import Dataset, DataSpec, array_spec
from experiments.runs.evaluation import Evaluation
from experiments.runs.experiment import Experiment
from experiments.stepping.parallelism import Replicated
from experiments.stepping.train_state import TrainState
from experiments.tasks.task import Task
from perceiver_jax.metrics import weighted_mean

VALUES = [1.0, 2.0, 4.0, 8.0, 16.0]


def dataset():
  examples = [{'value': np.float32(value)} for value in VALUES]
  return Dataset(
    train=examples,
    augment=lambda example, rng: example,
    evaluation=examples,
    prepare=lambda example: example,
  )


def loss_function(predictions, batch):
  mean = weighted_mean(predictions, batch['weight'])
  return [mean], {'mean': mean}


def task(dataset_metrics=None):
  model = hk.transform_with_state(
    lambda batch, is_training: (
      batch['value'] * hk.get_parameter('scale', (), init=jnp.ones)
      + hk.get_parameter('offset', (), init=jnp.zeros)
    )
  )
  data = DataSpec({'value': array_spec()}, None, dataset)
  return Task(model, loss_function, data, None, None, dataset_metrics)


MEDIAN = DatasetMetrics(
  names=('median', 'count'),
  collect=lambda predictions, batch: {
    'prediction': predictions,
    'pairs': jnp.stack([predictions, batch['value']], axis=1),
  },
  compute=lambda examples: {
    'median': float(np.median(examples['prediction'])),
    'count': float(len(examples['pairs'])),
  },
)
PARAMS = {'~': {'scale': jnp.float32(3.0), 'offset': jnp.float32(0.0)}}
STATE = TrainState(jnp.zeros((), jnp.int32), PARAMS, {}, ())


def experiment(task):
  return Experiment(
    task, dataset(), None, None, Replicated(), batch=None, template=None
  )


@pytest.mark.parametrize(
  ('batch_size', 'microbatches'),
  [(1, 1), (3, 1), (5, 1), (8, 1), (3, 3), (8, 2), (8, 4)],
)
def test_each_example_counts_once(batch_size, microbatches):
  evaluate = Evaluation(
    experiment(task(MEDIAN)), batch_size, microbatches=microbatches
  )
  assert evaluate(STATE) == {
    'eval/mean': pytest.approx(3 * np.mean(VALUES)),
    'eval/median': 12.0,  # With copies of the last example it would be more.
    'eval/count': 5.0,
  }


def test_the_model_sees_a_microbatch_at_a_time():
  seen, (model, *rest) = set(), task(MEDIAN)

  def apply(params, state, rng, batch, **options):
    seen.add(batch['value'].shape)
    return model.apply(params, state, rng, batch, **options)

  recording = Task(model._replace(apply=apply), *rest)
  Evaluation(experiment(recording), 6, microbatches=3)(STATE)
  assert seen == {(2,)}


def test_without_metrics_of_the_dataset():
  evaluate = Evaluation(experiment(task()), 2)
  assert evaluate(STATE) == {'eval/mean': pytest.approx(3 * np.mean(VALUES))}
