"""Parts of sequences that are of one class, counted as wholes.

Shapes: B examples, E elements.
"""

import jax
import jax.numpy as jnp

from experiments.answers.elements import UNKNOWN


def count_spans(said: jax.Array, true: jax.Array) -> dict[str, jax.Array]:
  """Counts parts of one class other than 0; runs on the devices.

  Args:
    said: int `[B, E]`, classes that are found.
    true: int `[B, E]`, `UNKNOWN` past the end.

  Returns:
    int32 `[B]` each: `span_hits`, parts that are right from their first element
    to their last; `span_said`, that are found; `span_true`, that there are.
  """
  said = jnp.where(true == UNKNOWN, 0, said)
  true = jnp.where(true == UNKNOWN, 0, true)
  begins_said, begins_true = _begins(said), _begins(true)
  both = (begins_said & begins_true) & (said == true)
  same_end = _ends(said) == _ends(true)
  return {
    'span_hits': (both & same_end).sum(axis=1, dtype=jnp.int32),
    'span_said': begins_said.sum(axis=1, dtype=jnp.int32),
    'span_true': begins_true.sum(axis=1, dtype=jnp.int32),
  }


def _changes(classes: jax.Array) -> jax.Array:
  """Whether an element is of another class than the one before."""
  first = jnp.ones_like(classes[:, :1], jnp.bool_)
  return jnp.concatenate([first, classes[:, 1:] != classes[:, :-1]], axis=1)


def _begins(classes: jax.Array) -> jax.Array:
  return _changes(classes) & (classes > 0)


def _ends(classes: jax.Array) -> jax.Array:
  """The element behind the run that each is in."""
  size = classes.shape[1]
  starts = jnp.where(_changes(classes), jnp.arange(size), size)
  following = jax.lax.cummin(starts, axis=1, reverse=True)
  last = jnp.full_like(following[:, :1], size)
  return jnp.concatenate([following[:, 1:], last], axis=1)
