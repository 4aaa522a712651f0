"""Metrics over all held-out examples, in numbers."""

import haiku as hk
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.answers.answer import Answer, DatasetMetrics, HeldOut
from experiments.data.dataset import Dataset, DataSpec, array_spec
from experiments.data.faults import DataFaults
from experiments.evaluate import training_instead
from experiments.runs.evaluation import Evaluation
from experiments.stepping.parallelism import Replicated
from experiments.stepping.train_state import TrainState
from experiments.tasks.task import Task
from perceiver_jax.metrics import weighted_mean
from tests.simulated_devices import run_script

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


def task(dataset_metrics=None, held_out=None):
  model = hk.transform_with_state(
    lambda batch, is_training: (
      batch['value'] * hk.get_parameter('scale', (), init=jnp.ones)
      + hk.get_parameter('offset', (), init=jnp.zeros)
    )
  )
  answer = Answer('', '', None, None, None, held_out=held_out)
  data = DataSpec({'value': array_spec()}, None, dataset)
  return Task(model, loss_function, data, answer, None, dataset_metrics)


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


def evaluation(task, batch_size, **options):
  return Evaluation(task, dataset(), Replicated(), batch_size, **options)


@pytest.mark.parametrize(
  ('batch_size', 'microbatches'),
  [(1, 1), (3, 1), (5, 1), (8, 1), (3, 3), (8, 2), (8, 4)],
)
def test_each_example_counts_once(batch_size, microbatches):
  evaluate = evaluation(task(MEDIAN), batch_size, microbatches=microbatches)
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
  evaluation(recording, 6, microbatches=3)(STATE)
  assert seen == {(2,)}


def test_without_metrics_of_the_dataset():
  evaluate = evaluation(task(), 2)
  assert evaluate(STATE) == {'eval/mean': pytest.approx(3 * np.mean(VALUES))}


KEPT = HeldOut(
  collect=lambda predictions, batch: {
    'pair': jnp.stack([predictions, batch['value']], axis=1)
  },
  caption=None,
  sections=None,
)


@pytest.mark.parametrize(('batch_size', 'microbatches'), [(2, 1), (8, 4)])
def test_a_look_is_at_each_example(batch_size, microbatches):
  evaluate = evaluation(
    task(MEDIAN, KEPT), batch_size, microbatches=microbatches
  )
  half = {'~': {'scale': jnp.float32(0.5), 'offset': jnp.float32(1.0)}}
  state = STATE._replace(step=jnp.int32(7), ema=half)
  metrics, look = evaluate.look(state, 'eval_ema')
  assert metrics == evaluate(state)
  expected = 0.5 * np.array(VALUES) + 1
  assert (look.step, look.total, look.unreadable) == (7, 5, '')
  assert look.each.numbers.tolist() == [0, 1, 2, 3, 4]
  for name in ('mean', 'loss'):
    np.testing.assert_allclose(look.each.metrics[name], expected)
  np.testing.assert_allclose(
    look.each.kept['pair'], np.stack([expected, VALUES], axis=1)
  )
  # Nothing of the examples is kept that nobody asked for.
  assert evaluate.look(state, '')[1] is None


def test_examples_are_predicted_again_by_the_same_function():
  traced, (model, *rest) = [], task()

  def apply(params, state, rng, batch, **options):
    traced.append(batch['value'].shape)
    return model.apply(params, state, rng, batch, **options)

  evaluate = evaluation(Task(model._replace(apply=apply), *rest), 2)
  _, look = evaluate.look(STATE, 'eval')
  some = [dataset().evaluation[i] for i in (4, 0, 2)]
  predictions, metrics = evaluate.again(look, some)
  assert [float(x) for x in predictions] == [48.0, 3.0, 12.0]
  np.testing.assert_allclose(metrics['loss'], [48.0, 3.0, 12.0])
  assert traced == [(2,)]


def test_what_cannot_be_read_is_named_and_left_out():
  def prepare(example):
    if example['value'] == 4.0:
      raise ValueError('the value is gone')
    return example

  faults = DataFaults(lambda line: None, bad_examples=1)
  evaluate = Evaluation(
    task(), dataset()._replace(prepare=prepare), Replicated(), 2, faults
  )
  _, look = evaluate.look(STATE, 'eval')
  assert look.each.numbers.tolist() == [0, 1, 3, 4]
  assert look.unreadable == 'the value is gone' and look.total == 5


@pytest.mark.parametrize(
  ('most', 'values'), [(3, [1.0, 4.0, 16.0]), (1, [1.0]), (9, VALUES)]
)
def test_training_examples_are_spread_evenly(most, values):
  chosen = training_instead(dataset(), most).evaluation
  assert [chosen[i]['value'] for i in range(len(chosen))] == values


def test_training_examples_that_are_made_otherwise_are_refused():
  def prepare(example):
    return example['only held-out ones have it']

  with pytest.raises(ValueError, match=r'--training_ex.* cannot be pre'):
    training_instead(dataset()._replace(prepare=prepare), 3)


SCRIPT = """
import jax
import jax.numpy as jnp
import numpy as np

from experiments.data.faults import DataFaults
from experiments.runs.evaluation import Evaluation
from experiments.stepping.parallelism import (
  Replicated, Sharded, configure_backend,
)
from tests.experiments import test_evaluate as small

configure_backend()
examples = [{'value': np.float32(i)} for i in range(21)]
dataset = small.dataset()._replace(evaluation=examples)
task = small.task(small.MEDIAN, small.KEPT)
for way in (Replicated(), Sharded(), Sharded(shards=2)):
  evaluate = Evaluation(task, dataset, way, 16, microbatches=2)
  metrics, look = evaluate.look(way.place_state(small.STATE), 'eval')
  assert metrics['eval/median'] == 30.0 and metrics['eval/count'] == 21.0
  assert look.each.numbers.tolist() == list(range(21))
  np.testing.assert_allclose(look.each.metrics['loss'], 3.0 * np.arange(21))
  np.testing.assert_allclose(look.each.kept['pair'][:, 1], np.arange(21))
  predictions, _ = evaluate.again(look, [examples[9], examples[2]])
  assert [float(x) for x in predictions] == [27.0, 6.0]
  print('the same')
"""


def test_a_look_is_the_same_on_eight_devices():
  result = run_script(SCRIPT, devices=8)
  assert result.returncode == 0, result.stderr
  assert result.stdout.count('the same') == 3
