"""What a person hears of a sound, and its wave."""

from typing import NamedTuple

import numpy as np

from experiments.pages.elements import WIDTH, drawing
from experiments.pages.encodings import sound_data

_HEIGHT = 64


class Sound(NamedTuple):
  """A sound of one channel.

  Attributes:
    samples: float32 `[T]` in [-1, 1].
    rate: samples a second.
  """

  samples: np.ndarray
  rate: float


def to_samples(values: np.ndarray) -> np.ndarray:
  """Returns `[T]` sound of any size, its loudest sample at most 1."""
  values = np.asarray(values, np.float32).reshape(-1)
  return values / max(1.0, float(np.abs(values).max(initial=0.0)))


def sound_html(view: Sound) -> str:
  """Returns its wave and a player."""
  player = (
    f'<audio controls src="{sound_data(view.samples, view.rate)}" '
    f'style="display:block;width:100%;max-width:{WIDTH}px"></audio>'
  )
  return _waveform(view.samples) + player


def _waveform(samples: np.ndarray) -> str:
  """Every column is a line from its least to its greatest sample."""
  samples = np.asarray(samples, np.float64).reshape(-1)
  if not samples.size:
    return ''
  loudest = max(float(np.abs(samples).max()), 1e-9)
  columns = min(WIDTH, samples.size)
  starts = np.linspace(0, samples.size, columns, endpoint=False).astype(int)
  middle = _HEIGHT / 2
  top = middle * (1 - np.maximum.reduceat(samples, starts) / loudest)
  bottom = middle * (1 - np.minimum.reduceat(samples, starts) / loudest)
  width = WIDTH / columns
  path = ''.join(
    f'M{(i + 0.5) * width:.1f} {a:.1f}V{max(b, a + 0.8):.1f}'
    for i, (a, b) in enumerate(zip(top, bottom, strict=True))
  )
  drawn = f'<path d="{path}" stroke="#3b82f6" stroke-width="{width:.2f}"/>'
  return drawing(_HEIGHT, drawn, 'The sound as a wave')
