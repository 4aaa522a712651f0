"""Image classification with the Perceiver of the first paper."""

from typing import Any

import haiku as hk
import jax
import ml_collections
import optax

from experiments.configuration import choose, construct
from experiments.data.digits import digits
from experiments.data.imagenet import imagenet
from experiments.tasks.task import Task
from experiments.train_state import Batch, Metrics
from perceiver_jax.encoder import Encoder
from perceiver_jax.metrics import weighted_mean
from perceiver_jax.models import PerceiverClassifier
from perceiver_jax.position_encoding import FourierPositions, LearnedPositions
from perceiver_jax.preprocessors import PermutedPixels, Pixels

# The sections of the config that this task reads.
SECTIONS = ('data', 'preprocessor', 'positions', 'encoder', 'loss')

_DATASETS = {'digits': digits, 'imagenet': imagenet}
_PREPROCESSORS = {'pixels': Pixels, 'permuted_pixels': PermutedPixels}
_POSITIONS = {
  'fourier': FourierPositions,
  'learned': LearnedPositions,
  'none': lambda: None,
}


def make_task(config: ml_collections.ConfigDict, data_dir: str | None) -> Task:
  """Binds model, loss and data.

  Args:
    config: of a run.
    data_dir: where TFDS keeps prepared data; None for its own default.

  Raises:
    ValueError: the config is wrong.
    FileNotFoundError: the data set is not prepared.
  """
  dataset = choose('data', _DATASETS, config.data, data_dir)
  return Task(
    model=make_model(config, dataset.num_classes),
    loss_function=construct('loss', make_loss, config.loss),
    dataset=dataset,
  )


def make_model(
  config: ml_collections.ConfigDict, num_classes: int
) -> hk.TransformedWithState:
  """Returns the model as pure functions of a batch with `image`."""

  def forward(batch: Batch, is_training: bool) -> jax.Array:
    positions = choose('positions', _POSITIONS, config.positions)
    preprocessor = choose(
      'preprocessor',
      _PREPROCESSORS,
      config.preprocessor,
      given={'positions': positions},
    )
    model = PerceiverClassifier(
      preprocessor=preprocessor,
      encoder=construct('encoder', Encoder, config.encoder),
      num_classes=num_classes,
    )
    return model(batch['image'], is_training=is_training)

  return hk.transform_with_state(forward)


def make_loss(*, label_smoothing: float):
  """Returns cross-entropy with softmax, and its metrics.

  Args:
    label_smoothing: share of the target spread over all classes.
  """

  def loss_function(
    logits: jax.Array, batch: Batch
  ) -> tuple[jax.Array, Metrics]:
    labels, weights = batch['label'], batch['weight']
    targets = optax.smooth_labels(
      jax.nn.one_hot(labels, logits.shape[-1]), label_smoothing
    )
    losses = optax.softmax_cross_entropy(logits, targets)
    correct = logits.argmax(axis=-1) == labels
    metrics: dict[str, Any] = {
      'loss': weighted_mean(losses, weights),
      'accuracy': weighted_mean(correct, weights),
    }
    return losses.mean(), metrics  # Training examples have weight one.

  return loss_function
