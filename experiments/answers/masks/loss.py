"""The loss of masks.

Shapes: B examples, S x S pixels, C classes.
"""

import jax
import jax.numpy as jnp

from experiments.answers.elements import UNKNOWN


def mask_loss(logits: jax.Array, truth: jax.Array) -> jax.Array:
  """Returns cross-entropy plus soft Dice of each example, `[B]`.

  Cross-entropy is a mean over pixels: what covers few of them weighs little.
  Dice is a mean over the classes that an example has, each of which weighs the
  same, and is close to what masks are measured by; but it is the same for all
  pixels that are far off, so that it alone learns slowly. Together they need no
  weights of rare classes (Isensee et al., nnU-Net, 2021).

  Args:
    logits: `[B, S, S, C]`.
    truth: int `[B, S, S]`, `UNKNOWN` where nothing is known: such pixels weigh
      nothing, nor does an example of them alone.
  """
  logits = logits.astype(jnp.float32)
  known = (truth != UNKNOWN)[..., None]
  wanted = jax.nn.one_hot(truth, logits.shape[-1])  # Zeros where unknown.
  found = jnp.where(known, jax.nn.softmax(logits), 0.0)
  pixels = (1, 2)
  entropy = -(wanted * jax.nn.log_softmax(logits)).sum(axis=(1, 2, 3))
  entropy = entropy / jnp.maximum(known.sum(axis=(1, 2, 3)), 1)
  sizes = wanted.sum(axis=pixels)  # [B, C]
  overlap = (wanted * found).sum(axis=pixels)
  there = sizes > 0
  dice = 2.0 * overlap / jnp.where(there, sizes + found.sum(axis=pixels), 1.0)
  missed = jnp.where(there, 1.0 - dice, 0.0).sum(axis=-1)
  return entropy + missed / jnp.maximum(there.sum(axis=-1), 1)
