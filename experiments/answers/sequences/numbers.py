"""The head of a number for each step of a series.

Shapes: B examples, M elements that ask for P steps each, W = M P steps. F = P.
"""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments.answers.head import Head, Options
from experiments.answers.numbers.losses import KNEE
from experiments.answers.sequences import numbers_held_out as held_out
from experiments.answers.sequences import record
from experiments.answers.sequences.aligned import aligned_series
from experiments.answers.sequences.cells import to_steps
from experiments.answers.sequences.units import patch_of, steps_of, units_of
from experiments.answers.sequences.value import StepNumbers
from experiments.data.dataset import Example, array_spec
from experiments.table.cells import to_number


def step_loss(
  said: jax.Array, numbers: jax.Array, known: jax.Array
) -> jax.Array:
  """Returns the Huber loss `[B]`, the mean over the steps that are known.

  Args:
    said: `[B, W]`, standardised.
    numbers: `[B, W]`, likewise.
    known: bool `[B, W]`, False where they weigh nothing.
  """
  numbers = jnp.where(known, numbers, 0.0)
  losses = optax.huber_loss(jnp.where(known, said, 0.0), numbers, delta=KNEE)
  return losses.sum(axis=1) / jnp.maximum(known.sum(axis=1), 1)


def head_of_numbers(options: Options, asks: Options) -> Head:
  """Returns the head of a number for each step of a series.

  Args:
    options: `centre` and `spread`, mean and standard deviation in training.
    asks: of the series, see `series_files`.
  """
  scale = held_out.Scale(options['centre'], options['spread'])
  size, patch = asks['num_steps'], patch_of(asks)

  def read(cell: Any) -> Example:
    numbers = [
      np.nan if step is None else to_number(step) for step in to_steps(cell)
    ]
    numbers = (np.array(numbers, np.float64) - scale.centre) / scale.spread
    return {'numbers': numbers.astype(np.float32)}

  def align(
    kept: Example, found: Example, rng: np.random.Generator | None
  ) -> tuple[Example, Example]:
    kept, numbers = aligned_series(asks, kept, found['numbers'], np.nan, rng)
    known = np.isfinite(numbers)
    return kept, {
      'numbers': np.where(known, numbers, np.float32(0)),
      'known': known,
    }

  def tell(outputs: np.ndarray, example: Example) -> StepNumbers:
    count = steps_of(asks, example)
    return StepNumbers(
      scale.restored(outputs.reshape(-1)[:count]),
      scale.spread,
      units_of(asks, example['series'][:count]),
    )

  def flat(outputs: jax.Array) -> jax.Array:
    return outputs.reshape(-1, size)

  def loss(outputs: jax.Array, target: Mapping[str, jax.Array]) -> jax.Array:
    return step_loss(flat(outputs), target['numbers'], target['known'])

  return Head(
    answer=record.STEP_NUMBERS,
    target={
      'numbers': array_spec(size),
      'known': array_spec(size, dtype=np.bool_),
    },
    read=read,
    num_queries=None,
    channels=patch,
    loss=loss,
    collect=lambda outputs, target: held_out.collect(
      flat(outputs), target['numbers'], target['known']
    ),
    metrics=lambda kept: held_out.metrics(scale, kept),
    score='r2',
    tell=tell,
    cells=record.cells_of_numbers,
    caption=lambda kept: held_out.caption(scale, kept),
    sections=lambda kept, note: held_out.sections(scale, kept, note),
    columns=lambda kept: held_out.columns(scale, kept),
    baselines=lambda kept: held_out.baselines(scale, kept),
    align=align,
    keeps={'numbers': jax.ShapeDtypeStruct((None,), np.float32)},
  )
