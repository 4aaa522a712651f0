"""Kinds of answers that stand in columns, by the names that people give."""

from collections.abc import Mapping

from experiments.answers.classes.column import CLASS
from experiments.answers.classes.labels import LABELS
from experiments.answers.forecasts.column import FORECAST
from experiments.answers.head import HeadKind
from experiments.answers.masks.column import MASK
from experiments.answers.numbers.column import NUMBER
from experiments.answers.sequences.column import SEQUENCE

HEADS: Mapping[str, HeadKind] = {
  'class': CLASS,
  'labels': LABELS,
  'number': NUMBER,
  'mask': MASK,
  'sequence': SEQUENCE,
  'forecast': FORECAST,
}
