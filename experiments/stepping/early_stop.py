"""Ends a run whose held-out metric has stopped to improve."""

import dataclasses
from collections.abc import Mapping
from typing import NamedTuple


class Seen(NamedTuple):
  """What is known of the evaluations so far; checkpoints hold it.

  Attributes:
    best: value of the metric; None before the first evaluation.
    stale: evaluations in a row that were no better.
  """

  best: float | None = None
  stale: int = 0


@dataclasses.dataclass(frozen=True, kw_only=True)
class EarlyStop:
  """The section `early_stop` of a config.

  Attributes:
    patience: evaluations in a row that may be no better than the best before
      them; after so many the run ends. 0 never ends it.
    metric: of the evaluations.
    mode: 'min' or 'max', what is better.

  Raises:
    ValueError: a value is out of its range.
  """

  patience: int = 0
  metric: str = 'eval/loss'
  mode: str = 'min'

  def __post_init__(self):
    if self.patience < 0:
      raise ValueError(
        f'config.early_stop.patience must not be negative, got {self.patience}.'
      )
    if self.mode not in ('max', 'min'):
      raise ValueError(
        f"config.early_stop.mode must be 'max' or 'min', got {self.mode!r}."
      )

  @property
  def is_on(self) -> bool:
    """Whether evaluations are compared at all."""
    return self.patience > 0

  def after(self, seen: Seen, results: Mapping[str, float]) -> Seen:
    """Returns what is known after one more evaluation."""
    if not self.is_on:
      return seen
    value = float(results[self.metric])
    sign = 1.0 if self.mode == 'max' else -1.0
    # What is no number is no better than any.
    if value == value and (
      seen.best is None or sign * value > sign * seen.best
    ):
      return Seen(value, 0)
    return seen._replace(stale=seen.stale + 1)

  def reason(self, seen: Seen) -> str:
    """Why the run ends now; '' where it does not."""
    if not self.is_on or seen.stale < self.patience:
      return ''
    best = 'a number' if seen.best is None else f'better than {seen.best:.4f}'
    return (
      f'{self.metric} has not been {best} in {seen.stale} evaluations '
      f'(config.early_stop.patience = {self.patience})'
    )
