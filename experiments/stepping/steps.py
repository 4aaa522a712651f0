"""The pure functions that advance a run by one step, and evaluate a batch.

The loss of a step is that of its global batch, however many devices and
microbatches it is divided among: a loss function returns totals and weights,
the weights of all parts are added up first, and each part differentiates its
totals over them.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import haiku as hk
import jax
import jax.numpy as jnp
import optax

from experiments.stepping.spikes import SpikeGuard
from experiments.stepping.train_state import (
  Batch,
  Collect,
  LossFunction,
  Metrics,
  TrainState,
)
from perceiver_jax.metrics import Mean, sum_of_means

# On one device: whole parameters, Haiku state, step and the device's part of a
# batch to gradients of a sum over all devices, and what is the same on all.
Gradients = Callable[
  [hk.Params, hk.State, jax.Array, Batch], tuple[hk.MutableParams, Any]
]


class Collectives(NamedTuple):
  """How the parts of a step on different devices come together.

  Attributes:
    sum: on one device, a tree of arrays to its sum over devices.
    mean: likewise.
    own_key: on one device, a random key to that of this device.
    gradients: a function for one device to one of parameters as the train state
      has them, which adds the gradients up over devices, in their own dtype.
  """

  sum: Callable[[Any], Any]
  mean: Callable[[Any], Any]
  own_key: Callable[[jax.Array], jax.Array]
  gradients: Callable[[Gradients], Gradients]


class Health(NamedTuple):
  """Whether the numbers of a step were finite.

  Attributes:
    is_finite: bool scalar; where it is False, the step changed nothing.
    skipped: int32 scalar, steps left out so far because of a spike; None where
      none can be.
    loss: float32 scalar.
    gradient_norms: float32 scalars, a tree like the parameters.
  """

  is_finite: jax.Array
  loss: jax.Array
  gradient_norms: Any
  skipped: jax.Array | None = None


class Report(NamedTuple):
  """What a step says of itself, the same on all devices.

  Attributes:
    metrics: of its batch; without weight where it changed nothing.
    health: of its numbers.
  """

  metrics: Metrics
  health: Health


Update = Callable[[TrainState, Batch], tuple[TrainState, Report]]


class OfExamples(NamedTuple):
  """What an evaluation gives back of each example of a batch.

  Attributes:
    metrics: `[B]` float32 each: `loss`, and those of the loss function; NaN
      where a metric does not count the example.
    kept: arrays `[B, ...]` that were asked for.
    predictions: of the model, `[B, ...]`, in float32 at least.
  """

  metrics: Mapping[str, jax.Array]
  kept: Any
  predictions: Any


Evaluate = Callable[[hk.Params, hk.State, Batch], tuple[Metrics, OfExamples]]


def make_update(
  model: hk.TransformedWithState,
  loss_function: LossFunction,
  optimizer: optax.GradientTransformation,
  schedule: optax.Schedule,
  *,
  seed: int,
  collectives: Collectives,
  microbatches: int = 1,
  ema_decay: float = 0.0,
  guard: SpikeGuard | None = None,
) -> Update:
  """Returns the update, to be compiled for the devices.

  A step whose loss or gradient is not finite, or a spike, counts, and changes
  nothing else.

  Args:
    model: takes a batch and `is_training`.
    loss_function: of predictions and batch. The weights of its means depend on
      the batch alone.
    optimizer: of the parameters.
    schedule: learning rate by step, for the metrics.
    seed: of the run.
    collectives: of the devices that it will run on.
    microbatches: parts into which a device's batch is divided, one computed
      after the other. Gradients are those of the undivided batch; Haiku state,
      such as the averages of a batch norm, follows part by part.
    ema_decay: of the average of the parameters in a step, where one is kept:
      e <- decay e + (1 - decay) p.
    guard: says which steps are left out as spikes; the train state has `spikes`
      then. None leaves none out.
  """

  def gradients_of(
    params: hk.Params, state: hk.State, step: jax.Array, batch: Batch
  ) -> tuple[hk.MutableParams, tuple[jax.Array, Metrics, hk.MutableState]]:
    rng = jax.random.fold_in(jax.random.key(seed), step)
    rng = collectives.own_key(rng)
    means, _ = loss_function(
      _blank_predictions(model, params, state, rng, batch), batch
    )
    weights = collectives.sum([mean.weight for mean in means])

    def loss_of(
      params: hk.Params, state: hk.State, rng: jax.Array, part: Batch
    ) -> tuple[jax.Array, tuple[Metrics, hk.State]]:
      predictions, state = model.apply(
        params, state, rng, part, is_training=True
      )
      means, metrics = loss_function(_at_least_float32(predictions), part)
      return sum_of_means(means, weights), (metrics, state)

    loss, gradients, metrics, state = _differentiate(
      loss_of, params, state, rng, _divide(batch, microbatches)
    )
    loss, metrics = collectives.sum((loss, metrics))
    return gradients, (loss, metrics, collectives.mean(state))

  def update(
    train_state: TrainState, batch: Batch
  ) -> tuple[TrainState, Report]:
    step, params, state, opt_state, ema, spikes = train_state
    gradients, (loss, metrics, state) = collectives.gradients(gradients_of)(
      params, state, step, batch
    )
    updates, opt_state = optimizer.update(gradients, opt_state, params)
    params = optax.apply_updates(params, updates)
    if ema is not None:
      ema = optax.incremental_update(params, ema, 1.0 - ema_decay)

    norms = jax.tree.map(optax.tree.norm, gradients)
    norm = optax.tree.norm(norms)
    is_finite = jnp.isfinite(loss) & jnp.isfinite(norm)
    metrics['gradient_norm'] = _scalar(norm)
    metrics['parameter_norm'] = _scalar(optax.tree.norm(params))
    metrics['learning_rate'] = _scalar(schedule(step))
    changes, skipped = is_finite, None
    if guard is not None:
      is_spike, seen = guard.judge(spikes, loss, norm)
      spikes = _where(is_finite, seen, spikes)
      changes, skipped = is_finite & ~is_spike, spikes.skipped
    metrics = _where(changes, metrics, jax.tree.map(jnp.zeros_like, metrics))
    new = TrainState(step, params, state, opt_state, ema)
    new = _where(changes, new, train_state._replace(spikes=None))
    new = new._replace(step=step + 1, spikes=spikes)
    return new, Report(metrics, Health(is_finite, loss, norms, skipped))

  return update


def make_evaluation(
  model: hk.TransformedWithState,
  loss_function: LossFunction,
  collect: Collect | None = None,
  *,
  collectives: Collectives,
  microbatches: int = 1,
) -> Evaluate:
  """Returns the evaluation of a batch, to be compiled for the devices.

  All that anybody wants of held-out examples comes out of this one function;
  what is not fetched stays on the devices, until the next batch.

  Args:
    model: takes a batch and `is_training`.
    loss_function: as for the update; its metrics are summed over devices.
    collect: takes predictions and batch; returns arrays `[B, ...]` to be kept.
      None keeps none.
    collectives: of the devices that it will run on.
    microbatches: parts into which a device's batch is divided, as for the
      update, so that what trains can be evaluated.
  """

  def evaluation(
    params: hk.Params, state: hk.State, batch: Batch
  ) -> tuple[Metrics, OfExamples]:
    def evaluate(part: Batch) -> tuple[Metrics, OfExamples]:
      predictions, _ = model.apply(params, state, None, part, is_training=False)
      predictions = _at_least_float32(predictions)
      _, metrics = loss_function(predictions, part)
      return metrics, OfExamples(
        metrics=_of_each(loss_function, predictions, part),
        kept={} if collect is None else collect(predictions, part),
        predictions=predictions,
      )

    if microbatches == 1:
      metrics, examples = evaluate(batch)
    else:
      metrics, examples = jax.lax.map(evaluate, _divide(batch, microbatches))
      metrics = jax.tree.map(lambda x: x.sum(axis=0), metrics)
      examples = _undivide(examples)
    return collectives.sum(metrics), examples

  return evaluation


def _of_each(
  loss_function: LossFunction, predictions: Any, batch: Batch
) -> dict[str, jax.Array]:
  """The loss and the metrics of each example as if it were a batch, `[B]`."""

  def of_one(prediction: Any, example: Batch) -> dict[str, jax.Array]:
    prediction, example = jax.tree.map(
      lambda x: x[None], (prediction, dict(example))
    )
    means, metrics = loss_function(
      prediction, {**example, 'weight': jnp.ones(1)}
    )
    values = {
      name: jnp.where(mean.weight > 0.0, mean.total / mean.weight, jnp.nan)
      for name, mean in metrics.items()
    }
    return {**values, 'loss': sum_of_means(means)}

  return jax.vmap(of_one)(predictions, dict(batch))


def _differentiate(
  loss_of: Callable[..., tuple[jax.Array, tuple[Metrics, hk.State]]],
  params: hk.Params,
  state: hk.State,
  rng: jax.Array,
  parts: Batch,
) -> tuple[jax.Array, hk.MutableParams, Metrics, hk.MutableState]:
  """Adds up losses, gradients and metrics of parts `[parts, B, ...]`."""
  gradient_of = jax.value_and_grad(loss_of, has_aux=True)
  first = jax.tree.map(lambda x: x[0], parts)
  number = jax.tree.leaves(parts)[0].shape[0]
  if number == 1:
    (loss, (metrics, state)), gradients = gradient_of(params, state, rng, first)
    return loss, gradients, metrics, state

  def add(carry: tuple, numbered: tuple) -> tuple[tuple, None]:
    *sums, state = carry
    number, part = numbered
    (loss, (metrics, state)), gradients = gradient_of(
      params, state, jax.random.fold_in(rng, number), part
    )
    sums = jax.tree.map(jnp.add, sums, [loss, gradients, metrics])
    return (*sums, state), None

  (loss, (metrics, _)), gradients = jax.eval_shape(
    gradient_of, params, state, rng, first
  )
  zeros = jax.tree.map(
    lambda x: jnp.zeros(x.shape, x.dtype), (loss, gradients, metrics)
  )
  sums, _ = jax.lax.scan(add, (*zeros, state), (jnp.arange(number), parts))
  return sums


def _divide(batch: Batch, parts: int) -> Batch:
  """`[B, ...]` to `[parts, B / parts, ...]`.

  A part has every so-and-so-many-th example: where B is divided among devices,
  all parts are, and no example moves.
  """
  return jax.tree.map(
    lambda x: x.reshape(-1, parts, *x.shape[1:]).swapaxes(0, 1), batch
  )


def _undivide(parts: Any) -> Any:
  """Examples in the order that they had before `_divide`."""
  return jax.tree.map(
    lambda x: x.swapaxes(0, 1).reshape(-1, *x.shape[2:]), parts
  )


def _blank_predictions(model: hk.TransformedWithState, *arguments: Any) -> Any:
  """Zeros like the predictions, for what of a loss depends on the batch."""
  shapes, _ = jax.eval_shape(
    lambda *arguments: model.apply(*arguments, is_training=True), *arguments
  )
  return _at_least_float32(
    jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)
  )


def _at_least_float32(predictions: Any) -> Any:
  """Losses and metrics are computed in float32, whatever the model does."""
  return jax.tree.map(
    lambda x: (
      x.astype(jnp.promote_types(x.dtype, jnp.float32))
      if jnp.issubdtype(x.dtype, jnp.floating)
      else x
    ),
    predictions,
  )


def _where(condition: jax.Array, tree: Any, other: Any) -> Any:
  return jax.tree.map(lambda x, y: jnp.where(condition, x, y), tree, other)


def _scalar(value: jax.Array) -> Mean:
  return Mean(jnp.asarray(value, jnp.float32), jnp.ones(()))
