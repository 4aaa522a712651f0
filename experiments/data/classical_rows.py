"""Cheap classical models of rows with several columns, of scikit-learn.

The features of all columns are joined, and a few models are tried on them:
linear ones, and trees. scikit-learn is imported where a model is made.

Shapes: n rows, C classes or labels, O numbers of a row, Q quantiles of each.
"""

import warnings
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from experiments.data.classical_features import (
  Column,
  Join,
  chosen_rows,
  fit_for_lines,
  fit_for_trees,
)

# Joined columns `[n, J]` to what is predicted of rows.
Predict = Callable[[Any], np.ndarray]
Make = Callable[[], Any]

# Of the training rows, where no others choose.
_SET_ASIDE = 0.2
# How little linear models are held back.
_STRENGTHS = (0.3, 10.0, 300.0)
# Nearly there is near enough.
_MOST_STEPS = 300
# In each round a tree grows for each output.
_MOST_OUTPUTS_OF_TREES = 16
_TREES = 'gradient-boosted trees'


class Candidate(NamedTuple):
  """A model that is tried.

  Attributes:
    name: in words.
    fit_join: columns of rows to what joins them.
    fit: joined columns and targets of rows to what predicts of joined columns.
  """

  name: str
  fit_join: Callable[[Sequence[Column]], Join]
  fit: Callable[[Any, np.ndarray], Predict]


class Rows(NamedTuple):
  """Rows that have an answer.

  Attributes:
    columns: features of inputs, see `classical_features`.
    targets: `[n, ...]`.
  """

  columns: Sequence[Column]
  targets: np.ndarray

  def some(self, numbers: np.ndarray) -> 'Rows':
    """Returns the rows of some numbers, int `[m]`."""
    return Rows(chosen_rows(self.columns, numbers), self.targets[numbers])


class Chosen(NamedTuple):
  """The candidate that was best.

  Attributes:
    name: of it.
    predict: columns of rows to what is predicted of them.
  """

  name: str
  predict: Callable[[Sequence[Column]], np.ndarray]


def one_thread() -> Any:
  """Returns a context in which trees grow in a single thread.

  Where others are at work, too, threads that wait for each other after every
  split take many times as long.
  """
  from threadpoolctl import threadpool_limits

  return threadpool_limits(1, user_api='openmp')


def choose(
  candidates: Sequence[Candidate],
  rows: Rows,
  validation: np.ndarray,
  score: Callable[[np.ndarray, np.ndarray], float],
) -> Chosen:
  """Returns the best candidate, trained on all rows.

  Args:
    candidates: at least one; of equal ones the first is chosen.
    rows: to train on and to choose by, at least two.
    validation: bool `[n]`, those to choose by; where there are none, or no
      others, a fifth of all is drawn.
    score: predictions and targets to what is higher for better ones; one that
      is no number is lower than all.
  """
  if validation.all() or not validation.any():
    order = np.random.default_rng(0).permutation(len(validation))
    validation = order < max(1, round(_SET_ASIDE * len(order)))
  train, asked = (
    rows.some(np.flatnonzero(x)) for x in (~validation, validation)
  )

  joined = {}

  def reached(candidate: Candidate) -> float:
    fit_join = candidate.fit_join
    if fit_join not in joined:
      join = fit_join(train.columns)
      joined[fit_join] = join(train.columns), join(asked.columns)
    known, others = joined[fit_join]
    value = score(candidate.fit(known, train.targets)(others), asked.targets)
    return -np.inf if np.isnan(value) else value

  with one_thread():
    best = max(candidates, key=reached)
    join = best.fit_join(rows.columns)
    fitted = best.fit(join(rows.columns), rows.targets)

  def predict(columns: Sequence[Column]) -> np.ndarray:
    with one_thread():
      return fitted(join(columns))

  return Chosen(best.name, predict)


def of_classes(num_classes: int) -> list[Candidate]:
  """Returns models of one class a row.

  Targets are `[n]` int; predictions are probabilities `[n, C]`.

  Args:
    num_classes: C.
  """

  def fit_of(make: Make) -> Callable[[Any, np.ndarray], Predict]:
    return lambda known, targets: _fit_chances(
      make(), known, targets, num_classes
    )

  return _classifiers(fit_of, num_classes)


def of_labels(num_labels: int) -> list[Candidate]:
  """Returns models of any number of labels a row, each told by itself.

  Targets are `[n, C]`, 1 for each label that is there; predictions are
  probabilities `[n, C]`.

  Args:
    num_labels: C.
  """

  def fit_of(make: Make) -> Callable[[Any, np.ndarray], Predict]:
    def fit(known: Any, targets: np.ndarray) -> Predict:
      labels = (np.asarray(targets) > 0.5).astype(int)
      each = [_fit_chances(make(), known, x, 2) for x in labels.T]
      return lambda asked: np.stack([x(asked)[:, 1] for x in each], axis=1)

    return fit

  return _classifiers(fit_of, num_labels)


def _classifiers(
  fit_of: Callable[[Make], Callable[[Any, np.ndarray], Predict]],
  num_outputs: int,
) -> list[Candidate]:
  lines = [
    Candidate('logistic regression', fit_for_lines, fit_of(_logistic(strength)))
    for strength in _STRENGTHS
  ]
  if num_outputs > _MOST_OUTPUTS_OF_TREES:
    return lines
  return [*lines, Candidate(_TREES, fit_for_trees, fit_of(_classifying_trees))]


def _logistic(strength: float) -> Make:
  def make() -> Any:
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(C=strength, max_iter=_MOST_STEPS)

  return make


def _classifying_trees() -> Any:
  from sklearn.ensemble import HistGradientBoostingClassifier

  return HistGradientBoostingClassifier(random_state=0)


def _fit_chances(
  model: Any, known: Any, labels: np.ndarray, num_classes: int
) -> Predict:
  """Returns what gives probabilities; 0 of classes that no row has."""
  there = np.unique(labels)
  if len(there) > 1:
    _fit(model, known, labels)

  def chances(asked: Any) -> np.ndarray:
    found = np.zeros((asked.shape[0], num_classes))
    found[:, there] = model.predict_proba(asked) if len(there) > 1 else 1.0
    return found

  return chances


def _fit(model: Any, known: Any, targets: np.ndarray) -> Any:
  from sklearn.exceptions import ConvergenceWarning

  with warnings.catch_warnings():
    warnings.simplefilter('ignore', ConvergenceWarning)
    return model.fit(known, targets)


def of_numbers(
  num_numbers: int, levels: Sequence[float] = ()
) -> list[Candidate]:
  """Returns models of numbers.

  Targets are `[n, O]`, of spreads of about 1; predictions `[n, O, Q]` are
  quantiles in order, or means, and Q = 1.

  Args:
    num_numbers: O.
    levels: of the quantiles; () for means.
  """
  found = [_ridge(strength, levels) for strength in _STRENGTHS]
  if num_numbers * max(1, len(levels)) <= _MOST_OUTPUTS_OF_TREES:
    found.append(_regressing_trees(levels))
  return [*found, _constant(levels)]


def _ridge(strength: float, levels: Sequence[float]) -> Candidate:
  """Linear means and, of quantiles, those of what is left of the targets."""

  def fit(known: Any, targets: np.ndarray) -> Predict:
    from sklearn.linear_model import Ridge

    model = _fit(Ridge(1.0 / strength, max_iter=_MOST_STEPS), known, targets)

    def means(asked: Any) -> np.ndarray:
      return model.predict(asked).reshape(-1, targets.shape[1])

    around = _summary(targets - means(known), levels) if levels else 0.0
    return lambda asked: means(asked)[..., None] + around

  return Candidate('ridge regression', fit_for_lines, fit)


def _summary(targets: np.ndarray, levels: Sequence[float]) -> np.ndarray:
  """Returns means `[O, 1]` or quantiles `[O, Q]` of targets `[n, O]`."""
  if not levels:
    return targets.mean(axis=0)[:, None]
  return np.quantile(targets, levels, axis=0).T


def _regressing_trees(levels: Sequence[float]) -> Candidate:
  def fit(known: np.ndarray, targets: np.ndarray) -> Predict:
    from sklearn.ensemble import HistGradientBoostingRegressor

    losses = [dict(loss='quantile', quantile=level) for level in levels]
    models = [
      [
        HistGradientBoostingRegressor(random_state=0, **loss).fit(known, each)
        for loss in losses or [{}]
      ]
      for each in np.asarray(targets, np.float64).T
    ]

    def predict(asked: np.ndarray) -> np.ndarray:
      found = [[model.predict(asked) for model in each] for each in models]
      # Each is fitted by itself, and quantiles may cross.
      return np.sort(np.transpose(found, (2, 0, 1)), axis=-1)

    return predict

  return Candidate(_TREES, fit_for_trees, fit)


def _constant(levels: Sequence[float]) -> Candidate:
  def fit(known: np.ndarray, targets: np.ndarray) -> Predict:
    del known
    same = _summary(targets, levels)
    return lambda asked: np.repeat(same[None], asked.shape[0], axis=0)

  return Candidate('the same for all', fit_for_trees, fit)
