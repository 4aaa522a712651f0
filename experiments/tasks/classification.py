"""Classification of images, sound, video, points: Perceiver and Perceiver IO.

The sections of a config: `inputs` has one for each modality, named like the
arrays of a batch; with several, `packing` says how they are packed. A config
with `queries` and `decoder` is a Perceiver IO, one without is the Perceiver of
the first paper; one with `baseline` in place of `encoder` is another model on
the same inputs.
"""

import haiku as hk
import jax
import ml_collections

from experiments.answers.answer import DatasetMetrics
from experiments.answers.classes.held_out import held_out_classes
from experiments.answers.classes.losses import sigmoid_loss, softmax_loss
from experiments.answers.classes.metrics import (
  collect_classes,
  recording_accuracy,
  sigmoid_metrics,
)
from experiments.answers.classes.record import CLASSES, SEVERAL_CLASSES
from experiments.answers.classes.value import class_names, tell_classes
from experiments.data.dataset import DataSpec
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
from experiments.stepping.train_state import Batch
from experiments.tasks.baselines import make_baseline
from experiments.tasks.parts import make_preprocessor
from experiments.tasks.task import Task
from perceiver_jax.decoder import Decoder
from perceiver_jax.encoder import Encoder
from perceiver_jax.models import PerceiverClassifier, PerceiverIOClassifier
from perceiver_jax.queries import LearnedQueries

LOSSES = {'softmax': softmax_loss, 'sigmoid': sigmoid_loss}
_ANSWERS = {'softmax': CLASSES, 'sigmoid': SEVERAL_CLASSES}
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
  names, loss = class_names(data), config.loss.name
  held_out = held_out_classes(
    names, collect_classes(loss, has_recordings=data.has_recordings)
  )
  return Task(
    model=make_model(config, data.num_classes),
    loss_function=choose('loss', LOSSES, config.loss),
    data=data,
    answer=_ANSWERS[loss]._replace(held_out=held_out),
    tell=tell_classes(names, _PROBABILITIES[loss]),
    dataset_metrics=make_dataset_metrics(loss, data),
  )


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
