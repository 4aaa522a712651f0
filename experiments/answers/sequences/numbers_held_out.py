"""What numbers of the steps of held-out series come to.

What is kept of examples, standardised: sums over the known steps, `[n]` each,
and some steps `[n, e]`, `true_numbers`, NaN where not known, `said_numbers`.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.answers.answer import Kept
from experiments.pages.axes import number
from experiments.pages.curves import curves_html, predicted, true
from experiments.pages.page import Section
from experiments.pages.tables import Html, table

_MOST_KEPT = 256
_SUMS = (
  *('steps', 'sum', 'sizes', 'squares'),
  *('absolute_errors', 'squared_errors'),
)


class Scale(NamedTuple):
  """Where the numbers of a column lie, in training.

  Attributes:
    centre: their mean.
    spread: their standard deviation.
  """

  centre: float
  spread: float

  def restored(self, numbers: np.ndarray) -> np.ndarray:
    """Returns numbers that were standardised, float64."""
    return np.asarray(numbers, np.float64) * self.spread + self.centre


def collect(
  said: jax.Array, numbers: jax.Array, known: jax.Array
) -> dict[str, jax.Array]:
  """Returns what is kept of numbers `[B, W]`; runs on the devices.

  Args:
    said: that are predicted, standardised.
    numbers: that are true, likewise.
    known: bool, which of them are known.
  """
  true_numbers = jnp.where(known, numbers, 0.0)
  errors = jnp.where(known, said - true_numbers, 0.0)
  summed = (
    known.astype(jnp.float32),
    true_numbers,
    jnp.abs(true_numbers),
    jnp.square(true_numbers),
    jnp.abs(errors),
    jnp.square(errors),
  )
  step = -(-said.shape[1] // _MOST_KEPT)
  return {
    **{
      name: each.sum(axis=1) for name, each in zip(_SUMS, summed, strict=True)
    },
    'true_numbers': jnp.where(known, numbers, jnp.nan)[:, ::step],
    'said_numbers': said[:, ::step],
  }


def metrics(scale: Scale, kept: Kept) -> dict[str, float]:
  """Returns errors over the known steps of all examples together.

  Args:
    scale: that numbers were standardised by.
    kept: of n examples.
  """
  steps, _, _, _, absolute, squared = _sums(kept)
  return _errors(scale, kept, absolute / steps, squared / steps)


def baselines(scale: Scale, kept: Kept) -> list[tuple[str, str, float]]:
  """Returns what the mean of the training steps comes to."""
  steps, _, sizes, squares, *_ = _sums(kept)
  # The mean is where standardised numbers are zero.
  found = _errors(scale, kept, sizes / steps, squares / steps)
  return [('training mean', name, value) for name, value in found.items()]


def _sums(kept: Kept) -> list[float]:
  return [float(np.sum(kept[name], dtype=np.float64)) for name in _SUMS]


def _errors(
  scale: Scale, kept: Kept, absolute: float, squared: float
) -> dict[str, float]:
  steps, total, _, squares, *_ = _sums(kept)
  variance = squares / steps - np.square(total / steps)
  return {
    'mae': scale.spread * absolute,
    'rmse': scale.spread * float(np.sqrt(squared)),
    'r2': 1.0 - squared / variance if variance > 0.0 else float('nan'),
  }


def columns(scale: Scale, kept: Kept) -> dict[str, np.ndarray]:
  """Returns the mean absolute error of each of n examples."""
  steps = np.maximum(kept['steps'], 1.0)
  return {'mae': scale.spread * kept['absolute_errors'] / steps}


def caption(scale: Scale, kept: Kept) -> Html:
  """Returns how far off one example is, and draws it beside what is true."""
  known = np.isfinite(kept['true_numbers'])
  length = int(np.flatnonzero(known).max(initial=0)) + 1
  came, said = (
    scale.restored(kept[name][:length])
    for name in ('true_numbers', 'said_numbers')
  )
  error = scale.spread * kept['absolute_errors'] / max(kept['steps'], 1.0)
  drawn = curves_html([true(came), predicted(said)])
  return Html(f'<b>{number(float(error))}</b> off on average{drawn}')


def sections(scale: Scale, kept: Kept, note: str) -> list[Section]:
  """Returns a table of errors.

  Args:
    scale: see `metrics`.
    kept: of n examples.
    note: says which examples these are.
  """
  found = metrics(scale, kept)
  names = {'mae': 'MAE', 'rmse': 'RMSE', 'r2': 'R\N{SUPERSCRIPT TWO}'}
  steps = int(_sums(kept)[0])
  row = (f'{steps:,} steps', *(number(found[name]) for name in names))
  body = table(('', *names.values()), [row])
  return [Section('Numbers of steps', body, f'{note}.')]
