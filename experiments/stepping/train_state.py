"""The state of a run: everything that a step changes."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import haiku as hk
import jax
import jax.numpy as jnp
import optax

from experiments.stepping.spikes import Spikes, no_spikes
from perceiver_jax.metrics import Mean

Batch = Mapping[str, Any]
Metrics = dict[str, Mean]
# Predictions and batch to the means whose sum is the loss, and metrics.
LossFunction = Callable[[Any, Batch], tuple[Sequence[Mean], Metrics]]
Collect = Callable[[Any, Batch], Mapping[str, jax.Array]]


class TrainState(NamedTuple):
  """Everything that a step changes; a checkpoint holds exactly this.

  There is no random key: each step folds its number into the run's seed.

  Attributes:
    step: int32 scalar, updates done.
    params: Haiku parameters.
    state: Haiku state.
    opt_state: optimizer state.
    ema: exponential moving average of the parameters; None where none is kept.
    spikes: what steps are compared with; None where they are not.
  """

  step: jax.Array
  params: hk.MutableParams
  state: hk.MutableState
  opt_state: optax.OptState
  ema: hk.MutableParams | None = None
  spikes: Spikes | None = None


def init_state(
  model: hk.TransformedWithState,
  optimizer: optax.GradientTransformation,
  seed: int,
  batch: Batch,
  *,
  has_ema: bool = False,
  has_spikes: bool = False,
) -> TrainState:
  """Returns the state before the first step.

  Args:
    model: takes a batch and `is_training`.
    optimizer: of its parameters.
    seed: of the run.
    batch: arrays of the right shapes and dtypes.
    has_ema: whether an average of the parameters is kept.
    has_spikes: whether steps are compared with those before.
  """
  params, state = model.init(jax.random.key(seed), batch, is_training=True)
  return TrainState(
    step=jnp.zeros((), jnp.int32),
    params=params,
    state=state,
    opt_state=optimizer.init(params),
    ema=params if has_ema else None,
    spikes=no_spikes() if has_spikes else None,
  )


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
  *,
  has_ema: bool = False,
  has_spikes: bool = False,
) -> TrainState:
  """Returns shapes and dtypes of the train state; nothing is computed."""
  return jax.eval_shape(
    lambda batch: init_state(
      model, optimizer, 0, batch, has_ema=has_ema, has_spikes=has_spikes
    ),
    batch,
  )
