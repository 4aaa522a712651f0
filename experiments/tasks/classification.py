"""Classification of images, sound, video, points: Perceiver and Perceiver IO.

The sections of a config: `inputs` has one for each modality, named like the
arrays of a batch; with several, `packing` says how they are packed. A config
with `queries` and `decoder` is a Perceiver IO, one without is the Perceiver of
the first paper; one with `baseline` in place of `encoder` is another model on
the same inputs.
"""

from collections.abc import Callable, Sequence
from typing import Any

import haiku as hk
import jax
import ml_collections
import numpy as np
import optax

from experiments.answers.kinds import Classes
from experiments.data.dataset import DataSpec, Example
from experiments.datasets.audioset import audioset
from experiments.datasets.digits import digits
from experiments.datasets.furniture import furniture
from experiments.datasets.imagenet import imagenet
from experiments.datasets.imported import labelled_images, labelled_texts
from experiments.datasets.modelnet40 import modelnet40
from experiments.datasets.tones import tones
from experiments.datasets.watch import watch
from experiments.host.configuration import choose, construct
from experiments.modalities import senses
from experiments.stepping.train_state import Batch, LossFunction, Metrics
from experiments.tasks.baselines import make_baseline
from experiments.tasks.classification_metrics import (
  TOP_5_CLASSES,
  in_top,
  recording_accuracy,
  sigmoid_metrics,
)
from experiments.tasks.parts import make_preprocessor
from experiments.tasks.task import DatasetMetrics, Task
from perceiver_jax.decoder import Decoder
from perceiver_jax.encoder import Encoder
from perceiver_jax.metrics import Mean, weighted_mean
from perceiver_jax.models import PerceiverClassifier, PerceiverIOClassifier
from perceiver_jax.queries import LearnedQueries

_PROBABILITIES = {'softmax': jax.nn.softmax, 'sigmoid': jax.nn.sigmoid}
_DATASETS = {
  'digits': digits,
  'furniture': furniture,
  'imagenet': imagenet,
  'labelled_images': labelled_images,
  'labelled_texts': labelled_texts,
  'audioset': audioset,
  'modelnet40': modelnet40,
  'tones': tones,
  'watch': watch,
}


def sections(config: ml_collections.ConfigDict) -> tuple[str, ...]:
  """Returns the sections of the config that this task reads."""
  names = ['data', 'inputs', 'loss']
  if len(config.get('inputs', ())) > 1:
    names.append('packing')
  if 'baseline' in config:
    names.append('baseline')
  else:
    names.append('encoder')
    if 'queries' in config or 'decoder' in config:
      names += ['queries', 'decoder']
  return tuple(names)


def make_task(config: ml_collections.ConfigDict, data_dir: str | None) -> Task:
  """Binds model, loss and data.

  Args:
    config: of a run.
    data_dir: where TFDS keeps prepared data; None for its own default.

  Raises:
    ValueError: the config is wrong.
  """
  datasets = {**_DATASETS, **senses.folders()}
  data = choose('data', datasets, config.data, data_dir)
  return Task(
    model=make_model(config, data.num_classes),
    loss_function=choose('loss', LOSSES, config.loss),
    data=data,
    answer=make_answer(config.loss.name, class_names(data)),
    dataset_metrics=make_dataset_metrics(config.loss.name, data),
  )


def class_names(data: DataSpec) -> tuple[str, ...]:
  """Returns the names of the classes; their numbers where they have none."""
  return tuple(data.class_names) or tuple(map(str, range(data.num_classes)))


def make_answer(
  loss: str, names: tuple[str, ...]
) -> Callable[[Sequence[np.ndarray], Sequence[Example]], Classes]:
  """Returns what tells logits `[classes]` of one input as probabilities.

  Args:
    loss: 'softmax', one of the classes, or 'sigmoid', any number of them.
    names: of the classes.
  """

  def answer(
    predictions: Sequence[np.ndarray], examples: Sequence[Example]
  ) -> Classes:
    del examples
    parts = [np.asarray(_PROBABILITIES[loss](each)) for each in predictions]
    return Classes(names, np.mean(parts, axis=0))

  return answer


def make_dataset_metrics(loss: str, data: DataSpec) -> DatasetMetrics | None:
  """Returns the metrics that are no means, of a loss on a data set."""
  if loss == 'sigmoid':
    return sigmoid_metrics(has_recordings=data.has_recordings)
  if data.has_recordings:
    return recording_accuracy(num_classes=data.num_classes)
  return None


def make_model(
  config: ml_collections.ConfigDict, num_classes: int
) -> hk.TransformedWithState:
  """Returns the model as pure functions of a batch of all modalities."""

  def forward(batch: Batch, is_training: bool) -> jax.Array:
    inputs = {modality: batch[modality] for modality in config.inputs}
    if len(inputs) == 1:
      (inputs,) = inputs.values()
    preprocessor = make_preprocessor(config.inputs, config.get('packing'))
    if 'baseline' in config:
      baseline = make_baseline(config.baseline, num_classes)
      byte_array = preprocessor(inputs, is_training=is_training)
      return baseline(
        byte_array.with_mask(batch.get('input_mask')), is_training=is_training
      )
    parts = {
      'preprocessor': preprocessor,
      'encoder': construct('encoder', Encoder, config.encoder),
    }
    if 'decoder' in config:
      queries = construct(
        'queries', LearnedQueries, config.queries, given={'num_queries': 1}
      )
      decoder = construct(
        'decoder',
        Decoder,
        config.decoder,
        given={'output_channels': num_classes},
      )
      model = PerceiverIOClassifier(queries=queries, decoder=decoder, **parts)
    else:
      model = PerceiverClassifier(num_classes=num_classes, **parts)
    return model(
      inputs, is_training=is_training, input_mask=batch.get('input_mask')
    )

  return hk.transform_with_state(forward)


def softmax_loss(*, label_smoothing: float) -> LossFunction:
  """Returns cross-entropy of one class an example, and its metrics.

  Where examples are mixed of two, the targets are of both classes; see
  `mixing.mix_pair`.

  Args:
    label_smoothing: share of the target spread over all classes.
  """

  def loss_function(
    logits: jax.Array, batch: Batch
  ) -> tuple[Sequence[Mean], Metrics]:
    labels, weights = batch['label'], batch['weight']
    targets = jax.nn.one_hot(labels, logits.shape[-1])
    if 'mix_label' in batch:
      others = jax.nn.one_hot(batch['mix_label'], logits.shape[-1])
      targets += batch['mix_share'][:, None] * (others - targets)
    targets = optax.smooth_labels(targets, label_smoothing)
    losses = optax.softmax_cross_entropy(logits, targets)
    metrics: dict[str, Any] = {
      'loss': weighted_mean(losses, weights),
      'accuracy': weighted_mean(in_top(logits, labels, 1), weights),
    }
    if logits.shape[-1] >= TOP_5_CLASSES:
      top_5 = in_top(logits, labels, 5)
      metrics['top_5_accuracy'] = weighted_mean(top_5, weights)
    return [metrics['loss']], metrics

  return loss_function


def sigmoid_loss() -> LossFunction:
  """Returns cross-entropy of any number of classes an example.

  Labels are `[B, classes]`, 1 for each class that is there (Perceiver, section
  4.2: AudioSet). The loss is the mean over classes.
  """

  def loss_function(
    logits: jax.Array, batch: Batch
  ) -> tuple[Sequence[Mean], Metrics]:
    losses = optax.sigmoid_binary_cross_entropy(logits, batch['label'])
    losses = losses.mean(axis=-1)
    loss = weighted_mean(losses, batch['weight'])
    return [loss], {'loss': loss}

  return loss_function


LOSSES = {'softmax': softmax_loss, 'sigmoid': sigmoid_loss}
