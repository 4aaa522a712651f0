"""What a sense is: everything that the house asks about images, sounds, texts.

A sense has a folder in `experiments/modalities/` and one record, a `Modality`.
Pages, reports, attention maps and tasks ask the record; none of them has a list
of senses.
"""

import math
import types
from collections.abc import Callable, Mapping, Sequence
from importlib.resources.abc import Traversable
from typing import Any, NamedTuple

import numpy as np

from experiments.data.classical import Classical

# What a person sees or hears of an example: a NamedTuple of plain arrays, not
# yet drawn, of a class of its sense's own, such as `Image`.
View = tuple[Any, ...]
# Draws an input on axes of matplotlib, with levels `[*cells]` in [0, 1] of
# attention to it.
Panel = Callable[[Any, np.ndarray], None]

# Cells of a map: 64 x 64 of an image.
_MOST_CELLS = 4096


class Cells(NamedTuple):
  """How an input is divided where attention to it is drawn.

  Attributes:
    grid_shape: shape of the grid that the model's elements lie on.
    starts: for each axis, the first point of each cell.
    labels: what each cell is, where there is more to say than its place: the
      characters of a text, the numbers of points.
  """

  grid_shape: tuple[int, ...]
  starts: tuple[Sequence[int], ...]
  labels: Any = None


class Attended(NamedTuple):
  """What latents look at in one input.

  Attributes:
    view: what a person sees or hears of it.
    weights: float32 `[D, N, *cells]`, the part of its attention that a latent
      gives to each cell.
    num_inputs: elements of this input, without padding.
    values: float32 `[*grid]`, what the model measured at the points of a grid
      that only it has, such as the bins of a spectrogram; None where the view
      itself shows it.
    labels: see `Cells`.
  """

  view: View
  weights: np.ndarray
  num_inputs: int
  values: np.ndarray | None = None
  labels: Any = None

  @property
  def cells(self) -> tuple[int, ...]:
    """The shape of a map."""
    return self.weights.shape[2:]


def divided(
  grid_shape: Sequence[int], most_cells: int = _MOST_CELLS
) -> tuple[tuple[int, ...], ...]:
  """Divides a grid into cells of neighbouring points.

  Args:
    grid_shape: shape of the grid of points.
    most_cells: the most cells, of all axes together.

  Returns:
    For each axis the first point of each cell; cells are about as long on
    every axis, and single points where they are few enough.
  """
  sides = list(grid_shape)
  size = 1
  while math.prod(sides) > most_cells:
    size += 1
    sides = [-(-side // size) for side in grid_shape]
  return tuple(
    tuple(side * i // cells for i in range(cells))
    for side, cells in zip(grid_shape, sides, strict=True)
  )


def even_cells(
  grid_shape: tuple[int, ...], example: Mapping[str, Any], num_inputs: int
) -> Cells:
  """Returns cells of neighbours; see `AttentionDrawing.cells`."""
  del example, num_inputs
  return Cells(grid_shape, divided(grid_shape))


class AttentionDrawing(NamedTuple):
  """How attention is drawn over an input.

  Functions that draw raise a ValueError for an input that is divided in a way
  that nothing is drawn of; see `cannot_draw`.

  Attributes:
    page: input to what a page's script draws it from, to be JSON. `kind` names
      a class that a script adds to `INPUTS`; see attention/drawing.js.
    scripts: files of JavaScript with the classes of these kinds.
    panel: input to what draws it in a picture, and its width and height in
      inches.
    cells: shape of the model's grid, the example and its number of elements
      without padding, to how the grid is divided.
  """

  page: Callable[[Attended], dict[str, Any]]
  scripts: Sequence[Traversable]
  panel: Callable[[Attended], tuple[Panel, tuple[float, float]]]
  cells: Callable[[tuple[int, ...], Mapping[str, Any], int], Cells] = even_cells


def cannot_draw(attended: Attended) -> ValueError:
  """Returns the error of an input that is divided in an unknown way."""
  return ValueError(
    f'Attention to {type(attended.view).__name__.lower()} on a grid of '
    f'{len(attended.cells)} axes cannot be drawn.'
  )


class ColumnKind(NamedTuple):
  """Cells of a table that are inputs of a sense.

  Attributes:
    files: takes a survey of the training cells and options, by keyword, to the
      `files.kind.FileKind` of the column; cells are paths of files, or what the
      table has where there are no `extensions`.
    array: what the preprocessor takes of an example: an array, or a mapping of
      several.
    mask: which elements of an example there are, bool `[M]`; '' for all.
    extensions: of the files.
    is_text: whether the cells may also be the contents of files.
  """

  files: Callable[..., Any]
  array: str
  mask: str = ''
  extensions: Sequence[str] = ()
  is_text: bool = False


class Modality(NamedTuple):
  """A sense.

  Attributes:
    view: class of its views.
    html: view to an element of a page that shows it or plays it, and needs
      nothing around it: no style sheet, no script, no other file.
    attention: how attention is drawn over it.
    is_small: whether a page has room for many views side by side.
    preprocessors: constructors of what makes byte arrays of it, by the names
      that configs give them.
    folders: data sets of people's own files, by the names that configs give
      them; see `files.folder_builder`.
    columns: kinds of columns of a table, by the names that people give them.
    classical: a cheap model to compare with; None where none is known.
  """

  view: type
  html: Callable[[Any], str]
  attention: AttentionDrawing
  is_small: bool = False
  preprocessors: Mapping[str, Callable[..., Any]] = types.MappingProxyType({})
  folders: Mapping[str, Callable[..., Any]] = types.MappingProxyType({})
  columns: Mapping[str, ColumnKind] = types.MappingProxyType({})
  classical: Classical | None = None
