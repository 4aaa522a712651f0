"""Cheap classical models of the answers of rows, on the split of a run.

Examples are rows, see `tasks.table.examples`: `inputs/KEY` and `answers/KEY`,
each with `there`.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from experiments.answers.head import Head
from experiments.answers.rivals import Rival, best_rival
from experiments.data.classical import check_installed
from experiments.data.classical_features import column_features
from experiments.data.classical_rows import Rows
from experiments.data.dataset import Chosen, Dataset, Example, Source
from experiments.files.kind import FileKind
from experiments.measuring.classical import MOST_EXAMPLES, classical_of

# Fewer rows tell nothing of what is known of others.
_LEAST_ROWS = 5


def rivals_of_rows(
  dataset: Dataset, files: Mapping[str, FileKind], heads: Mapping[str, Head]
) -> dict[str, Rival]:
  """Returns what the best classical model of each answer reaches.

  It sees the rows as the model does in evaluation, at most `MOST_EXAMPLES` to
  train on and to choose by. What is chosen is trained on those of validation,
  too.

  Args:
    dataset: of rows.
    files: inputs by their keys.
    heads: of answers by their keys.

  Returns:
    By key; answers of which no classical model is known, or that too few rows
    have, are left out.

  Raises:
    ValueError: scikit-learn is not installed, or nothing classical is known of
      an input.
  """
  check_installed()
  wanted = {key: head for key, head in heads.items() if head.rivals is not None}
  # Those to train on, to choose by, and to ask about.
  splits = [_some(dataset.train), dataset.validation or [], dataset.evaluation]
  kept = [
    _kept(dataset.prepare(split[i]), files, wanted)
    for split in splits
    for i in range(len(split))
  ]
  which = np.repeat([0, 1, 2], [len(split) for split in splits])
  columns = [column_features([row[0][key] for row in kept]) for key in files]
  found = {}
  for key, head in wanted.items():
    targets = [row[1][key] for row in kept]
    there = np.array([target is not None for target in targets])
    known, held_out = (
      np.flatnonzero(there & chosen) for chosen in (which < 2, which == 2)
    )
    if min(len(known), len(held_out)) < _LEAST_ROWS:
      continue
    blank = next(target for target in targets if target is not None)
    rows = Rows(columns, np.stack([blank if x is None else x for x in targets]))
    found[key] = best_rival(
      head, rows.some(known), which[known] == 1, rows.some(held_out)
    )
  return found


def _some(source: Source) -> Source:
  """At most `MOST_EXAMPLES`; always the same ones."""
  numbers = np.random.default_rng(0).permutation(len(source))[:MOST_EXAMPLES]
  return Chosen(source, numbers)


def _kept(
  example: Example, files: Mapping[str, FileKind], heads: Mapping[str, Head]
) -> tuple[dict[str, Any], dict[str, Any]]:
  """Features and targets of a row by key, None of what it lacks."""
  features, targets = {}, {}
  for key, kind in files.items():
    own = dict(example['inputs'][key])
    features[key] = _features(kind, own) if own.pop('there') else None
  for key, head in heads.items():
    own = example['answers'][key]
    targets[key] = own[head.rivals.target] if own['there'] else None
  return features, targets


def _features(kind: FileKind, example: Example) -> np.ndarray | str:
  if kind.classical is not None:
    return kind.classical(example)
  (view,) = kind.view(example).values()
  return classical_of(view).features(view)
