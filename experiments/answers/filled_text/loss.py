"""The loss of a masked language model, and its metrics."""

import math
from collections.abc import Sequence

import jax
import optax

from experiments.stepping.train_state import Batch, LossFunction, Metrics
from perceiver_jax.metrics import Mean, weighted_mean


def masked_token_loss(*, visible_weight: float) -> LossFunction:
  """Returns cross-entropy of the masked tokens, and metrics of them.

  The metrics count masked tokens, not examples: `loss` in nats,
  `bits_per_byte` for tokens that are bytes, `accuracy`.

  Args:
    visible_weight: weight of the mean over the tokens that are not masked,
      added to the mean over those that are. To give back what it sees, a model
      must learn which output belongs to which input: it needs that before it
      can guess from neighbours. 0 for a masked language model without.
  """

  def loss_function(
    logits: jax.Array, batch: Batch
  ) -> tuple[Sequence[Mean], Metrics]:
    targets, masked = batch['targets'], batch['target_weights']
    weights = batch['weight'][:, None]
    losses = optax.softmax_cross_entropy_with_integer_labels(logits, targets)
    hits = logits.argmax(axis=-1) == targets
    loss = weighted_mean(losses, weights * masked)
    visible = weighted_mean(losses, weights * (batch['mask'] - masked))
    metrics = {
      'loss': loss,
      'bits_per_byte': Mean(loss.total / math.log(2.0), loss.weight),
      'accuracy': weighted_mean(hits, weights * masked),
    }
    weighted = Mean(visible_weight * visible.total, visible.weight)
    return [loss, weighted], metrics

  return loss_function
