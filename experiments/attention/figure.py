"""Maps of attention as pictures for paper and slides, one for each modality.

After figure 3 of the Perceiver paper: a row for each cross-attend, a column for
each latent; the other way around where the input is wide. Brightness is that of
`attention_maps.levels`.
"""

import warnings
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from experiments.attention.maps import AttentionMaps, levels
from experiments.modalities.senses import sense_of
from experiments.pages.attention_colours import colours

_DARK = colours(np.zeros(()))
_MARGIN, _GAP = 0.75, 0.12  # In inches; left and top, and between panels.
_CAPTION = 0.24
_DPI = 110
# Panels are below each other when they are so many times as wide as high, or
# wider than so many inches.
_WIDE, _MOST_SIDE_BY_SIDE = 1.6, 5.0


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
  attended = maps.modalities[name]
  panel, size = sense_of(attended.view).attention.panel(attended)
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
