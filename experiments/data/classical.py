"""Cheap classical models, of scikit-learn: what a Perceiver should beat.

Here are those of classes and a single sense; `classical_rows` has those of rows
with several. scikit-learn is an extra, `pip install
'perceiver-haiku[classical]'`: it is imported where a model is made.
"""

import importlib.util
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np


class Classical(NamedTuple):
  """What was usual for a sense before networks.

  Attributes:
    name: of features and model, in words.
    features: view of an example to float `[features]`, as many for all examples
      of a data set, or to a text.
    model: makes a model of classes that has these alone, `fit` and `score`.
  """

  name: str
  features: Callable[[Any], np.ndarray | str]
  model: Callable[[], Any]


def check_installed() -> None:
  """Raises a ValueError where there is no scikit-learn."""
  if importlib.util.find_spec('sklearn') is None:
    raise ValueError(
      'The classical model is one of scikit-learn, which is not installed: '
      "pip install 'perceiver-haiku[classical]'."
    )


def trees() -> Any:
  """Returns 500 random trees."""
  from sklearn.ensemble import ExtraTreesClassifier

  return ExtraTreesClassifier(500, random_state=0, n_jobs=-1)


def support_vectors() -> Any:
  """Returns a support vector machine of standardised features."""
  from sklearn.pipeline import make_pipeline
  from sklearn.preprocessing import StandardScaler
  from sklearn.svm import SVC

  return make_pipeline(StandardScaler(), SVC(C=10.0))


def words() -> Any:
  """Returns logistic regression of a text's n-grams of 1 to 5 characters."""
  from sklearn.feature_extraction.text import TfidfVectorizer
  from sklearn.linear_model import LogisticRegression
  from sklearn.pipeline import make_pipeline

  ngrams = TfidfVectorizer(
    analyzer='char', ngram_range=(1, 5), sublinear_tf=True, min_df=2
  )
  return make_pipeline(ngrams, LogisticRegression(C=30.0, max_iter=300))
