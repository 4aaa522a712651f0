"""A cheap classical model on the split of a run."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

from experiments.data.classical import Classical, check_installed
from experiments.data.dataset import Dataset, Joined
from experiments.data.modality import View
from experiments.data.readings import Example
from experiments.modalities import senses

# Training examples: more cost minutes.
MOST_EXAMPLES = 10_000


class Found(NamedTuple):
  """What a cheap classical model makes of the held-out examples.

  Attributes:
    accuracy: share of the examples whose class it names.
    name: of its features and itself.
  """

  accuracy: float
  name: str


def classify(
  dataset: Dataset, view: Callable[[Example], Mapping[str, View]]
) -> Found:
  """Trains a classical model and counts what it gets right.

  It sees the examples as the model does in evaluation, those of the validation
  split among its training examples, at most `MOST_EXAMPLES` of these.

  Args:
    dataset: whose examples have one class each, `label`.
    view: see `DataSpec`.

  Raises:
    ValueError: scikit-learn is not installed, or nothing classical is known of
      such examples.
  """
  check_installed()
  sources = [dataset.train]
  if dataset.validation is not None:
    sources.append(dataset.validation)
  joined = Joined(sources)
  numbers = np.random.default_rng(0).permutation(len(joined))[:MOST_EXAMPLES]
  train = [dataset.prepare(joined[int(i)]) for i in numbers]
  test = [
    dataset.prepare(dataset.evaluation[i])
    for i in range(len(dataset.evaluation))
  ]
  inputs = [[_only(view(example)) for example in x] for x in (train, test)]
  classical = classical_of(inputs[0][0])
  known, asked = ([classical.features(each) for each in x] for x in inputs)
  model = classical.model()
  model.fit(known, [int(example['label']) for example in train])
  labels = [int(example['label']) for example in test]
  return Found(float(model.score(asked, labels)), classical.name)


def classical_of(view: View) -> Classical:
  """Returns the classical model of a view; a ValueError where none is known."""
  classical = senses.sense_of(view).classical
  if classical is None:
    raise ValueError(
      f'No classical model is known of {type(view).__name__.lower()}.'
    )
  return classical


def _only(views: Mapping[str, View]) -> View:
  if len(views) != 1:
    raise ValueError(
      'A classical model is known of examples of one sense, these have '
      f'{", ".join(views)}.'
    )
  return next(iter(views.values()))
