"""Views as elements of a page: pictures, players, text, drawings.

An element needs nothing around it: no style sheet, no script, no other file.
"""

import functools
import html

import cv2
import numpy as np

from experiments.data.views import (
  Image,
  Points,
  Series,
  Sound,
  Text,
  Video,
  View,
)
from experiments.pages.encodings import (
  moving_data,
  picture_data,
  sound_data,
)

# Pixels in a page. Smaller pictures are shown enlarged, without smoothing;
# larger ones are made smaller before.
_LEAST_SIDE, _MOST_SIDE = 160, 448
_WAVE_WIDTH, _WAVE_HEIGHT = 320, 64
_SERIES_HEIGHT = 120
_MOST_COLUMNS = 400
# Colours that can be told apart on white and on black.
_LINE_COLOURS = ('#3b82f6', '#e08a1e', '#2aa876', '#c45fb4', '#d9534f')
_CLOUD_SIDE, _CLOUD_FRAMES, _CLOUD_SECONDS = 200, 20, 5.0
_CLOUD_TILT, _CLOUD_TURN = np.deg2rad(20.0), np.deg2rad(35.0)
_MOST_POINTS = 800
_CLOUD_COLOUR = (82, 146, 250)


@functools.singledispatch
def html_of(view: View) -> str:
  """Returns an element that shows a view, or plays it.

  Args:
    view: of an example.
  """
  raise TypeError(f'A view of type {type(view).__name__} cannot be shown.')


@html_of.register
def _(view: Image) -> str:
  pixels = _fitting(view.pixels)
  return _picture(picture_data(pixels), pixels.shape)


@html_of.register
def _(view: Video) -> str:
  frames = [_fitting(frame) for frame in view.frames]
  return _picture(moving_data(frames, view.rate), frames[0].shape)


@html_of.register
def _(view: Sound) -> str:
  player = (
    f'<audio controls src="{sound_data(view.samples, view.rate)}" '
    f'style="display:block;width:100%;max-width:{_WAVE_WIDTH}px"></audio>'
  )
  return _waveform(view.samples) + player


@html_of.register
def _(view: Points) -> str:
  frames = [
    _cloud(view.coordinates, _CLOUD_TURN + 2 * np.pi * i / _CLOUD_FRAMES)
    for i in range(_CLOUD_FRAMES)
  ]
  rate = _CLOUD_FRAMES / _CLOUD_SECONDS
  return _picture(moving_data(frames, rate), frames[0].shape)


@html_of.register
def _(view: Text) -> str:
  # A page cannot hold a zero byte, whatever the file had.
  text = view.data.decode('utf-8', errors='replace').replace('\0', '\ufffd')
  return (
    '<pre style="margin:0;white-space:pre-wrap;overflow-wrap:anywhere">'
    f'{html.escape(text)}</pre>'
  )


@html_of.register
def _(view: Series) -> str:
  values = np.asarray(view.values, np.float64)
  low, high = np.nanmin(values), np.nanmax(values)
  scale = (_SERIES_HEIGHT - 4) / max(high - low, 1e-12)
  lines = []
  for i, channel in enumerate(_shortened(values).T):
    x = np.linspace(0, _WAVE_WIDTH, len(channel))
    points = ' '.join(
      f'{at:.1f},{_SERIES_HEIGHT - 2 - (value - low) * scale:.1f}'
      for at, value in zip(x, channel, strict=True)
      if np.isfinite(value)
    )
    colour = _LINE_COLOURS[i % len(_LINE_COLOURS)]
    lines.append(
      f'<polyline points="{points}" fill="none" stroke="{colour}" '
      'stroke-width="1.2"/>'
    )
  seconds = f'{len(values) / view.rate:.3g} s, ' if view.rate else ''
  label = (
    f'{len(values):,} steps, {seconds}from {low:.4g} to {high:.4g}; '
    f'{values.shape[1]} channel(s)'
  )
  return _drawing(_SERIES_HEIGHT, ''.join(lines), label)


def _fitting(pixels: np.ndarray) -> np.ndarray:
  """Makes a picture smaller where it is too large for a page."""
  longest = max(pixels.shape[:2])
  if longest <= _MOST_SIDE:
    return pixels
  size = [
    max(1, round(side * _MOST_SIDE / longest)) for side in pixels.shape[1::-1]
  ]
  return cv2.resize(
    np.ascontiguousarray(pixels), size, interpolation=cv2.INTER_AREA
  )


def _picture(data: str, shape: tuple[int, ...]) -> str:
  """Shows pixels as squares where they are few."""
  height, width = shape[:2]
  factor = max(1, -(-_LEAST_SIDE // max(height, width)))
  style = 'display:block;max-width:100%;height:auto'
  if factor > 1:
    style += ';image-rendering:pixelated'
  return (
    f'<img alt="" width="{factor * width}" height="{factor * height}" '
    f'style="{style}" src="{data}">'
  )


def _drawing(height: int, drawn: str, label: str) -> str:
  return (
    f'<svg viewBox="0 0 {_WAVE_WIDTH} {height}" role="img" '
    f'style="display:block;width:100%;max-width:{_WAVE_WIDTH}px">'
    f'<title>{html.escape(label)}</title>{drawn}</svg>'
  )


def _waveform(samples: np.ndarray) -> str:
  """Every column is a line from its least to its greatest sample."""
  samples = np.asarray(samples, np.float64).reshape(-1)
  if not samples.size:
    return ''
  loudest = max(float(np.abs(samples).max()), 1e-9)
  columns = min(_WAVE_WIDTH, samples.size)
  starts = np.linspace(0, samples.size, columns, endpoint=False).astype(int)
  middle = _WAVE_HEIGHT / 2
  top = middle * (1 - np.maximum.reduceat(samples, starts) / loudest)
  bottom = middle * (1 - np.minimum.reduceat(samples, starts) / loudest)
  width = _WAVE_WIDTH / columns
  path = ''.join(
    f'M{(i + 0.5) * width:.1f} {a:.1f}V{max(b, a + 0.8):.1f}'
    for i, (a, b) in enumerate(zip(top, bottom, strict=True))
  )
  drawn = f'<path d="{path}" stroke="#3b82f6" stroke-width="{width:.2f}"/>'
  return _drawing(_WAVE_HEIGHT, drawn, 'The sound as a wave')


def _shortened(values: np.ndarray) -> np.ndarray:
  """Means of neighbouring rows, of a series longer than can be seen."""
  if len(values) <= _MOST_COLUMNS:
    return values
  starts = np.linspace(0, len(values), _MOST_COLUMNS, endpoint=False)
  starts = starts.astype(int)
  counts = np.diff(starts, append=len(values))
  return np.add.reduceat(values, starts, axis=0) / counts[:, None]


def _cloud(coordinates: np.ndarray, turn: float) -> np.ndarray:
  """Draws points from a side, seen a little from above; y is up.

  Args:
    coordinates: `[N, 3]`.
    turn: around y, in radians.

  Returns:
    uint8 `[side, side, 4]`; what is behind is paler.
  """
  points = np.asarray(coordinates, np.float64)
  points = points[:: -(-len(points) // _MOST_POINTS)]
  points = points - (points.min(axis=0) + points.max(axis=0)) / 2
  points /= max(float(np.linalg.norm(points, axis=1).max()), 1e-9)
  x, y, z = points.T
  cosine, sine = np.cos(turn), np.sin(turn)
  right, depth = cosine * x - sine * z, sine * x + cosine * z
  up = np.cos(_CLOUD_TILT) * y + np.sin(_CLOUD_TILT) * depth
  away = np.cos(_CLOUD_TILT) * depth - np.sin(_CLOUD_TILT) * y
  half = (_CLOUD_SIDE - 3) / 2
  columns = np.rint(half * (1 + right)).astype(int)
  rows = np.rint(half * (1 - up)).astype(int)
  opacity = np.rint(255 - 70 * (1 + away)).astype(np.uint8)
  picture = np.zeros((_CLOUD_SIDE, _CLOUD_SIDE, 4), np.uint8)
  picture[..., :3] = _CLOUD_COLOUR
  for i in (0, 1):
    for j in (0, 1):
      np.maximum.at(picture[..., 3], (rows + i, columns + j), opacity)
  return picture
