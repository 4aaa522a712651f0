"""Products and turned vectors inside a TPU's kernel."""

import jax
import jax.numpy as jnp

_LANES = 128


def product(x: jax.Array, y: jax.Array, axes: tuple[int, int]) -> jax.Array:
  """Sums over axis `axes[0]` of x and `axes[1]` of y: float32."""
  return jax.lax.dot_general(
    x,
    y,
    (((axes[0],), (axes[1],)), ((), ())),
    preferred_element_type=jnp.float32,
  )


def as_row(column: jax.Array) -> jax.Array:
  """Turns `[n, 1]` into `[1, n]`, n a multiple of 8.

  128 numbers at a time become a column of a square, so that one square is
  turned and not one for each of them.
  """
  size = column.shape[0]
  pieces = -(-size // _LANES)
  fill = jnp.zeros((pieces * _LANES - size, 1), column.dtype)
  if fill.size:
    column = jnp.concatenate([column, fill], axis=0)
  columns = [column[i * _LANES : (i + 1) * _LANES] for i in range(pieces)]
  rest = jnp.zeros((_LANES, _LANES - pieces), column.dtype)
  square = jnp.concatenate([*columns, rest], axis=1).T
  rows = [square[i : i + 1] for i in range(pieces)]
  row = rows[0] if pieces == 1 else jnp.concatenate(rows, axis=1)
  return row[:, :size]


def as_column(row: jax.Array) -> jax.Array:
  """Turns `[1, n]` into `[n, 128]`, the number of a row in all its lanes."""
  return jnp.broadcast_to(row, (_LANES, row.shape[1])).T
