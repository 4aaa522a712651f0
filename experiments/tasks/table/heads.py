"""Kinds of answers that stand in columns, by the names that people give them."""

from collections.abc import Mapping

from experiments.answers.classes.column import CLASS
from experiments.answers.head import HeadKind

HEADS: Mapping[str, HeadKind] = {'class': CLASS}
