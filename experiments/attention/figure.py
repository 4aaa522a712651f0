"""Maps of attention as pictures for paper and slides, one for each modality.

After figure 3 of the Perceiver paper: a row for each cross-attend, a column for
each latent; the other way around where the input is wide. Brightness is that of
`attention_maps.levels`.
"""

import warnings
from collections.abc import Callable, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from experiments.attention.colours import colours, marker, overlay
from experiments.attention.maps import AttentionMaps, Modality, levels
from experiments.data.views import Image, Points, Series, Sound, Text, Video

_DARK = colours(np.zeros(()))
_LINE = (0.92, 0.92, 0.96)
_DIMMED = 0.65  # Of an input's brightness, below the attention.
_TEXT_COLUMNS, _TEXT_WIDTH, _LINE_HEIGHT = 64, 6.4, 0.2
# A letter of this font is 0.602 of its size wide: as wide as a column.
_LETTERS = {
  'family': 'DejaVu Sans Mono',
  'size': 72 * _TEXT_WIDTH / _TEXT_COLUMNS / 0.602,
  'va': 'center_baseline',
  'color': 'black',
}
_FIRST_OF_OTHER_WIDTH = '\u0530'  # After Latin, Greek and Cyrillic.
_MARGIN, _GAP = 0.75, 0.12  # In inches; left and top, and between panels.
_CAPTION = 0.24
_DPI = 110
# Panels are below each other when they are so many times as wide as high, or
# wider than so many inches.
_WIDE, _MOST_SIDE_BY_SIDE = 1.6, 5.0
# How points are looked at: turned around the vertical, then tilted.
_TURN, _TILT = 0.7, 0.45

# Draws an input with levels [*cells] of attention to it.
Panel = Callable[[Axes, np.ndarray], None]


def attention_figure(
  title: str, maps: AttentionMaps, name: str, latents: Sequence[int]
) -> np.ndarray:
  """Draws what latents look at in one modality.

  Args:
    title: above the picture.
    maps: of all modalities.
    name: of the modality.
    latents: numbers of those to draw, below the mean of all.

  Returns:
    uint8 RGB `[H, W, 3]`.

  Raises:
    ValueError: the model divides it in a way that nothing is drawn of.
  """
  modality = maps.modalities[name]
  panel, size = _panel(modality)
  shown = [None, *latents]
  bright = levels(maps.lifts(latents))[0][name]
  is_wide = size[0] > min(_WIDE * size[1], _MOST_SIDE_BY_SIDE)
  figure, grid = _grid_of_panels(maps.num_depths, len(shown), size, is_wide)
  figure.text(
    0.02, 1 - 0.2 / figure.get_figheight(), title, va='top', weight='bold'
  )
  for (depth, i), axes in grid.items():
    axes.set_facecolor(_DARK)
    panel(axes, bright[depth, i])
    axes.set(xticks=(), yticks=())
    axes.set_xlabel(
      _caption(maps, name, depth, shown[i]), fontsize=7, labelpad=2
    )
    labels = (
      f'cross-attend {depth + 1}',
      'all' if shown[i] is None else f'latent {shown[i]}',
    )
    top, left = labels if is_wide else reversed(labels)
    if (i if is_wide else depth) == 0:
      axes.set_title(top, fontsize=9)
    if (depth if is_wide else i) == 0:
      axes.set_ylabel(left, fontsize=9)
  return _pixels(figure)


def _grid_of_panels(
  num_depths: int, num_maps: int, size: tuple[float, float], is_wide: bool
) -> tuple[Figure, dict[tuple[int, int], Axes]]:
  """Returns an empty figure, and the axes of each depth and map.

  Args:
    num_depths: rows, or columns where panels are wide.
    num_maps: of a depth.
    size: of a panel, in inches.
    is_wide: whether panels are.
  """
  rows, columns = num_depths, num_maps
  if is_wide:
    rows, columns = columns, rows
  width, height = size
  across, down = width + _GAP, height + _CAPTION + _GAP
  total = _MARGIN + columns * across, _MARGIN + rows * down
  figure = Figure(figsize=total, facecolor='white', dpi=_DPI)
  grid = {}
  for row in range(rows):
    for column in range(columns):
      left = _MARGIN + column * across
      bottom = total[1] - _MARGIN - row * down - height
      place = (column, row) if is_wide else (row, column)
      grid[place] = figure.add_axes(
        (
          left / total[0],
          bottom / total[1],
          width / total[0],
          height / total[1],
        )
      )
  return figure, grid


def _caption(
  maps: AttentionMaps, name: str, depth: int, latent: int | None
) -> str:
  entropy, coverage = maps.entropy_together, maps.coverage_together
  share = maps.shares[name].mean(axis=1)
  if latent is not None:
    entropy, coverage = maps.entropy[:, latent], maps.coverage[:, latent]
    share = maps.shares[name][:, latent]
  words = (
    f'entropy {entropy[depth] / maps.most_entropy:.0%}, '
    f'coverage {coverage[depth]:.1%}'
  )
  if len(maps.shares) == 1:
    return words
  return f'{words}; {share[depth]:.1%} of its attention is here'


def _pixels(figure: Figure) -> np.ndarray:
  canvas = FigureCanvasAgg(figure)
  with warnings.catch_warnings():
    # Boxes stand for letters that matplotlib's own font does not have.
    warnings.filterwarnings('ignore', 'Glyph .* missing')
    canvas.draw()
  return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def _panel(modality: Modality) -> tuple[Panel, tuple[float, float]]:
  """Returns what draws an input, and how wide and high it is, in inches."""
  view = modality.view
  match view, len(modality.cells):
    case Image(), 2:
      height, width = view.pixels.shape[:2]
      return _over_image(view.pixels), _fitted(width, height, 2.2)
    case Video(), 3:
      return _over_video(view, modality.cells[0])
    case Sound(), 2 if modality.spectrogram is not None:
      return _over_spectrogram(modality.spectrogram), (3.4, 1.6)
    case Sound(), 1:
      return _over_curves(view.samples[:, None]), (4.2, 1.0)
    case Series(), 1:
      return _over_curves(view.values), (4.2, 1.3)
    case Points(), 1:
      return _over_points(view.coordinates[modality.points]), (2.4, 2.4)
    case Text(), 1:
      lines = -(-len(modality.pieces) // _TEXT_COLUMNS)
      return _over_text(modality.pieces), (_TEXT_WIDTH, _LINE_HEIGHT * lines)
  raise ValueError(
    f'Attention to {type(view).__name__.lower()} on a grid of '
    f'{len(modality.cells)} axes cannot be drawn.'
  )


def _fitted(width: int, height: int, most: float) -> tuple[float, float]:
  scale = most / max(width, height)
  return scale * width, scale * height


def _dimmed(pixels: np.ndarray) -> np.ndarray:
  """Grey `[..., 3]` in [0, 1], darker than the picture was."""
  grey = pixels.mean(axis=-1, keepdims=True) / 255 * _DIMMED
  return np.repeat(grey, 3, axis=-1)


def _over_image(pixels: np.ndarray) -> Panel:
  dimmed = _dimmed(pixels)
  height, width = pixels.shape[:2]
  extent = (0, width, height, 0)

  def draw(axes: Axes, levels: np.ndarray) -> None:
    axes.imshow(dimmed, extent=extent, aspect='auto', interpolation='nearest')
    axes.imshow(
      overlay(levels), extent=extent, aspect='auto', interpolation='nearest'
    )

  return draw


def _over_video(
  view: Video, num_times: int
) -> tuple[Panel, tuple[float, float]]:
  """Frames side by side, one or more for each time of the maps."""
  count = len(view.frames)
  shown = np.arange(min(count, max(8, num_times))) * count
  shown //= min(count, max(8, num_times))
  frames = view.frames[shown]
  strip = _over_image(np.concatenate(frames, axis=1))

  def draw(axes: Axes, levels: np.ndarray) -> None:
    strip(axes, np.concatenate(levels[shown * num_times // count], axis=1))

  width, height = _fitted(frames.shape[2], frames.shape[1], 1.5)
  return draw, (len(frames) * width, height)


def _over_spectrogram(values: np.ndarray) -> Panel:
  low, high = np.percentile(values, [2, 99.5])
  grey = 255 * np.clip((values - low) / max(high - low, 1e-9), 0, 1)
  image = _over_image(np.repeat(grey.T[::-1, :, None], 3, axis=-1))
  return lambda axes, levels: image(axes, levels.T[::-1])


def _over_curves(values: np.ndarray) -> Panel:
  """Curves `[T, C]`, each of its own scale; attention is behind them."""
  spans = np.maximum(np.abs(values - values.mean(axis=0)).max(axis=0), 1e-9)
  curves = (values - values.mean(axis=0)) / spans

  def draw(axes: Axes, levels: np.ndarray) -> None:
    steps = len(curves)
    axes.imshow(
      overlay(levels)[None],
      extent=(0, steps, -1.1, 1.1),
      aspect='auto',
      interpolation='nearest',
    )
    width = 0.4 if steps > 1000 else 0.8
    axes.plot(np.arange(steps) + 0.5, curves, color=_LINE, linewidth=width)
    axes.set(xlim=(0, steps), ylim=(-1.1, 1.1))

  return draw


def _over_points(coordinates: np.ndarray) -> Panel:
  """Points, y up, seen from one side and a little from above."""
  middle = (coordinates.min(axis=0) + coordinates.max(axis=0)) / 2
  a, up, c = (coordinates - middle).T
  away = np.sin(_TURN) * a - np.cos(_TURN) * c
  x = np.cos(_TURN) * a + np.sin(_TURN) * c
  y = np.cos(_TILT) * up - np.sin(_TILT) * away
  nearness = -(np.cos(_TILT) * away + np.sin(_TILT) * up)
  reach = 1.05 * max(np.abs(x).max(), np.abs(y).max(), 1e-9)
  order = np.argsort(nearness)

  def draw(axes: Axes, levels: np.ndarray) -> None:
    unseen = np.array([0.42, 0.45, 0.55])
    seen = colours(0.45 + 0.55 * levels)
    share = np.clip(3 * levels, 0, 1)[:, None]
    colour = share * seen + (1 - share) * unseen
    size = 4 + 14 * levels
    axes.scatter(x[order], y[order], s=size[order], c=colour[order], lw=0)
    axes.set(xlim=(-reach, reach), ylim=(-reach, reach))

  return draw


def _over_text(pieces: Sequence[str]) -> Panel:
  shown = ['⏎' if piece == '\n' else piece for piece in pieces]
  lines = [
    shown[start : start + _TEXT_COLUMNS]
    for start in range(0, len(shown), _TEXT_COLUMNS)
  ]

  def draw(axes: Axes, levels: np.ndarray) -> None:
    cells = np.zeros(len(lines) * _TEXT_COLUMNS)
    cells[: len(shown)] = levels
    cells = cells.reshape(len(lines), _TEXT_COLUMNS)
    axes.set_facecolor('white')
    axes.imshow(marker(cells), aspect='auto', interpolation='nearest')
    for row, line in enumerate(lines):
      for column, text in _placed(line):
        axes.text(column - 0.5, row, text, **_LETTERS)

  return draw


def _placed(line: Sequence[str]) -> list[tuple[int, str]]:
  """Returns texts and their columns: one, where letters are of one width."""
  if all(len(piece) == 1 and piece < _FIRST_OF_OTHER_WIDTH for piece in line):
    return [(0, ''.join(line))]
  return list(enumerate(line))
