"""Numbers of a table as features: where they lie among those of training.

Shapes: N numbers in a cell, T bins, F features.
"""

import itertools
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from experiments.data.dataset import Example, array_spec
from experiments.data.modality import View
from experiments.files.features import array_feature
from experiments.files.kind import FileKind, Survey
from experiments.files.listing import rounded, rounded_by
from experiments.modalities.cells.view import Cell
from experiments.table.cells import to_list, to_number

# Standardised numbers stay below this, and keep their order.
_MOST_SCALED = 3.0
# The squares of larger ones might be none; larger values are no float32.
_MOST_SQUARED, _MOST_VALUE = 1e6, 3e38


class Scale(NamedTuple):
  """How one number becomes features.

  Attributes:
    center: the median of the training rows.
    spread: what the distance from it is divided by: that of the quartiles.
    edges: of the bins, rising; fewer than two are no bins.
  """

  center: float
  spread: float
  edges: tuple[float, ...]

  @property
  def num_features(self) -> int:
    """F."""
    return 1 + max(0, len(self.edges) - 1)

  def features(self, values: np.ndarray) -> np.ndarray:
    """Returns features of numbers.

    Args:
      values: float64 `[...]`; NaN is an empty cell.

    Returns:
      float32 `[..., F]`, first the number itself, standardised, outliers pulled
      towards 3 (Holzmueller et al., arXiv 2407.04491), then its piecewise
      linear encoding; zeros of an empty cell.
    """
    scaled = (values - self.center) / self.spread
    scaled = np.clip(scaled, -_MOST_SQUARED, _MOST_SQUARED)
    scaled = scaled / np.sqrt(1.0 + (scaled / _MOST_SCALED) ** 2)
    encoded = piecewise_linear(values, self.edges)
    features = np.concatenate([scaled[..., None], encoded], axis=-1)
    return np.nan_to_num(features, nan=0.0).astype(np.float32)


def piecewise_linear(values: np.ndarray, edges: Sequence[float]) -> np.ndarray:
  """Returns which bins numbers have passed (Gorishniy et al., 2203.05556).

  Args:
    values: float64 `[...]`.
    edges: of the T bins, rising.

  Returns:
    float64 `[..., T]`: 1 of the bins below a number, 0 of those above it, and
    of its own the share that it has passed. The outer bins go on to both sides,
    to -1 and to 2.
  """
  if len(edges) < 2:
    return np.zeros((*values.shape, 0))
  low, high = np.array(edges[:-1]), np.array(edges[1:])
  passed = (values[..., None] - low) / (high - low)
  least, most = np.zeros(len(low)), np.ones(len(low))
  least[0], most[-1] = -1.0, 2.0
  return np.clip(passed, least, most)


def fit_scale(values: np.ndarray, bins: int) -> Scale:
  """Returns the scale that suits numbers.

  Args:
    values: float64 `[n]` of training rows; NaN is an empty cell.
    bins: T at most: edges are quantiles, each once.
  """
  values = values[~np.isnan(values)]
  if not values.size:
    return Scale(0.0, 1.0, ())
  lowest, first, center, third, highest = np.quantile(
    values, [0, 0.25, 0.5, 0.75, 1]
  )
  # Where most rows have the same number, the others still differ.
  spread = (third - first) or (highest - lowest) / 2 or 1.0
  # Edges are values of rows: few different ones make few bins.
  places = np.linspace(0, 1, bins + 1)
  edges = np.unique(np.quantile(values, places, method='inverted_cdf'))
  gap = np.diff(edges).min(initial=math.inf)
  edges = rounded_by(edges, [gap] * len(edges)) if len(edges) > 1 else ()
  (center,), (spread,) = rounded_by([center], [spread]), rounded([spread])
  return Scale(center, spread, tuple(edges))


def number_cells(
  survey: Survey,
  *,
  bins: int = 16,
  center: Sequence[float] | None = None,
  spread: Sequence[float] | None = None,
  edges: Sequence[Sequence[float]] | None = None,
  noise: float = 0.0,
) -> FileKind:
  """Cells of a number, or of so many numbers each.

  Args:
    survey: of the training cells, for what is None.
    bins: of the piecewise linear encoding, at most; 0 is without.
    center: of each number; None for the median of the training cells.
    spread: of each number; None for the distance of the quartiles.
    edges: of the bins of each number; None for quantiles.
    noise: added to training examples, in spreads.

  Returns:
    Examples with `cell` float32 `[F]`, see `Scale`, and `value` float32 `[N]`,
    the numbers themselves.

  Raises:
    ValueError: an option is out of its range, or cells have several lengths.
  """
  if bins < 0:
    raise ValueError(f'bins must not be negative, got {bins}.')
  if noise < 0.0:
    raise ValueError(f'noise must not be negative, got {noise}. 0 adds none.')
  scales = settled_scales(survey, bins, center, spread, edges)
  return kind_of_numbers(scales, 'number', noise)


def numbers_of(cell: Any) -> np.ndarray:
  """Returns the numbers of a cell, float64 `[N]`; NaN is an empty one.

  Raises:
    ValueError: there is something else, or nothing.
  """
  try:
    values = [to_number(cell)]
  except ValueError:
    values = [to_number(element) for element in to_list(cell) or ()]
  if not values:
    raise ValueError(f'{cell!r} has no numbers')
  return np.array(values, np.float64)  # None is NaN there.


def settled_scales(
  survey: Survey,
  bins: int,
  center: Sequence[float] | None,
  spread: Sequence[float] | None,
  edges: Sequence[Sequence[float]] | None,
) -> list[Scale]:
  """Returns the scale of each number of a cell; see `number_cells`.

  Raises:
    ValueError: cells have several lengths, options have, a spread is not above
      0, or edges do not rise.
  """
  if center is None or spread is None or edges is None:
    fitted = [fit_scale(values, bins) for values in _columns(survey)]
    center = [each.center for each in fitted] if center is None else center
    spread = [each.spread for each in fitted] if spread is None else spread
    edges = [each.edges for each in fitted] if edges is None else edges
  if not 0 < len(center) == len(spread) == len(edges):
    raise ValueError(
      'center, spread and edges must have one entry for each number of a cell, '
      f'got {len(center)}, {len(spread)} and {len(edges)}.'
    )
  if min(spread) <= 0.0:
    raise ValueError(f'spread must be above 0, got {tuple(spread)}.')
  if any(b <= a for each in edges for a, b in itertools.pairwise(each)):
    raise ValueError(f'edges must rise, got {tuple(edges)}.')
  return [
    Scale(float(a), float(b), tuple(map(float, c)))
    for a, b, c in zip(center, spread, edges, strict=True)
  ]


def _columns(survey: Survey) -> np.ndarray:
  """The numbers of all cells `[N, n]`."""
  cells = survey(numbers_of)
  lengths = [len(cell) for cell in cells]
  if min(lengths) != max(lengths):
    raise ValueError(
      f'cells have {min(lengths)} to {max(lengths)} numbers, and all need the '
      'same. Put series of any length into files of their own.'
    )
  return np.stack(cells, axis=1)


def kind_of_numbers(
  scales: Sequence[Scale], name: str, noise: float
) -> FileKind:
  """Returns cells of numbers whose scales are known.

  Args:
    scales: of each number of a cell.
    name: of the kind.
    noise: see `number_cells`.
  """
  spreads = np.array([scale.spread for scale in scales])
  num_features = sum(scale.num_features for scale in scales)
  starts = np.cumsum([0, *(scale.num_features for scale in scales[:-1])])

  def read(cell: Any) -> Example:
    values = numbers_of(cell)
    if len(values) != len(scales):
      raise ValueError(
        f'{cell!r} has {len(values)} numbers; those of training have '
        f'{len(scales)}'
      )
    shown = values.clip(-_MOST_VALUE, _MOST_VALUE).astype(np.float32)
    return {'cell': features(values), 'value': shown, 'exact': values}

  def features(values: np.ndarray) -> np.ndarray:
    return np.concatenate(
      [scale.features(values[i]) for i, scale in enumerate(scales)]
    )

  def prepare(kept: Example) -> Example:
    return {'cell': kept['cell'], 'value': kept['value']}

  def augment(kept: Example, rng: np.random.Generator) -> Example:
    if not noise:
      return prepare(kept)
    change = noise * spreads * rng.standard_normal(len(spreads))
    return {**prepare(kept), 'cell': features(kept['exact'] + change)}

  def view(example: Example) -> dict[str, View]:
    texts = [
      '?' if math.isnan(value) else f'{value:.6g}' for value in example['value']
    ]
    return {'cell': Cell(', '.join(texts), name)}

  def classical(example: Example) -> np.ndarray:
    """The standardised numbers alone."""
    scaled = example['cell'][starts]
    return np.where(np.isnan(example['value']), np.nan, scaled)

  num_bins = ' + '.join(str(scale.num_features - 1) for scale in scales[:4])
  more = ' + ...' if len(scales) > 4 else ''
  return FileKind(
    read=read,
    features={
      'cell': array_feature((num_features,), np.float32),
      'value': array_feature((len(scales),), np.float32),
      'exact': array_feature((len(scales),), np.float64),
    },
    options={'kind': name, 'count': len(scales)},
    example={
      'cell': array_spec(num_features),
      'value': array_spec(len(scales)),
    },
    augment=augment,
    prepare=prepare,
    view=view,
    chosen={
      'data.center': tuple(scale.center for scale in scales),
      'data.spread': tuple(scale.spread for scale in scales),
      'data.edges': tuple(scale.edges for scale in scales),
    },
    note=f'{name}: about {_typical(scales)}, {num_bins}{more} bins, ',
    classical=classical,
  )


def _typical(scales: Sequence[Scale]) -> str:
  """Where numbers lie: '61 +- 14'."""
  shown = [f'{each.center:.4g} ± {each.spread / 2:.3g}' for each in scales[:4]]
  return ' and '.join(shown) + (', ...' if len(scales) > 4 else '')
