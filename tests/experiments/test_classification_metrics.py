"""Mean average precision, top-5 accuracy, clips of recordings averaged."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, top_k_accuracy_score

from experiments.answers.classes.losses import softmax_loss
from experiments.answers.classes.metrics import (
  average_precision,
  average_recordings,
  in_top,
  mean_average_precision,
  recording_accuracy,
  sigmoid_metrics,
)
from experiments.data.dataset import DataSpec
from experiments.tasks import classification


def rng(seed=0):
  return np.random.default_rng(seed)


# Average precision.


@pytest.mark.parametrize('levels', [None, 7, 2, 1])
def test_average_precision_is_that_of_scikit_learn(levels):
  # With few levels most scores are ties.
  for seed in range(20):
    scores = rng(seed).random(50)
    if levels is not None:
      scores = np.floor(scores * levels)
    labels = rng(100 + seed).random(50) < 0.3
    np.testing.assert_allclose(
      average_precision(scores, labels),
      average_precision_score(labels, scores),
      rtol=1e-12,
    )


def test_average_precision_by_hand():
  # Positives at ranks 1 and 3: (1/1 + 2/3) / 2.
  labels = np.array([False, True, True, False])
  scores = np.array([0.8, 0.9, 0.7, 0.1])
  assert average_precision(scores, labels) == pytest.approx((1 + 2 / 3) / 2)
  assert average_precision(-scores, labels) == pytest.approx(
    (1 / 2 + 2 / 4) / 2
  )


def test_the_mean_is_over_classes_that_occur():
  scores, labels = rng().random((40, 6)), rng(1).random((40, 6)) < 0.2
  labels[:, 2] = False
  there = [0, 1, 3, 4, 5]
  np.testing.assert_allclose(
    mean_average_precision(scores, labels),
    average_precision_score(labels[:, there], scores[:, there]),
    rtol=1e-12,
  )
  assert np.isnan(mean_average_precision(scores, labels & False))


# Recordings.


def test_clips_of_a_recording_are_averaged_wherever_they_stand():
  recording = np.int32([7, 3, 7, 3, 7])
  scores = np.arange(10.0, dtype=np.float32).reshape(5, 2) ** 2
  averaged = average_recordings(
    {
      'scores': scores,
      'labels': np.int32([1, 0, 1, 0, 1]),
      'recording': recording,
    }
  )
  np.testing.assert_allclose(
    averaged['scores'],
    [scores[[1, 3]].mean(axis=0), scores[[0, 2, 4]].mean(axis=0)],
  )
  np.testing.assert_array_equal(averaged['labels'], [0, 1])


def test_mean_average_precision_of_recordings():
  num_recordings, num_clips, classes = 30, 4, 5
  logits = rng().standard_normal((num_recordings, num_clips, classes))
  labels = rng(1).random((num_recordings, classes)) < 0.3
  order = rng(2).permutation(num_recordings * num_clips)
  batch = {
    'label': np.repeat(labels, num_clips, axis=0)[order].astype(np.float32),
    'recording': np.repeat(np.arange(num_recordings), num_clips)[order],
  }
  metrics = sigmoid_metrics(has_recordings=True)
  flat = logits.reshape(-1, classes)[order].astype(np.float32)
  computed = metrics.compute(
    {name: np.asarray(x) for name, x in metrics.collect(flat, batch).items()}
  )
  averaged = (1 / (1 + np.exp(-logits))).mean(axis=1)
  assert tuple(computed) == metrics.names == ('mean_average_precision',)
  np.testing.assert_allclose(
    computed['mean_average_precision'],
    average_precision_score(labels, averaged),
    rtol=1e-6,
  )


def test_mean_average_precision_without_recordings_reads_none():
  metrics = sigmoid_metrics(has_recordings=False)
  logits = rng().standard_normal((30, 5)).astype(np.float32)
  labels = (rng(1).random((30, 5)) < 0.3).astype(np.float32)
  kept = metrics.collect(logits, {'label': labels})
  computed = metrics.compute({k: np.asarray(x) for k, x in kept.items()})
  expected = average_precision_score(labels, logits)
  np.testing.assert_allclose(
    computed['mean_average_precision'], expected, rtol=1e-6
  )


def test_accuracy_of_recordings_is_that_of_averaged_probabilities():
  # Of the first recording two clips are a little for class 1, and one is sure
  # of class 0: by votes it would be 1, by mean logits 0, as by probabilities.
  logits = np.float32([[0.0, 0.2], [0.0, 0.2], [9.0, 0.0], [0.0, 4.0]])
  metrics = recording_accuracy(num_classes=2)
  kept = metrics.collect(
    logits,
    {'label': np.int32([0, 0, 0, 0]), 'recording': np.int32([0, 0, 0, 1])},
  )
  assert metrics.names == ('accuracy',)
  computed = metrics.compute({k: np.asarray(x) for k, x in kept.items()})
  assert computed == {'accuracy': 0.5}


def test_a_data_set_of_recordings_has_its_metrics():
  data = DataSpec({}, 7, lambda: None)
  metrics = classification.make_dataset_metrics
  assert metrics('softmax', data) is None
  assert metrics('sigmoid', data).names == ('mean_average_precision',)
  data = data._replace(has_recordings=True)
  assert metrics('softmax', data).names == ('accuracy', 'top_5_accuracy')


# Top 5.


def test_in_top_is_that_of_scikit_learn():
  scores, labels = rng().random((200, 12)), rng(1).integers(0, 12, 200)
  for top in (1, 3, 5):
    np.testing.assert_allclose(
      np.mean(in_top(scores, labels, top)),
      top_k_accuracy_score(labels, scores, k=top, labels=np.arange(12)),
    )


def test_the_first_is_the_argmax_also_in_ties():
  scores = rng().integers(0, 3, (300, 5)).astype(np.float32)
  labels = rng(1).integers(0, 5, 300)
  np.testing.assert_array_equal(
    in_top(scores, labels, 1), scores.argmax(axis=1) == labels
  )


def test_no_number_is_no_success():
  scores = np.full((4, 8), np.nan, np.float32)
  assert not np.any(in_top(scores, np.arange(4), 5))


def test_the_loss_has_top_5_accuracy_from_six_classes_on():
  loss = softmax_loss(label_smoothing=0.0)
  labels = np.int32([0, 1, 2, 3])
  batch = {'label': labels, 'weight': np.float32([1, 1, 1, 0])}
  # Of label i, i classes score higher.
  scores = -np.tile(np.arange(7.0, dtype=np.float32), (4, 1))
  assert 'top_5_accuracy' not in loss(scores[:, :5], batch)[1]
  metrics = loss(scores, {**batch, 'label': np.int32([0, 4, 5, 0])})[1]
  assert float(metrics['accuracy'].total) == 1.0
  assert float(metrics['top_5_accuracy'].total) == 2.0
  assert float(metrics['top_5_accuracy'].weight) == 3.0
