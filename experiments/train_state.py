"""The state of a run and the pure function that advances it by one step."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import haiku as hk
import jax
import jax.numpy as jnp
import optax

from perceiver_jax.metrics import Mean

Batch = Mapping[str, Any]
Metrics = dict[str, Mean]
LossFunction = Callable[[Any, Batch], tuple[jax.Array, Metrics]]
Collect = Callable[[Any, Batch], Mapping[str, jax.Array]]


class TrainState(NamedTuple):
  """Everything that a step changes; a checkpoint holds exactly this.

  There is no random key: each step folds its number into the run's seed.

  Attributes:
    step: int32 scalar, updates done.
    params: Haiku parameters.
    state: Haiku state.
    opt_state: optimizer state.
  """

  step: jax.Array
  params: hk.MutableParams
  state: hk.MutableState
  opt_state: optax.OptState


def init_state(
  model: hk.TransformedWithState,
  optimizer: optax.GradientTransformation,
  seed: int,
  batch: Batch,
) -> TrainState:
  """Returns the state before the first step.

  Args:
    model: takes a batch and `is_training`.
    optimizer: of its parameters.
    seed: of the run.
    batch: arrays of the right shapes and dtypes.
  """
  params, state = model.init(jax.random.key(seed), batch, is_training=True)
  step = jnp.zeros((), jnp.int32)
  return TrainState(step, params, state, optimizer.init(params))


def init_shapes(
  model: hk.TransformedWithState, batch: Batch
) -> tuple[hk.MutableParams, hk.MutableState]:
  """Returns shapes and dtypes of parameters and state; nothing is computed."""
  return jax.eval_shape(
    lambda batch: model.init(jax.random.key(0), batch, is_training=True), batch
  )


def state_shapes(
  model: hk.TransformedWithState,
  optimizer: optax.GradientTransformation,
  batch: Batch,
) -> TrainState:
  """Returns shapes and dtypes of the train state; nothing is computed."""
  return jax.eval_shape(
    lambda batch: init_state(model, optimizer, 0, batch), batch
  )


def make_update(
  model: hk.TransformedWithState,
  loss_function: LossFunction,
  optimizer: optax.GradientTransformation,
  schedule: optax.Schedule,
  *,
  seed: int,
  axis_name: str,
) -> Callable[[TrainState, Batch], tuple[TrainState, Metrics]]:
  """Returns the update, to be mapped over devices under `axis_name`.

  Args:
    model: takes a batch and `is_training`.
    loss_function: takes predictions and batch; returns the mean loss of the
      device's batch and metrics.
    optimizer: of the parameters.
    schedule: learning rate by step, for the metrics.
    seed: of the run.
    axis_name: gradients and state are averaged over it, metrics summed.
  """

  def update(
    train_state: TrainState, batch: Batch
  ) -> tuple[TrainState, Metrics]:
    step, params, state, opt_state = train_state
    rng = jax.random.fold_in(jax.random.key(seed), step)
    rng = jax.random.fold_in(rng, jax.lax.axis_index(axis_name))

    def loss_of(params: hk.Params):
      predictions, new_state = model.apply(
        params, state, rng, batch, is_training=True
      )
      loss, metrics = loss_function(predictions, batch)
      return loss, (metrics, new_state)

    gradients, (metrics, new_state) = jax.grad(loss_of, has_aux=True)(params)
    gradients, new_state = jax.lax.pmean((gradients, new_state), axis_name)
    metrics = jax.lax.psum(metrics, axis_name)
    updates, opt_state = optimizer.update(gradients, opt_state, params)
    metrics['gradient_norm'] = _scalar(optax.tree.norm(gradients))
    metrics['learning_rate'] = _scalar(schedule(step))
    params = optax.apply_updates(params, updates)
    return TrainState(step + 1, params, new_state, opt_state), metrics

  return update


def make_evaluation(
  model: hk.TransformedWithState,
  loss_function: LossFunction,
  collect: Collect | None = None,
  *,
  axis_name: str,
) -> Callable[[hk.Params, hk.State, Batch], tuple[Metrics, Mapping]]:
  """Returns the evaluation of a batch, to be mapped over devices.

  Args:
    model: takes a batch and `is_training`.
    loss_function: as for the update; its metrics are summed over devices.
    collect: takes predictions and batch; returns arrays `[B, ...]` that are
      given back beside the metrics. None gives back none.
    axis_name: of the devices.
  """

  def evaluation(
    params: hk.Params, state: hk.State, batch: Batch
  ) -> tuple[Metrics, Mapping[str, jax.Array]]:
    predictions, _ = model.apply(params, state, None, batch, is_training=False)
    _, metrics = loss_function(predictions, batch)
    kept = {} if collect is None else collect(predictions, batch)
    return jax.lax.psum(metrics, axis_name), kept

  return evaluation


def _scalar(value: jax.Array) -> Mean:
  return Mean(jnp.asarray(value, jnp.float32), jnp.ones(()))
