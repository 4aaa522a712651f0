"""How the time and memory of a gradient grow with the sizes of a model."""

from collections.abc import Callable, Mapping
from typing import Any

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np

from perceiver_jax.encoder import Encoder
from perceiver_jax.position_encoding import FourierPositions
from perceiver_jax.preprocessors import Pixels

# The published ImageNet model: 261 channels, 512 x 1024 latents.
_BASE = {'inputs': 2**14, 'latents': 512, 'layers': 1, 'batch': 1}
_SWEEPS = {
  'inputs': tuple(2**i for i in range(12, 21, 2)),
  'latents': (128, 256, 512, 1024),
  'layers': (1, 2, 4, 8),
  'batch': (1, 2, 4, 8),
}
_BANDS = 64


def measure(
  time_in_turns: Callable[[Mapping, int], dict[str, float]], repeats: int
) -> dict[str, Any]:
  """Times the gradient of an encoder with one cross-attend.

  Args:
    time_in_turns: see `benchmark.time_in_turns`.
    repeats: rounds of timing.

  Returns:
    For each size that is varied, a row of seconds and temporary bytes for each
    of its values, and the exponent with which the time grows at the end.
  """
  result = {}
  for name, values in _SWEEPS.items():
    programs = {value: _compile(_BASE | {name: value}) for value in values}
    seconds = time_in_turns(
      {str(value): call for value, (call, _) in programs.items()}, repeats
    )
    rows = [
      {
        name: value,
        'seconds': seconds[str(value)],
        'temporary_bytes': programs[value][1],
      }
      for value in values
    ]
    result[name] = {'rows': rows, 'exponent': _exponent(name, rows[-3:])}
  return result


def _exponent(name: str, rows: list[dict[str, Any]]) -> float:
  """Slope of the logarithm of the time over that of the size."""
  sizes = np.log([row[name] for row in rows])
  return float(
    np.polyfit(sizes, np.log([row['seconds'] for row in rows]), 1)[0]
  )


def _compile(sizes: dict[str, int]) -> tuple[Callable[[], Any], int]:
  side = 2 ** (int(np.log2(sizes['inputs'])) // 2)
  grid = (side, sizes['inputs'] // side)

  def loss(images: jax.Array) -> jax.Array:
    positions = FourierPositions(num_bands=_BANDS, max_resolution=grid)
    byte_array = Pixels(positions=positions)(images)
    latents = Encoder(
      num_latents=sizes['latents'],
      latent_channels=1024,
      cross_attends=(1,),
      self_attends_per_block=sizes['layers'],
    )(byte_array, is_training=True)
    return jnp.square(latents).mean()

  model = hk.without_apply_rng(hk.transform(loss))
  images = jnp.asarray(
    np.random.default_rng(0).normal(size=(sizes['batch'], *grid, 3)),
    jnp.float32,
  )
  params = jax.jit(model.init)(jax.random.key(0), images)
  gradient = jax.jit(jax.value_and_grad(model.apply))
  run = gradient.lower(params, images).compile()
  return (
    lambda: jax.block_until_ready(run(params, images)),
    run.memory_analysis().temp_size_in_bytes,
  )


def render(result: dict[str, Any]) -> str:
  """Returns the result of `measure` as text."""
  lines = [
    'Gradient of an encoder with one cross-attend; unless varied: '
    + ', '.join(f'{value:,} {name}' for name, value in _BASE.items())
  ]
  for name, sweep in result.items():
    lines.append(
      f'{name}: the time grows with the power {sweep["exponent"]:.2f}'
    )
    for row in sweep['rows']:
      lines.append(
        f'  {row[name]:>9,} {row["seconds"]:>9.3f} s '
        f'{1e6 * row["seconds"] / row[name]:>12,.2f} us each '
        f'{row["temporary_bytes"] / 1e6:>9,.0f} MB of temporaries'
      )
  return '\n'.join(lines)
