"""Linear, LayerNorm and dropout: the one place for their settings.

Parameters carry the same names as Haiku's own layers (`w`, `b`; `scale`,
`offset`). `Linear` and `LayerNorm` also hand out their parameters, because a
single-head cross-attend applies them on the latent side (see attention.py).
"""

import dataclasses

import haiku as hk
import jax
import jax.numpy as jnp

from perceiver_jax.numerics import affine, layer_norm

LECUN_NORMAL = hk.initializers.VarianceScaling(1.0)


@dataclasses.dataclass(kw_only=True)
class Linear(hk.Module):
  """y = x w + b, with the initialisation of the papers' code.

  Weights: `VarianceScaling(1.0)`, a truncated normal whose standard deviation
  after truncation is 1/sqrt(fan in) (LeCun). Haiku's default for `hk.Linear`
  is 0.88 times that. Biases start at zero.

  Attributes:
    output_channels: width of the result.
    w_init: initialiser of the weights.
    name: Haiku name; name layers by their role.
  """

  output_channels: int
  w_init: hk.initializers.Initializer = LECUN_NORMAL
  name: str | None = None

  def __call__(self, x: jax.Array) -> jax.Array:
    """Maps `[..., C]` to `[..., output_channels]`."""
    return affine(x, *self.parameters(x.shape[-1]))

  def parameters(self, input_channels: int) -> tuple[jax.Array, jax.Array]:
    """Returns w `[input_channels, output_channels]`, b `[output_channels]`."""
    w_shape = (input_channels, self.output_channels)
    w = hk.get_parameter('w', w_shape, init=self.w_init)
    b = hk.get_parameter('b', (self.output_channels,), init=jnp.zeros)
    return w, b


@dataclasses.dataclass(kw_only=True)
class LayerNorm(hk.Module):
  """Layer norm over the last axis, with scale and offset, in float32.

  Perceiver, appendix C.

  Attributes:
    name: Haiku name.
  """

  name: str | None = None

  def __call__(self, x: jax.Array) -> jax.Array:
    """Normalises `[..., C]`; the result has the dtype of `x`."""
    return layer_norm(x, *self.parameters(x.shape[-1]))

  def parameters(self, channels: int) -> tuple[jax.Array, jax.Array]:
    """Returns scale `[channels]` and offset `[channels]`."""
    scale = hk.get_parameter('scale', (channels,), init=jnp.ones)
    offset = hk.get_parameter('offset', (channels,), init=jnp.zeros)
    return scale, offset


def dropout(x: jax.Array, rate: float, *, is_training: bool) -> jax.Array:
  """Dropout that asks for a random key only when it drops something."""
  if not is_training or rate == 0.0:
    return x
  return hk.dropout(hk.next_rng_key(), rate, x)


def check_dropout_rate(rate: float) -> None:
  """Raises a ValueError unless 0 <= rate < 1."""
  if not 0.0 <= rate < 1.0:
    raise ValueError(f'dropout_rate must be in [0, 1), got {rate}.')


def check_array(name: str, x: jax.Array, axes: str) -> None:
  """Raises a ValueError unless an array is what is expected.

  Args:
    name: what the caller calls the array.
    x: the array; of floating-point numbers.
    axes: names of its axes, such as 'B, N, D'.
  """
  dtype, shape = jnp.result_type(x), jnp.shape(x)
  if len(shape) != len(axes.split(',')) or not jnp.issubdtype(
    dtype, jnp.floating
  ):
    raise ValueError(
      f'{name} must be a floating-point array [{axes}], got {dtype} {shape}.'
    )
