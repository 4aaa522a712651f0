"""Which way a needle points: a kind of answer that the package has not.

It is one folder with one record, `ANGLE`, as those of `experiments/answers/`.
Shapes: B examples; predictions `[B, 2]` are a cosine and a sine.
"""

import html
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.answers.answer import (
  Answer,
  DatasetMetrics,
  HeldOut,
  Kept,
  Panel,
)
from experiments.data.dataset import Example
from experiments.pages.page import Section
from experiments.pages.tables import Html, table
from experiments.stepping.train_state import Batch, Metrics
from perceiver_jax.metrics import Mean, weighted_mean


class Angle(NamedTuple):
  """Where a needle points to.

  Attributes:
    degrees: in [0, 360), anticlockwise from the right.
  """

  degrees: float


def tell_angle(
  predictions: Sequence[np.ndarray], examples: Sequence[Example]
) -> Angle:
  """Returns the angle of the mean direction `[2]` of the parts of an input."""
  del examples
  cosine, sine = np.mean(predictions, axis=0, dtype=np.float64)
  return Angle(float(np.degrees(np.arctan2(sine, cosine)) % 360.0))


def angle_loss(
  predictions: jax.Array, batch: Batch
) -> tuple[Sequence[Mean], Metrics]:
  """Returns the squared error of the direction; metrics in degrees, too.

  Args:
    predictions: `[B, 2]`.
    batch: with `angle` `[B]`, in degrees, and `weight` `[B]`.
  """
  angles = jnp.deg2rad(batch['angle'])
  directions = jnp.stack([jnp.cos(angles), jnp.sin(angles)], axis=1)
  losses = jnp.square(predictions - directions).sum(axis=1)
  metrics = {
    'loss': weighted_mean(losses, batch['weight']),
    'degrees_off': weighted_mean(
      _degrees_off(predictions, batch), batch['weight']
    ),
  }
  return [metrics['loss']], metrics


def _degrees_off(predictions: jax.Array, batch: Batch) -> jax.Array:
  return off(_degrees(predictions), batch['angle'])


def _degrees(predictions: jax.Array) -> jax.Array:
  told = jnp.rad2deg(jnp.arctan2(predictions[:, 1], predictions[:, 0]))
  return told % 360.0


def off(told: Any, true: Any) -> Any:
  """Returns how many degrees there are between angles, from 0 to 180."""
  return abs((told - true + 180.0) % 360.0 - 180.0)


def _collect(predictions: jax.Array, batch: Batch) -> dict[str, jax.Array]:
  return {'off': _degrees_off(predictions, batch)}


def _median(kept: Mapping[str, np.ndarray]) -> dict[str, float]:
  return {'median_degrees_off': float(np.median(kept['off']))}


MEDIAN_OFF = DatasetMetrics(('median_degrees_off',), _collect, _median)


def lines_of(answer: Angle, top: int) -> list[str]:
  """Returns a line."""
  del top
  return [f'points to {answer.degrees:.1f} degrees']


def json_of(answer: Angle, top: int) -> dict[str, Any]:
  """Returns the angle."""
  del top
  return {'degrees': answer.degrees}


def _dial(answer: Angle) -> Html:
  return Html(
    '<svg viewBox="-1 -1 2 2" width="80"><line x2="0.9" stroke="red" '
    f'stroke-width="0.1" transform="rotate({-answer.degrees:.1f})"/></svg>'
  )


def panels_of(answer: Angle) -> list[Panel]:
  """Returns a dial."""
  return [Panel('Dial', _dial(answer))]


def write(answer: Angle, folder: pathlib.Path, name: str) -> list[pathlib.Path]:
  """Writes the dial as .svg."""
  folder.mkdir(parents=True, exist_ok=True)
  path = folder / f'{name}.svg'
  path.write_text(_dial(answer), encoding='utf-8')
  return [path]


def _keep(predictions: jax.Array, batch: Batch) -> dict[str, jax.Array]:
  return {'told': _degrees(predictions), 'true': batch['angle']}


def _caption(kept: Kept) -> Html:
  said = f'{kept["told"]:.0f}° and is {kept["true"]:.0f}°'
  return Html(html.escape(said))


def _sections(kept: Kept, note: str) -> list[Section]:
  """How many are off by how much."""
  errors = off(kept['told'], kept['true'])
  counts, edges = np.histogram(errors, bins=6, range=(0.0, 180.0))
  rows = [
    (f'{low:.0f}° to {high:.0f}°', str(count))
    for low, high, count in zip(edges, edges[1:], counts, strict=False)
  ]
  return [Section('How far off', table(('off by', 'dials'), rows), f'{note}.')]


ANGLE = Answer(
  purpose='reading dials',
  outputs='The cosine and the sine of the angle that the needle has with the '
  'right.',
  lines=lines_of,
  json=json_of,
  panels=panels_of,
  lower=('loss', 'off'),
  note=lambda answer: f'The needle {lines_of(answer, 1)[0]}.',
  write=write,
  held_out=HeldOut(_keep, _caption, _sections),
)
