"""Latents in, outputs out.

Shapes: B batch, N latents, D latent channels.
"""

import dataclasses

import haiku as hk
import jax
import jax.numpy as jnp

from perceiver_jax.layers import Linear


@dataclasses.dataclass(kw_only=True)
class AveragePool(hk.Module):
  """Mean over the latents, then one linear layer (Perceiver, appendix C).

  The layer starts at zero, so an untrained model gives all classes the same
  probability. There is no layer norm before it.

  Attributes:
    num_outputs: width of the result, the number of classes.
    name: Haiku name.
  """

  num_outputs: int
  name: str | None = None

  def __call__(self, latents: jax.Array) -> jax.Array:
    """Maps latents `[B, N, D]` to `[B, num_outputs]` float32."""
    pooled = latents.mean(axis=1, dtype=jnp.float32)
    return Linear(
      output_channels=self.num_outputs,
      w_init=hk.initializers.Constant(0.0),
      name='logits',
    )(pooled)
