"""Optimizers, built from optax.

Weight decay acts on matrices, latents and position tables, never on biases or
on scales and offsets of layer norm. Which is which follows from parameter
names, since layers are stacked: a bias of a stack has two axes too. What looks
at a tensor as a whole looks at each layer of a stack alone.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
import optax.contrib

from perceiver_jax.stacking import is_layer_stack

_UNDECAYED = ('b', 'scale', 'offset')


def decayed(params: Any) -> Any:
  """Returns a tree of bools: True for matrices, latents, position tables."""
  return _map_named(lambda module, name, _: name not in _UNDECAYED, params)


def adamw(
  learning_rate: optax.Schedule,
  *,
  weight_decay: float,
  b1: float = 0.9,
  b2: float = 0.999,
  epsilon: float = 1e-8,
  clip_norm: float | None = None,
) -> optax.GradientTransformation:
  """AdamW.

  Args:
    learning_rate: by step.
    weight_decay: relative to the learning rate.
    b1: decay of the first moment.
    b2: decay of the second moment.
    epsilon: added to the root of the second moment.
    clip_norm: largest global norm of the gradient; None for no clipping.
  """
  return _descent(
    optax.scale_by_adam(b1, b2, epsilon),
    learning_rate,
    weight_decay,
    clip_norm,
  )


def lamb(
  learning_rate: optax.Schedule,
  *,
  weight_decay: float,
  b1: float = 0.9,
  b2: float = 0.999,
  epsilon: float = 1e-6,
  clip_norm: float | None = None,
  trust_biases: bool = True,
) -> optax.GradientTransformation:
  """LAMB (arXiv 1904.00962): Adam with a trust ratio for each layer's tensor.

  As in the authors' released training code: the trust ratio is of every tensor,
  the weight decay not of biases and norms. In a layer stack it is taken layer
  by layer.

  Args:
    learning_rate: by step.
    weight_decay: relative to the learning rate.
    b1: decay of the first moment.
    b2: decay of the second moment.
    epsilon: added to the root of the second moment.
    clip_norm: largest global norm of the gradient; None for no clipping.
    trust_biases: whether the ratio is of biases and of scales and offsets of
      norms too. A bias is zero, then tiny, so its steps are tiny: it grows by
      a share of itself. False lets them follow plain Adam, whose steps do not
      wait for the tensor to grow.
  """
  return _descent(
    optax.scale_by_adam(b1, b2, epsilon),
    learning_rate,
    weight_decay,
    clip_norm,
    scale_by_trust_ratio(biases=trust_biases),
  )


def lion(
  learning_rate: optax.Schedule,
  *,
  weight_decay: float,
  b1: float = 0.9,
  b2: float = 0.99,
  clip_norm: float | None = None,
) -> optax.GradientTransformation:
  """Lion (arXiv 2302.06675): the sign of an average of gradients.

  Every number moves by the whole learning rate, so that it is chosen 3 to 10
  times smaller than that of AdamW, and the weight decay as much larger.

  Args:
    learning_rate: by step.
    weight_decay: relative to the learning rate.
    b1: share of the average in what the sign is taken of.
    b2: decay of the average.
    clip_norm: largest global norm of the gradient; None for no clipping.
  """
  return _descent(
    optax.scale_by_lion(b1, b2), learning_rate, weight_decay, clip_norm
  )


def adafactor(
  learning_rate: optax.Schedule,
  *,
  weight_decay: float,
  decay_rate: float = 0.8,
  clip_update: float = 1.0,
  scale_by_parameters: bool = True,
  least_factored: int = 128,
  clip_norm: float | None = None,
) -> optax.GradientTransformation:
  """Adafactor (arXiv 1804.04235), without momentum: hardly any state.

  Of the second moment of a matrix it keeps means of rows and of columns.

  Args:
    learning_rate: by step.
    weight_decay: relative to the learning rate.
    decay_rate: the second moment decays by 1 - step ** -decay_rate.
    clip_update: largest root mean square of a tensor's update before the
      learning rate.
    scale_by_parameters: whether a tensor's update is multiplied by the root
      mean square of the tensor, at least 0.001: then usual learning rates are
      about 0.01.
    least_factored: both axes of a matrix must be as long, or its second moment
      is kept whole.
    clip_norm: largest global norm of the gradient; None for no clipping.
  """
  factored = optax.chain(
    optax.scale_by_factored_rms(
      decay_rate=decay_rate, min_dim_size_to_factor=least_factored
    ),
    optax.clip_by_block_rms(clip_update),
    optax.scale_by_param_block_rms()
    if scale_by_parameters
    else optax.identity(),
  )
  return _descent(each_layer(factored), learning_rate, weight_decay, clip_norm)


def muon(
  learning_rate: optax.Schedule,
  *,
  weight_decay: float,
  momentum: float = 0.95,
  b1: float = 0.9,
  b2: float = 0.999,
  epsilon: float = 1e-8,
  clip_norm: float | None = None,
) -> optax.GradientTransformation:
  """Muon: matrices move along the orthogonal part of their momentum.

  Matrices are weights `w` of two axes. Their updates are scaled as in arXiv
  2502.16982, by 0.2 sqrt(max(inputs, outputs)), so that learning rate and
  weight decay of AdamW suit; all other parameters follow AdamW.

  Args:
    learning_rate: by step.
    weight_decay: relative to the learning rate.
    momentum: decay of the momentum of matrices.
    b1: decay of the first moment of other parameters.
    b2: decay of their second moment.
    epsilon: added to its root.
    clip_norm: largest global norm of the gradient; None for no clipping.
  """
  orthogonal = optax.chain(
    optax.contrib.scale_by_muon(
      beta=momentum,
      weight_dimension_numbers=lambda tree: jax.tree.map(
        lambda _: optax.contrib.MuonDimensionNumbers(-2, -1), tree
      ),
    ),
    optax.stateless_with_tree_map(lambda update, _: update * _width(update)),
  )
  direction = optax.partition(
    {'matrix': orthogonal, 'other': optax.scale_by_adam(b1, b2, epsilon)},
    lambda params: _map_named(
      lambda *leaf: 'matrix' if _is_matrix(*leaf) else 'other', params
    ),
  )
  return _descent(direction, learning_rate, weight_decay, clip_norm)


def each_layer(
  transformation: optax.GradientTransformation,
) -> optax.GradientTransformation:
  """Applies a transformation to each module alone, and each layer of a stack.

  Its state is one for each module; of a stack, with a leading axis of layers.

  Args:
    transformation: of a tree of parameters.
  """

  def per_module(function: Callable, *trees: Any) -> dict[str, Any]:
    return {
      module: (jax.vmap(function) if is_layer_stack(module) else function)(
        *(tree[module] for tree in trees)
      )
      for module in trees[0]
    }

  def update_function(updates, state, params=None):
    both = per_module(transformation.update, updates, state, params)
    return tuple({m: each[i] for m, each in both.items()} for i in (0, 1))

  return optax.GradientTransformation(
    lambda params: per_module(transformation.init, params), update_function
  )


def scale_by_trust_ratio(*, biases: bool) -> optax.GradientTransformation:
  """Scales each tensor's update to the norm of the tensor.

  A tensor or update of norm zero keeps its update, as in `optax`.

  Args:
    biases: whether biases, and scales and offsets of norms, are scaled too.
  """

  def ratio(update: jax.Array, param: jax.Array) -> jax.Array:
    param_norm = jnp.sqrt(jnp.square(param).sum())
    update_norm = jnp.sqrt(jnp.square(update).sum())
    usable = (param_norm > 0.0) & (update_norm > 0.0)
    safe_norm = jnp.where(usable, update_norm, 1.0)
    return update * jnp.where(usable, param_norm / safe_norm, 1.0)

  def scale(module: str, name: str, update: jax.Array, param: jax.Array):
    if name in _UNDECAYED and not biases:
      return update
    each = jax.vmap(ratio) if is_layer_stack(module) else ratio
    return each(update, param)

  def update_function(updates, state, params=None):
    if params is None:
      raise ValueError('scale_by_trust_ratio needs params in update().')
    return _map_named(scale, updates, params), state

  return optax.GradientTransformation(
    lambda params: optax.EmptyState(), update_function
  )


OPTIMIZERS = {
  'adafactor': adafactor,
  'adamw': adamw,
  'lamb': lamb,
  'lion': lion,
  'muon': muon,
}


def _descent(
  direction: optax.GradientTransformation,
  learning_rate: optax.Schedule,
  weight_decay: float,
  clip_norm: float | None,
  *then: optax.GradientTransformation,
) -> optax.GradientTransformation:
  """Gradients to updates; what comes after the decay scales that, too."""
  return optax.chain(
    _clip(clip_norm),
    direction,
    optax.add_decayed_weights(weight_decay, mask=decayed),
    *then,
    optax.scale_by_learning_rate(learning_rate),
  )


def _clip(norm: float | None) -> optax.GradientTransformation:
  return optax.identity() if norm is None else optax.clip_by_global_norm(norm)


def _is_matrix(module: str, name: str, array: jax.Array) -> bool:
  return name == 'w' and array.ndim - is_layer_stack(module) == 2


def _width(update: jax.Array) -> float:
  """Brings a matrix of singular values 1 to the size of AdamW's updates."""
  return 0.2 * max(update.shape[-2:]) ** 0.5


def _map_named(function: Callable, params: Any, *rest: Any) -> Any:
  """Maps `function(module_name, parameter_name, leaf, ...)` over a tree."""
  return {
    module: {
      name: function(module, name, leaf, *(tree[module][name] for tree in rest))
      for name, leaf in leaves.items()
    }
    for module, leaves in params.items()
  }
