"""Features of the columns of rows, joined for classical models.

A column is float `[n, F]`, NaN where a row lacks it, or n texts, None where one
lacks it. scikit-learn is imported where something is fitted.

Shapes: n rows, F features of a column, J of all columns.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import scipy.sparse

Column = np.ndarray | Sequence[str | None]
# Columns of rows to a matrix `[n, J]`, for linear models maybe a sparse one.
Join = Callable[[Sequence[Column]], Any]

# N-grams of a text that fall together are few.
_HASHES = 2**16
# Of more features, their main directions: linear models are then fitted many
# times faster. Trees look at each by itself, so that fewer have to do.
_MOST_OF_LINES, _MOST_OF_TREES = 256, 32


def column_features(rows: Sequence[np.ndarray | float | str | None]) -> Column:
  """Returns what a column has, of all rows: those to train on and others.

  Args:
    rows: numbers `[F]`, a number or a text of each; None where one lacks it.
  """
  if any(isinstance(row, str) for row in rows):
    return list(rows)
  known = [np.ravel(row) for row in rows if row is not None]
  features = np.full((len(rows), len(known[0]) if known else 1), np.nan)
  there = [i for i, row in enumerate(rows) if row is not None]
  if known:
    features[there] = known
  return np.where(np.isfinite(features), features, np.nan)


def chosen_rows(columns: Sequence[Column], numbers: np.ndarray) -> list[Column]:
  """Returns the columns of some rows.

  Args:
    columns: of all rows.
    numbers: int `[n]`, of rows.
  """
  return [
    x[numbers] if isinstance(x, np.ndarray) else [x[i] for i in numbers]
    for x in columns
  ]


def fit_for_lines(columns: Sequence[Column]) -> Join:
  """Returns what joins columns for a linear model.

  Numbers have their mean at 0, the median where they are missing, and all of a
  column together the weight of a single one, that of a text. Texts are n-grams
  of characters. For each column that some rows lack there is a feature that
  says so.

  Args:
    columns: of the training rows.
  """
  blocks = [_fit_block(column) for column in columns]

  def join(columns: Sequence[Column]) -> Any:
    parts = [block(x) for block, x in zip(blocks, columns, strict=True)]
    parts += [_lacking(column) for column in columns]
    if any(scipy.sparse.issparse(part) for part in parts):
      return scipy.sparse.hstack(parts, format='csr')
    return np.concatenate(parts, axis=1)

  return join


def fit_for_trees(columns: Sequence[Column]) -> Join:
  """Returns what joins columns for trees: dense, NaN where one is missing.

  Args:
    columns: of the training rows.
  """
  blocks = [_fit_narrow(column) for column in columns]

  def join(columns: Sequence[Column]) -> np.ndarray:
    parts = [block(x) for block, x in zip(blocks, columns, strict=True)]
    return np.concatenate(parts, axis=1)

  return join


def _fit_block(column: Column) -> Callable[[Column], Any]:
  """Returns what makes a matrix of one column, nothing of it missing."""
  from sklearn.feature_extraction.text import (
    HashingVectorizer,
    TfidfTransformer,
  )
  from sklearn.impute import SimpleImputer
  from sklearn.pipeline import make_pipeline
  from sklearn.preprocessing import StandardScaler

  if isinstance(column, np.ndarray):
    weight = 1.0 / math.sqrt(column.shape[1])
    scaled = make_pipeline(
      SimpleImputer(strategy='median', keep_empty_features=True),
      StandardScaler(),
    ).fit(column)
    if column.shape[1] <= _MOST_OF_LINES:
      return lambda x: weight * scaled.transform(x)
    main = _fit_directions(scaled.transform(column), _MOST_OF_LINES)
    return lambda x: weight * main(scaled.transform(x))
  ngrams = make_pipeline(
    HashingVectorizer(
      analyzer='char',
      ngram_range=(1, 5),
      n_features=_HASHES,
      alternate_sign=False,
      norm=None,
    ),
    TfidfTransformer(sublinear_tf=True),
  ).fit(_texts(column))
  return lambda x: ngrams.transform(_texts(x))


def _fit_directions(block: Any, most: int) -> Callable[[Any], np.ndarray]:
  """Returns what turns rows into the directions in which they differ most."""
  from sklearn.decomposition import PCA, TruncatedSVD

  kind = TruncatedSVD if scipy.sparse.issparse(block) else PCA
  directions = kind(min(most, *block.shape), random_state=0)
  return directions.fit(block).transform


def _fit_narrow(column: Column) -> Callable[[Column], np.ndarray]:
  if isinstance(column, np.ndarray) and column.shape[1] <= _MOST_OF_TREES:
    return lambda x: x
  block = _fit_block(column)
  narrow = _fit_directions(block(column), _MOST_OF_TREES)
  return lambda x: np.where(_lacking(x) > 0.0, np.nan, narrow(block(x)))


def _texts(column: Column) -> list[str]:
  return [text or '' for text in column]


def _lacking(column: Column) -> np.ndarray:
  """Returns float `[n, 1]`, 1 where something of a row is missing."""
  if isinstance(column, np.ndarray):
    lacking = np.isnan(column).any(axis=1)
  else:
    lacking = np.array([text is None for text in column])
  return lacking[:, None].astype(np.float64)
