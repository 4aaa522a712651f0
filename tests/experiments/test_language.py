"""Losses of text in numbers, and what the tasks make of a config."""

import jax
import numpy as np
import pytest

from experiments.answers.classes import losses as classes_losses
from experiments.answers.filled_text import loss as filling_loss
from experiments.configs import declaration
from experiments.data.dataset import batch_spec
from experiments.tasks import make_task
from perceiver_jax import metrics
from perceiver_jax.metrics import sum_of_means

RNG = np.random.default_rng(0)
masked_token_loss = jax.jit(filling_loss.masked_token_loss(visible_weight=0.0))
label_loss = jax.jit(classes_losses.label_loss())


def computed(pairs):
  return metrics.compute([pairs])


def masked_batch(size=4, length=6, vocabulary=11):
  """Random logits and a batch with a few masked places."""
  logits = RNG.normal(size=(size, length, vocabulary)).astype(np.float32)
  mask = np.arange(length) < np.arange(3, 3 + size)[:, None]
  masked = mask & (RNG.random((size, length)) < 0.4)
  return logits, {
    'targets': RNG.integers(vocabulary, size=(size, length)).astype(np.int32),
    'target_weights': masked.astype(np.float32),
    'mask': mask,
    'weight': np.ones(size, np.float32),
  }


def nats(logits, target):
  shifted = logits - logits.max()
  return np.log(np.exp(shifted).sum()) - shifted[target]


# Masked tokens.


def test_masked_loss_against_values_by_hand():
  # Two places are masked: even odds of two tokens, and 3 to 1.
  logits = np.log([[[1.0, 1.0], [3.0, 1.0], [1.0, 9.0]]]).astype(np.float32)
  batch = {
    'targets': np.array([[0, 1, 0]], np.int32),
    'target_weights': np.array([[1.0, 1.0, 0.0]], np.float32),
    'mask': np.ones((1, 3), np.bool_),
    'weight': np.ones(1, np.float32),
  }
  loss, pairs = masked_token_loss(logits, batch)
  expected = (np.log(2.0) + np.log(4.0)) / 2
  np.testing.assert_allclose(sum_of_means(loss), expected, rtol=1e-6)
  values = computed(pairs)
  assert values['loss'] == pytest.approx(expected, rel=1e-6)
  assert values['bits_per_byte'] == pytest.approx(1.5, rel=1e-6)
  assert values['accuracy'] == 0.5
  assert float(pairs['loss'].weight) == 2.0


def test_masked_loss_is_the_mean_over_masked_places():
  logits, batch = masked_batch()
  loss, pairs = masked_token_loss(logits, batch)
  places = np.argwhere(batch['target_weights'] == 1.0)
  each = [nats(logits[i, j], batch['targets'][i, j]) for i, j in places]
  hits = [logits[i, j].argmax() == batch['targets'][i, j] for i, j in places]
  np.testing.assert_allclose(sum_of_means(loss), np.mean(each), rtol=1e-5)
  values = computed(pairs)
  assert values['loss'] == pytest.approx(np.mean(each), rel=1e-5)
  assert values['bits_per_byte'] == pytest.approx(
    values['loss'] / np.log(2.0), rel=1e-6
  )
  assert values['accuracy'] == pytest.approx(np.mean(hits))


def test_copies_of_weight_zero_do_not_count():
  logits, batch = masked_batch()
  loss, pairs = masked_token_loss(logits, batch)
  padded = {key: np.concatenate([x, x[-1:]]) for key, x in batch.items()}
  padded['weight'][-1] = 0.0
  padded_loss, padded_pairs = masked_token_loss(
    np.concatenate([logits, logits[-1:]]), padded
  )
  np.testing.assert_allclose(
    sum_of_means(padded_loss), sum_of_means(loss), rtol=1e-6
  )
  assert computed(padded_pairs) == pytest.approx(computed(pairs), rel=1e-6)


def test_metrics_of_parts_add_up_to_those_of_the_whole():
  # Parts with few and many masked places: means of means would be wrong.
  logits, batch = masked_batch(size=6)
  batch['target_weights'][:2] = 0.0
  batch['target_weights'][0, 0] = 1.0
  _, whole = masked_token_loss(logits, batch)
  parts = [
    masked_token_loss(logits[part], {key: x[part] for key, x in batch.items()})[
      1
    ]
    for part in (slice(0, 2), slice(2, 6))
  ]
  expected = computed(whole)
  assert metrics.compute(parts) == pytest.approx(expected, rel=1e-6)


def test_places_that_are_not_masked_get_no_gradient():
  logits, batch = masked_batch()
  gradient = jax.jit(
    jax.grad(lambda x: sum_of_means(masked_token_loss(x, batch)[0]))
  )(logits)
  touched = np.abs(gradient).sum(axis=-1) > 0
  np.testing.assert_array_equal(touched, batch['target_weights'] == 1.0)


def test_visible_tokens_count_with_their_weight_and_padding_never():
  logits, batch = masked_batch()
  batch['weight'][0] = 0.0
  loss, pairs = masked_token_loss(logits, batch)
  both, both_pairs = jax.jit(
    filling_loss.masked_token_loss(visible_weight=0.25)
  )(logits, batch)
  visible = batch['mask'] & (batch['target_weights'] == 0.0)
  places = [(i, j) for i, j in np.argwhere(visible) if i > 0]
  each = [nats(logits[i, j], batch['targets'][i, j]) for i, j in places]
  expected = sum_of_means(loss) + 0.25 * np.mean(each)
  np.testing.assert_allclose(sum_of_means(both), expected, rtol=1e-5)
  # What is reported is of masked tokens alone.
  assert computed(both_pairs) == pytest.approx(computed(pairs), rel=1e-6)


def test_nothing_masked_is_a_loss_of_zero():
  logits, batch = masked_batch()
  batch['target_weights'][:] = 0.0
  loss, pairs = masked_token_loss(logits, batch)
  assert float(sum_of_means(loss)) == 0.0
  assert float(pairs['loss'].weight) == 0.0


# Labels.


def test_label_loss_against_values_by_hand():
  logits = {'language': np.log([[1.0, 3.0], [1.0, 1.0], [9.0, 1.0]])}
  batch = {
    'label': np.array([1, 1, 1], np.int32),
    'weight': np.array([1.0, 1.0, 0.0], np.float32),
  }
  _, pairs = label_loss(logits, batch)
  values = computed(pairs)
  expected = (np.log(4.0 / 3.0) + np.log(2.0)) / 2
  assert values['loss'] == pytest.approx(expected, rel=1e-6)
  assert values['accuracy'] == 0.5
  assert float(pairs['accuracy'].weight) == 2.0


def test_label_loss_in_training_is_the_mean():
  logits = RNG.normal(size=(5, 7)).astype(np.float32)
  labels = RNG.integers(7, size=5).astype(np.int32)
  batch = {'label': labels, 'weight': np.ones(5, np.float32)}
  loss, _ = label_loss({'language': logits}, batch)
  each = [nats(*pair) for pair in zip(logits, labels, strict=True)]
  np.testing.assert_allclose(sum_of_means(loss), np.mean(each), rtol=1e-5)


# Tasks.


def predictions(task, batch_size=2):
  """Shapes of what a task's model predicts; nothing is computed."""
  batch = batch_spec(task.data.example, batch_size)

  def apply(batch):
    key = jax.random.key(0)
    params, state = task.model.init(key, batch, is_training=True)
    return task.model.apply(params, state, key, batch, is_training=True)[0]

  return batch, jax.eval_shape(apply, batch)


@pytest.mark.parametrize(
  ('variant', 'names'),
  [
    ('language', {'loss', 'accuracy', 'top_5_accuracy'}),
    ('mlm', {'loss', 'bits_per_byte', 'accuracy'}),
  ],
)
def test_losses_fit_the_predictions_of_the_models(variant, names):
  task = make_task(declaration.get_config(variant), None)
  batch, outputs = predictions(task)
  weight = jax.ShapeDtypeStruct((2,), np.float32)
  loss, pairs = jax.eval_shape(
    task.loss_function, outputs, {**batch, 'weight': weight}
  )
  loss = jax.eval_shape(sum_of_means, loss)
  assert loss.shape == ()
  assert set(pairs) == names


@pytest.mark.parametrize(
  'labels', [dict(language=15), dict(language=16, script=1), dict()]
)
def test_labels_that_are_not_those_of_the_data_are_an_error(labels):
  config = declaration.get_config('language')
  del config.labels
  config.labels = labels
  with pytest.raises(ValueError, match='one label of 16 classes'):
    make_task(config, None)


@pytest.mark.parametrize(
  ('variant', 'name'), [('language', 'masked_text'), ('mlm', 'languages')]
)
def test_data_of_the_other_task_are_an_error(variant, name):
  config = declaration.get_config(variant)
  config.data = dict(name=name, length=128)
  with pytest.raises(ValueError, match=f"config.data.name is '{name}'"):
    make_task(config, None)
